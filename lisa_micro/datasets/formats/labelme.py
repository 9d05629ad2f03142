"""Labelme: a JSON file an image, with polygons, rectangles, circles and masks that carry labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.formats.detect import Images, files_under, kind_of_json, read_json
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, part_of
from lisa_micro.datasets.formats.polygons import Piece, check_points, circle, paint_instances, polygon, rectangle
from lisa_micro.types import InputError, Micrograph

NO_AREAS = ("line", "linestrip", "point", "points")
"""Shapes that outline nothing: left out."""


def from_labelme(source: Path, given: Mapping[str, str]) -> Found:
    """Images that were labelled with Labelme.

    Every shape is an instance of the concept that its label means; shapes of one label with one ``group_id`` are one.
    Where instances overlap the smaller one is on top. The image is that of ``imagePath``, else the one called like the
    JSON file, else the one that the file carries inside.

    Args:
        source: a folder, or one JSON file. given: label -> concept, see :func:`concept_map`.

    Raises:
        InputError: no such file, or a label that can be no concept.
    """
    root = source if source.is_dir() else source.parent
    images, faults, files = Images(root), [], []
    for path in files_under(source, (".json",)) if source.is_dir() else [source]:
        try:
            content = read_json(path)
        except InputError as error:
            faults.append(str(error))
            continue
        if kind_of_json(content) == "labelme":
            files.append((path, content))
    if not files and not faults:
        raise InputError(f"{source} holds no JSON file of Labelme")
    areas = [shape for _, content in files for shape in content["shapes"] if _type(shape) not in NO_AREAS]
    labels = sorted({_label(shape) for shape in areas} - {""})
    concepts, own = concept_map(labels, given)
    drafts, lines = [], 0
    for path, content in files:
        lines += sum(_type(shape) in NO_AREAS for shape in content["shapes"])
        try:
            image, pixels = _image(path, content, images)
        except InputError as error:
            faults.append(f"{path}: {error}")
            continue
        load = partial(_load, path, tuple(content["shapes"]), concepts)
        drafts.append(Draft(image, str(path), load, pixels, part=part_of(path, root)))
    notes = (f"shapes that outline nothing (lines, points), left out: {lines}",) if lines else ()
    return Found(tuple(drafts), own, tuple(faults), notes)


def _label(shape: Any) -> str:
    return str(shape.get("label") or "").strip() if isinstance(shape, dict) else ""


def _type(shape: Any) -> str:
    return str(shape.get("shape_type") or "polygon") if isinstance(shape, dict) else ""


def _image(path: Path, content: dict, images: Images) -> tuple[Path, bytes | None]:
    """The image's file, or the name that it would have and its bytes."""
    named = content.get("imagePath")
    try:
        return images.find(str(named or ""), path.parent), None
    except InputError as error:
        found = images.of_stem(path)
        if found is not None:
            return found, None
        inside = content.get("imageData")
        if not inside:
            raise InputError(f"{error}, nor one called {path.stem}, and the file carries none") from error
    try:
        raw = base64.b64decode(inside, validate=True)
    except (ValueError, TypeError) as error:
        raise InputError("its imageData is no picture in base64") from error
    suffix = ".jpg" if raw.startswith(b"\xff\xd8") else ".tif" if raw[:2] in (b"II", b"MM") else ".png"
    return path.with_suffix(suffix), raw


def _load(path: Path, shapes: Sequence[Any], concepts: Mapping[str, str], image: Micrograph) -> Content:
    faults: list[str] = []
    # concept -> instance -> pieces; a concept that others of the data set have is here too, empty
    found: dict[str, dict[object, list[Piece]]] = {concept: {} for concept in concepts.values()}
    for number, shape in enumerate(shapes, start=1):
        label = _label(shape)
        try:
            if not label:
                raise InputError("it has no label")
            if label not in concepts or _type(shape) in NO_AREAS:
                continue
            group = shape.get("group_id")
            key = number if group is None else f"{label} {group!r}"
            found[concepts[label]].setdefault(key, []).append(shape_piece(shape, image.shape))
        except InputError as error:
            faults.append(f"{path} shape {number}{f' ({label})' if label else ''}: {error}")
    if faults:
        raise Faults(f"{path} cannot be used", faults)
    painted, hidden = {}, 0
    for concept, instances in found.items():
        painted[concept] = paint_instances(list(instances.values()), image.shape)
        hidden += len(instances) - int(painted[concept].max(initial=0))
    notes = (f"{path.name}: shapes without a pixel of their own, left out: {hidden}",) if hidden else ()
    return Content(painted.pop("particle", None), False, painted, notes=notes)


def shape_piece(shape: dict, image: tuple[int, int]) -> Piece:
    """The pixels of one shape in an image ``(H, W)``.

    Raises:
        InputError: a shape type that is not known, or points that cannot be used.
    """
    kind = _type(shape)
    if kind == "mask":
        return _mask(shape, image)
    points = check_points(shape.get("points"), {"polygon": 3, "rectangle": 2, "circle": 2}.get(kind, 0))
    if kind == "polygon" or (kind == "rectangle" and len(points) > 2):
        return polygon(points, image)
    if kind == "rectangle":
        return rectangle(points, image)
    if kind == "circle":
        return circle(points, image)
    raise InputError(f"its shape_type {kind!r} is not known")


def _mask(shape: dict, image: tuple[int, int]) -> Piece:
    from PIL import Image

    corner = check_points(shape.get("points"), 1)[0].astype(int)
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            mask = np.array(picture.convert("L")) > 0
    except Exception as error:
        raise InputError("its mask is no picture in base64") from error
    left, top = (int(v) for v in corner)
    if left < 0 or top < 0 or top + mask.shape[0] > image[0] or left + mask.shape[1] > image[1]:
        raise InputError("its mask reaches beyond the image")
    return Piece(top, left, mask)
