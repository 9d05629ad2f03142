"""One instance divided into several: along a line that was drawn, or by its shape."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.types import InputError

MIN_PART_PX = 4
"""Fewer pixels beside a cut are its raggedness, not a part of their own."""
HEIGHT = 0.1
"""How far a maximum of the distance to the edge must rise above the saddle to a higher one to be a part of its own, as
a share of the largest distance."""
_SQUARE = np.ones((3, 3), bool)
_STEP = 0.25
_FAR = 2.0


def raster(line: object, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels under a line, connected by their edges, so that no diagonal gap is left.

    Args:
        line: ``(P, 2)`` XY px, P >= 2; a pixel ``(x, y)`` reaches from x to x + 1.
        shape: ``(H, W)``; what lies outside is left out.

    Returns:
        row and column numbers ``(N,)``, without repetition.

    Raises:
        InputError: not two points or more, or not finite.
    """
    try:
        points = np.asarray(line, float)
    except (TypeError, ValueError) as error:
        raise InputError("A cut is a line of two points x, y or more, in px; draw it again.") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise InputError("A cut is a line of two points x, y or more, in px; draw it again.")
    height, width = shape
    points = np.clip(points, -_FAR, (width + _FAR, height + _FAR))
    pieces = []
    for start, end in zip(points, points[1:], strict=False):
        steps = int(np.ceil(np.abs(end - start).max() / _STEP)) + 1
        pieces.append(np.floor(np.linspace(start, end, steps + 1)).astype(int))
    cells = np.concatenate(pieces)  # (N, 2) x, y
    diagonal = (np.diff(cells, axis=0) != 0).all(axis=1)
    corners = np.stack([cells[:-1][diagonal][:, 0], cells[1:][diagonal][:, 1]], axis=1)
    cells = np.unique(np.concatenate([cells, corners]), axis=0)
    inside = ((cells >= 0) & (cells < (width, height))).all(axis=1)
    return cells[inside, 1], cells[inside, 0]


def along_line(mask: np.ndarray, line: object) -> np.ndarray:
    """Cut an instance.

    Args:
        mask: ``(H, W)`` bool. line: as for :func:`raster`.

    Returns:
        ``(H, W)`` int32, parts 1..n, the largest first; all of the mask is 1 where the line does not go through it
        from edge to edge. The pixels under the line go to the nearest part, and pieces that the line does not touch
        stay with the largest.
    """
    cut = np.zeros(mask.shape, bool)
    cut[raster(line, mask.shape)] = True
    cut &= mask
    pieces, _ = ndimage.label(mask & ~cut, _SQUARE)
    beside = np.unique(pieces[ndimage.binary_dilation(cut, _SQUARE)])
    sizes = np.bincount(pieces.ravel())
    parts = [k for k in beside if k > 0 and sizes[k] >= MIN_PART_PX]
    if len(parts) < 2:
        return mask.astype(np.int32)
    parts.sort(key=lambda k: (-sizes[k], k))
    table = np.ones(len(sizes), np.int32)  # pieces away from the line: with the largest
    table[beside] = 0  # scraps at the line: decided below
    table[0] = 0
    table[parts] = np.arange(1, len(parts) + 1)
    return filled(table[pieces], mask)


def by_shape(mask: np.ndarray) -> np.ndarray:
    """Divide an instance where it is narrow: the watershed on the distance to its edge
    (:func:`lisa_micro.models.lisa.instances.separate`).

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``(H, W)`` int32, parts 1..n, the largest first; all 1 where it is narrow nowhere.
    """
    padded = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(padded)
    top = float(distance.max())
    smooth = max(0.5, 0.08 * top)
    config = SplitConfig(height=HEIGHT, border=0.0, smooth=smooth, smallest=MIN_PART_PX, certainty=0.0, peak=0.0)
    found = separate(padded.astype(np.float32), distance / max(top, 1.0), np.zeros(padded.shape), config)[1:-1, 1:-1]
    if found.max() < 2:
        return mask.astype(np.int32)
    sizes = np.bincount(found.ravel())
    order = sorted(range(1, len(sizes)), key=lambda k: (-sizes[k], k))
    table = np.zeros(len(sizes), np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return filled(table[found], mask)


def filled(parts: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Parts ``(H, W)`` with the rest of the mask given to the nearest of them."""
    _, (rows, columns) = ndimage.distance_transform_edt(parts == 0, return_indices=True)
    return np.where(mask, parts[rows, columns], 0).astype(np.int32)
