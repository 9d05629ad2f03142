"""Relaxation of coalesced particles to a round shape: an exponential, with the interval of its time constant.

Koch and Friedlander (J. Colloid Interface Sci. 140 (1990) 419) let the surface area a of two coalescing particles relax
to that of the sphere of equal volume, da/dt = -(a - a_s) / tau, so a - a_s decays exponentially. An image does not show
the surface; a length is followed here, by default the largest caliper diameter. Close to the sphere all lengths relax
exponentially, the long axis of a spheroid and its aspect ratio with the same tau; the excess of surface, which is of
second order in the deviation from the sphere, with tau / 2.

tau is fitted by its profile, with start and end from linear least squares for each tau; scatter, correlation of
neighbouring frames and outliers are treated as in :mod:`lisa_micro.measure.growth_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.measure.growth_fit import allowance, errors_of, whitening

LEAST_POINTS = 6
"""Least number of frames for a fit."""


@dataclass(frozen=True)
class Relaxation:
    """A fitted relaxation.

    Attributes
    ----------
    tau_s
        Time constant.
    interval
        Its interval ``(low, high)``, 0 or infinity if open.
    start, end
        Length in the first frame and at the end, in the unit of the data.
    noise
        Standard deviation about the fit.
    correlation
        Of errors one frame apart.
    """

    tau_s: float
    interval: tuple[float, float]
    start: float
    end: float
    noise: float
    correlation: float


def fit_relaxation(time_s: np.ndarray, length: np.ndarray, level: float = 0.95) -> Relaxation | str:
    """Fit length = end + (start - end) exp(-(t - t[0]) / tau).

    Parameters
    ----------
    time_s
        ``(N,)`` s, ascending, N at least :data:`LEAST_POINTS`.
    length
        ``(N,)``, finite.
    level
        Confidence level of the interval.

    Returns
    -------
    Relaxation or str
        The fit, or the reason why there is none.
    """
    from scipy.optimize import brentq

    since = np.asarray(time_s, float) - time_s[0]
    length = np.asarray(length, float)
    step = float(np.median(np.diff(since)))
    # times below a third of a frame or above ten times the duration cannot be told from a step or a line
    grid = np.linspace(np.log(step / 3), np.log(10 * since[-1]), 61)
    weights, rho, noise = np.ones(len(length)), 0.0, 1.0

    def solve(log_tau: float) -> tuple[float, np.ndarray, np.ndarray]:
        decay = np.exp(-since / np.exp(log_tau))
        current, previous = whitening(time_s, weights, rho, noise)
        design = np.stack([np.ones(len(since)), decay], axis=1)
        white, target = design * current[:, None], length * current
        white[1:] -= design[:-1] * previous[1:, None]
        target[1:] -= length[:-1] * previous[1:]
        solution = np.linalg.lstsq(white, target, rcond=None)[0]
        return float(((target - white @ solution) ** 2).sum()), solution, length - design @ solution

    for _ in range(3):
        best = min(grid, key=lambda v: solve(v)[0])
        weights, rho, noise = errors_of(solve(best)[2], np.asarray(time_s, float))
    allowed = allowance(len(length), rho, level)
    squares = np.array([solve(v)[0] for v in grid])
    current, previous = whitening(time_s, weights, rho, noise)
    flat, level_of = current.copy(), length * current
    flat[1:] -= previous[1:]
    level_of[1:] -= length[:-1] * previous[1:]
    constant = float(((level_of - flat * (flat @ level_of) / (flat @ flat)) ** 2).sum())
    k = int(squares.argmin())
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    for _ in range(3):  # zoom in on the best
        fine = np.linspace(low, high, 17)
        values = [solve(v)[0] for v in fine]
        j = int(np.argmin(values))
        low, high = fine[max(j - 1, 0)], fine[min(j + 1, 16)]
    best, least = float(fine[j]), float(values[j])
    if constant - least < 2 * allowed:
        return "the shape does not change beyond its scatter"
    ends = []
    for side in (-1, 1):
        outward = grid[::side][side * grid[::side] > side * best]
        inside = np.array([squares[np.searchsorted(grid, v)] - least <= allowed for v in outward], bool)
        # the outermost within the limit, since a profile may rise and fall again
        first = outward[inside][-1] if inside.any() else best
        beyond = outward[side * outward > side * first]
        if len(beyond) == 0:
            ends.append(0.0 if side < 0 else np.inf)
            continue
        ends.append(float(np.exp(brentq(lambda v: solve(v)[0] - least - allowed, first, beyond[0], xtol=1e-5))))
    end, excess = solve(best)[1]
    return Relaxation(
        float(np.exp(best)), (ends[0], ends[1]), float(end + excess), float(end), float(noise), float(rho)
    )
