"""Convert ReasonSeg, the data of LISA: a JSON file beside each image, with sentences and the polygons they refer to.

``text`` holds the sentences, ``is_sentence`` says whether they are whole requests or only name the object, ``shapes``
are polygons whose label is ``target`` or ``ignore``. As in LISA, polygons are painted with their edge pixels, from the
largest to the smallest; of 300 random ones painted by OpenCV half differ in 2 px or less, all of them on an edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.bounds import check_keys, check_polygon, check_text, shown
from lisa_micro.datasets.custom_concepts import ConceptMap, concept_map
from lisa_micro.datasets.derive import from_semantic
from lisa_micro.datasets.formats.detect import Images, files_under, kind_of_json, read_json
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, answered, part_of
from lisa_micro.datasets.formats.polygons import Piece, crop_mask, fill_polygon
from lisa_micro.datasets.records import Target
from lisa_micro.types import InputError, Micrograph

TARGET = "target"
LONGEST_TEXT = 2000
"""Characters of a sentence."""


def from_reasonseg(source: Path, given: Mapping[str, str]) -> Found:
    """Find images with sentences; every sentence becomes one conversation.

    Args:
        source: a folder, or one JSON file.
        given: ``{"target": NAME}``: the polygons of all images show all of that concept; empty: they have no name.

    Raises:
        InputError: no such file, or a label other than ``target`` in ``given``.
    """
    root = source if source.is_dir() else source.parent
    named = concept_map([TARGET], given) if given else ConceptMap()
    images = Images(root)
    faults: list[str] = []
    drafts: list[Draft] = []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = read_json(path)
            if kind_of_json(content) != "reasonseg":
                continue
            image = images.of_stem(path)
            if image is None:
                raise InputError(f"{path}: there is no image called {path.stem}")
            fields = check_keys(content, ("text", "is_sentence", "shapes"))
            texts = _texts(path, fields)
            shapes = fields["shapes"] if isinstance(fields["shapes"], list) else []
        except InputError as error:
            faults += error.faults if isinstance(error, Faults) else [str(error)]
            continue
        load = partial(_load, path, shapes, texts, named)
        drafts.append(Draft(image, str(path), load, part=part_of(path, root)))
    if not drafts and not faults:
        raise InputError(f"{source} holds no JSON file of ReasonSeg")
    return Found(tuple(drafts), named.custom, tuple(faults))


def _texts(path: Path, content: Mapping[str, object]) -> list[str]:
    """The requests; a phrase that only names the object becomes one."""
    given = content["text"]
    texts = given if isinstance(given, list) else [given]
    faults, plain = [] if texts else [f"{path} text: there is none"], []
    for number, text in enumerate(texts, start=1):
        try:
            plain.append(" ".join(check_text(text, "it", LONGEST_TEXT).split()))
        except InputError as error:
            faults.append(f"{path} text {number}: {error}")
    if faults:
        raise Faults(f"{path} cannot be used", faults)
    return plain if content["is_sentence"] else [f"Segment {text.rstrip('.')}." for text in plain]


def _load(path: Path, shapes: Sequence[object], texts: list[str], named: ConceptMap, image: Micrograph) -> Content:
    mask, notes = reasonseg_mask(path, shapes, image.shape)
    there = bool(mask.any())
    concept = named.concepts.get(TARGET)
    target = Target(concept=concept) if concept else Target(mask="target")
    said = tuple((answered(text, concept, there, named.custom, target),) for text in texts)
    if concept is None:
        return Content(said=said, masks={"target": mask} if there else {}, notes=notes)
    if concept == "particle":
        return Content(mask.astype(np.int32), True, said=said, notes=notes)
    return Content(concept_labels={concept: from_semantic(mask)["particle"]}, said=said, notes=notes)


def reasonseg_mask(path: Path, shapes: Sequence[object], shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Paint the shapes of a file.

    Args:
        path: for messages. shape: ``(H, W)`` of the image.

    Returns:
        ``(H, W)`` bool, and a note if there are pixels to be ignored: records cannot ignore pixels, so these count as
        outside.

    Raises:
        Faults: shapes that cannot be used.
    """
    faults: list[str] = []
    painted: list[tuple[bool, Piece]] = []
    for number, entry in enumerate(shapes, start=1):
        fields = entry if isinstance(entry, dict) else {}
        label = fields.get("label")
        word = label.lower() if isinstance(label, str) else ""
        if word == "flag":  # left over from labelling, meaningless
            continue
        try:
            if word != TARGET and "ignore" not in word:
                raise InputError(f"its label {shown(label)} is neither target nor ignore")
            painted.append((word == TARGET, _with_edge(check_polygon(fields.get("points"), shape), shape)))
        except InputError as error:
            faults.append(f"{path} shape {number}: {error}")
    if faults:
        raise Faults(f"{path} cannot be used", faults)
    mask = np.zeros(shape, bool)
    for is_target, piece in sorted(painted, key=lambda pair: -int(pair[1].mask.sum())):
        mask[piece.place][piece.mask] = is_target
    ignored = not all(is_target for is_target, _ in painted)
    return mask, (f"{path.name}: parts to be ignored count as outside",) if ignored else ()


def _with_edge(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """Rasterise a polygon at whole coordinates, together with the pixels on its edge."""
    from skimage.draw import polygon_perimeter

    corners = np.trunc(points).astype(int)
    inner = fill_polygon(corners.astype(np.float64), shape)
    low = np.clip(corners.min(0), 0, shape[::-1])
    high = np.clip(corners.max(0) + 1, low, shape[::-1])
    (left, top), (width, height) = low, high - low
    mask = np.zeros((height, width), bool)
    h, w = inner.mask.shape
    if h and w:
        mask[inner.top - top : inner.top - top + h, inner.left - left : inner.left - left + w] = inner.mask
    rows, columns = polygon_perimeter(corners[:, 1] - top, corners[:, 0] - left, (height, width), clip=False)
    mask[rows, columns] = True
    return crop_mask(mask, int(top), int(left))
