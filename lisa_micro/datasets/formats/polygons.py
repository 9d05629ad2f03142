"""Rasterise polygons, rectangles and circles of annotation programs into instance labels.

Coordinates are x, y in px from the corner of the image: the centre of the first pixel is at 0.5, 0.5. A pixel belongs
to a shape when its centre lies inside or on the edge, so that areas have no bias. Shapes are clipped to the image
before any pixel is painted; memory is bounded by the part of the image that a shape covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CHUNK = 1_000_000
"""Crossings of edges with rows of pixels that are computed at once."""


@dataclass(frozen=True)
class Piece:
    """A mask cropped from its image, so that thousands of masks of a large image need little memory.

    Attributes:
        top, left: row and column of its first pixel.
        mask: ``(h, w)`` bool; may be empty.
    """

    top: int
    left: int
    mask: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the image that it covers."""
        h, w = self.mask.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


def crop_mask(mask: np.ndarray, top: int = 0, left: int = 0) -> Piece:
    """Crop a mask ``(H, W)`` bool, whose first pixel is at ``top``, ``left`` of the image, to its pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Piece(0, 0, np.zeros((0, 0), bool))
    inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Piece(top + int(rows[0]), left + int(columns[0]), inner.copy())


def polygon(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """Rasterise a polygon.

    Args:
        points: ``(N, 2)`` corners XY px. shape: ``(H, W)`` of the image.
    """
    return fill_polygon(points - 0.5, shape)


def fill_polygon(corners: np.ndarray, shape: tuple[int, int]) -> Piece:
    """Rasterise a polygon by the even-odd rule; pixels whose centre is on an edge are inside.

    Args:
        corners: ``(N, 2)`` XY px, where pixel centres have whole coordinates. shape: ``(H, W)`` of the image.
    """
    low = np.maximum(np.ceil(corners.min(0)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(0)), np.array(shape[::-1]) - 1).astype(int)
    if (high < low).any():
        return Piece(0, 0, np.zeros((0, 0), bool))
    (left, top), (width, height) = low, high - low + 1
    mask = np.zeros((height, width), bool)
    for closed_below in (False, True):  # corners that lie on a row of centres count for the edge above or below
        toggles = np.zeros((height, width + 1), bool)
        for rows, x in _crossings(corners - low, height, closed_below):
            columns = np.clip(np.ceil(x), 0, width).astype(int)
            np.logical_xor.at(toggles, (rows, columns), True)
            on_edge = (x == columns) & (columns < width)
            mask[rows[on_edge], columns[on_edge]] = True
        mask |= np.logical_xor.accumulate(toggles[:, :-1], axis=1)
    return crop_mask(mask, int(top), int(left))


def _crossings(corners: np.ndarray, height: int, closed_below: bool):
    """Where edges cross the rows 0 to ``height - 1``.

    Yields:
        row numbers ``(n,)`` and x of the crossings ``(n,)``, at most about :data:`_CHUNK` at once.
    """
    start, end = corners, np.roll(corners, -1, axis=0)
    upper = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
    lower = np.where((start[:, 1] <= end[:, 1])[:, None], end, start)
    # an edge holds the rows y0 <= y < y1, or y0 < y <= y1
    first = np.floor(upper[:, 1]) + 1 if closed_below else np.ceil(upper[:, 1])
    last = np.floor(lower[:, 1]) if closed_below else np.ceil(lower[:, 1]) - 1
    first, last = np.maximum(first, 0).astype(int), np.minimum(last, height - 1).astype(int)
    kept = np.flatnonzero(last >= first)
    counts = (last - first + 1)[kept]
    for part in np.split(kept, np.flatnonzero(np.diff(np.cumsum(counts) // _CHUNK)) + 1):
        if not len(part):
            continue
        lengths = (last - first + 1)[part]
        edge = np.repeat(part, lengths)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
        (x0, y0), (x1, y1) = upper[edge].T, lower[edge].T
        yield rows, x0 + (rows - y0) * (x1 - x0) / (y1 - y0)


def rectangle(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """Rasterise the rectangle between two opposite corners ``(2, 2)`` XY px."""
    x0, y0 = np.clip(np.ceil(points.min(0) - 0.5), 0, shape[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0) - 0.5), 0, shape[::-1]).astype(int)
    return Piece(int(y0), int(x0), np.ones((y1 - y0, x1 - x0), bool))


def circle(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """Rasterise the disc whose centre is the first of two points XY px and whose edge runs through the second."""
    (x, y), radius = points[0], float(np.hypot(*(points[1] - points[0])))
    box = rectangle(np.array([[x - radius, y - radius], [x + radius, y + radius]]), shape)
    h, w = box.mask.shape
    rows = np.arange(box.top, box.top + h)[:, None] + 0.5 - y
    columns = np.arange(box.left, box.left + w)[None] + 0.5 - x
    return Piece(box.top, box.left, rows**2 + columns**2 <= radius**2)


def paint_instances(instances: Sequence[Sequence[Piece]], shape: tuple[int, int]) -> np.ndarray:
    """Paint instances as labels; where two overlap, the smaller one is on top and stays visible.

    Args:
        instances: the pieces of each instance, which may overlap.
        shape: ``(H, W)``.

    Returns:
        ``(H, W)`` int32, label k = k-th instance that has a pixel left.
    """
    labels = np.zeros(shape, np.int32)
    sizes = [sum(int(piece.mask.sum()) for piece in pieces) for pieces in instances]
    for k in sorted(range(len(instances)), key=lambda k: -sizes[k]):
        for piece in instances[k]:
            labels[piece.place][piece.mask] = k + 1
    present = np.unique(labels[labels > 0])
    table = np.zeros(len(instances) + 1, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    return table[labels]
