"""Convert Labelme files: one JSON file per image, with polygons, rectangles, circles and masks that carry labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.bounds import check_points, check_polygon, check_text, one_line, shown
from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.formats.detect import Images, files_under, kind_of_json, read_json
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, part_of
from lisa_micro.datasets.formats.polygons import Piece, circle, paint_instances, polygon, rectangle
from lisa_micro.types import InputError, Micrograph

NO_AREAS = ("line", "linestrip", "point", "points")
"""Shapes without an area: left out."""
_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 1}
"""Smallest number of points of each shape type that has an area."""


@dataclass(frozen=True)
class _Shape:
    """One checked entry of ``shapes``; ``fields`` holds its points and mask."""

    number: int
    label: str
    kind: str
    group: object
    fields: Mapping[str, Any]


def from_labelme(source: Path, given: Mapping[str, str]) -> Found:
    """Find the images that were labelled with Labelme.

    Every shape is an instance of the concept that its label means; shapes of one label with the same ``group_id`` form
    one instance. Where instances overlap, the smaller one is on top. The image is that of ``imagePath``, else the one
    with the name of the JSON file, else the one inside the JSON file.

    Args:
        source: a folder, or one JSON file. given: label -> concept, see
            :func:`~lisa_micro.datasets.custom_concepts.concept_map`.

    Raises:
        InputError: no such file, or a label that cannot name a concept.
    """
    root = source if source.is_dir() else source.parent
    images, faults = Images(root), []
    files: list[tuple[Path, dict, list[_Shape]]] = []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = read_json(path)
        except InputError as error:
            faults.append(str(error))
            continue
        if kind_of_json(content) == "labelme":
            files.append((path, content, _shapes(path, content["shapes"], faults)))
    if not files and not faults:
        raise InputError(f"{source} holds no JSON file of Labelme")
    everything = [shape for *_, shapes in files for shape in shapes]
    places: dict[str, str] = {}
    for path, _, shapes in files:
        for shape in shapes:
            if shape.kind not in NO_AREAS:
                places.setdefault(shape.label, f"{path} shape {shape.number}")
    named = concept_map(dict(sorted(places.items())), given)
    drafts = []
    for path, content, shapes in files:
        try:
            image, pixels = _image(path, content, images)
        except InputError as error:
            faults.append(f"{path}: {error}")
            continue
        load = partial(_load, path, tuple(shapes), named.concepts)
        drafts.append(Draft(image, str(path), load, pixels, part=part_of(path, root)))
    lines = sum(shape.kind in NO_AREAS for shape in everything)
    notes = (f"shapes without an area (lines, points), left out: {lines}",) if lines else ()
    return Found(tuple(drafts), named.custom, tuple(faults), (*named.notes, *notes))


def _shapes(path: Path, entries: Sequence[object], faults: list[str]) -> list[_Shape]:
    """The shapes of a file that have a known type and a label; the others are added to ``faults``."""
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            if not isinstance(entry, dict):
                raise InputError(f"it must be an object with label and points, not {shown(entry)}")
            kind = entry.get("shape_type") or "polygon"
            if not isinstance(kind, str) or kind not in (*_POINTS, *NO_AREAS):
                raise InputError(
                    f"its shape_type {shown(kind)} is unknown; known are {', '.join((*_POINTS, *NO_AREAS))}"
                )
            label = entry.get("label")
            if kind not in NO_AREAS or label:
                label = check_text(label, "its label", 100).strip()
            found.append(_Shape(number, label or "", kind, entry.get("group_id"), entry))
        except InputError as error:
            faults.append(f"{path} shape {number}: {error}")
    return found


def _image(path: Path, content: dict, images: Images) -> tuple[Path, bytes | None]:
    """The image's file; or, for an image inside the JSON file, the name that it would have and its bytes."""
    named = content.get("imagePath")
    try:
        return images.find(named if isinstance(named, str) else "", path.parent), None
    except InputError as error:
        found = images.of_stem(path)
        if found is not None:
            return found, None
        inside = content.get("imageData")
        if not inside:
            raise InputError(f"{error}, nor one called {path.stem}, and imageData is empty") from error
    return decode_image(path, inside)


def decode_image(path: Path, data: object) -> tuple[Path, bytes]:
    """The image in ``imageData``: the name that its file would have, and its bytes.

    Raises:
        InputError: no base64.
    """
    try:
        raw = base64.b64decode(data if isinstance(data, str) else "-", validate=True)
    except ValueError as error:
        raise InputError(f"its imageData is not an image in base64: {shown(data)}") from error
    suffix = ".jpg" if raw.startswith(b"\xff\xd8") else ".tif" if raw[:2] in (b"II", b"MM") else ".png"
    return path.with_suffix(suffix), raw


def _load(path: Path, shapes: Sequence[_Shape], concepts: Mapping[str, str], image: Micrograph) -> Content:
    faults: list[str] = []
    # concept -> instance -> pieces; a concept that other images of the data set have is here too, empty
    found: dict[str, dict[object, list[Piece]]] = {concept: {} for concept in concepts.values()}
    for shape in shapes:
        if shape.label not in concepts or shape.kind in NO_AREAS:
            continue
        key = shape.number if shape.group is None else f"{shape.label} {shown(shape.group)}"
        try:
            found[concepts[shape.label]].setdefault(key, []).append(_piece(shape, image.shape))
        except InputError as error:
            faults.append(f"{path} shape {shape.number} ({one_line(shape.label, 40)}): {error}")
    if faults:
        raise Faults(f"{path} cannot be used", faults)
    painted, hidden = {}, 0
    for concept, instances in found.items():
        painted[concept] = paint_instances(list(instances.values()), image.shape)
        hidden += len(instances) - int(painted[concept].max(initial=0))
    notes = (f"{path.name}: shapes without a pixel of their own, left out: {hidden}",) if hidden else ()
    return Content(painted.pop("particle", None), False, painted, notes=notes)


def _piece(shape: _Shape, image: tuple[int, int]) -> Piece:
    """The pixels of one shape in an image ``(H, W)``."""
    points = shape.fields.get("points")
    if shape.kind == "mask":
        return _mask(check_points(points, 1, image)[0], shape.fields.get("mask"), image)
    corners = check_points(points, _POINTS[shape.kind], image)
    if shape.kind == "circle":
        return circle(corners, image)
    if shape.kind == "rectangle" and len(corners) == 2:
        return rectangle(corners, image)
    return polygon(check_polygon(points, image), image)


def _mask(corner: np.ndarray, data: object, image: tuple[int, int]) -> Piece:
    """A mask as PNG in base64, with its first pixel at ``corner`` XY px."""
    from PIL import Image

    left, top = (int(v) for v in corner)
    try:
        with Image.open(io.BytesIO(base64.b64decode(data if isinstance(data, str) else ""))) as picture:
            width, height = picture.size  # before decoding: a small file may hold a huge picture
            if left < 0 or top < 0 or top + height > image[0] or left + width > image[1]:
                raise InputError("its mask extends beyond the image")
            return Piece(top, left, np.array(picture.convert("L")) > 0)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"its mask is not an image in base64: {shown(data)}") from error
