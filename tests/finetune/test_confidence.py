"""Calibration of confidence on replies whose chance of being right is known."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_micro.assistant.choices import Choice, forks
from lisa_micro.assistant.confidence import confidence_of, doubt_of
from lisa_micro.models.lisa.config import Confidence
from lisa_micro.types import InputError
from lisa_micro_finetune.confidence import Read, asking_from, confidences, fit, wrong_share


def simulated(n: int, seed: int = 0) -> list[Read]:
    """Replies whose chance of being right is logistic in the sum of their log-probabilities."""
    rng = np.random.default_rng(seed)
    totals = -rng.exponential(2.0, n)
    right = rng.random(n) < 1 / (1 + np.exp(-(3 + 1.5 * totals)))
    return [Read(float(t), float(t) * 0.7, bool(r)) for t, r in zip(totals, right, strict=True)]


def test_confidence_is_the_share_of_right_replies():
    calibration = fit(simulated(4000))
    held = simulated(4000, 1)
    told, right = confidences(held, calibration), np.array([one.right for one in held])
    for low in (0.1, 0.4, 0.7, 0.9):
        inside = (told >= low) & (told < low + 0.1)
        assert abs(right[inside].mean() - told[inside].mean()) < 0.08


def test_the_most_confident_are_wrong_less_often():
    read = simulated(2000)
    calibration = fit(read)
    shares = [wrong_share(read, calibration, share) for share in (0.3, 0.6, 1.0)]
    assert shares[0] < shares[1] < shares[2] == pytest.approx(np.mean([not one.right for one in read]))


@pytest.mark.parametrize("silent", [0.0, 0.02, 0.1])
def test_those_that_are_wrong_without_asking_are_as_few_as_wanted(silent):
    read = simulated(600)
    calibration = fit(read)
    limit = asking_from(read, calibration, silent)
    told = confidences(read, calibration)

    def quiet(threshold):
        return np.mean([not one.right and at >= threshold for one, at in zip(read, told, strict=True)])

    assert quiet(limit) <= silent < quiet(limit - 0.02)
    assert asking_from([one._replace(refused=True) for one in read], calibration, silent) == 0
    plain = [one._replace(composed=False) for one in read]
    assert asking_from(plain + read, calibration, silent) == limit


def test_replies_that_are_all_right_give_finite_coefficients():
    calibration = fit([Read(-0.1 * k, -0.1, True) for k in range(20)])
    assert all(np.isfinite([calibration.intercept, calibration.total, calibration.worst]))
    assert confidences([Read(0, 0, True)], calibration)[0] > 0.9


def test_nothing_to_calibrate_with():
    with pytest.raises(InputError, match="No request"):
        fit([])


def test_the_closest_decision_comes_first():
    choices = [Choice(0, -0.1, 5, -2.5), Choice(3, -0.6, 7, -0.9), Choice(5, -0.01, 9, -6.0)]
    assert [choice.position for choice in forks(choices)] == [3, 0, 5]
    assert doubt_of(choices) == (pytest.approx(-0.71), -0.6) and doubt_of([]) == (0.0, 0.0)
    calibration = Confidence(intercept=3, total=1, worst=0)
    assert confidence_of(choices, None) is None
    assert confidence_of(choices, calibration) == pytest.approx(1 / (1 + np.exp(-2.29)))
