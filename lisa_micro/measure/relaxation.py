"""How a particle that came from two becomes round: exponential relaxation, with an interval of its time constant.

Koch and Friedlander (J. Colloid Interface Sci. 140 (1990) 419) let the surface area a of two coalescing particles relax
to that of the sphere of equal volume, da/dt = -(a - a_s) / tau, so that a - a_s falls exponentially. In an image the
surface is not seen; what is followed here is a length, by default the largest caliper diameter. Close to the sphere
all lengths relax exponentially, the long axis of a spheroid and its aspect ratio with the same tau; the excess of
surface, which is of second order in the deviation from the sphere, with tau / 2.

tau is fitted by its profile, start and end by linear least squares for each tau; scatter, correlation of neighbouring
frames and outliers are treated as in :mod:`lisa_micro.measure.growth_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.measure.growth_fit import allowance, errors_of, whitening

LEAST_POINTS = 6
"""Frames below which nothing is fitted."""


@dataclass(frozen=True)
class Relaxation:
    """A fitted relaxation: time constant with its interval ``(low, high)``, 0 or infinity where open; the length in
    the first frame and in the end, standard deviation about the fit, all in the unit of the data; and the correlation
    of errors one frame apart."""

    tau_s: float
    interval: tuple[float, float]
    start: float
    end: float
    noise: float
    correlation: float


def fit_relaxation(time_s: np.ndarray, length: np.ndarray, level: float = 0.95) -> Relaxation | str:
    """Fit length = end + (start - end) exp(-(t - t[0]) / tau).

    Args:
        time_s: ``(N,)`` s, ascending, N at least :data:`LEAST_POINTS`.
        length: ``(N,)``, finite.
        level: of the interval.

    Returns:
        the fit, or in words why there is none.
    """
    from scipy.optimize import brentq

    since = np.asarray(time_s, float) - time_s[0]
    length = np.asarray(length, float)
    step = float(np.median(np.diff(since)))
    # faster than a third of a frame or slower than ten times what was seen cannot be told from a step or a line
    grid = np.linspace(np.log(step / 3), np.log(10 * since[-1]), 61)
    weights, rho, noise = np.ones(len(length)), 0.0, 1.0

    def solve(log_tau: float) -> tuple[float, np.ndarray, np.ndarray]:
        decay = np.exp(-since / np.exp(log_tau))
        own, last = whitening(time_s, weights, rho, noise)
        design = np.stack([np.ones(len(since)), decay], axis=1)
        white, target = design * own[:, None], length * own
        white[1:] -= design[:-1] * last[1:, None]
        target[1:] -= length[:-1] * last[1:]
        solution = np.linalg.lstsq(white, target, rcond=None)[0]
        return float(((target - white @ solution) ** 2).sum()), solution, length - design @ solution

    for _ in range(3):
        best = min(grid, key=lambda v: solve(v)[0])
        weights, rho, noise = errors_of(solve(best)[2], np.asarray(time_s, float))
    allowed = allowance(len(length), rho, level)
    squares = np.array([solve(v)[0] for v in grid])
    own, last = whitening(time_s, weights, rho, noise)
    flat, level_of = own.copy(), length * own
    flat[1:] -= last[1:]
    level_of[1:] -= length[:-1] * last[1:]
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
