"""Agreement of two masks. Masks are ``(H, W)``, bool or numbers (not 0 = inside); distances are Euclidean,
in pixels.

Where both masks are empty they agree: IoU, Dice and boundary F1 are 1 and the Hausdorff distance is 0.
Where one is
empty: 0, 0, 0 and infinity.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from lisa_micro.types import InputError

LISA_EPSILON = 1e-5
"""What LISA adds to a union before it divides."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def check_pair(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two masks as bool arrays.

    Raises:
        InputError: not two-dimensional, or of different shapes.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise InputError(
            f"a predicted mask of shape {predicted.shape} cannot be compared with a true one of {truth.shape}"
        )
    return predicted != 0, truth != 0


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union (Jaccard 1912), |P and T| / |P or T|, 0..1."""
    p, t = check_pair(predicted, truth)
    union = np.count_nonzero(p | t)
    return np.count_nonzero(p & t) / union if union else 1.0


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient (Dice 1945), 2 |P and T| / (|P| + |T|), 0..1; equals the F1 of pixels."""
    p, t = check_pair(predicted, truth)
    total = np.count_nonzero(p) + np.count_nonzero(t)
    return 2 * np.count_nonzero(p & t) / total if total else 1.0


def giou(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """LISA's gIoU: the mean over images of I / (U + 1e-5), where empty against empty counts 1.

    Definition as in the evaluation code of LISA (Lai et al., CVPR 2024, ``train_ds.py``); not the
    generalised IoU of boxes.

    Args:
        pairs: (predicted, true) masks, one an image or one a request.

    Raises:
        InputError: no pair, or shapes that differ.
    """
    values = [(i / (u + LISA_EPSILON) if u else 1.0) for i, u in _counts(pairs)]
    return float(np.mean(values))


def ciou(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """LISA's cIoU: the sum of all intersections over the sum of all unions (1 where all masks are empty).

    Large objects dominate it (Lai et al., CVPR 2024).

    Args:
        pairs: (predicted, true) masks.

    Raises:
        InputError: no pair, or shapes that differ.
    """
    intersections, unions = np.array(_counts(pairs), float).sum(axis=0)
    return float(intersections / unions) if unions else 1.0


def _counts(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[tuple[int, int]]:
    counts = []
    for predicted, truth in pairs:
        p, t = check_pair(predicted, truth)
        counts.append((np.count_nonzero(p & t), np.count_nonzero(p | t)))
    if not counts:
        raise InputError("there are no masks to compare")
    return counts


def iou_outside_band(predicted: np.ndarray, truth: np.ndarray, band: float = 2.0) -> float:
    """IoU without the pixels near the edge of the truth, where hand-drawn and thresholded labels are
    uncertain.

    Left out are the pixels whose distance to the nearest pixel of the other class of the *truth* is at most
    ``band``: ``band`` pixels on either side of the edge.

    Args:
        predicted, truth: ``(H, W)`` masks.
        band: px, at least 0; 0 gives the plain IoU.

    Returns:
        0..1; 1 where nothing is left of both masks.
    """
    p, t = check_pair(predicted, truth)
    if not band >= 0:
        raise InputError(f"the band must be at least 0 px wide, not {band}")
    keep = np.ones(t.shape, bool)
    if t.any() and not t.all():
        distance = np.where(t, ndimage.distance_transform_edt(t), ndimage.distance_transform_edt(~t))
        keep = distance > band
    return iou(p & keep, t & keep)


def boundary(mask: np.ndarray) -> np.ndarray:
    """``(H, W)`` bool: the pixels of a mask with a 4-neighbour outside it. The image's border is no edge:
    a mask that is cut by it has no boundary there."""
    mask = np.asarray(mask) != 0
    return mask & ~ndimage.binary_erosion(mask, _CROSS, border_value=1)


def boundary_f1(predicted: np.ndarray, truth: np.ndarray, tolerance: float = 2.0) -> float:
    """F1 of boundary pixels (Csurka et al., BMVC 2013; the F measure of DAVIS, Perazzi et al., CVPR 2016).

    Precision is the part of the predicted boundary that is at most ``tolerance`` px from the true one,
    recall the part of the true boundary that is at most so far from the predicted one. Distances are
    exact, between pixel centres (DAVIS dilates with a disc, which is the same up to rounding).

    Args:
        predicted, truth: ``(H, W)`` masks.
        tolerance: px, at least 0.

    Returns:
        0..1.
    """
    p, t = check_pair(predicted, truth)
    if not tolerance >= 0:
        raise InputError(f"the tolerance must be at least 0 px, not {tolerance}")
    forward, backward = _boundary_distances(p, t)
    if forward is None:
        return float(bool(p.any()) == bool(t.any()))
    if len(forward) == 0 or len(backward) == 0:
        return float(len(forward) == len(backward))
    precision = float((forward <= tolerance + 1e-9).mean())
    recall = float((backward <= tolerance + 1e-9).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def hausdorff95(predicted: np.ndarray, truth: np.ndarray) -> float:
    """95 % Hausdorff distance between the boundaries, px.

    The larger of the two directed distances, each the 95th percentile (linear interpolation) of the
    distances from the pixels of one boundary to the other boundary (Huttenlocher et al. 1993 with the
    quantile of BraTS; MONAI's convention; MedPy pools both directions before it takes the percentile and
    can be lower).

    Returns:
        0 or more; 0 for two empty masks, infinity where only one is empty.
    """
    p, t = check_pair(predicted, truth)
    if p.any() != t.any():
        return float("inf")
    forward, backward = _boundary_distances(p, t)
    if forward is None or (len(forward) == 0 and len(backward) == 0):
        return 0.0
    if len(forward) == 0 or len(backward) == 0:  # one covers the whole image and has no boundary in it
        return float("inf")
    return float(max(np.percentile(forward, 95), np.percentile(backward, 95)))


def _boundary_distances(p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Distance of every pixel of P's boundary to T's and of T's to P's; (None, None) where a mask is empty.

    Works within the box around both boundaries. One of them may have no pixel: it gives an empty array.
    """
    if not p.any() or not t.any():
        return None, None
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
