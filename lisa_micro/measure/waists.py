"""Waist between two particles, and division of a region into the particles that it contains.
 Two sintering particles keep a waist between them until they have become one body. In the distance map of their union
(distance of each pixel to the contour) each particle is a maximum and the waist is the saddle between them. The *waist
ratio* is the height of the saddle divided by that of the lower maximum: near 0 for a point contact, close to x over the
smaller radius while the neck grows, and 1 when only one maximum is left. It does not depend on the exact position of
the line between the two, and needs no fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

BODY = 0.6
"""Radius of the disc by which an instance is opened to remove bulges; see :func:`body_gap`."""
_CORE = 0.6  # fraction of a seed's greatest distance to the contour above which a pixel belongs to its core


def waist_ratio(first: np.ndarray, second: np.ndarray) -> float:
    """Waist ratio of two regions.

    Parameters
    ----------
    first, second
        ``(H, W)`` bool, of the same shape, without common pixels.

    Returns
    -------
    float
        0..1; 0 if they do not touch (8-neighbours) or one is empty, 1 if no waist is left.

    Examples
    --------
    >>> square = np.zeros((30, 60), bool)
    >>> left, right = square.copy(), square.copy()
    >>> left[5:25, 10:30], right[5:25, 30:50] = True, True
    >>> waist_ratio(left, right)
    1.0
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
    """:func:`waist_ratio` of two instances of ``(H, W)`` labels; 0 if either is missing."""
    return waist_ratio(*_pair(labels, a, b))


def _pair(labels: np.ndarray, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Two instances as bool masks of the part of ``(H, W)`` labels that contains both."""
    pair = (labels == a) | (labels == b)
    rows, columns = (np.flatnonzero(pair.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pair[:0], pair[:0]
    # one pixel around it if possible, since pixels beyond the crop are treated as the border of the image
    part = labels[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    return part == a, part == b


def body_gap(labels: np.ndarray, a: int, b: int, share: float = BODY) -> float:
    """Distance of two instances without the bulges by which their labels may reach over to each other.

    In noise, labels fill a narrow gap with a bridge that does not exist. Opening by a disc smaller than the instance
    removes it, while two bodies that truly meet stay close.

    Parameters
    ----------
    labels
        ``(H, W)`` integers.
    a, b
        Two of the labels.
    share
        Radius of the disc, as a fraction of the greatest distance to the contour within the instance.

    Returns
    -------
    float
        px, edge to edge, 0 or more; infinity if one is missing.
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
    """Assign each pixel of a region to one of the particles known to be in it.

    The region is flooded from the cores of the particles along its distance map, so that the dividing line lies at the
    waist, if there is one.

    Parameters
    ----------
    region
        ``(H, W)`` bool.
    seeds
        ``(H, W)`` integers, where the particles are expected; parts outside the region are ignored.

    Returns
    -------
    ndarray
        ``(H, W)`` int32 labels, 0 outside the region; all 0 without a seed within the region.
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
    """Distance to the contour; the border of the image does not count, since a particle continues beyond it."""
    return ndimage.distance_transform_edt(np.pad(region, 1, mode="edge"))[1:-1, 1:-1]


def _look_up(labels: np.ndarray, values: Mapping[int, float]) -> np.ndarray:
    """``(H, W)`` float: the value of each label, infinity for the background."""
    keys = np.array(sorted(values))
    table = np.array([values[k] for k in keys.tolist()])
    at = np.minimum(np.searchsorted(keys, labels), len(keys) - 1)
    return np.where(labels > 0, table[at], np.inf)
