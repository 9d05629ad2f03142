"""Lognormal and Weibull distributions fitted to sizes by maximum likelihood.

- Lognormal: ``median`` = exp(mu) and ``gsd`` = exp(sigma) with mu and sigma the mean and the standard deviation of the
  logarithms (Limpert, Stahel, Abbt, BioScience 51 (2001) 341).
- Weibull (Rosin-Rammler): Q(d) = 1 - exp(-(d / scale)^shape); ``shape`` solves
  sum(w d^k ln d) / sum(w d^k) - 1 / k = sum(w ln d) / sum(w) (Cohen, Technometrics 7 (1965) 579).
- ``distance``: largest difference between the fitted and the measured cumulative distribution (Kolmogorov-Smirnov).

Particles count with their weights by number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.measure.statistics.samples import Sample

_STEPS = 60


@dataclass(frozen=True)
class Fit:
    """A fitted distribution with two parameters.

    Attributes
    ----------
    name
        ``"lognormal"`` or ``"weibull"``.
    location
        Median of the lognormal or scale of the Weibull distribution, in the unit of the sizes.
    spread
        Geometric standard deviation of the lognormal or shape of the Weibull distribution.
    distance
        Largest difference of the cumulative distributions, 0..1.
    """

    name: str
    location: float
    spread: float
    distance: float

    def cumulative(self, sizes: np.ndarray) -> np.ndarray:
        """Share of the number of particles at or below each of ``(k,)`` sizes."""
        return _cumulative(self.name, self.location, self.spread, np.asarray(sizes, float))


def _cumulative(name: str, location: float, spread: float, sizes: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    if name == "weibull":
        return 1 - np.exp(-((sizes / location) ** spread))
    result: np.ndarray = ndtr(np.log(sizes / location) / max(np.log(spread), 1e-12))
    return result


def fit_lognormal(sample: Sample) -> Fit:
    """Fit a lognormal distribution; NaN for fewer than two particles."""
    if len(sample) < 2:
        return Fit("lognormal", np.nan, np.nan, np.nan)
    location, spread = (float(one[0]) for one in lognormal_from_sums(*(s.sum()[None] for s in log_sums(sample))))
    return Fit("lognormal", location, spread, _distance(sample, "lognormal", location, spread))


def log_sums(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(n_images,)`` sums over the particles of each image: weights, weighted logarithms and their squares."""
    weights, logs = sample.weighted("number"), np.log(sample.sizes)
    return sample.per_image(weights), sample.per_image(weights * logs), sample.per_image(weights * logs**2)


def lognormal_from_sums(w: np.ndarray, wx: np.ndarray, wxx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and geometric standard deviation from sums as of :func:`log_sums`."""
    mean = wx / w
    return np.exp(mean), np.exp(np.sqrt(np.maximum(wxx / w - mean**2, 0)))


def fit_weibull(sample: Sample) -> Fit:
    """Fit a Weibull distribution; NaN for fewer than two different sizes."""
    if len(sample) < 2 or sample.sizes[0] == sample.sizes[-1]:
        return Fit("weibull", np.nan, np.nan, np.nan)
    weights = sample.weighted("number")
    scale = float(sample.sizes[-1])  # keeps powers at most 1
    logs = np.log(sample.sizes / scale)
    shape = 1.28 / max(
        float(np.sqrt(np.average((logs - np.average(logs, weights=weights)) ** 2, weights=weights))), 1e-6
    )
    for _ in range(_STEPS):
        step = _newton(shape, *(s.sum() for s in _weibull_terms(weights, logs, shape)))
        # a step that would leave the positive numbers is shortened
        new = max(shape + step, shape / 3)
        done = abs(new - shape) < 1e-10 * shape
        shape = new
        if done:
            break
    location = scale * float((weights * np.exp(shape * logs)).sum() / weights.sum()) ** (1 / shape)
    return Fit("weibull", location, float(shape), _distance(sample, "weibull", location, float(shape)))


def _weibull_terms(weights: np.ndarray, logs: np.ndarray, shape: float) -> tuple[np.ndarray, ...]:
    powers = weights * np.exp(shape * logs)
    return weights, weights * logs, powers, powers * logs, powers * logs**2


def _newton(shape: np.ndarray | float, w, wx, s0, s1, s2):  # type: ignore[no-untyped-def]
    """Newton's step for the likelihood equation of the shape."""
    value = s1 / s0 - 1 / shape - wx / w
    slope = s2 / s0 - (s1 / s0) ** 2 + 1 / shape**2
    return -value / slope


def weibull_resampled(sample: Sample, fit: Fit, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shape of resamples, by one Newton step from the fit of the whole sample.

    One step from a consistent estimate is as efficient as iterating to the end (van der Vaart, Asymptotic Statistics
    (1998), 5.7), and needs sums over images only.

    Parameters
    ----------
    sample, fit
        The sample and its fit.
    counts
        ``(r, n_images)``: how often each image is in each resample.

    Returns
    -------
    scales, shapes
        ``(r,)`` each.
    """
    scale = float(sample.sizes[-1])
    weights, logs = sample.weighted("number"), np.log(sample.sizes / scale)
    sums = [counts @ sample.per_image(term) for term in _weibull_terms(weights, logs, fit.spread)]
    step = _newton(fit.spread, *sums)
    shapes = np.maximum(fit.spread + step, fit.spread / 3)
    w, _, s0, s1, s2 = sums
    # the mean of d^k at the new shape, to second order in the step
    change = shapes - fit.spread
    powers = (s0 + change * s1 + 0.5 * change**2 * s2) / w
    return scale * powers ** (1 / shapes), shapes


def _distance(sample: Sample, name: str, location: float, spread: float) -> float:
    weights = sample.weighted("number")
    upper = np.cumsum(weights) / weights.sum()
    fitted = _cumulative(name, location, spread, sample.sizes)
    lower = np.concatenate([[0.0], upper[:-1]])
    return float(np.maximum(np.abs(upper - fitted), np.abs(fitted - lower)).max())
