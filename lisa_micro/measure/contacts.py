"""Contacts between particles: the pixels at which the labels of two particles face each other.

Distances between labels are measured *edge to edge*: pixels whose centres are d apart have d - 1 px between them, so
adjacent pixels have a gap of 0 and labels with two background pixels between them a gap of 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

BAND_PX = 1 << 24
MAX_GAP = 2.0
"""Particles whose labels are at most this many pixels apart are in contact."""


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Check instance labels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background, k = instance k; numbers may be missing.

    Raises
    ------
    InputError
        Not two-dimensional, not integers (a bool mask has no instances), or negative.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise InputError(f"Instance labels must be a 2-D array (H, W), not {labels.ndim}-D.")
    if labels.dtype == bool or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"Instance labels must be integers (0 = background, k = instance k), not {labels.dtype}; "
            "label the connected regions of a mask first."
        )
    if labels.size and int(labels.min()) < 0:
        raise InputError("Instance labels must not be negative (0 = background).")
    return labels


def bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Split the rows of an image of ``shape`` ``(H, W)`` into bands of at most :data:`BAND_PX` px.

    Intermediate arrays of a whole large image (int64 for every pixel) would take several times its memory.
    """
    step = max(1, BAND_PX // max(shape[1], 1))
    return (slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step))


def areas(labels: np.ndarray, top: int) -> np.ndarray:
    """``(top + 1,)`` int64: number of pixels with each value 0..top in ``labels`` ``(H, W)``."""
    total = np.zeros(top + 1, np.int64)
    for band in bands(labels.shape):
        total += np.bincount(labels[band].ravel(), minlength=top + 1)
    return total


def compact(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber labels as 1..n without gaps.

    Returns
    -------
    numbered : ndarray
        ``(H, W)`` int32 with values 0..n.
    originals : ndarray
        ``(n,)`` original label of each, ascending.

    Examples
    --------
    >>> compact(np.array([[0, 7, 7], [3, 0, 7]]))
    (array([[0, 2, 2],
           [1, 0, 2]], dtype=int32), array([3, 7]))
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
    # a few very large label numbers (colour codes): a lookup table would be larger than the image
    originals = np.unique(labels[labels > 0]).astype(np.int64)
    out = np.zeros(labels.shape, np.int32)
    out[labels > 0] = np.searchsorted(originals, labels[labels > 0]) + 1
    return out, originals


@dataclass(frozen=True)
class Facing:
    """Where labels face each other: one entry for each border pixel of a label and each other label near it.

    Attributes
    ----------
    pair
        ``(M, 2)`` the two labels, smaller first.
    middle
        ``(M, 2)`` XY px, midway between the border pixel and the nearest pixel of the other label.
    gap
        ``(M,)`` px, edge-to-edge distance of the two pixels.
    """

    pair: np.ndarray
    middle: np.ndarray
    gap: np.ndarray


def border_pixels(labels: np.ndarray) -> np.ndarray:
    """Labelled pixels with at least one of their 4 neighbours outside their label.

    Pixels on the border of the image count.

    Returns
    -------
    ndarray
        ``(K, 2)`` row, column.
    """
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
    """Find all pixels at which two labels are at most ``max_gap`` px apart.

    Only border pixels are used, for all pairs at once.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    max_gap
        px, at least 0, edge to edge.

    Raises
    ------
    InputError
        Unusable labels or a negative gap.
    """
    labels = check_labels(labels)
    if not max_gap >= 0:
        raise InputError(f"The largest gap of a contact must be at least 0 px, not {max_gap}.")
    reach = int(np.floor(max_gap)) + 1
    pixels = border_pixels(labels)
    padded = np.pad(labels, reach)
    label = labels[pixels[:, 0], pixels[:, 1]].astype(np.int64)
    offsets = [
        (float(np.hypot(dy, dx)), dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if 0 < np.hypot(dy, dx) <= max_gap + 1 + 1e-9
    ]
    who, other, middle, gap = [], [], [], []
    for distance, dy, dx in sorted(offsets):
        near = padded[pixels[:, 0] + dy + reach, pixels[:, 1] + dx + reach].astype(np.int64)
        hit = np.flatnonzero((near > 0) & (near != label))
        who.append(hit)
        other.append(near[hit])
        middle.append(pixels[hit][:, ::-1] + np.array([dx, dy]) / 2)
        gap.append(np.full(len(hit), distance - 1))
    if not who:
        return Facing(np.zeros((0, 2), np.int64), np.zeros((0, 2)), np.zeros(0))
    index, partner = np.concatenate(who), np.concatenate(other)
    if len(index) == 0:
        return Facing(np.zeros((0, 2), np.int64), np.zeros((0, 2)), np.zeros(0))
    # offsets are in ascending distance: the first entry of a (pixel, other label) is the nearest
    order = np.lexsort((np.arange(len(index)), partner, index))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(index[order]) != 0) | (np.diff(partner[order]) != 0)
    keep = np.sort(order[first])
    pair = np.sort(np.stack([label[index[keep]], partner[keep]], 1), axis=1)
    return Facing(pair, np.concatenate(middle)[keep], np.concatenate(gap)[keep])


def contacts(labels: np.ndarray, max_gap: float = MAX_GAP) -> np.ndarray:
    """Pairs of particles in contact.

    Two particles are in contact if at most ``max_gap`` pixels lie between their labels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    max_gap
        px, edge to edge.

    Returns
    -------
    ndarray
        ``(P, 2)`` int64, labels i < j, ascending.

    Raises
    ------
    InputError
        Unusable labels or a negative gap.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0, 2, 2, 0, 0, 0, 3]])
    >>> contacts(labels).tolist()
    [[1, 2]]
    >>> contacts(labels, max_gap=3).tolist()
    [[1, 2], [2, 3]]
    """
    pair = facing(labels, max_gap).pair
    return np.unique(pair, axis=0) if len(pair) else pair


def clusters(n: int, pairs: np.ndarray) -> np.ndarray:
    """Connected groups of particles.

    Parameters
    ----------
    n
        Number of particles, numbered 1..n.
    pairs
        ``(P, 2)`` contacts between them.

    Returns
    -------
    ndarray
        ``(n,)`` int64, group of particle k at index k - 1; groups are numbered from 0 by their first particle.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if n == 0:
        return np.zeros(0, np.int64)
    i, j = (pairs[:, 0] - 1, pairs[:, 1] - 1) if len(pairs) else (np.zeros(0, int), np.zeros(0, int))
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def agglomerates(n: int, pairs: np.ndarray, least: int = 3) -> np.ndarray:
    """Agglomerate of each particle: a connected group of at least ``least`` particles.

    Returns
    -------
    ndarray
        ``(n,)`` int64, numbered from 1 by the first particle of each agglomerate; 0 for particles in smaller groups.
    """
    group = clusters(n, pairs)
    if n == 0:
        return group
    large = np.bincount(group) >= least
    number = np.where(large, np.cumsum(large), 0)
    return number[group]
