"""Agreement of two masks.

Masks are ``(H, W)``, bool or numbers (nonzero = inside). Distances are Euclidean, in pixels. If both masks are empty
they agree: IoU, Dice and boundary F1 are 1 and the Hausdorff distance is 0. If only one is empty, they are 0, 0, 0 and
infinity.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from lisa_micro.types import InputError

LISA_EPSILON = 1e-5
"""LISA adds this to a union before dividing."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def check_pair(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two masks as bool arrays.

    Raises
    ------
    InputError
        Not two-dimensional, or of different shapes.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise InputError(
            f"A predicted mask of shape {predicted.shape} cannot be compared with a true mask of shape {truth.shape}."
        )
    return predicted != 0, truth != 0


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union (Jaccard 1912), IoU = |P and T| / |P or T|.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        Masks of different shapes.

    Examples
    --------
    >>> iou(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
    0.3333333333333333
    """
    p, t = check_pair(predicted, truth)
    union = np.count_nonzero(p | t)
    return float(np.count_nonzero(p & t) / union) if union else 1.0


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient (Dice 1945), 2 |P and T| / (|P| + |T|); equals the F1 of pixels.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        Masks of different shapes.

    Examples
    --------
    >>> dice(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
    0.5
    """
    p, t = check_pair(predicted, truth)
    total = np.count_nonzero(p) + np.count_nonzero(t)
    return float(2 * np.count_nonzero(p & t) / total) if total else 1.0


def giou(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """LISA's gIoU: the mean over images of I / (U + 1e-5), where two empty masks count as 1.

    As in the evaluation code of LISA (Lai et al., CVPR 2024, ``train_ds.py``); it is not the generalised IoU of boxes.

    Parameters
    ----------
    pairs
        (predicted, true) masks, one pair per image or request.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        No pair, or masks of different shapes.

    Examples
    --------
    >>> one, half = np.ones((1, 2)), np.array([[1, 0]])
    >>> round(giou([(one, one), (half, one)]), 4)
    0.75
    """
    values = [(i / (u + LISA_EPSILON) if u else 1.0) for i, u in _counts(pairs)]
    return float(np.mean(values))


def ciou(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """LISA's cIoU: the sum of all intersections over the sum of all unions (1 if all masks are empty).

    Large objects dominate it (Lai et al., CVPR 2024).

    Parameters
    ----------
    pairs
        (predicted, true) masks.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        No pair, or masks of different shapes.

    Examples
    --------
    >>> large, none = np.ones((1, 9)), np.zeros((1, 1))
    >>> ciou([(large, large), (none, np.ones((1, 1)))])
    0.9
    """
    intersections, unions = np.array(_counts(pairs), float).sum(axis=0)
    return float(intersections / unions) if unions else 1.0


def _counts(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[tuple[int, int]]:
    counts = []
    for predicted, truth in pairs:
        p, t = check_pair(predicted, truth)
        counts.append((int(np.count_nonzero(p & t)), int(np.count_nonzero(p | t))))
    if not counts:
        raise InputError("There are no masks to compare.")
    return counts


def iou_outside_band(predicted: np.ndarray, truth: np.ndarray, band: float = 2.0) -> float:
    """IoU without the pixels near the edge of the truth, where hand-drawn and thresholded labels are uncertain.

    Pixels are ignored if their distance to the nearest pixel of the other class of the *truth* is at most ``band``,
    that is, ``band`` pixels on either side of the edge.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks.
    band
        px, at least 0; 0 gives the plain IoU.

    Returns
    -------
    float
        0..1; 1 if nothing is left of both masks.

    Raises
    ------
    InputError
        Masks of different shapes, or a negative band.

    Examples
    --------
    >>> truth = np.zeros((9, 20))
    >>> truth[:, 10:] = 1
    >>> predicted = np.roll(truth, 1, axis=1)
    >>> iou(predicted, truth) < 1, iou_outside_band(predicted[:, 1:], truth[:, 1:])
    (True, 1.0)
    """
    p, t = check_pair(predicted, truth)
    if not band >= 0:
        raise InputError(f"The band must be at least 0 px wide, not {band}.")
    keep = np.ones(t.shape, bool)
    if t.any() and not t.all():
        distance = np.where(t, ndimage.distance_transform_edt(t), ndimage.distance_transform_edt(~t))
        keep = distance > band
    return iou(p & keep, t & keep)


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a 4-neighbour outside it.

    The border of the image is not an edge: a mask that is cut by it has no boundary there.

    Returns
    -------
    ndarray
        ``(H, W)`` bool.
    """
    mask = np.asarray(mask) != 0
    return mask & ~ndimage.binary_erosion(mask, _CROSS, border_value=1)


def boundary_f1(predicted: np.ndarray, truth: np.ndarray, tolerance: float = 2.0) -> float:
    """F1 of boundary pixels (Csurka et al., BMVC 2013; the F measure of DAVIS, Perazzi et al., CVPR 2016).

    Precision is the fraction of the predicted boundary that is at most ``tolerance`` px from the true one, recall the
    fraction of the true boundary that is as close to the predicted one. Distances are exact, between pixel centres
    (DAVIS dilates with a disc, which is the same up to rounding).

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks.
    tolerance
        px, at least 0.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        Masks of different shapes, or a negative tolerance.

    Examples
    --------
    >>> truth = np.zeros((20, 20))
    >>> truth[5:15, 5:15] = 1
    >>> boundary_f1(np.roll(truth, 2, axis=0), truth), boundary_f1(np.roll(truth, 2, axis=0), truth, 1) < 1
    (1.0, True)
    """
    p, t = check_pair(predicted, truth)
    if not tolerance >= 0:
        raise InputError(f"The tolerance must be at least 0 px, not {tolerance}.")
    distances = _boundary_distances(p, t)
    if distances is None:
        return float(bool(p.any()) == bool(t.any()))
    forward, backward = distances
    if len(forward) == 0 or len(backward) == 0:
        return float(len(forward) == len(backward))
    precision = float(np.mean(forward <= tolerance + 1e-9))
    recall = float(np.mean(backward <= tolerance + 1e-9))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def hausdorff95(predicted: np.ndarray, truth: np.ndarray) -> float:
    """95 % Hausdorff distance between the boundaries, px.

    The larger of the two directed distances, each the 95th percentile (linear interpolation) of the distances from the
    pixels of one boundary to the other boundary (Huttenlocher et al. 1993, with the quantile of BraTS; MONAI's
    convention; MedPy pools both directions before taking the percentile and can be lower).

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks.

    Returns
    -------
    float
        0 or more; 0 for two empty masks, infinity if only one is empty.

    Raises
    ------
    InputError
        Masks of different shapes.

    Examples
    --------
    >>> truth = np.zeros((20, 20))
    >>> truth[5:15, 5:15] = 1
    >>> hausdorff95(np.roll(truth, 3, axis=0), truth)
    3.0
    """
    p, t = check_pair(predicted, truth)
    if p.any() != t.any():
        return float("inf")
    distances = _boundary_distances(p, t)
    if distances is None:
        return 0.0
    forward, backward = distances
    if len(forward) == 0 and len(backward) == 0:
        return 0.0
    if len(forward) == 0 or len(backward) == 0:  # one mask covers the whole image and has no boundary
        return float("inf")
    return float(max(np.percentile(forward, 95), np.percentile(backward, 95)))


def _boundary_distances(p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances between two boundaries, computed within the box around both.

    Returns
    -------
    tuple of ndarray or None
        Distance of each pixel of the boundary of P to that of T, and the reverse; ``None`` if a mask is empty. A mask
        without boundary gives an empty array.
    """
    if not p.any() or not t.any():
        return None
    edge_p, edge_t = boundary(p), boundary(t)
    if not edge_p.any() or not edge_t.any():
        return (np.zeros(int(edge_p.sum())) + np.inf, np.zeros(int(edge_t.sum())) + np.inf)
    either = edge_p | edge_t
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    edge_p, edge_t = edge_p[box], edge_t[box]
    return (
        ndimage.distance_transform_edt(~edge_t)[edge_p],
        ndimage.distance_transform_edt(~edge_p)[edge_t],
    )
