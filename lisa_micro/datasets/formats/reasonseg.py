"""ReasonSeg, the data of LISA: a JSON file beside each image, with sentences and the polygons that they refer to.

``text`` has the sentences, ``is_sentence`` says whether they are whole requests or only name the thing, ``shapes`` are
polygons whose label is ``target`` or ``ignore``. As LISA does, polygons are painted with their edge pixels, from the
largest to the smallest; of 300 random ones painted by OpenCV half differ in 2 px or less, all of them on an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.formats.detect import Images, files_under, kind_of_json, read_json
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, answered, part_of
from lisa_micro.datasets.formats.polygons import check_points
from lisa_micro.datasets.records import Target
from lisa_micro.language import Concept
from lisa_micro.types import InputError, Micrograph

TARGET = "target"


def from_reasonseg(source: Path, given: Mapping[str, str]) -> Found:
    """Images with sentences, one conversation a sentence.

    Args:
        source: a folder, or one JSON file.
        given: ``{"target": NAME}``: what is outlined is, in all images, all of that concept; else it has no name.

    Raises:
        InputError: no such file, or another label given than ``target``.
    """
    root = source if source.is_dir() else source.parent
    concepts, own = concept_map([TARGET], given) if given else ({}, {})
    images, faults, drafts = Images(root), [], []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = read_json(path)
            if kind_of_json(content) != "reasonseg":
                continue
            image = images.of_stem(path)
            if image is None:
                raise InputError(f"{path}: there is no image called {path.stem}")
            texts = _texts(path, content)
        except InputError as error:
            faults += error.faults if isinstance(error, Faults) else [str(error)]
            continue
        load = partial(_load, path, content["shapes"], texts, concepts.get(TARGET), own)
        drafts.append(Draft(image, str(path), load, part=part_of(path, root)))
    if not drafts and not faults:
        raise InputError(f"{source} holds no JSON file of ReasonSeg")
    return Found(tuple(drafts), own, tuple(faults))


def _texts(path: Path, content: dict) -> list[str]:
    """What users say. A phrase that only names the thing becomes a request."""
    texts = content["text"] if isinstance(content["text"], list) else [content["text"]]
    bad = [k for k, text in enumerate(texts, 1) if not isinstance(text, str) or not text.strip()]
    if bad or not texts:
        raise Faults(f"{path} cannot be used", [f"{path} text {k}: it is empty" for k in bad or [1]])
    plain = [" ".join(text.split()) for text in texts]
    return plain if content["is_sentence"] else [f"Segment {text.rstrip('.')}." for text in plain]


def _load(
    path: Path,
    shapes: list[Any],
    texts: list[str],
    concept: str | None,
    own: Mapping[str, Concept],
    image: Micrograph,
) -> Content:
    mask, notes = reasonseg_mask(path, shapes, image.shape)
    there = bool(mask.any())
    target = Target(concept=concept) if concept else Target(mask="target")
    said = tuple((answered(text, concept, there, own, target),) for text in texts)
    if concept is None:
        return Content(said=said, masks={"target": mask} if there else {}, notes=notes)
    if concept == "particle":
        return Content(mask.astype(np.int32), True, said=said, notes=notes)
    from lisa_micro.datasets.derive import from_semantic

    return Content(own={concept: from_semantic(mask)["particle"]}, said=said, notes=notes)


def reasonseg_mask(path: Path, shapes: list[Any], shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """What the shapes of a file outline.

    Args:
        path: for messages. shape: ``(H, W)`` of the image.

    Returns:
        ``(H, W)`` bool, and a note where there are pixels to be ignored: records have no such pixels, here they are
        outside.

    Raises:
        Faults: shapes that cannot be used.
    """
    faults, painted = [], []
    for number, entry in enumerate(shapes, start=1):
        label = str(entry.get("label", "")).lower() if isinstance(entry, dict) else ""
        if label == "flag":  # left over from labelling, meaningless
            continue
        try:
            if label != TARGET and "ignore" not in label:
                raise InputError(f"its label {label!r} is neither target nor ignore")
            painted.append((label == TARGET, _with_edge(check_points(entry.get("points"), 3), shape)))
        except InputError as error:
            faults.append(f"{path} shape {number}: {error}")
    if faults:
        raise Faults(f"{path} cannot be used", faults)
    mask = np.zeros(shape, bool)
    for is_target, area in sorted(painted, key=lambda pair: -int(pair[1].sum())):
        mask[area] = is_target
    ignored = not all(is_target for is_target, _ in painted)
    return mask, (f"{path.name}: parts to be ignored count as outside",) if ignored else ()


def _with_edge(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A polygon at whole coordinates, filled together with the pixels that its line runs through."""
    from skimage.draw import polygon, polygon_perimeter

    x, y = np.clip(np.trunc(points), -1e5, 1e5).astype(int).T
    mask = np.zeros(shape, bool)
    mask[polygon(y, x, shape)] = True
    mask[polygon_perimeter(y, x, shape, clip=False)] = True
    return mask
