"""Boxes, run lengths, resizing with an exact inverse, and tiles. NumPy and Pillow only.

Coordinates are continuous: pixel ``i`` covers ``i`` to ``i + 1`` and its centre is ``i + 0.5``. Boxes are
``x0, y0, x1, y1`` (XYXY) with the far edge exclusive, so a box around the single pixel ``(row 2, column 5)`` is
``5, 2, 6, 3``, and its area is ``(x1 - x0) * (y1 - y0)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

# ------------------------------------------------------------------------------------------------------ boxes


def repair_boxes(boxes: object, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Put swapped corners of boxes right, and clip the boxes to the image if ``shape`` is given.

    Args:
        boxes: ``(N, 4)`` or one box ``(4,)``, XYXY px, corners in any order.
        shape: ``(H, W)`` of the image.

    Returns:
        ``(N, 4)`` float64, ``x0 <= x1`` and ``y0 <= y1``.

    Raises:
        InputError: not four finite numbers per box, or a box without area inside the image.
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
    """Check boxes drawn or typed by a user; as :func:`repair_boxes`, with notes on what was changed.

    Args:
        boxes: ``(N, 4)`` or one box ``(4,)``, XYXY px.
        shape: ``(H, W)`` of the image.

    Returns:
        ``(N, 4)`` float64 XYXY px, and notes.

    Raises:
        InputError: no box, and as :func:`repair_boxes`.
    """
    ordered = repair_boxes(boxes)
    if not len(ordered):
        raise InputError("There is no box; a box is four numbers x0, y0, x1, y1 in pixels.")
    cut = repair_boxes(boxes, shape)
    notes = []
    if (ordered != np.atleast_2d(np.asarray(boxes, np.float64))).any():
        notes.append("A box had its corners swapped; they were exchanged.")
    if (cut != ordered).any():
        notes.append("A box reached beyond the image; it was clipped at the border.")
    return cut, tuple(notes)


def clip_boxes(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Clip ``(N, 4)`` XYXY boxes to an image of ``shape`` ``(H, W)``; a box outside gets no area."""
    height, width = shape
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float64))


def boxes_from_labels(labels: np.ndarray) -> np.ndarray:
    """The tight box of each instance.

    Args:
        labels: ``(H, W)`` integers, 0 = background.

    Returns:
        ``(n, 4)`` float64 XYXY px, row ``k - 1`` for instance ``k``, ``n = labels.max()``; a missing number has the box
        ``0, 0, 0, 0``.
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
    """Intersection over union of each pair: ``(N, 4)`` and ``(M, 4)`` XYXY -> ``(N, M)`` in 0..1."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    near = np.maximum(first[:, None, :2], second[None, :, :2])  # (N, M, 2)
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])  # (N, M, 2)
    shared = np.clip(far - near, 0, None).prod(axis=2)  # (N, M)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


# ------------------------------------------------------------------------------------------------ run lengths


def rle_encode(mask: np.ndarray) -> dict[str, list[int]]:
    """Encode a mask as uncompressed COCO run lengths.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``{"size": [H, W], "counts": [...]}``: runs along columns, left to right, starting with a run of zeros (whose
        length may be 0).
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(ends).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts}


def rle_decode(rle: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Decode run lengths; the inverse of :func:`rle_encode`.

    Returns:
        ``(H, W)`` bool.

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
    """Run lengths of each instance of ``labels`` ``(H, W)``, in one pass for any number of instances.

    Returns:
        ``{k: {"size": [H, W], "counts": [...]}}`` for each ``k > 0`` that occurs, ascending.
    """
    flat = np.asarray(labels).ravel(order="F")
    size = [int(labels.shape[0]), int(labels.shape[1])]
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])[: max(flat.size, 0)]
    if flat.size == 0:
        return {}
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    result: dict[int, dict[str, list[int]]] = {}
    order = np.argsort(values, kind="stable")  # stable, so that the runs of an instance stay in image order
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
    """``(H, W)`` float32 -> ``shape`` ``(h, w)``, bilinear, with averaging when shrinking."""
    from PIL import Image

    if array.shape == tuple(shape):
        return np.ascontiguousarray(array, dtype=np.float32)
    picture = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def resample_nearest(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample ``(H, W)`` of any type to ``shape``; each new pixel takes the old pixel under its centre.

    The array itself is returned if it has that shape.
    """
    if array.shape == tuple(shape):
        return array
    rows = ((np.arange(shape[0]) + 0.5) * (array.shape[0] / shape[0])).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * (array.shape[1] / shape[1])).astype(np.intp)
    return array[np.minimum(rows, array.shape[0] - 1)[:, None], np.minimum(columns, array.shape[1] - 1)[None, :]]


@dataclass(frozen=True)
class Resizing:
    """A resizing of an image and its inverse. ``original`` and ``resized`` are ``(H, W)`` px.

    The two axes have their own scale (``resized / original``), since sides are whole pixels, so coordinates are
    recovered to rounding by the inverse.
    """

    original: tuple[int, int]
    resized: tuple[int, int]

    @property
    def scale_xy(self) -> np.ndarray:
        """``(2,)``: new pixels per old pixel in x and y."""
        return np.array([self.resized[1] / self.original[1], self.resized[0] / self.original[0]])

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """``(H, W)`` -> ``(h, w)`` float32, bilinear, with averaging when shrinking."""
        return _resample(pixels, self.resized)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """``(H, W)`` -> ``(h, w)`` of the same type, nearest neighbour."""
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
        """``(h, w)`` labels -> ``(H, W)`` of the same type, nearest neighbour."""
        return resample_nearest(labels, self.original)

    def logits_back(self, logits: np.ndarray) -> np.ndarray:
        """``(h, w)`` or ``(C, h, w)`` -> ``(H, W)`` or ``(C, H, W)`` float32, bilinear."""
        if logits.ndim == 2:
            return _resample(logits, self.original)
        return np.stack([_resample(channel, self.original) for channel in logits])


def resize_long_side(shape: tuple[int, int], long_side: int, multiple: int = 1) -> Resizing:
    """The resizing that brings the longer side of an image to a given length and keeps the aspect ratio.

    Args:
        shape: ``(H, W)`` of the image.
        long_side: length of the longer side, px.
        multiple: both sides are rounded to a multiple of it; the shorter side is at least one multiple.

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
    """A part of a large image.

    Attributes:
        outer: part that is processed, ``y0, y1, x0, x1`` px, far edge exclusive.
        core: part of the result that is kept. The cores of an image cover each of its pixels exactly once.
    """

    outer: tuple[int, int, int, int]
    core: tuple[int, int, int, int]

    def read(self, image: np.ndarray) -> np.ndarray:
        """The outer part of ``image`` ``(H, W, ...)``, a view."""
        y0, y1, x0, x1 = self.outer
        return image[y0:y1, x0:x1]

    def write(self, target: np.ndarray, outer_result: np.ndarray) -> None:
        """Write the core of ``outer_result`` (of the size of ``outer``) into ``target`` ``(H, W, ...)``."""
        y0, y1, x0, x1 = self.core
        top, left = y0 - self.outer[0], x0 - self.outer[2]
        target[y0:y1, x0:x1] = outer_result[top : top + y1 - y0, left : left + x1 - x0]


def tiles(shape: tuple[int, int], size: int, halo: int = 0) -> Iterator[Tile]:
    """Tiles of an image, row by row.

    Args:
        shape: ``(H, W)`` of the image.
        size: side of the outer part in px; a smaller image is a single tile of its own size.
        halo: px by which the outer part exceeds the core on each side that is not on the image's border.

    Raises:
        InputError: ``size`` does not exceed two halos.
    """
    step = size - 2 * halo
    if halo < 0 or step < 1:
        raise InputError(f"Tiles of {size} px are too small for halos of {halo} px; use larger tiles.")

    def spans(length: int) -> list[tuple[int, int, int, int]]:
        if length <= size:
            return [(0, length, 0, length)]
        count = -(-length // step)
        cuts = [round(k * length / count) for k in range(count + 1)]  # cores of equal size
        result = []
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
            # every outer part is exactly `size` long; at the border of the image the halo is on the inner side
            low = min(max(begin - (size - (end - begin)) // 2, 0), length - size)
            result.append((low, low + size, begin, end))
        return result

    for y_low, y_high, y0, y1 in spans(int(shape[0])):
        for x_low, x_high, x0, x1 in spans(int(shape[1])):
            yield Tile((y_low, y_high, x_low, x_high), (y0, y1, x0, x1))


def feathered_tiles(shape: tuple[int, int], size: int, halo: int) -> Iterator[tuple[Tile, np.ndarray, np.ndarray]]:
    """As :func:`tiles`, with weights that blend the results of overlapping tiles without seams.

    A weight falls linearly across a seam, from 1 at three quarters of the halo on the near side to 0 on the far side.
    The outermost quarter of the halo, where a network sees least of the surroundings, is never used. Towards the border
    of the image the weight does not fall. Without a halo the weight is that of the core, 1 and 0.

    Args:
        shape, size, halo: as for :func:`tiles`.

    Yields:
        the tile, and ``(h,)`` and ``(w,)`` float32 weights of the rows and columns of its outer part. The weight of a
        pixel is their product; over all tiles the weights of a pixel add up to 1.

    Raises:
        InputError: as :func:`tiles`.
    """
    every = list(tiles(shape, size, halo))
    axes = []
    for axis in (0, 1):
        spans = list(dict.fromkeys(_span(tile, axis) for tile in every))
        axes.append(dict(zip(spans, _feathers(spans, int(shape[axis]), 0.75 * halo), strict=True)))
    for tile in every:
        yield tile, axes[0][_span(tile, 0)], axes[1][_span(tile, 1)]


def _span(tile: Tile, axis: int) -> tuple[int, int, int, int]:
    """Low, high, begin and end of a tile along an axis: of its outer part, then of its core."""
    k = 2 * axis
    return tile.outer[k], tile.outer[k + 1], tile.core[k], tile.core[k + 1]


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
