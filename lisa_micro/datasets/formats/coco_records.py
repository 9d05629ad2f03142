"""COCO as a source of records: instances by category, and captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.formats.coco import coco_labels, read_coco_json
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
    outlines: dict[str, list[dict]] = field(default_factory=dict)
    captions: list[str] = field(default_factory=list)


def from_coco(source: Path, given: Mapping[str, str]) -> Found:
    """Images of one or several COCO files; instances and captions of one image come together.

    A category is the concept that its name means. Crowds (``iscrowd``) are left out, and captions with digits: a reply
    never writes a number itself. ``train`` and ``val`` in the name of a file say to which part its images belong.

    Args:
        source: the JSON file, or a folder with some. given: category -> concept, see :func:`concept_map`.

    Raises:
        InputError: no COCO file, or a category that can be no concept.
    """
    root = source if source.is_dir() else source.parent
    faults: list[str] = []
    files = []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = read_coco_json(path) if source.is_file() else read_json(path)
            if kind_of_json(content) == "coco":
                files.append((path, content))
        except InputError as error:
            faults.append(str(error))
    if not files and not faults:
        raise InputError(f"{source} holds no COCO file")
    categories = {path: _categories(content) for path, content in files}
    concepts, own = concept_map(sorted({n for names in categories.values() for n in names.values()}), given)
    search = Images(root if (root / "images").is_dir() or source.is_dir() else root.parent)
    found: dict[Path, _Image] = {}
    crowds = numbers = 0
    for path, content in files:
        by_id = _images(path, content, search, found, faults, root)
        for where, annotation in _annotations(path, content, by_id, faults):
            image = found[by_id[_key(annotation["image_id"])]]
            caption = annotation.get("caption")
            if isinstance(caption, str) and caption.strip():
                if _NUMBER.search(caption) or SEG in caption:
                    numbers += 1
                else:
                    image.captions.append(" ".join(caption.split()))
            elif annotation.get("iscrowd"):
                crowds += 1
            elif not annotation.get("segmentation"):
                faults.append(f"{where} has neither a segmentation nor a caption")
            elif (category := _key(annotation.get("category_id"))) not in categories[path]:
                faults.append(f"{where} has the category {category!r}, which is not in the file")
            elif (name := categories[path][category]) in concepts:
                image.outlines.setdefault(concepts[name], []).append(annotation)
    drawn = tuple(dict.fromkeys(concepts.values()))
    drafts = [
        Draft(
            image,
            entry.where,
            partial(_load, entry, drawn if entry.labelled else ()),
            pixel_size_nm=entry.pixel_size_nm,
            part=entry.part,
        )
        for image, entry in found.items()
    ]
    notes = (
        ("crowds (iscrowd), left out", crowds),
        ("captions with digits, left out since no reply writes a number itself", numbers),
    )
    return Found(tuple(drafts), own, tuple(faults), tuple(f"{what}: {n}" for what, n in notes if n))


def _categories(content: dict) -> dict[Any, str]:
    listed = content.get("categories")
    entries = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    return {_key(c.get("id")): str(c["name"]) for c in entries if c.get("name")}


def _key(number: Any) -> Any:
    """An id as it may be looked up: anything may stand in a file."""
    return number if isinstance(number, int | float | str) else repr(number)


def _images(
    path: Path, content: dict, search: Images, found: dict[Path, _Image], faults: list[str], root: Path
) -> dict[Any, Path]:
    """Number of each image in one file -> its path; what the file says about it goes into ``found``."""
    by_id: dict[Any, Path] = {}
    words = re.split(r"[^a-z]+", path.stem.lower())
    part = next((PART_WORDS[word] for word in words if word in PART_WORDS), None)
    # a file of captions has no categories: its images are not labelled by it
    labelled = any("caption" not in a for a in content["annotations"] if isinstance(a, dict)) or bool(
        content.get("categories")
    )
    for number, entry in enumerate(content["images"], start=1):
        where = f"{path} image {number}"
        try:
            missing = [
                k for k in ("id", "file_name", "height", "width") if not isinstance(entry, dict) or k not in entry
            ]
            if missing:
                raise InputError(f"it has no {', '.join(missing)}")
            image = search.find(str(entry["file_name"]), path.parent)
            shape = (int(entry["height"]), int(entry["width"]))
        except (InputError, TypeError, ValueError, OverflowError) as error:
            faults.append(f"{where}: {error}")
            continue
        by_id[_key(entry["id"])] = image
        nm = entry.get("pixel_size_nm")
        nm = float(nm) if isinstance(nm, int | float) and nm > 0 else None
        known = found.setdefault(image, _Image(where, shape, part or part_of(image, root), nm))
        known.labelled |= labelled
        known.pixel_size_nm = known.pixel_size_nm or nm
    return by_id


def _annotations(path: Path, content: dict, by_id: dict[Any, Path], faults: list[str]) -> Iterator[tuple[str, dict]]:
    """Where each annotation of a known image stands, and the annotation."""
    unread = {_key(e.get("id")) for e in content["images"] if isinstance(e, dict)} - set(by_id)
    for number, annotation in enumerate(content["annotations"], start=1):
        where = f"{path} annotation {number}"
        image = _key(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if image in by_id:
            yield f"{where} (id {annotation.get('id', '?')})", annotation
        elif image not in unread or image is None:  # those of an image that is missing are told with it
            faults.append(f"{where}: its image_id {image!r} is not among the images")


def _load(entry: _Image, concepts: tuple[str, ...], image: Micrograph) -> Content:
    if image.shape != entry.shape:
        (h, w), (height, width) = entry.shape, image.shape
        raise InputError(f"it should be {w} x {h} px, the image is {width} x {height} px")
    painted: dict[str, np.ndarray] = {}
    faults: list[str] = []
    for concept in concepts:
        try:
            painted[concept] = coco_labels(entry.outlines.get(concept, ()), image.shape)
        except InputError as error:
            faults.append(f"{entry.where}: {error}")
    if faults:
        raise Faults("these annotations cannot be used", faults)
    hidden = sum(len(entry.outlines.get(c, ())) - int(labels.max(initial=0)) for c, labels in painted.items())
    said = tuple((Turn(user=DESCRIBE, assistant=text),) for text in entry.captions)
    notes = (f"{entry.where}: annotations without a pixel of their own, left out: {hidden}",) if hidden else ()
    return Content(painted.pop("particle", None), False, painted, said, notes=notes)
