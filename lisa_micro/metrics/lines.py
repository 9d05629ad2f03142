"""Agreement of thin structures: their centre lines."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from lisa_micro.metrics.masks import check_pair


def centre_line_scores(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Precision and recall of the centre line of a mask.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks; not 0 is inside.
    tolerance
        px: largest distance between matching points of the two centre lines.

    Returns
    -------
    tuple of float
        Share of the predicted centre line within ``tolerance`` of the true one, and of the true one within
        ``tolerance`` of the predicted one, 0..1. Both are 1 if both masks are empty, 0 if one of them is.

    Raises
    ------
    InputError
        If a mask is not two-dimensional, or the shapes differ.
    """
    p, t = (skeletonize(mask) for mask in check_pair(predicted, truth))
    if not p.any() or not t.any():
        same = float(p.any() == t.any())
        return same, same
    precision = (ndimage.distance_transform_edt(~t)[p] <= tolerance).mean()
    recall = (ndimage.distance_transform_edt(~p)[t] <= tolerance).mean()
    return float(precision), float(recall)


def centre_line_f1(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    """Harmonic mean of the precision and the recall of :func:`centre_line_scores`.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` masks; not 0 is inside.
    tolerance
        px: largest distance between matching points of the two centre lines.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        If a mask is not two-dimensional, or the shapes differ.
    """
    precision, recall = centre_line_scores(predicted, truth, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
