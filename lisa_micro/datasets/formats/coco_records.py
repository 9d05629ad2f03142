"""Convert COCO files: instances by category, and captions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.formats.coco import CocoAnnotation, CocoFile, Id, coco_labels, listed, parse_coco
from lisa_micro.datasets.formats.detect import Images, files_under, kind_of_json, read_json
from lisa_micro.datasets.formats.drafts import PART_WORDS, Content, Draft, Faults, Found, part_of
from lisa_micro.datasets.records import SEG, Split, Turn
from lisa_micro.types import InputError, Micrograph

DESCRIBE = "Describe this micrograph."
_NUMBER = re.compile(r"\d")


@dataclass
class _Image:
    """What all files say about one image."""

    where: str
    shape: tuple[int, int]
    part: Split | None
    pixel_size_nm: float | None
    labelled: bool = False
    drawn: dict[str, list[CocoAnnotation]] = field(default_factory=dict)
    captions: list[str] = field(default_factory=list)


def from_coco(source: Path, given: Mapping[str, str]) -> Found:
    """Find the images of one or several COCO files; instances and captions of one image come together.

    A category becomes the concept that its name means. Crowds (``iscrowd``) are left out, and so are captions with
    digits: a reply never writes a number itself. ``train`` and ``val`` in the name of a file say to which part its
        images
    belong.

    Args:
        source: the JSON file, or a folder with some. given: category -> concept, see
            :func:`~lisa_micro.datasets.custom_concepts.concept_map`.

    Raises:
        InputError: no COCO file, or a category that cannot name a concept.
    """
    root = source if source.is_dir() else source.parent
    faults: list[str] = []
    files = _files(source, faults)
    if not files and not faults:
        raise InputError(f"{source} holds no COCO file")
    named = concept_map(_labels(files), given)
    search = Images(root if (root / "images").is_dir() or source.is_dir() else root.parent)
    found: dict[Path, _Image] = {}
    crowds = numbers = 0
    for content in files:
        faults += content.faults
        paths = _add_images(content, search, found, faults, root)
        strange: dict[Id | None, list[str]] = {}
        for annotation in content.annotations:
            if annotation.image not in paths:  # told with its image
                continue
            image = found[paths[annotation.image]]
            if annotation.caption is not None:
                if _NUMBER.search(annotation.caption) or SEG in annotation.caption:
                    numbers += 1
                else:
                    image.captions.append(" ".join(annotation.caption.split()))
            elif annotation.crowd:
                crowds += 1
            elif not annotation.segmentation:
                faults.append(f"{content.file} {annotation.place} has neither a segmentation nor a caption")
            elif annotation.category not in content.categories:
                strange.setdefault(annotation.category, []).append(annotation.place)
            elif (name := content.categories[annotation.category]) in named.concepts:
                image.drawn.setdefault(named.concepts[name], []).append(annotation)
        for category, places in strange.items() if not content.broken_categories else ():
            faults.append(f"{content.file} {listed(places)}: category_id {category!r} is not among the categories")
    concepts = tuple(dict.fromkeys(named.concepts.values()))
    drafts = [
        Draft(
            image,
            entry.where,
            partial(_load, entry, concepts if entry.labelled else ()),
            pixel_size_nm=entry.pixel_size_nm,
            part=entry.part,
        )
        for image, entry in found.items()
    ]
    counted = (
        ("crowds (iscrowd), left out", crowds),
        ("captions with digits, left out since no reply writes a number itself", numbers),
    )
    notes = (*named.notes, *(f"{what}: {n}" for what, n in counted if n))
    return Found(tuple(drafts), named.custom, tuple(faults), notes)


def _files(source: Path, faults: list[str]) -> list[CocoFile]:
    """The COCO files of a source; of a folder, JSON files of other kinds are passed over."""
    files = []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = None if source.is_file() else read_json(path)
            if content is None or kind_of_json(content) == "coco":
                files.append(parse_coco(path, content))
        except InputError as error:
            faults.append(str(error))
    return files


def _labels(files: list[CocoFile]) -> dict[str, str]:
    """The names of all categories, sorted, each with the file where it occurs first."""
    places: dict[str, str] = {}
    for content in files:
        for name in content.categories.values():
            places.setdefault(name, str(content.file))
    return dict(sorted(places.items()))


def _add_images(
    content: CocoFile, search: Images, found: dict[Path, _Image], faults: list[str], root: Path
) -> dict[Id, Path]:
    """Add what one file says about its images to ``found``; gives the path of each image by its id."""
    paths: dict[Id, Path] = {}
    words = re.split(r"[^a-z]+", content.file.stem.lower())
    part = next((PART_WORDS[word] for word in words if word in PART_WORDS), None)
    # a file of captions has no categories: its images are not labelled by it
    labelled = any(a.caption is None for a in content.annotations) or bool(content.categories)
    for image in content.images:
        where = f"{content.file} {image.place}"
        try:
            path = search.find(image.file_name, content.file.parent)
        except InputError as error:
            faults.append(f"{where}: {error}")
            continue
        paths[image.id] = path
        known = found.setdefault(path, _Image(where, image.shape, part or part_of(path, root), image.pixel_size_nm))
        known.labelled |= labelled
        known.pixel_size_nm = known.pixel_size_nm or image.pixel_size_nm
    return paths


def _load(entry: _Image, concepts: tuple[str, ...], image: Micrograph) -> Content:
    if image.shape != entry.shape:
        (h, w), (height, width) = entry.shape, image.shape
        raise InputError(f"it should be {w} x {h} px, the image is {width} x {height} px")
    painted: dict[str, np.ndarray] = {}
    faults: list[str] = []
    for concept in concepts:
        try:
            painted[concept] = coco_labels(entry.drawn.get(concept, ()), image.shape)
        except InputError as error:
            faults.append(f"{entry.where}, {error}")
    if faults:
        raise Faults("these annotations cannot be used", faults)
    hidden = sum(len(entry.drawn.get(c, ())) - int(labels.max(initial=0)) for c, labels in painted.items())
    said = tuple((Turn(user=DESCRIBE, assistant=text),) for text in entry.captions)
    notes = (f"{entry.where}: annotations without a pixel of their own, left out: {hidden}",) if hidden else ()
    return Content(painted.pop("particle", None), False, painted, said, notes=notes)
