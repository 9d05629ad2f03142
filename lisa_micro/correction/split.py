"""Split one instance into several, along a line or by its shape."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.types import InputError

MIN_PART_PX = 4
"""px; smaller pieces beside a line are treated as raggedness, not as parts."""
HEIGHT = 0.1
"""Smallest height of a maximum of the distance transform above the saddle to a higher maximum, as a share of the
largest
distance, for it to become a part."""
_SQUARE = np.ones((3, 3), bool)
_STEP = 0.25
_FAR = 2.0


def line_pixels(line: object, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Find the pixels under a line; they are 4-connected, so that the line leaves no diagonal gap.

    Args:
        line: ``(P, 2)`` XY px, P >= 2; a pixel ``(x, y)`` reaches from x to x + 1.
        shape: ``(H, W)``; pixels outside are left out.

    Returns:
        row and column indices ``(N,)``, without repetition.

    Raises:
        InputError: fewer than two points, or numbers that are not finite.
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
    """Split an instance along a line.

    Args:
        mask: ``(H, W)`` bool. line: as for :func:`line_pixels`.

    Returns:
        ``(H, W)`` int32, parts 1..n, the largest first; the whole mask is 1 if the line does not cross it from edge to
        edge. Pixels under the line go to the nearest part; pieces that the line does not touch stay with the largest.
    """
    cut = np.zeros(mask.shape, bool)
    cut[line_pixels(line, mask.shape)] = True
    cut &= mask
    pieces, _ = ndimage.label(mask & ~cut, _SQUARE)
    beside = np.unique(pieces[ndimage.binary_dilation(cut, _SQUARE)])
    sizes = np.bincount(pieces.ravel())
    parts = [k for k in beside if k > 0 and sizes[k] >= MIN_PART_PX]
    if len(parts) < 2:
        return mask.astype(np.int32)
    parts.sort(key=lambda k: (-sizes[k], k))
    table = np.ones(len(sizes), np.int32)  # pieces away from the line stay with the largest
    table[beside] = 0  # small pieces at the line go to the nearest part below
    table[0] = 0
    table[parts] = np.arange(1, len(parts) + 1)
    return filled(table[pieces], mask)


def by_shape(mask: np.ndarray) -> np.ndarray:
    """Split an instance at its narrow places, by the watershed on its distance transform
    (:func:`lisa_micro.models.lisa.instances.separate`).

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``(H, W)`` int32, parts 1..n, the largest first; all 1 if it has no narrow place.
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
    """Extend the parts ``(H, W)`` to the whole mask: each pixel goes to the nearest part."""
    _, (rows, columns) = ndimage.distance_transform_edt(parts == 0, return_indices=True)
    return np.where(mask, parts[rows, columns], 0).astype(np.int32)
