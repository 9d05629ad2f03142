"""Drawn outlines as pixels: polygons, rectangles and circles of labelling programs, painted as instance labels.

Coordinates are x, y in px from the corner of the image, so that the centre of the first pixel is at 0.5, 0.5; a pixel
is inside where its centre is. Areas then have no bias, which outlines painted with their edge pixels have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError


@dataclass(frozen=True)
class Piece:
    """A mask cut out of its image, so that a thousand of them in a large image take little memory.

    Attributes:
        top, left: row and column of its first pixel.
        mask: ``(h, w)`` bool; may be empty.
    """

    top: int
    left: int
    mask: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the image that it lies on."""
        h, w = self.mask.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


def cut_out(mask: np.ndarray) -> Piece:
    """The part of a mask ``(H, W)`` bool that has its pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Piece(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return Piece(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def check_points(points: object, least: int) -> np.ndarray:
    """Points of a file as ``(N, 2)`` float64, x, y.

    Raises:
        InputError: no list of pairs of finite numbers, or fewer than ``least``.
    """
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise InputError("its points are no list of [x, y] pairs of numbers")
    if len(array) < least:
        raise InputError(f"it has {len(array)} points where {least} are needed")
    return array


def polygon(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """A polygon ``(N, 2)``, what is outside of the image ``(H, W)`` cut off."""
    from skimage.draw import polygon as inside

    x, y = np.clip(points, -1e6, 1e6).T
    rows, columns = inside(y - 0.5, x - 0.5, shape)
    if not len(rows):
        return Piece(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows.min()), int(columns.min())
    mask = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), bool)
    mask[rows - top, columns - left] = True
    return Piece(top, left, mask)


def rectangle(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """The rectangle between two opposite corners ``(2, 2)``."""
    x0, y0 = np.clip(np.ceil(points.min(0) - 0.5), 0, shape[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0) - 0.5), 0, shape[::-1]).astype(int)
    return Piece(int(y0), int(x0), np.ones((y1 - y0, x1 - x0), bool))


def circle(points: np.ndarray, shape: tuple[int, int]) -> Piece:
    """The disc around the first of two points that the second is on the edge of."""
    (x, y), radius = points[0], float(np.hypot(*(points[1] - points[0])))
    box = rectangle(np.array([[x - radius, y - radius], [x + radius, y + radius]]), shape)
    h, w = box.mask.shape
    rows = np.arange(box.top, box.top + h)[:, None] + 0.5 - y
    columns = np.arange(box.left, box.left + w)[None] + 0.5 - x
    return Piece(box.top, box.left, rows**2 + columns**2 <= radius**2)


def paint_instances(instances: Sequence[Sequence[Piece]], shape: tuple[int, int]) -> np.ndarray:
    """Instance labels of outlines; where they overlap the smaller one is on top, so that a particle before a larger one
    is not lost.

    Args:
        instances: the pieces of each; those of one instance are disjoint or overlap, which does not matter.
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
