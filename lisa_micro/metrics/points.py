"""Agreement of points, such as the centres of necks. Points are ``(n, 2)``, x, y in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lisa_micro.measure.necks import Neck, find_necks
from lisa_micro.metrics.instances import Counts
from lisa_micro.types import InputError


def match_points(predicted: np.ndarray, truth: np.ndarray, reach: np.ndarray | float) -> np.ndarray:
    """Match points one to one that are close enough.

    As many pairs as possible are matched, and among those with the smallest sum of distances (Hungarian algorithm).

    Parameters
    ----------
    predicted
        ``(n, 2)`` x, y px.
    truth
        ``(m, 2)`` x, y px.
    reach
        px, ``(m,)`` or one number: greatest distance of a prediction from that true point.

    Returns
    -------
    ndarray
        ``(k, 2)`` int, indices of the predicted and the true point.

    Raises
    ------
    InputError
        Not points, not finite, or a reach that is negative or of another number than the true points.

    Examples
    --------
    >>> match_points(np.array([[0, 0], [9, 9]]), np.array([[10, 9], [50, 0]]), reach=2.0).tolist()
    [[1, 0]]
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    predicted, truth = _points(predicted), _points(truth)
    reach = np.asarray(reach, float)
    if reach.ndim > 1 or (reach.ndim == 1 and len(reach) != len(truth)) or not (reach >= 0).all():
        raise InputError(f"The reach must be one number or {len(truth)} numbers of at least 0 px.")
    if len(predicted) == 0 or len(truth) == 0:
        return np.zeros((0, 2), int)
    distance = cdist(predicted, truth)
    near = distance <= np.broadcast_to(reach, (len(truth),))[None, :] + 1e-9
    # one more pair must outweigh any reduction of the distances of all others
    scale = 2 * min(distance.shape) * max(float(distance[near].max(initial=0)), 1e-9)
    rows, columns = linear_sum_assignment(np.where(near, distance / scale - 1, 0))
    hit = near[rows, columns]
    return np.stack([rows[hit], columns[hit]], 1)


def _points(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, float)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise InputError(f"Points must be (n, 2) finite numbers x, y, not an array of shape {points.shape}.")
    return points


def point_counts(predicted: np.ndarray, truth: np.ndarray, reach: np.ndarray | float) -> Counts:
    """Numbers of hits, false alarms and misses of points; ``.f1`` of it, or of a sum over images, is the score.

    Parameters
    ----------
    predicted, truth, reach
        As for :func:`match_points`.

    Returns
    -------
    Counts

    Examples
    --------
    >>> point_counts(np.array([[0, 0], [9, 9]]), np.array([[10, 9], [50, 0]]), reach=2.0)
    Counts(tp=1, fp=1, fn=1)
    """
    hits = len(match_points(predicted, truth, reach))
    return Counts(hits, len(_points(predicted)) - hits, len(_points(truth)) - hits)


def neck_centre_counts(predicted: np.ndarray | Sequence[Neck], truth: Sequence[Neck]) -> Counts:
    """Numbers of neck centres found and missed, one to one.

    A hit lies within the true neck's width, 2x, of the true centre.

    Parameters
    ----------
    predicted
        ``(n, 2)`` centres x, y px, or necks.
    truth
        The true necks, as from :func:`lisa_micro.measure.find_necks`.

    Returns
    -------
    Counts
        For one image; add them over images, then take ``.f1``.
    """
    if not isinstance(predicted, np.ndarray):
        predicted = np.array([n.centre if isinstance(n, Neck) else n for n in predicted], float)
    centres = np.array([neck.centre for neck in truth], float).reshape(-1, 2)
    return point_counts(predicted, centres, np.array([2 * neck.x_px for neck in truth], float))


def neck_counts_from_particles(predicted: np.ndarray, truth: np.ndarray) -> Counts:
    """As :func:`neck_centre_counts`, for necks derived from predicted and true particle labels ``(H, W)``."""
    return neck_centre_counts(find_necks(predicted), find_necks(truth))


def label_centres(labels: np.ndarray) -> np.ndarray:
    """Centroids of the instances of ``(H, W)`` labels, such as predicted neck masks.

    Returns
    -------
    ndarray
        ``(n, 2)`` x, y px, in ascending order of the labels.

    Examples
    --------
    >>> label_centres(np.array([[0, 3, 3], [0, 0, 0], [1, 1, 1]])).tolist()
    [[1.0, 2.0], [1.5, 0.0]]
    """
    labels = np.asarray(labels)
    rows, columns = np.nonzero(labels)
    numbers, which = np.unique(labels[rows, columns], return_inverse=True)
    size = np.maximum(np.bincount(which, minlength=len(numbers)), 1)
    return np.stack([np.bincount(which, v, minlength=len(numbers)) / size for v in (columns, rows)], 1)
