"""Percentiles, means and fits of a sample with intervals from a bootstrap over images.

The image is the unit that is resampled, not the particle: particles of one image resemble each other (the same place,
the same focus), so resampling particles would make intervals too narrow (Davison and Hinkley, Bootstrap Methods and
their Application (1997), 3.8). Images are drawn with replacement; the interval of level 95 % lies between quantiles of
the resampled values that are moved outwards to make up for the small number of images, such that
z(q) sqrt((m - 1) / m) = t(0.025; m - 1) with m images (expanded percentile interval; Hesterberg, Am. Stat. 69 (2015)
371).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
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

BLOCK = 4e6
"""Numbers in a block of resamples, which bounds the memory."""


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
    drawn = _resampled(sample, weibull, shares, resample_blocks(sample, seed, resamples))
    m = sample.n_images

    def of_percentiles(basis: Basis) -> dict[int, Estimate]:
        return {
            percentile: estimate(values[basis][k], drawn[f"{basis} D{percentile}"], m)
            for k, percentile in enumerate(PERCENTILES)
        }

    sums = {basis: tuple(one.sum() for one in _sums(sample, basis)) for basis in BASES}
    means = {basis: estimate(_divided(x, w), drawn[f"{basis} mean"], m) for basis, (w, x, _) in sums.items()}
    return SizeStatistics(
        particles=len(sample),
        images=m,
        percentiles={basis: of_percentiles(basis) for basis in BASES},
        means=means,
        std=estimate(_std(*sums["number"]), drawn["std"], m),
        lognormal=lognormal,
        weibull=weibull,
        parameters={
            "median": estimate(lognormal.location, drawn["median"], m),
            "gsd": estimate(lognormal.spread, drawn["gsd"], m),
            "scale": estimate(weibull.location, drawn["scale"], m),
            "shape": estimate(weibull.spread, drawn["shape"], m),
        },
        resamples=drawn["number D50"],
    )


def _resampled(
    sample: Sample, weibull: Fit, shares: np.ndarray, blocks: Iterator[np.ndarray]
) -> defaultdict[str, np.ndarray]:
    """``(r,)`` values of each statistic over all resamples; empty for what has no interval."""
    parts: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for counts in blocks:
        for basis in BASES:
            found = _resampled_quantiles(sample, basis, shares, counts)
            for k, percentile in enumerate(PERCENTILES):
                parts[f"{basis} D{percentile}"].append(found[:, k])
            w, x, xx = (counts @ one for one in _sums(sample, basis))
            parts[f"{basis} mean"].append(_divided(x, w))
            if basis == "number":
                parts["std"].append(_std(w, x, xx))
        median, gsd = lognormal_from_sums(*(counts @ one for one in log_sums(sample)))
        parts["median"].append(median)
        parts["gsd"].append(gsd)
        if weibull.location == weibull.location:
            scale, shape = weibull_resampled(sample, weibull, counts)
            parts["scale"].append(scale)
            parts["shape"].append(shape)
    return defaultdict(lambda: np.zeros(0), {name: np.concatenate(values) for name, values in parts.items()})


def resample_blocks(sample: Sample, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each image is in each resample, as ``(b, n_images)`` blocks of bounded size.

    Resamples without any particle are left out.
    """
    m = sample.n_images
    if m < 2 or len(sample) == 0:
        return
    number = int(np.clip(WORK / max(len(sample), m), 200, resamples)) if resamples > 200 else resamples
    filled = sample.per_image(sample.weighted("number")) > 0
    rng = np.random.default_rng(seed)
    step = max(1, int(BLOCK // m))
    for start in range(0, number, step):
        rows = min(step, number - start)
        counts = np.stack([np.bincount(rng.integers(0, m, m), minlength=m) for _ in range(rows)]).astype(float)
        counts = counts[counts[:, filled].sum(axis=1) > 0]
        if len(counts):
            yield counts


def _sums(sample: Sample, basis: Basis) -> tuple[np.ndarray, ...]:
    """``(n_images,)`` sums of weights, weighted sizes and weighted squares of each image."""
    weights = sample.weighted(basis)
    return tuple(sample.per_image(weights * sample.sizes**power) for power in (0, 1, 2))


def _divided(x, w):  # type: ignore[no-untyped-def]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(x, w)


def _resampled_quantiles(sample: Sample, basis: Basis, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``(r, k)`` quantiles of each resample."""
    weights = sample.weighted(basis)
    result = np.empty((len(counts), len(shares)))
    for number, of_images in enumerate(counts):
        result[number] = quantiles(sample.sizes, weights * of_images[sample.images], shares)
    return result


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
