"""COCO annotation files: polygons and run lengths as instance labels."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.formats.polygons import cut_out, paint_instances
from lisa_micro.datasets.readers import Example, Examples
from lisa_micro.io import read_micrograph
from lisa_micro.types import InputError


def read_coco(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    categories: Sequence[str] | None = None,
    pixel_size_nm: float | None = None,
) -> Examples:
    """A COCO data set: every annotation is an instance, numbered in the order of the file.

    Where annotations overlap the smaller one is on top, so that a particle before a larger one is not
    lost. Crowd annotations (``iscrowd``) are no instances and are left out. Images without annotations
    have empty labels.

    Args:
        annotations: JSON file with ``images``, ``annotations`` and ``categories``.
        images: folder that ``file_name`` is relative to; None: the file's own folder, or ``images`` in it.
        categories: names of those to take as particles; None: all.
        pixel_size_nm: for all images; None: what the files say.

    Raises:
        InputError: not a COCO file, the part that is missing, an unknown category, an annotation without
            outline; while iterating, unreadable images or sizes that do not agree.
    """
    file = Path(annotations)
    content = read_coco_json(file)
    folder = image_folder(file, images, content["images"])
    known = {c.get("name"): c.get("id") for c in content.get("categories", [])}
    wanted: set | None = None
    if categories is not None:
        absent = [name for name in categories if name not in known]
        if absent:
            there = ", ".join(map(str, known))
            raise InputError(f"{file} has no category {', '.join(absent)}; it has {there or 'none'}")
        wanted = {known[name] for name in categories}
    outlines: dict[object, list[dict]] = {}
    for number, annotation in enumerate(content["annotations"]):
        if not isinstance(annotation, dict) or "image_id" not in annotation:
            raise InputError(f"{file}: annotation number {number} has no image_id")
        if annotation.get("iscrowd") or (wanted is not None and annotation.get("category_id") not in wanted):
            continue
        if not annotation.get("segmentation"):
            raise InputError(f"{file}: annotation {annotation.get('id', number)} has no segmentation")
        outlines.setdefault(annotation["image_id"], []).append(annotation)
    entries = []
    for number, image in enumerate(content["images"]):
        missing = [k for k in ("id", "file_name", "height", "width") if k not in image]
        if missing:
            raise InputError(f"{file}: image number {number} has no {', '.join(missing)}")
        shape = (int(image["height"]), int(image["width"]))
        entries.append((folder / image["file_name"], shape, tuple(outlines.pop(image["id"], ()))))
    if outlines:
        raise InputError(f"{file}: annotations for image_id {next(iter(outlines))!r}, which is not in its images")
    if not entries:
        raise InputError(f"{file} names no image")
    return Examples([e[0].stem for e in entries], partial(_load, file, tuple(entries), pixel_size_nm))


def read_coco_json(file: Path) -> dict:
    """The content of a COCO file, which has lists ``images`` and ``annotations``.

    Raises:
        InputError: there is none, or it is something else.
    """
    if not file.is_file():
        raise InputError(f"there is no COCO file {file}")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error})") from error
    parts = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in parts):
        raise InputError(f"{file} is no COCO file: it needs the lists images and annotations")
    return content


def image_folder(file: Path, images: str | os.PathLike[str] | None, entries: list[dict]) -> Path:
    """The folder that ``file_name`` is relative to: the one given, the file's own, or ``images`` beside the file.

    Raises:
        InputError: the one given is not there.
    """
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(f"there is no folder {images}")
        return Path(images)
    first = entries[0].get("file_name", "") if entries and isinstance(entries[0], dict) else ""
    beside = file.parent / "images"
    return beside if not (file.parent / first).is_file() and beside.is_dir() else file.parent


def _load(file: Path, entries: Sequence, pixel_size_nm: float | None, index: int) -> Example:
    path, shape, annotations = entries[index]
    micrograph = read_micrograph(path, pixel_size_nm)
    if micrograph.shape != shape:
        (h, w), (height, width) = shape, micrograph.shape
        raise InputError(f"{file}: {path.name} should be {w} x {h} px, the file is {width} x {height} px")
    return Example(path.stem, micrograph, coco_labels(annotations, shape))


def coco_labels(annotations: Sequence[dict], shape: tuple[int, int]) -> np.ndarray:
    """Instance labels from COCO annotations.

    Args:
        annotations: each with ``segmentation``: polygons ``[[x0, y0, x1, y1, ...], ...]`` in px, or run
            lengths ``{"size": [H, W], "counts": [...] or str}``.
        shape: ``(H, W)``.

    Returns:
        ``(H, W)`` int32, label k = k-th annotation with a pixel; overlaps go to the smaller.

    Raises:
        InputError: an outline that cannot be decoded, or run lengths of another size.
    """
    # one at a time: a thousand whole masks of a large image would not fit into memory
    return paint_instances([[cut_out(_decode(annotation, shape))] for annotation in annotations], shape)


def _decode(annotation: dict, shape: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as coco

    outline, name = annotation["segmentation"], annotation.get("id", "?")
    try:
        if isinstance(outline, dict):
            if tuple(outline["size"]) != tuple(shape):
                raise InputError(f"annotation {name} has size {outline['size']}, its image {list(shape)}")
            packed = outline
            if isinstance(outline["counts"], list):
                packed = coco.frPyObjects(outline, *shape)
            return coco.decode(packed).astype(bool)
        polygons = [[float(v) for v in p] for p in outline]
        if any(len(p) < 6 or len(p) % 2 or not np.isfinite(p).all() for p in polygons):
            raise InputError(f"annotation {name} has a polygon of fewer than three points")
        return coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))).astype(bool)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the outline of annotation {name} cannot be decoded ({type(error).__name__}: {error})"
        ) from error
