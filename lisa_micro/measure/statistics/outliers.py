"""Images that stand out from the others of their group.

An image stands out where its modified z-score 0.6745 (x - median) / MAD exceeds 3.5 (Iglewicz and Hoaglin, How to
Detect and Handle Outliers (1993)); MAD is the median of the absolute deviations from the median. Where more than half
of the images have the same value, MAD is 0 and 1.2533 times the mean absolute deviation takes its place, as they
advise.
"""

from __future__ import annotations

import numpy as np

LIMIT = 3.5
LEAST_IMAGES = 5
"""Images that a group needs before any of them can stand out."""


def modified_z(values: np.ndarray, least_spread: float = 0.0) -> np.ndarray:
    """Modified z-scores of ``(n,)`` values; NaN stays NaN, and all are 0 where all values are equal.

    Parameters
    ----------
    values
        One for each image.
    least_spread
        Standard deviation that is expected at least, for values that scatter by chance such as numbers of particles.

    Examples
    --------
    >>> modified_z(np.array([1.0, 2.0, 3.0, 4.0, 50.0])).round(2)
    array([-1.35, -0.67,  0.  ,  0.67, 31.7 ])
    """
    values = np.asarray(values, float)
    good = values[np.isfinite(values)]
    if len(good) == 0:
        return values * np.nan
    middle = np.median(good)
    spread = np.median(np.abs(good - middle)) / 0.6745
    if spread == 0:
        spread = np.mean(np.abs(good - middle)) * 1.2533
    spread = max(float(spread), least_spread)
    return (values - middle) / spread if spread > 0 else np.where(np.isfinite(values), 0.0, np.nan)


def outlying(values: np.ndarray, least_spread: float = 0.0) -> np.ndarray:
    """``(n,)`` bool: which of ``(n,)`` values stand out; none where fewer than :data:`LEAST_IMAGES` are known.

    Parameters
    ----------
    values, least_spread
        As for :func:`modified_z`.
    """
    values = np.asarray(values, float)
    if np.isfinite(values).sum() < LEAST_IMAGES:
        return np.zeros(len(values), bool)
    return np.abs(np.nan_to_num(modified_z(values, least_spread))) > LIMIT
