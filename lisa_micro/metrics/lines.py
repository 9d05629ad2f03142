"""Agreement of thin structures: their centre lines."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from lisa_micro.metrics.masks import check_pair


def centre_line_scores(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Precision and recall of the centre line of a mask.

    Args:
        predicted, truth: ``(H, W)``, not 0 = inside. tolerance: px.

    Returns:
        the share of the predicted centre line within ``tolerance`` of the true one, and of the true one within
        ``tolerance`` of the predicted one; 1 where there is nothing to be near to and nothing predicted, else 0 where
        either is empty.

    Raises:
        InputError: not two-dimensional, or of different shapes.
    """
    p, t = (skeletonize(mask) for mask in check_pair(predicted, truth))
    if not p.any() or not t.any():
        same = float(p.any() == t.any())
        return same, same
    precision = (ndimage.distance_transform_edt(~t)[p] <= tolerance).mean()
    recall = (ndimage.distance_transform_edt(~p)[t] <= tolerance).mean()
    return float(precision), float(recall)


def centre_line_f1(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    """Harmonic mean of :func:`centre_line_scores`, 0..1."""
    precision, recall = centre_line_scores(predicted, truth, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
