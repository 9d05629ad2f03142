"""Read COCO annotation files: polygons and run lengths as instance labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.bounds import (
    check_id,
    check_image_size,
    check_keys,
    check_pixel_size,
    check_polygon,
    check_runs,
    check_same_size,
    check_text,
    shown,
)
from lisa_micro.datasets.formats.detect import read_json
from lisa_micro.datasets.formats.polygons import Piece, crop_mask, paint_instances
from lisa_micro.datasets.readers import Example, Examples
from lisa_micro.geometry import rle_decode
from lisa_micro.io import read_plain
from lisa_micro.types import InputError

Id = int | float | str


@dataclass(frozen=True)
class CocoImage:
    """An entry of ``images``.

    Attributes:
        place: where it stands in the file, for messages. id: what annotations call it. file_name: its path.
        shape: ``(H, W)``. pixel_size_nm: where the file states it.
    """

    place: str
    id: Id
    file_name: str
    shape: tuple[int, int]
    pixel_size_nm: float | None = None


@dataclass(frozen=True)
class CocoAnnotation:
    """An entry of ``annotations``.

    Attributes:
        place: where it stands in the file, for messages.
        image, category: ids of its image and its category.
        segmentation: polygons or run lengths as in the file, unchecked: :func:`coco_labels` checks them against the
            image.
        caption: a sentence about the image, in files of captions.
        crowd: whether it stands for several objects.
    """

    place: str
    image: Id
    category: Id | None = None
    segmentation: object = None
    caption: str | None = None
    crowd: bool = False


@dataclass
class CocoFile:
    """The content of a COCO file.

    Attributes:
        file: its path. images, annotations: those that are usable. categories: names by id.
        faults: one line for each entry that is not usable.
        broken_categories: whether an entry of ``categories`` is among them, so that ids may be missing.
    """

    file: Path
    images: list[CocoImage] = field(default_factory=list)
    annotations: list[CocoAnnotation] = field(default_factory=list)
    categories: dict[Id, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    broken_categories: bool = False


def parse_coco(file: Path, content: object = None) -> CocoFile:
    """Read and check a COCO file; segmentations are checked when they are painted.

    Args:
        content: the file's JSON content, where it has been read already.

    Raises:
        InputError: missing file, or no COCO file. Unusable entries are in ``faults``.
    """
    if not file.is_file():
        raise InputError(f"there is no COCO file {file}")
    content = read_json(file) if content is None else content
    parts = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in parts):
        raise InputError(f"{file} is no COCO file: it needs the lists images and annotations")
    found = CocoFile(file)
    for number, entry in enumerate(content["images"], start=1):
        place = f"image {number}"
        try:
            found.images.append(_image(place, entry))
        except InputError as error:
            found.faults.append(f"{file} {place}: {error}")
    categories = content.get("categories")
    for number, entry in enumerate(categories if isinstance(categories, list) else [], start=1):
        try:
            fields = check_keys(entry, ("id", "name"))
            found.categories[check_id(fields["id"], "its id")] = check_text(fields["name"], "its name")
        except InputError as error:
            found.faults.append(f"{file} category {number}: {error}")
            found.broken_categories = True
    known = {image.id for image in found.images}
    lost: dict[Id, list[str]] = {}
    for number, entry in enumerate(content["annotations"], start=1):
        place = f"annotation {number}"
        try:
            annotation = _annotation(place, entry)
        except InputError as error:
            found.faults.append(f"{file} {place}: {error}")
            continue
        if annotation.image in known:
            found.annotations.append(annotation)
        else:
            lost.setdefault(annotation.image, []).append(place)
    # annotations of an unusable image are reported with the image
    for image, places in lost.items() if len(found.images) == len(content["images"]) else ():
        found.faults.append(f"{file} {listed(places)}: image_id {shown(image)} is not among the images")
    return found


def listed(places: Sequence[str]) -> str:
    """The first of some places, and how many more there are."""
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def _image(place: str, entry: object) -> CocoImage:
    fields = check_keys(entry, ("id", "file_name", "height", "width"))
    nm = fields.get("pixel_size_nm")
    return CocoImage(
        place,
        check_id(fields["id"], "its id"),
        check_text(fields["file_name"], "its file_name"),
        check_image_size(fields["height"], fields["width"]),
        None if nm is None else check_pixel_size(nm, "its pixel_size_nm"),
    )


def _annotation(place: str, entry: object) -> CocoAnnotation:
    fields = check_keys(entry, ("image_id",))
    name = f" (id {shown(fields['id'])})" if fields.get("id") is not None else ""
    crowd = fields.get("iscrowd")
    if not (crowd is None or crowd in (0, 1)):
        raise InputError(f"its iscrowd must be 0 or 1, not {shown(crowd)}")
    caption = fields.get("caption")
    category = fields.get("category_id")
    return CocoAnnotation(
        place + name,
        check_id(fields["image_id"], "its image_id"),
        None if category is None else check_id(category, "its category_id"),
        fields.get("segmentation"),
        caption if isinstance(caption, str) and caption.strip() else None,
        bool(crowd),
    )


def read_coco(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    categories: Sequence[str] | None = None,
    pixel_size_nm: float | None = None,
) -> Examples:
    """Read a COCO data set: every annotation is an instance, numbered in the order of the file.

    Where annotations overlap, the smaller one is on top and stays visible. Crowd annotations (``iscrowd``) are no
    instances and are left out. Images without annotations have empty labels.

    Args:
        annotations: JSON file with ``images``, ``annotations`` and ``categories``.
        images: folder that ``file_name`` is relative to; None: the file's own folder, or ``images`` in it.
        categories: names of those to take as particles; None: all.
        pixel_size_nm: for all images; None: what the files say.

    Raises:
        InputError: not a COCO file, an unusable entry, an unknown category, or an annotation without segmentation;
            while iterating, unreadable images or sizes that do not agree.
    """
    file = Path(annotations)
    content = parse_coco(file)
    if content.faults:
        raise InputError(content.faults[0])
    folder = image_folder(file, images, content.images)
    wanted = None if categories is None else _ids_of(content, categories)
    by_image: dict[Id, list[CocoAnnotation]] = {}
    for annotation in content.annotations:
        if annotation.crowd or (wanted is not None and annotation.category not in wanted):
            continue
        if not annotation.segmentation:
            raise InputError(f"{file} {annotation.place} has no segmentation")
        by_image.setdefault(annotation.image, []).append(annotation)
    entries = [(folder / image.file_name, image.shape, tuple(by_image.get(image.id, ()))) for image in content.images]
    if not entries:
        raise InputError(f"{file} names no image")
    return Examples([e[0].stem for e in entries], partial(_load, file, tuple(entries), pixel_size_nm))


def _ids_of(content: CocoFile, names: Sequence[str]) -> set[Id]:
    known = {name: number for number, name in content.categories.items()}
    absent = [name for name in names if name not in known]
    if absent:
        raise InputError(f"{content.file} has no category {', '.join(absent)}; it has {', '.join(known) or 'none'}")
    return {known[name] for name in names}


def image_folder(file: Path, images: str | os.PathLike[str] | None, entries: Sequence[CocoImage]) -> Path:
    """The folder that ``file_name`` is relative to: the given one, the file's own, or ``images`` beside the file.

    Raises:
        InputError: the given folder does not exist.
    """
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(f"there is no folder {images}")
        return Path(images)
    beside = file.parent / "images"
    direct = bool(entries) and os.path.isfile(file.parent / entries[0].file_name)
    return beside if not direct and beside.is_dir() else file.parent


def _load(file: Path, entries: Sequence, pixel_size_nm: float | None, index: int) -> Example:
    path, shape, annotations = entries[index]
    try:
        micrograph = read_plain(path, pixel_size_nm)
        if micrograph.shape != shape:
            (h, w), (height, width) = shape, micrograph.shape
            raise InputError(f"{path.name} should be {w} x {h} px, the file is {width} x {height} px")
        return Example(path.stem, micrograph, coco_labels(annotations, shape))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def coco_labels(annotations: Sequence[CocoAnnotation], shape: tuple[int, int]) -> np.ndarray:
    """Paint annotations as instance labels.

    Args:
        annotations: each with a segmentation: polygons ``[[x0, y0, x1, y1, ...], ...]`` in px, or run lengths
            ``{"size": [H, W], "counts": [...] or str}``.
        shape: ``(H, W)``.

    Returns:
        ``(H, W)`` int32, label k = k-th annotation with a pixel; overlaps go to the smaller one.

    Raises:
        InputError: a segmentation that cannot be decoded, or that does not fit the image; with the annotation's place.
    """
    # one at a time: a thousand whole masks of a large image would not fit into memory
    return paint_instances([[_piece(annotation, shape)] for annotation in annotations], shape)


def _piece(annotation: CocoAnnotation, shape: tuple[int, int]) -> Piece:
    try:
        return crop_mask(_decode(annotation.segmentation, shape))
    except InputError as error:
        raise InputError(f"{annotation.place}: {error}") from error


def _decode(segmentation: object, shape: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as coco

    if isinstance(segmentation, dict):
        fields = check_keys(segmentation, ("size", "counts"))
        check_same_size(fields["size"], shape, "the size of its run lengths")
        counts = fields["counts"]
        if isinstance(counts, str):
            counts = unpack_counts(counts)
        return rle_decode({"size": shape, "counts": check_runs(counts, shape)})
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError(f"its segmentation must be polygons or run lengths, not {shown(segmentation)}")
    polygons = []
    for number, numbers in enumerate(segmentation, start=1):
        if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
            raise InputError(
                f"polygon {number} must be [x0, y0, x1, y1, ...] with at least three points, not {shown(numbers)}"
            )
        try:
            points = check_polygon([numbers[k : k + 2] for k in range(0, len(numbers), 2)], shape)
        except InputError as error:
            raise InputError(f"polygon {number}: {error}") from error
        polygons.append(points.ravel().tolist())
    return coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))).astype(bool)


def unpack_counts(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: six bits a character, from the third number on as differences.

    Format as ``rleFrString`` in pycocotools (``maskApi.c``).

    Raises:
        InputError: a character out of range, or an unfinished number.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise InputError(f"its counts are no compressed run lengths: {shown(text)}")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise InputError(f"its counts are no compressed run lengths: {shown(text)}")
    return counts
