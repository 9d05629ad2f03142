"""Percentiles, means and fits of a sample with intervals from a bootstrap over images.

The image is the unit that is resampled, not the particle: particles of one image resemble each other (the same place,
the same focus), so resampling particles would make intervals too narrow (Davison and Hinkley, Bootstrap Methods and
their Application (1997), 3.8). Images are drawn with replacement; the interval of level 95 % lies between quantiles of
the resampled values that are moved outwards to make up for the small number of images, such that
z(q) sqrt((m - 1) / m) = t(0.025; m - 1) with m images (expanded percentile interval; Hesterberg, Am. Stat. 69 (2015)
371).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lisa_micro.measure.statistics.fits import (
    Fit,
    fit_lognormal,
    fit_weibull,
    log_sums,
    lognormal_from_sums,
    weibull_resampled,
)
from lisa_micro.measure.statistics.samples import BASES, PERCENTILES, Basis, Sample, quantiles

RESAMPLES = 1000
WORK = 3e8
"""Particles times resamples that are worked through at most; very large samples get fewer resamples, at least 200."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the limits are NaN where there are fewer than two images.

    Attributes
    ----------
    value, low, high
        In the unit of the quantity.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def relative_half_width(self) -> float:
        """Half of the width of the interval over the value."""
        return (self.high - self.low) / 2 / self.value if self.value else float("nan")


@dataclass(frozen=True, eq=False)
class SizeStatistics:
    """Statistics of the sizes of a sample.

    Attributes
    ----------
    particles, images
        Numbers; images without particles are counted.
    percentiles
        Of each basis: ``{10: ..., 50: ..., 90: ...}``.
    means
        Mean of each basis.
    std
        Standard deviation by number.
    lognormal, weibull
        The fits.
    parameters
        Intervals of their parameters: ``median``, ``gsd``, ``scale``, ``shape``.
    resamples
        ``(r,)`` D50 by number of each resample of images, for comparisons; empty with fewer than two images.
    """

    particles: int
    images: int
    percentiles: dict[Basis, dict[int, Estimate]]
    means: dict[Basis, Estimate]
    std: Estimate
    lognormal: Fit
    weibull: Fit
    parameters: dict[str, Estimate]
    resamples: np.ndarray = field(default_factory=lambda: np.zeros(0))


def size_statistics(sample: Sample, seed: int = 0, resamples: int = RESAMPLES) -> SizeStatistics:
    """Percentiles, means and fits of a sample with 95 % intervals; the module has the method.

    Parameters
    ----------
    sample
        At least one particle.
    seed
        Of the resampling.
    resamples
        Number of resamples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sample = Sample(rng.lognormal(np.log(20), 0.4, 600), np.repeat(np.arange(12), 50), 12)
    >>> d50 = size_statistics(sample).percentiles["number"][50]
    >>> bool(d50.low < 20 < d50.high)
    True
    """
    shares = np.array(PERCENTILES) / 100
    values = {basis: quantiles(sample.sizes, sample.weighted(basis), shares) for basis in BASES}
    lognormal, weibull = fit_lognormal(sample), fit_weibull(sample)
    counts = image_counts(sample, seed, resamples)
    drawn = {basis: _resampled_quantiles(sample, basis, shares, counts) for basis in BASES}
    m = sample.n_images

    def of_percentiles(basis: Basis) -> dict[int, Estimate]:
        return {
            percentile: estimate(values[basis][k], drawn[basis][:, k], m) for k, percentile in enumerate(PERCENTILES)
        }

    means = {basis: _mean(sample, basis, counts) for basis in BASES}
    w, x, xx = (sample.per_image(sample.weighted("number") * sample.sizes**power) for power in (0, 1, 2))
    median, gsd = lognormal_from_sums(*(counts @ one for one in log_sums(sample))) if len(counts) else (_NONE, _NONE)
    has_weibull = len(counts) > 0 and weibull.location == weibull.location
    scales, shapes = weibull_resampled(sample, weibull, counts) if has_weibull else (_NONE, _NONE)
    return SizeStatistics(
        particles=len(sample),
        images=m,
        percentiles={basis: of_percentiles(basis) for basis in BASES},
        means=means,
        std=estimate(_std(w.sum(), x.sum(), xx.sum()), _std(counts @ w, counts @ x, counts @ xx), m),
        lognormal=lognormal,
        weibull=weibull,
        parameters={
            "median": estimate(lognormal.location, median, m),
            "gsd": estimate(lognormal.spread, gsd, m),
            "scale": estimate(weibull.location, scales, m),
            "shape": estimate(weibull.spread, shapes, m),
        },
        resamples=drawn["number"][:, 1],
    )


_NONE = np.zeros(0)


def image_counts(sample: Sample, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """``(r, n_images)``: how often each image is in each resample. Resamples without any particle are left out."""
    m = sample.n_images
    if m < 2 or len(sample) == 0:
        return np.zeros((0, m))
    number = int(np.clip(WORK / max(len(sample), m), 200, resamples)) if resamples > 200 else resamples
    counts = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=number).astype(np.float32)
    filled = sample.per_image(sample.weighted("number")) > 0
    return counts[counts[:, filled].sum(axis=1) > 0]


def _resampled_quantiles(sample: Sample, basis: Basis, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``(r, k)`` quantiles of each resample."""
    weights = sample.weighted(basis)
    result = np.empty((len(counts), len(shares)))
    for number, of_images in enumerate(counts):
        result[number] = quantiles(sample.sizes, weights * of_images[sample.images], shares)
    return result


def _mean(sample: Sample, basis: Basis, counts: np.ndarray) -> Estimate:
    weights = sample.weighted(basis)
    w, wx = sample.per_image(weights), sample.per_image(weights * sample.sizes)
    value = float(wx.sum() / w.sum()) if w.sum() > 0 else float("nan")
    return estimate(value, (counts @ wx) / (counts @ w) if len(counts) else _NONE, sample.n_images)


def _std(w, x, xx):  # type: ignore[no-untyped-def]
    """Standard deviation from sums of weights, weighted sizes and weighted squares."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(xx / w - (x / w) ** 2, 0))


def estimate(value: float, resampled: np.ndarray, images: int) -> Estimate:
    """A value with the expanded percentile interval of its resampled values.

    Parameters
    ----------
    value
        Of the whole sample.
    resampled
        ``(r,)``; empty: there is no interval.
    images
        Number of units that were resampled.
    """
    from scipy.stats import norm, t

    good = resampled[np.isfinite(resampled)]
    if len(good) < 2 or images < 2:
        return Estimate(float(value))
    share = float(norm.cdf(t.ppf(0.025, images - 1) * np.sqrt(images / (images - 1))))
    low, high = np.quantile(good, [share, 1 - share])
    return Estimate(float(value), float(low), float(high))
