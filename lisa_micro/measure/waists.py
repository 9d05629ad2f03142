"""Are two particles one? The waist of a pair, and the division of one region into the particles that it holds.

Two particles that sinter keep a waist between them until they have become one body. In the distance map of their union
(distance of each pixel to the outline) each particle is a maximum and the waist is the saddle between the two. The
*waist ratio* is the height of the saddle over that of the lower maximum: near 0 for a point contact, close to x over
the smaller radius while the neck grows, and 1 when only one maximum is left. It does not depend on where exactly the
line between the two is drawn, and needs no fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

BODY = 0.6
"""Radius of the disc by which an instance is opened to be rid of bulges, see :func:`body_gap`."""
_CORE = 0.6  # share of a seed's greatest distance from the outline above which a pixel belongs to its core


def waist_ratio(first: np.ndarray, second: np.ndarray) -> float:
    """How far two regions have become one body.

    Args:
        first, second: ``(H, W)`` bool, of one shape, without common pixels.

    Returns:
        0..1; 0 where they do not touch (8-neighbours) or one of them is empty, 1 where no waist is left between them.
    """
    if not first.any() or not second.any():
        return 0.0
    distance = _distance(first | second)
    near = np.ones((3, 3), bool)
    interface = (first & ndimage.binary_dilation(second, near)) | (second & ndimage.binary_dilation(first, near))
    if not interface.any():
        return 0.0
    lower = min(distance[first].max(), distance[second].max())
    return float(min(distance[interface].max() / lower, 1.0))


def pair_waist(labels: np.ndarray, a: int, b: int) -> float:
    """:func:`waist_ratio` of two instances of ``(H, W)`` labels; 0 where either is not there."""
    return waist_ratio(*_pair(labels, a, b))


def _pair(labels: np.ndarray, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Two instances as bool masks of the part of ``(H, W)`` labels that holds both."""
    pair = (labels == a) | (labels == b)
    rows, columns = (np.flatnonzero(pair.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pair[:0], pair[:0]
    # a pixel around, where the image has it: what lies beyond the crop would count as the border of the image
    part = labels[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    return part == a, part == b


def body_gap(labels: np.ndarray, a: int, b: int, share: float = BODY) -> float:
    """How far two instances are apart without the bulges by which their outlines may reach over to each other.

    In noise, outlines fill a narrow gap: the labels meet in a bridge that is not there. Opened by a disc that is
    smaller than the instance, they lose it, and two bodies that truly meet stay close.

    Args:
        labels: ``(H, W)`` integers. a, b: two of them.
        share: radius of the disc, as a share of the greatest distance within the instance from its outline.

    Returns:
        px, edge to edge, 0 or more; infinity where one of them is not there.
    """
    first, second = _pair(labels, a, b)
    if not first.any() or not second.any():
        return float("inf")
    first, second = _opened(first, share), _opened(second, share)
    return max(float(ndimage.distance_transform_edt(~second)[first].min()) - 1, 0.0)


def _opened(region: np.ndarray, share: float) -> np.ndarray:
    depth = _distance(region)
    radius = share * float(depth.max())
    return ndimage.distance_transform_edt(depth < radius) < radius


def divide(region: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Give each pixel of a region to one of the particles that are known to be in it.

    The region is flooded from the particles' cores along its distance map, so that the line between two of them comes
    to lie at the waist, where there is one.

    Args:
        region: ``(H, W)`` bool.
        seeds: ``(H, W)`` integers, where the particles are expected (identity k where k is); what lies outside of the
            region is not used.

    Returns:
        ``(H, W)`` int32: identities, 0 outside of the region. Without any seed within the region all is 0.
    """
    from skimage.segmentation import watershed

    inside = np.where(region, seeds, 0)
    numbers = np.unique(inside[inside > 0])
    if len(numbers) < 2:
        return np.where(region, numbers[0] if len(numbers) else 0, 0).astype(np.int32)
    distance = _distance(region)
    peaks = ndimage.maximum(distance, inside, numbers)
    core = dict(zip(numbers.tolist(), (_CORE * np.asarray(peaks)).tolist(), strict=True))
    markers = np.where(distance >= _look_up(inside, core), inside, 0).astype(np.int32)
    return watershed(-ndimage.gaussian_filter(distance, 0.7), markers, mask=region).astype(np.int32)


def _distance(region: np.ndarray) -> np.ndarray:
    """Distance to the outline; the border of the image is none, since a particle goes on beyond it."""
    return ndimage.distance_transform_edt(np.pad(region, 1, mode="edge"))[1:-1, 1:-1]


def _look_up(labels: np.ndarray, values: Mapping[int, float]) -> np.ndarray:
    """``(H, W)`` float: the value of each label, infinity for the background."""
    keys = np.array(sorted(values))
    table = np.array([values[k] for k in keys.tolist()])
    at = np.minimum(np.searchsorted(keys, labels), len(keys) - 1)
    return np.where(labels > 0, table[at], np.inf)
