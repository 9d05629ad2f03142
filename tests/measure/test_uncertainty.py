"""Standard errors against the scatter of repeated simulated measurements."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_micro.measure.uncertainty import CountError, ErrorCurve, MeasuringError, error_components

BIAS, BETWEEN, WITHIN = 0.02, 0.03, 0.08


def curve(**changes: float) -> ErrorCurve:
    values = {"bias": BIAS, "between": BETWEEN, "within": WITHIN} | changes
    return ErrorCurve(np.array([10.0, 100.0]), *(np.full(2, value) for value in values.values()))


def measured(rng: np.random.Generator, true: np.ndarray) -> np.ndarray:
    """Sizes of one micrograph as a model with this error measures them."""
    return true * (1 + BIAS + BETWEEN * rng.normal() + WITHIN * rng.normal(size=len(true)))


def test_components_are_found_again():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(400), rng.integers(1, 20, 400))
    errors = BIAS + BETWEEN * rng.normal(size=400)[groups] + WITHIN * rng.normal(size=len(groups))
    assert error_components(errors, groups) == pytest.approx((BIAS, BETWEEN, WITHIN), abs=0.005)
    assert error_components(errors[groups == 0], groups[groups == 0])[1:] == pytest.approx((np.nan,) * 2, nan_ok=True)
    independent = error_components(rng.normal(size=300), np.repeat(np.arange(100), 3))
    assert independent[1] < 0.25 and independent[2] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("n", "sample"), [(1, True), (5, True), (60, True), (5, False)])
def test_standard_error_is_that_of_repeated_measurements(n, sample):
    """With a sample, of the mean of all that the instances are drawn from; without, of the mean of these."""
    rng = np.random.default_rng(n)
    deviations, told = [], []
    for _ in range(3000):
        true = rng.normal(50, 8 if n > 1 else 0, n)
        sizes = measured(rng, true)
        deviations.append(sizes.mean() - (50 if sample else true.mean()))
        told.append(curve().standard_error(sizes, sizes, sample) ** 2)
    assert np.sqrt(np.mean(told)) == pytest.approx(np.sqrt(np.mean(np.square(deviations))), rel=0.08)


def test_what_all_instances_share_does_not_average_out():
    sizes = np.full(100_000, 50.0)
    assert curve().standard_error(sizes, sizes) == pytest.approx(50 * np.hypot(BIAS, BETWEEN), rel=0.01)


def test_error_follows_the_size_and_ends_with_it():
    grows = ErrorCurve(np.array([10.0, 40.0]), np.zeros(2), np.array([0.1, 0.3]), np.zeros(2))
    one = np.ones(1)
    errors = [grows.standard_error(one, np.array([size])) for size in (10, 20, 40)]
    assert errors == pytest.approx([0.1, 0.2, 0.3])
    assert grows.standard_error(one, np.array([9.0])) is None and grows.standard_error(one[:0], one[:0]) is None
    many = np.full(20, 20.0)
    many[0] = 300
    assert grows.standard_error(many, many) is not None
    many[:5] = 300
    assert grows.standard_error(many, many) is None


def test_error_of_a_number():
    counts = CountError(np.array([10.0, 100.0]), np.array([-0.1, -0.1]), np.array([0.04, 0.04]))
    assert counts.standard_error(np.full(100, 30.0)) == pytest.approx(np.hypot(10, 2))
    assert counts.standard_error(np.zeros(0)) is None and counts.standard_error(np.full(3, 5.0)) is None


def test_a_micrograph_that_was_scaled_up_is_no_finer():
    error = MeasuringError("diameter", {"diameter": curve()})
    assert error.scaled(0.5).scale == 0.5 and error.scaled(3.0).scale == 1.0
