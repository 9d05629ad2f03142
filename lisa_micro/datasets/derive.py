"""Derive the labels of every concept from the instance labels of the particles.

Concepts:

- *particle*: the labels as they are, renumbered;
- *neck*: :func:`lisa_micro.measure.necks.neck_labels`;
- *pore*: background enclosed by particles, i.e. not connected (4-neighbourhood) to the border of the image, where gaps
  of at most 2 px between particles count as closed; pores below 12 px are left out;
- *agglomerate*: three or more particles connected by contacts, with the gap pixels between them;
- *substrate*: everything that is not particle, one region;
- *isolated*: the particles without contact.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import agglomerates, compact, facing
from lisa_micro.measure.necks import necks_between, paint_necks
from lisa_micro.types import InputError

MIN_PORE_PX = 12
"""px; smaller enclosed background is raggedness of the labels, not a pore."""

MAX_CLOSING = 3
"""px, radius of the widest closing in :func:`enclosed_background`."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
_SQUARE = np.ones((3, 3), bool)


def derive_truth(particles: np.ndarray) -> dict[str, np.ndarray]:
    """Derive the label images of every concept.

    Args:
        particles: ``(H, W)`` integers, 0 = background, k = particle k; numbers may be missing.

    Returns:
        ``(H, W)`` int32 label images, numbered 1..n without gaps (all 0 if there are none), for
        ``particle``, ``neck``, ``pore``, ``agglomerate``, ``substrate`` and ``isolated``.

    Raises:
        InputError: unusable labels.
    """
    numbered, originals = compact(particles)
    n = len(originals)
    face = facing(numbered)
    pairs = np.unique(face.pair, axis=0)
    own = np.arange(1, n + 1)
    necks = paint_necks(numbered, own, necks_between(numbered, own, face))
    closed = close_gaps(numbered > 0)
    alone = np.ones(n + 1, bool)
    alone[pairs.ravel()] = False
    return {
        "particle": numbered,
        "neck": necks,
        "pore": _pores(numbered > 0, closed),
        "agglomerate": paint_agglomerates(numbered, agglomerates(n, pairs), closed),
        "substrate": (numbered == 0).astype(np.int32),
        "isolated": compact(np.where(alone[numbered], numbered, 0))[0],
    }


def from_semantic(mask: np.ndarray, min_area: int = 1) -> dict[str, np.ndarray]:
    """Derive particles (as connected components), pores and substrate from a mask without instances.

    Touching particles are **not** separated, so the result gives no counts, necks, agglomerates or isolated particles.

    Args:
        mask: ``(H, W)``, bool or numbers, not 0 = particle.
        min_area: px; smaller components are dropped (specks of a thresholded label).

    Returns:
        ``(H, W)`` int32 label images for ``particle``, ``pore`` and ``substrate``.

    Raises:
        InputError: not two-dimensional.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise InputError(f"a mask must be a 2-D array (H, W), not {mask.ndim}-D")
    labels, count = ndimage.label(mask != 0, structure=_SQUARE)
    if min_area > 1 and count:
        keep = np.bincount(labels.ravel()) >= min_area
        labels = np.where(keep[labels], labels, 0)
    particle = compact(labels.astype(np.int32))[0]
    solid = particle > 0
    return {"particle": particle, "pore": _pores(solid, solid), "substrate": (~solid).astype(np.int32)}


def enclosed_background(particles: np.ndarray) -> np.ndarray:
    """Find the pores between segmented particles, whose contours may leave gaps that are a little too wide.

    If the definition gives no pore, gaps of up to twice :data:`MAX_CLOSING` px are closed, the narrowest first, until
    something is enclosed.

    Args:
        particles: ``(H, W)`` integers, 0 = background.

    Returns:
        ``(H, W)`` int32 labels, all 0 if nothing is enclosed.
    """
    solid = particles > 0
    pores = _pores(solid, close_gaps(solid))
    for radius in range(2, MAX_CLOSING + 1):
        if pores.any():
            break
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        padded = np.pad(solid, radius + 1)
        inside = slice(radius + 1, -radius - 1)
        closed = ndimage.binary_closing(padded, x * x + y * y <= radius * radius)[inside, inside]
        pores = _pores(solid, closed | solid)
    return pores


def close_gaps(solid: np.ndarray) -> np.ndarray:
    """Close gaps of at most 2 px in a mask (dilation by one pixel from either side)."""
    padded = np.pad(solid, 2)
    return ndimage.binary_closing(padded, _CROSS)[2:-2, 2:-2] | solid


def _pores(solid: np.ndarray, closed: np.ndarray) -> np.ndarray:
    background, count = ndimage.label(~closed, structure=_CROSS)
    background = background.astype(np.int32)
    if count == 0:
        return background
    keep = np.bincount(background.ravel(), minlength=count + 1) >= MIN_PORE_PX
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        keep[edge] = False
    keep[0] = False
    pores = compact(np.where(keep[background], background, 0))[0]
    # closing removed the corners of pores between particles: restore background next to a pore
    grown = ndimage.grey_dilation(pores, footprint=_CROSS)
    return np.where((pores == 0) & ~solid & (closed != solid), grown, pores)


def paint_agglomerates(numbered: np.ndarray, group: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """Paint agglomerates as labels ``(H, W)``, including the gap pixels between their particles.

    Args:
        numbered: ``(H, W)`` particles 1..n.
        group: ``(n,)`` agglomerate of each, 0 = none.
        closed: ``(H, W)`` bool, see :func:`close_gaps`.
    """
    if not group.any():
        return np.zeros_like(numbered)
    image = np.r_[0, group].astype(np.int32)[numbered]
    # a gap pixel belongs to the agglomerate around it
    grown = ndimage.maximum_filter(image, footprint=_SQUARE)
    lowest = ndimage.minimum_filter(np.where(numbered > 0, image, np.iinfo(np.int32).max), footprint=_SQUARE)
    gap = (numbered == 0) & closed & (grown > 0) & (lowest == grown)
    return np.where(gap, grown, image)
