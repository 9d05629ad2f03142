"""Statistics over images against known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lisa_micro.measure.statistics import (
    BASES,
    Estimate,
    Sample,
    cliffs_delta,
    compare_groups,
    cumulative,
    density,
    edge_weights,
    fit_lognormal,
    fit_weibull,
    images_needed,
    ks_permutation,
    outlying,
    particles_needed,
    quantiles,
    size_statistics,
)
from lisa_micro.types import InputError


def lognormal_sample(seed: int, images: int = 10, median: float = 20.0, sigma: float = 0.4, between: float = 0.0):
    """Images with about 40 particles each, whose medians scatter by ``between`` (of the logarithm)."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(images), rng.poisson(40, images))
    centre = np.log(median) + rng.normal(0, between, images)
    return Sample(rng.lognormal(centre[number], sigma), number, images)


def test_distributions_by_number_area_and_volume_are_those_of_the_lognormal():
    rng = np.random.default_rng(0)
    sample = Sample(rng.lognormal(np.log(20), 0.3, 200_000), np.zeros(200_000, int), 1)
    found = size_statistics(sample)
    for basis, power in zip(BASES, (0, 2, 3), strict=True):  # Hatch and Choate 1929
        assert found.percentiles[basis][50].value == pytest.approx(20 * np.exp(power * 0.09), rel=0.01)
        assert found.means[basis].value == pytest.approx(20 * np.exp((power + 0.5) * 0.09), rel=0.01)
        low, high = (found.percentiles[basis][p].value for p in (10, 90))
        assert high / low == pytest.approx(np.exp(2 * 1.2816 * 0.3), rel=0.02)
    assert found.percentiles["number"][50].low != found.percentiles["number"][50].low  # one image: no interval


def test_weights_count_like_repeated_particles():
    sizes, times = np.array([5.0, 1.0, 3.0, 9.0]), np.array([1, 3, 2, 2])
    weighted = Sample(sizes, np.zeros(4, int), 1, times)
    repeated = Sample(np.repeat(sizes, times), np.zeros(8, int), 1)
    points = np.array([0.5, 1.0, 4.0, 9.0])
    for basis in BASES:
        assert np.allclose(cumulative(weighted, basis, points), cumulative(repeated, basis, points))
        assert np.allclose(
            density(weighted, basis, np.array([1, 4, 10.0])), density(repeated, basis, np.array([1, 4, 10.0]))
        )
    assert fit_lognormal(weighted).location == pytest.approx(fit_lognormal(repeated).location)
    assert quantiles(np.arange(1.0, 5.0), np.array([1, 0, 1, 0]), [0.5])[0] == 2.0


def test_fits_agree_with_scipy_and_with_the_truth():
    rng = np.random.default_rng(1)
    sizes = 30 * rng.weibull(2.5, 4000)
    sample = Sample(sizes, np.arange(4000) % 8, 8)
    fit = fit_weibull(sample)
    shape, _, scale = stats.weibull_min.fit(sizes, floc=0)
    assert (fit.location, fit.spread) == pytest.approx((scale, shape), rel=1e-3)
    assert fit.distance < 0.03 < fit_lognormal(sample).distance
    lognormal = fit_lognormal(lognormal_sample(2, 100))
    assert lognormal.location == pytest.approx(20, rel=0.02)
    assert lognormal.spread == pytest.approx(np.exp(0.4), rel=0.02)
    found = size_statistics(sample)
    assert found.parameters["shape"].low < 2.5 < found.parameters["shape"].high


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 0.15])
def test_intervals_hold_the_true_d50_as_often_as_they_should(between):
    """200 repetitions; images that differ from each other included, since particles of an image are not independent."""
    inside = 0
    for seed in range(200):
        d50 = size_statistics(lognormal_sample(seed, between=between), seed, 300).percentiles["number"][50]
        inside += d50.low <= 20 <= d50.high
    assert 184 <= inside <= 196


def test_intervals_over_particles_would_be_too_narrow():
    """The same sizes in images that differ: the interval is wider than if every particle were an image."""
    sample = lognormal_sample(0, 12, between=0.4)
    alone = Sample(sample.sizes, np.arange(len(sample)), len(sample))
    over_images, over_particles = (size_statistics(one).percentiles["number"][50] for one in (sample, alone))
    assert over_images.relative_half_width > 2 * over_particles.relative_half_width


def fields(seed: int, side: int = 200, number: int = 4000):
    """Discs placed at random in and around a frame, of which the frame shows some: sizes, boxes, whether cut."""
    rng = np.random.default_rng(seed)
    diameters = np.clip(rng.lognormal(np.log(40), 0.5, number), 4, side * 0.8)
    centres = rng.uniform(-side, 2 * side, (number, 2))
    low, high = np.ceil(centres - diameters[:, None] / 2), np.floor(centres + diameters[:, None] / 2)
    seen = ((high >= 0) & (low <= side - 1)).all(axis=1)
    cut = ((low <= 0) | (high >= side - 1)).any(axis=1)
    shown_low, shown_high = np.clip(low, 0, side - 1), np.clip(high, 0, side - 1)
    box = shown_high - shown_low + 1
    # a cut disc looks as large as the circle of its visible area; roughly, of its visible box
    shown = np.where(cut, np.sqrt(box[:, 0] * box[:, 1]), diameters)
    return diameters, shown[seen], box[seen], cut[seen]


def test_edge_correction_removes_the_bias_of_large_particles():
    true, found = [], []
    naive_whole, naive_all = [], []
    for seed in range(300):
        diameters, shown, box, cut = fields(seed)
        weights = edge_weights(box[:, 0], box[:, 1], cut, np.full(len(cut), 200), np.full(len(cut), 200))
        true.append(diameters)
        found.append((shown, weights))
        naive_whole.append(shown[~cut])
        naive_all.append(shown)
    truth = np.concatenate(true).mean()
    sizes, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    assert np.average(sizes, weights=weights) == pytest.approx(truth, rel=0.01)
    assert np.concatenate(naive_whole).mean() < 0.9 * truth
    assert abs(np.concatenate(naive_all).mean() / truth - 1) > 0.01


def test_edge_weights_give_the_number_in_the_frame():
    """Each disc is placed everywhere in turn: the weights of the whole ones add up to the places in the frame."""
    side, width = 40, 9
    starts = np.arange(-width + 1, side)  # every place at which it is seen
    x, y = (one.ravel() for one in np.meshgrid(starts, starts))
    cut = (x < 1) | (y < 1) | (x + width > side - 1) | (y + width > side - 1)
    weights = edge_weights(
        np.full(len(x), width), np.full(len(x), width), cut, np.full(len(x), side), np.full(len(x), side)
    )
    assert weights.sum() == pytest.approx(side * side)  # one disc for each px of the frame


def test_numbers_that_are_enough():
    rng = np.random.default_rng(3)
    n = particles_needed(np.exp(0.4), "number")
    medians = np.exp(rng.normal(np.log(20), 0.4, (4000, n)).mean(axis=1))
    assert np.mean(np.abs(medians / 20 - 1) < 0.05) == pytest.approx(0.95, abs=0.01)
    assert particles_needed(1.6, "volume") > particles_needed(1.6, "area") > particles_needed(1.6)
    assert images_needed(Estimate(20.0), 1) is None
    with pytest.raises(InputError):
        particles_needed(0.9)


def test_comparison_finds_what_differs_and_only_that():
    samples = {
        "A": lognormal_sample(0, 12, 20, between=0.05),
        "B": lognormal_sample(1, 12, 20, between=0.05),
        "C": lognormal_sample(2, 12, 30, between=0.05),
    }
    statistics = {name: size_statistics(sample, seed, 400) for seed, (name, sample) in enumerate(samples.items())}
    found = {(one.first, one.second): one for one in compare_groups(samples, statistics)}
    same, other = found["A", "B"], found["A", "C"]
    assert same.ks_p_holm > 0.05 and same.mann_whitney_p_holm > 0.05
    assert same.ratio.low < 1 < same.ratio.high
    assert other.ks_p_holm < 0.01 and other.mann_whitney_p_holm < 0.01
    assert other.ratio.low < 2 / 3 < other.ratio.high and other.cliffs_delta < -0.4


def test_images_that_differ_by_chance_are_not_taken_for_a_difference():
    """Particles alone would show a difference between groups whose images scatter; images do not."""
    wrong = pooled = 0
    for seed in range(40):
        one, other = lognormal_sample(2 * seed, 6, between=0.2), lognormal_sample(2 * seed + 1, 6, between=0.2)
        wrong += ks_permutation(one, other, seed, 99)[1] < 0.05
        pooled += stats.ks_2samp(one.sizes, other.sizes).pvalue < 0.05
    assert wrong <= 6 < pooled


def test_cliffs_delta_counts_pairs():
    one = Sample(np.array([1.0, 4.0, 6.0]), np.zeros(3, int), 1)
    other = Sample(np.array([2.0, 4.0]), np.zeros(2, int), 1)
    pairs = [np.sign(a - b) for a in one.sizes for b in other.sizes]
    assert cliffs_delta(one, other) == pytest.approx(np.mean(pairs))


def test_few_images_give_no_test():
    samples = {name: lognormal_sample(seed, 2) for seed, name in enumerate("AB")}
    [one] = compare_groups(samples, {name: size_statistics(sample) for name, sample in samples.items()})
    assert np.isnan(one.ks_p) and np.isnan(one.mann_whitney_p_holm) and one.ks_distance > 0


def test_outlying_images():
    values = np.array([10.0, 11, 9, 10, 12, 10, 30, np.nan])
    assert outlying(values).tolist() == [False] * 6 + [True, False]
    assert not outlying(values, least_spread=10.0).any()
    assert not outlying(np.array([1.0, 1, 1, 99])).any()  # too few to say


@pytest.mark.parametrize(
    "arguments",
    [
        ([1.0, -2.0], [0, 0], 1),
        ([1.0, np.nan], [0, 0], 1),
        ([1.0], [0, 0], 1),
        ([1.0], [3], 2),
        ([1.0], [0], 1, [-1.0]),
    ],
)
def test_samples_that_cannot_be(arguments):
    with pytest.raises(InputError):
        Sample(*(np.asarray(one) if isinstance(one, list) else one for one in arguments))


def test_an_empty_sample_and_equal_sizes_are_no_accident():
    empty = size_statistics(Sample(np.zeros(0), np.zeros(0, int), 3))
    assert empty.particles == 0 and np.isnan(empty.percentiles["number"][50].value)
    equal = size_statistics(Sample(np.full(20, 7.0), np.arange(20) % 4, 4))
    assert equal.percentiles["volume"][90].value == 7 and equal.lognormal.spread == pytest.approx(1)
