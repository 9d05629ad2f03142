"""Which particles touch, and where: the pixels at which the labels of two particles face each other.

Distances between labels are *edge to edge*: pixels whose centres are d apart have d - 1 px between them, so
that pixels side by side have a gap of 0 and labels with two background pixels between them a gap of 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

BAND_PX = 1 << 24
MAX_GAP = 2.0
"""Particles whose labels are at most this many pixels apart count as in contact."""


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Instance labels as an ``(H, W)`` integer array.

    Args:
        labels: ``(H, W)`` integers, 0 = background, k = instance k; numbers may be missing.

    Raises:
        InputError: not two-dimensional, not integers (a bool mask has no instances), or negative.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise InputError(f"instance labels must be a 2-D array (H, W), not {labels.ndim}-D")
    if labels.dtype == bool or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"instance labels must be integers (0 = background, k = instance k), not {labels.dtype}; "
            "label the connected regions of a mask first"
        )
    if labels.size and int(labels.min()) < 0:
        raise InputError("instance labels must not be negative (0 = background)")
    return labels


def bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of an image of ``shape`` ``(H, W)`` in bands of at most :data:`BAND_PX` px: what NumPy makes of a large
    image in between (int64 of every pixel) would take several times its memory."""
    step = max(1, BAND_PX // max(shape[1], 1))
    return (slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step))


def areas(labels: np.ndarray, top: int) -> np.ndarray:
    """``(top + 1,)`` int64: pixels of each number 0..top in ``labels`` ``(H, W)``."""
    total = np.zeros(top + 1, np.int64)
    for band in bands(labels.shape):
        total += np.bincount(labels[band].ravel(), minlength=top + 1)
    return total


def compact(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels renumbered 1..n without gaps.

    Returns:
        ``(H, W)`` int32 with values 0..n, and the ``(n,)`` original label of each, ascending.
    """
    labels = check_labels(labels)
    top = int(labels.max(initial=0))
    if 0 < top <= 4 * labels.size:
        present = areas(labels, top) > 0
        present[0] = False
        originals = np.flatnonzero(present)
        table = np.zeros(top + 1, np.int32)
        table[originals] = np.arange(1, len(originals) + 1)
        return table[labels], originals
    # a few enormous label numbers (colour codes): a look-up table would be larger than the image
    originals = np.unique(labels[labels > 0]).astype(np.int64)
    out = np.zeros(labels.shape, np.int32)
    out[labels > 0] = np.searchsorted(originals, labels[labels > 0]) + 1
    return out, originals


@dataclass(frozen=True)
class Facing:
    """Where labels face each other: one entry for every border pixel of a label and every other label near
    it.

    Attributes:
        pair: ``(M, 2)`` the two labels, smaller first.
        middle: ``(M, 2)`` XY px, midway between the border pixel and the nearest pixel of the other label.
        gap: ``(M,)`` px, edge-to-edge distance of the two pixels.
    """

    pair: np.ndarray
    middle: np.ndarray
    gap: np.ndarray


def border_pixels(labels: np.ndarray) -> np.ndarray:
    """``(K, 2)`` row, column of the labelled pixels with one of their 4 neighbours outside their label;
    pixels on the border of the image count."""
    padded = np.pad(labels, 1)
    centre = padded[1:-1, 1:-1]
    inner = (
        (padded[:-2, 1:-1] == centre)
        & (padded[2:, 1:-1] == centre)
        & (padded[1:-1, :-2] == centre)
        & (padded[1:-1, 2:] == centre)
    )
    return np.argwhere((centre > 0) & ~inner)


def facing(labels: np.ndarray, max_gap: float = MAX_GAP) -> Facing:
    """All pixels at which two labels are at most ``max_gap`` px apart.

    Works on border pixels only, for all pairs at once: 300 particles on 1024 x 1024 take some 0.1 s.

    Args:
        labels: ``(H, W)`` integers, 0 = background.
        max_gap: px, at least 0, edge to edge.

    Raises:
        InputError: unusable labels or a negative gap.
    """
    labels = check_labels(labels)
    if not max_gap >= 0:
        raise InputError(f"the largest gap of a contact must be at least 0 px, not {max_gap}")
    reach = int(np.floor(max_gap)) + 1
    pixels = border_pixels(labels)
    padded = np.pad(labels, reach)
    own = labels[pixels[:, 0], pixels[:, 1]].astype(np.int64)
    offsets = [
        (float(np.hypot(dy, dx)), dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if 0 < np.hypot(dy, dx) <= max_gap + 1 + 1e-9
    ]
    who, other, middle, gap = [], [], [], []
    for distance, dy, dx in sorted(offsets):
        near = padded[pixels[:, 0] + dy + reach, pixels[:, 1] + dx + reach].astype(np.int64)
        hit = np.flatnonzero((near > 0) & (near != own))
        who.append(hit)
        other.append(near[hit])
        middle.append(pixels[hit][:, ::-1] + np.array([dx, dy]) / 2)
        gap.append(np.full(len(hit), distance - 1))
    if not who:
        return Facing(np.zeros((0, 2), np.int64), np.zeros((0, 2)), np.zeros(0))
    index, partner = np.concatenate(who), np.concatenate(other)
    if len(index) == 0:
        return Facing(np.zeros((0, 2), np.int64), np.zeros((0, 2)), np.zeros(0))
    # offsets came in ascending distance: the first entry of a (pixel, other label) is its nearest
    order = np.lexsort((np.arange(len(index)), partner, index))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(index[order]) != 0) | (np.diff(partner[order]) != 0)
    keep = np.sort(order[first])
    pair = np.sort(np.stack([own[index[keep]], partner[keep]], 1), axis=1)
    return Facing(pair, np.concatenate(middle)[keep], np.concatenate(gap)[keep])


def contacts(labels: np.ndarray, max_gap: float = MAX_GAP) -> np.ndarray:
    """Pairs of particles in contact.

    Args:
        labels: ``(H, W)`` integers, 0 = background.
        max_gap: px, edge to edge: two labels with at most this many pixels between them are in contact.

    Returns:
        ``(P, 2)`` int64, labels i < j, ascending.

    Raises:
        InputError: unusable labels or a negative gap.
    """
    pair = facing(labels, max_gap).pair
    return np.unique(pair, axis=0) if len(pair) else pair


def clusters(n: int, pairs: np.ndarray) -> np.ndarray:
    """Connected groups of particles.

    Args:
        n: number of particles, numbered 1..n.
        pairs: ``(P, 2)`` contacts among them.

    Returns:
        ``(n,)`` int64, the group of particle k at k - 1, groups numbered from 0 in order of their first
        particle.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if n == 0:
        return np.zeros(0, np.int64)
    i, j = (pairs[:, 0] - 1, pairs[:, 1] - 1) if len(pairs) else (np.zeros(0, int), np.zeros(0, int))
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def agglomerates(n: int, pairs: np.ndarray, least: int = 3) -> np.ndarray:
    """``(n,)`` int64: the agglomerate of each particle 1..n, numbered 1.. in order of its first particle, 0
    for particles in groups of fewer than ``least``."""
    group = clusters(n, pairs)
    if n == 0:
        return group
    large = np.bincount(group) >= least
    number = np.where(large, np.cumsum(large), 0)
    return number[group]
