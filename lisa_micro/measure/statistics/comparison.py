"""Comparison of groups of images: do their sizes differ, and by how much?

The image is the unit of all tests, since particles of one image are not independent.

- Kolmogorov-Smirnov: largest difference D of the cumulative distributions by number. Its p is the share of random
  exchanges of images between the two groups that give a D at least as large (permutation test; Good, Permutation Tests
  (2000)).
- Mann-Whitney: of the median sizes of the images (exact for small groups; Mann and Whitney, Ann. Math. Stat. 18 (1947)
  50).
- Both are adjusted for the number of pairs by the method of Holm (Scand. J. Stat. 6 (1979) 65).
- Effect sizes: the ratio of the D50 with its 95 % interval from the bootstrap over images, and Cliff's delta (Psychol.
  Bull. 114 (1993) 494): the chance that a random particle of the first group is larger than one of the second, less the
  chance that it is smaller; -1..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lisa_micro.measure.statistics.bootstrap import Estimate, SizeStatistics, estimate
from lisa_micro.measure.statistics.samples import Sample

PERMUTATIONS = 999
LEAST_IMAGES = 3
"""Images that each of two groups needs for a test; with fewer no p below 0.05 is possible."""
_WORK = 1e8


@dataclass(frozen=True)
class GroupComparison:
    """Two groups compared.

    Attributes
    ----------
    first, second
        Names of the groups.
    ratio
        D50 by number of the first over that of the second, with its interval.
    cliffs_delta
        -1..1; positive where particles of the first group are larger.
    ks_distance
        D, 0..1.
    ks_p, mann_whitney_p
        NaN where a group has fewer than :data:`LEAST_IMAGES` images with particles.
    ks_p_holm, mann_whitney_p_holm
        The same, adjusted for the number of pairs.
    """

    first: str
    second: str
    ratio: Estimate
    cliffs_delta: float
    ks_distance: float
    ks_p: float
    mann_whitney_p: float
    ks_p_holm: float = float("nan")
    mann_whitney_p_holm: float = float("nan")


def compare_groups(
    samples: Mapping[str, Sample], statistics: Mapping[str, SizeStatistics], seed: int = 0
) -> list[GroupComparison]:
    """Compare each pair of groups; the module has the methods.

    Parameters
    ----------
    samples
        Of each group; groups without particles are left out.
    statistics
        Of the same groups, from :func:`lisa_micro.measure.statistics.size_statistics` with different seeds.
    seed
        Of the permutations.
    """
    names = [name for name, sample in samples.items() if len(sample)]
    found = [
        _compare(a, b, samples[a], samples[b], statistics[a], statistics[b], seed) for a, b in combinations(names, 2)
    ]
    ks, ranks = holm([one.ks_p for one in found]), holm([one.mann_whitney_p for one in found])
    return [replace(one, ks_p_holm=ks[k], mann_whitney_p_holm=ranks[k]) for k, one in enumerate(found)]


def _compare(
    first: str, second: str, one: Sample, other: Sample, of_one: SizeStatistics, of_other: SizeStatistics, seed: int
) -> GroupComparison:
    from scipy.stats import mannwhitneyu

    number = min(len(of_one.resamples), len(of_other.resamples))
    values = [of.percentiles["number"][50].value for of in (of_one, of_other)]
    ratio = estimate(
        values[0] / values[1],
        of_one.resamples[:number] / of_other.resamples[:number] if number else np.zeros(0),
        min(one.n_images, other.n_images),
    )
    medians = [sample.image_medians() for sample in (one, other)]
    medians = [values[np.isfinite(values)] for values in medians]
    testable = min(len(values) for values in medians) >= LEAST_IMAGES
    distance, p = ks_permutation(one, other, seed, PERMUTATIONS if testable else 0)
    return GroupComparison(
        first,
        second,
        ratio,
        cliffs_delta(one, other),
        distance,
        p,
        float(mannwhitneyu(*medians).pvalue) if testable else float("nan"),
    )


def cliffs_delta(one: Sample, other: Sample) -> float:
    """Cliff's delta of the sizes of two samples, with their weights by number."""
    weights = other.weighted("number")
    steps = np.concatenate([[0.0], np.cumsum(weights)])
    below = steps[np.searchsorted(other.sizes, one.sizes, side="left")]
    above = steps[-1] - steps[np.searchsorted(other.sizes, one.sizes, side="right")]
    return float(np.average((below - above) / steps[-1], weights=one.weighted("number")))


def ks_permutation(one: Sample, other: Sample, seed: int = 0, permutations: int = PERMUTATIONS) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of two samples, and its p by exchanging images.

    Returns
    -------
    distance, p
        p is NaN with 0 permutations.
    """
    sizes = np.concatenate([one.sizes, other.sizes])
    order = np.argsort(sizes, kind="stable")
    images = np.concatenate([one.images, other.images + one.n_images])[order]
    weights = np.concatenate([one.weighted("number"), other.weighted("number")])[order]
    last = np.flatnonzero(np.diff(sizes[order], append=np.inf) > 0)  # equal sizes count at once
    in_first = np.arange(one.n_images + other.n_images) < one.n_images

    def distance(chosen: np.ndarray) -> float:
        mine = chosen[images]
        first, second = np.cumsum(weights * mine), np.cumsum(weights * ~mine)
        if first[-1] <= 0 or second[-1] <= 0:
            return 1.0
        return float(np.abs(first / first[-1] - second / second[-1])[last].max())

    found = distance(in_first)
    if permutations:
        permutations = int(np.clip(_WORK / len(sizes), 99, permutations))
    rng = np.random.default_rng(seed)
    larger = sum(distance(rng.permutation(in_first)) >= found - 1e-12 for _ in range(permutations))
    return found, (larger + 1) / (permutations + 1) if permutations else float("nan")


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for their number by the method of Holm; NaN stays and does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    result = [float("nan")] * len(values)
    known = sorted((value, k) for k, value in enumerate(values) if value == value)
    highest = 0.0
    for rank, (value, k) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        result[k] = highest
    return result
