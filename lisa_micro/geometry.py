"""Boxes, run lengths, resizing with an exact inverse, tiles. NumPy and Pillow only.

Coordinates are continuous: pixel ``i`` covers ``i`` to ``i + 1`` and its centre is ``i + 0.5``. Boxes are
``x0, y0, x1, y1`` (XYXY) with the far edge exclusive, so a box around the single pixel ``(row 2, column 5)``
is ``5, 2, 6, 3`` and its area is ``(x1 - x0) * (y1 - y0)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

# ------------------------------------------------------------------------------------------------------ boxes


def repair_boxes(boxes: object, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Boxes as they should be: swapped corners put right, and clipped to the image where ``shape`` is given.

    Args:
        boxes: ``(N, 4)`` or one box ``(4,)``, XYXY px, in any corner order.
        shape: ``(H, W)`` of the image.

    Returns:
        ``(N, 4)`` float64, ``x0 <= x1`` and ``y0 <= y1``.

    Raises:
        InputError: not four finite numbers a box, or a box that has no area inside the image.
    """
    try:
        array = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("A box must be four numbers x0, y0, x1, y1 in pixels.") from error
    if array.size == 0:
        return np.zeros((0, 4))
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError("A box must be four numbers x0, y0, x1, y1 in pixels.")
    if not np.isfinite(array).all():
        raise InputError("A box holds a number that is not finite; give x0, y0, x1, y1 in pixels.")
    near = np.minimum(array[:, :2], array[:, 2:])  # (N, 2)
    far = np.maximum(array[:, :2], array[:, 2:])  # (N, 2)
    ordered = np.concatenate([near, far], axis=1)
    repaired = ordered if shape is None else clip_boxes(ordered, shape)
    empty = (repaired[:, 2:] <= repaired[:, :2]).any(1)
    if empty.any():
        first = int(np.argmax(empty))
        numbers = ",".join(f"{value:g}" for value in array[first])
        if shape is not None and (ordered[first, 2:] > ordered[first, :2]).all():
            where = f"has no area inside the image of {shape[1]} x {shape[0]} px: it lies outside the image"
        else:
            where = "has no area: it is smaller than a pixel"
        raise InputError(f"The box {numbers} {where}; give x0,y0,x1,y1 in pixels.")
    return repaired


def check_boxes(boxes: object, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """:func:`repair_boxes` with notices of what was repaired, for boxes that a user drew or typed.

    Args:
        boxes: ``(N, 4)`` or one box ``(4,)``, XYXY px.
        shape: ``(H, W)`` of the image.

    Returns:
        ``(N, 4)`` float64 XYXY px, notices.

    Raises:
        InputError: no box at all, and as :func:`repair_boxes`.
    """
    ordered = repair_boxes(boxes)
    if not len(ordered):
        raise InputError("There is no box; a box is four numbers x0, y0, x1, y1 in pixels.")
    cut = repair_boxes(boxes, shape)
    notes = []
    if (ordered != np.atleast_2d(np.asarray(boxes, np.float64))).any():
        notes.append("A box had its corners swapped; they were exchanged.")
    if (cut != ordered).any():
        notes.append("A box reached beyond the image; it was cut at the edge.")
    return cut, tuple(notes)


def clip_boxes(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``(N, 4)`` XYXY boxes cut to an image of ``shape`` ``(H, W)``; one that lies outside gets no area."""
    height, width = shape
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float64))


def boxes_from_labels(labels: np.ndarray) -> np.ndarray:
    """The tight box of every instance.

    Args:
        labels: ``(H, W)`` integer, 0 = background.

    Returns:
        ``(n, 4)`` float64 XYXY px, row ``k - 1`` for instance ``k``, ``n = labels.max()``; a number that does
        not occur has the box ``0, 0, 0, 0``.
    """
    count = int(labels.max(initial=0))
    boxes = np.zeros((count, 4))
    rows, columns = np.nonzero(labels > 0)
    if rows.size == 0:
        return boxes
    instance = labels[rows, columns].astype(np.int64)
    lowest = np.full((count + 1, 2), np.iinfo(np.int64).max)  # x, y
    highest = np.full((count + 1, 2), -1)
    for axis, position in enumerate((columns, rows)):
        np.minimum.at(lowest[:, axis], instance, position)
        np.maximum.at(highest[:, axis], instance, position)
    present = highest[1:, 0] >= 0
    boxes[present, :2] = lowest[1:][present]
    boxes[present, 2:] = highest[1:][present] + 1
    return boxes


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: ``(N, 4)`` and ``(M, 4)`` XYXY -> ``(N, M)`` in 0..1."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    near = np.maximum(first[:, None, :2], second[None, :, :2])  # (N, M, 2)
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])  # (N, M, 2)
    shared = np.clip(far - near, 0, None).prod(axis=2)  # (N, M)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


# ------------------------------------------------------------------------------------------------ run lengths


def rle_encode(mask: np.ndarray) -> dict[str, list[int]]:
    """``(H, W)`` bool -> uncompressed COCO run lengths ``{"size": [H, W], "counts": [...]}``: columns from
    top to bottom, left to right, beginning with a run of zeros (which may be 0 long)."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(ends).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts}


def rle_decode(rle: dict) -> np.ndarray:
    """The inverse of :func:`rle_encode`: ``(H, W)`` bool.

    Raises:
        InputError: the runs do not fill the image exactly.
    """
    height, width = (int(side) for side in rle["size"])
    counts = np.asarray(rle["counts"], dtype=np.int64)
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != height * width:
        raise InputError("The run lengths do not fill their image; the file is damaged.")
    values = np.arange(counts.size) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def rle_from_labels(labels: np.ndarray) -> dict[int, dict[str, list[int]]]:
    """Run lengths of every instance of ``labels`` ``(H, W)``, in one pass however many there are.

    Returns:
        ``{k: {"size": [H, W], "counts": [...]}}`` for every ``k > 0`` that occurs, ascending.
    """
    flat = np.asarray(labels).ravel(order="F")
    size = [int(labels.shape[0]), int(labels.shape[1])]
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])[: max(flat.size, 0)]
    if flat.size == 0:
        return {}
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    result: dict[int, dict[str, list[int]]] = {}
    order = np.argsort(values, kind="stable")  # stable: the runs of one instance stay in image order
    values, starts, ends = values[order], starts[order], ends[order]
    instances, first = np.unique(values, return_index=True)
    for k, begin, end in zip(instances, first, np.append(first[1:], values.size), strict=True):
        if k <= 0:
            continue
        edges = np.stack([starts[begin:end], ends[begin:end]], axis=1).ravel()
        edges = np.concatenate([[0], edges, [flat.size]])
        counts = np.diff(edges).tolist()
        if counts[-1] == 0:
            counts.pop()
        result[int(k)] = {"size": list(size), "counts": counts}
    return result


# --------------------------------------------------------------------------------------------------- resizing


def _resample(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` float32 -> ``shape`` ``(h, w)``, bilinear, averaging where it shrinks."""
    from PIL import Image

    if array.shape == tuple(shape):
        return np.ascontiguousarray(array, dtype=np.float32)
    picture = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def resample_nearest(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` any type -> ``shape``, each new pixel taking the old pixel under its centre; the array itself where it
    has that shape."""
    if array.shape == tuple(shape):
        return array
    rows = ((np.arange(shape[0]) + 0.5) * (array.shape[0] / shape[0])).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * (array.shape[1] / shape[1])).astype(np.intp)
    return array[np.minimum(rows, array.shape[0] - 1)[:, None], np.minimum(columns, array.shape[1] - 1)[None, :]]


@dataclass(frozen=True)
class Resizing:
    """How an image was resized, and the way back. ``original`` and ``resized`` are ``(H, W)`` px.

    The two axes have their own scale (``resized / original``), because sides are whole pixels; so coordinates
    that go there and back are the same to rounding.
    """

    original: tuple[int, int]
    resized: tuple[int, int]

    @property
    def scale_xy(self) -> np.ndarray:
        """``(2,)``: new pixels per old pixel in x and y."""
        return np.array([self.resized[1] / self.original[1], self.resized[0] / self.original[0]])

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """``(H, W)`` -> ``(h, w)`` float32, bilinear, averaging where it shrinks."""
        return _resample(pixels, self.resized)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """``(H, W)`` -> ``(h, w)`` of the same type, nearest."""
        return resample_nearest(labels, self.resized)

    def points(self, xy: np.ndarray) -> np.ndarray:
        """``(..., 2)`` x, y px of the original -> of the resized image."""
        return np.asarray(xy, dtype=np.float64) * self.scale_xy

    def boxes(self, xyxy: np.ndarray) -> np.ndarray:
        """``(..., 4)`` XYXY px of the original -> of the resized image."""
        return np.asarray(xyxy, dtype=np.float64) * np.tile(self.scale_xy, 2)

    def points_back(self, xy: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`points`."""
        return np.asarray(xy, dtype=np.float64) / self.scale_xy

    def boxes_back(self, xyxy: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`boxes`."""
        return np.asarray(xyxy, dtype=np.float64) / np.tile(self.scale_xy, 2)

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """``(h, w)`` labels -> ``(H, W)`` of the same type, nearest."""
        return resample_nearest(labels, self.original)

    def logits_back(self, logits: np.ndarray) -> np.ndarray:
        """``(h, w)`` or ``(C, h, w)`` -> ``(H, W)`` or ``(C, H, W)`` float32, bilinear."""
        if logits.ndim == 2:
            return _resample(logits, self.original)
        return np.stack([_resample(channel, self.original) for channel in logits])


def resize_long_side(shape: tuple[int, int], long_side: int, multiple: int = 1) -> Resizing:
    """The resizing that brings the longer side of ``shape`` ``(H, W)`` to ``long_side`` px and keeps the
    aspect to the nearest whole pixel (at least 1), both sides rounded to a ``multiple`` where one is asked
    for.

    Raises:
        InputError: a side that is not positive.
    """
    height, width = int(shape[0]), int(shape[1])
    if min(height, width, long_side, multiple) < 1:
        raise InputError(f"An image of {width} x {height} px cannot be resized to {long_side} px.")
    scale = long_side / max(height, width)
    sides = [max(1, round(side * scale / multiple)) * multiple for side in (height, width)]
    return Resizing((height, width), (sides[0], sides[1]))


# ------------------------------------------------------------------------------------------------------ tiles


@dataclass(frozen=True)
class Tile:
    """A part of a large image: ``outer`` is what is looked at, ``core`` is what is kept of it. The cores of
    an image cover each of its pixels exactly once. Both are ``y0, y1, x0, x1`` px, far edge exclusive."""

    outer: tuple[int, int, int, int]
    core: tuple[int, int, int, int]

    def read(self, image: np.ndarray) -> np.ndarray:
        """The outer part of ``image`` ``(H, W, ...)``, a view."""
        y0, y1, x0, x1 = self.outer
        return image[y0:y1, x0:x1]

    def write(self, target: np.ndarray, outer_result: np.ndarray) -> None:
        """Puts the core of ``outer_result`` (as large as ``outer``) into ``target`` ``(H, W, ...)``."""
        y0, y1, x0, x1 = self.core
        top, left = y0 - self.outer[0], x0 - self.outer[2]
        target[y0:y1, x0:x1] = outer_result[top : top + y1 - y0, left : left + x1 - x0]


def tiles(shape: tuple[int, int], size: int, halo: int = 0) -> Iterator[Tile]:
    """Tiles of an image of ``shape`` ``(H, W)``, row by row.

    Args:
        size: side of the outer part in px; a smaller image is one tile of its own size.
        halo: px by which the outer part reaches over the core on every side that is not the image's edge.

    Raises:
        InputError: ``size`` is not larger than two halos.
    """
    step = size - 2 * halo
    if halo < 0 or step < 1:
        raise InputError(f"Tiles of {size} px leave nothing between halos of {halo} px; use larger tiles.")

    def spans(length: int) -> list[tuple[int, int, int, int]]:
        if length <= size:
            return [(0, length, 0, length)]
        count = -(-length // step)
        cuts = [round(k * length / count) for k in range(count + 1)]  # even cores: no sliver at the end
        result = []
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
            # Every outer part is exactly `size` long: at the image's edge the halo goes to the inner side.
            low = min(max(begin - (size - (end - begin)) // 2, 0), length - size)
            result.append((low, low + size, begin, end))
        return result

    for y_low, y_high, y0, y1 in spans(int(shape[0])):
        for x_low, x_high, x0, x1 in spans(int(shape[1])):
            yield Tile((y_low, y_high, x_low, x_high), (y0, y1, x0, x1))


def feathered_tiles(shape: tuple[int, int], size: int, halo: int) -> Iterator[tuple[Tile, np.ndarray, np.ndarray]]:
    """:func:`tiles` with weights by which what was computed on each outer part adds up to one seamless whole.

    A weight falls linearly across a seam, from 1 at three quarters of the halo on the near side to 0 on the far side:
    the outermost quarter, where a network sees least of the surroundings, is never used. Towards the image's own edge
    nothing falls, since nobody else looks there. Without a halo the weight is that of the core, 1 and 0.

    Args:
        shape, size, halo: as for :func:`tiles`.

    Yields:
        the tile, ``(h,)`` and ``(w,)`` float32 weights of the rows and columns of its outer part. A pixel's weight is
        their product; over all tiles the weights of a pixel add up to 1.

    Raises:
        InputError: as :func:`tiles`.
    """
    every = list(tiles(shape, size, halo))
    axes = []
    for length, first in ((int(shape[0]), 0), (int(shape[1]), 2)):
        spans = list(dict.fromkeys((*tile.outer[first : first + 2], *tile.core[first : first + 2]) for tile in every))
        axes.append(dict(zip(spans, _feathers(spans, length, 0.75 * halo), strict=True)))
    for tile in every:
        rows, columns = ((*tile.outer[k : k + 2], *tile.core[k : k + 2]) for k in (0, 2))
        yield tile, axes[0][rows], axes[1][columns]


def _feathers(spans: list[tuple[int, int, int, int]], length: int, reach: float) -> list[np.ndarray]:
    """Weights of the outer parts along one axis; ``spans`` are low, high, begin, end as in :class:`Tile`."""
    total, found = np.zeros(length), []
    for low, high, begin, end in spans:
        at = np.arange(low, high) + 0.5
        if reach > 0:
            rise = np.ones_like(at) if begin == 0 else np.clip((at - begin + reach) / (2 * reach), 0, 1)
            fall = np.ones_like(at) if end == length else np.clip((end + reach - at) / (2 * reach), 0, 1)
            weight = rise * fall
        else:
            weight = ((at > begin) & (at < end)).astype(float)
        total[low:high] += weight
        found.append(weight)
    return [
        (weight / total[low:high]).astype(np.float32) for weight, (low, high, _, _) in zip(found, spans, strict=True)
    ]
