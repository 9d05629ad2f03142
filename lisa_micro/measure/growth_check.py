"""Check of a growth fit: a curve that visibly misses its points is refused, with the reason.

A fit always gives numbers, also for a neck that grew in steps, stood still, or was joined by a third particle. Four
conditions refuse it:

- **A straight line comes closer.** The law contains straight lines (n = 1, or a t0 long ago), so a fit with a clearly
  larger sum of squares than the least-squares line has failed, for example because one frame dominates it.
- **The residuals are systematic**: their signs change too seldom to be random (runs test, Wald and Wolfowitz, Ann.
  Math. Stat. 11 (1940) 147), and they are large enough to be seen.
- **The scatter is too large**: the reduced chi-square, with the variance of the data estimated from the differences of
  consecutive residuals (von Neumann, Ann. Math. Stat. 12 (1941) 367), is too high, and the residuals can be seen.
- **Few frames that scatter widely.** Neither test says much about fewer than 12 frames. There the fit is refused if the
  scatter exceeds a fifth of the growth and a straight line, which has fewer parameters, is as close.

Errors of consecutive frames are correlated, since edges hardly move from one frame to the next. Such errors are
systematic too, but small. So residuals count only above what edges explain, and above a fraction of the growth.
"""

from __future__ import annotations

import math

import numpy as np

MISFIT = "the fitted curve misses the frames"
"""Beginning of every reason given here."""
SEEN_PX = 0.75
"""Least standard deviation of residuals, in px, at which a fit can be refused: edges are known no better."""
SEEN_RATIO = 0.05
"""The same as a fraction of the growth of x in the frames of the fit."""
_RUNS_LEVEL = 0.005
_WORST_CHI_SQUARE = 6.0  # errors with a correlation of 0.8 between neighbours reach 5
_WORSE_THAN_LINE = 1.5
_GRID_PX = 0.29  # standard deviation of a length that is rounded to a pixel
_FREE = 3
_MANY = 12  # frames from which differences of consecutive frames determine their scatter
_WIDE = 0.2  # scatter over growth
_AS_LINE = 0.9


def misfit(time_s: np.ndarray, x: np.ndarray, residual: np.ndarray, weights: np.ndarray) -> str:
    """Decide whether a fitted curve describes its frames.

    Parameters
    ----------
    time_s
        ``(N,)`` s, ascending, N above 3.
    x
        ``(N,)`` px, as measured.
    residual
        ``(N,)`` px, measured minus fitted.
    weights
        ``(N,)`` weight of each frame, 0..1: outliers have little.

    Returns
    -------
    str
        Why the fit is refused, or ``""``.
    """
    squares = float((weights * residual**2).sum())
    spread = math.sqrt(squares / (len(x) - _FREE))
    slope, height = np.polyfit(time_s - time_s[0], x, 1)
    line = x - height - slope * (time_s - time_s[0])
    growth = abs(float(slope)) * float(time_s[-1] - time_s[0])
    if spread <= max(SEEN_PX, SEEN_RATIO * growth):
        return ""
    by_line = float((residual**2).sum()) / max(float((line**2).sum()), 1e-12)
    size = f"{MISFIT} by {spread:.2g} px"
    if by_line > _WORSE_THAN_LINE:
        return f"{size}, and a straight line comes closer"
    if runs_probability(residual) < _RUNS_LEVEL:
        return f"{size}, systematically"
    if len(x) >= _MANY and (spread / scatter(residual)) ** 2 > _WORST_CHI_SQUARE:
        return f"{size}, much more than they scatter from one to the next"
    if len(x) < _MANY and spread > _WIDE * growth and by_line > _AS_LINE:
        return f"{size} while x grows by {growth:.2g} px"
    return ""


def runs_probability(residual: np.ndarray) -> float:
    """Probability that random signs, as many of each, have at most as many runs (0..1); zeros are left out.

    Examples
    --------
    >>> runs_probability(np.array([1, 1, 1, -1, -1, -1]))
    0.1
    """
    signs = np.sign(residual[residual != 0])
    up, down = int((signs > 0).sum()), int((signs < 0).sum())
    if not up or not down:
        return 2.0 ** (1 - len(signs)) if len(signs) else 1.0  # one sign only: the sign test
    runs = 1 + int((np.diff(signs) != 0).sum())
    ways = 0
    for count in range(2, runs + 1):
        k = count // 2
        if count % 2:
            ways += math.comb(up - 1, k) * math.comb(down - 1, k - 1) + math.comb(up - 1, k - 1) * math.comb(
                down - 1, k
            )
        else:
            ways += 2 * math.comb(up - 1, k - 1) * math.comb(down - 1, k - 1)
    return ways / math.comb(up + down, up)


def scatter(residual: np.ndarray) -> float:
    """Standard deviation of the data in px from consecutive differences, by their median: a slow misfit and single
    steps do not count."""
    step = 1.4826 * float(np.median(np.abs(np.diff(residual)))) / math.sqrt(2)
    return max(step, _GRID_PX)
