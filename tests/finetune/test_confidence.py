"""Calibration of confidence on replies whose chance of being right is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lisa_micro.assistant.choices import Choice, Tried, best_of, forks
from lisa_micro.assistant.confidence import Doubt, confidence_of, doubt_of
from lisa_micro.assistant.language_engine import RawReply
from lisa_micro.models.lisa.config import Confidence
from lisa_micro.types import InputError
from lisa_micro_finetune.confidence import Read, asking_from, confidences, fit, wrong_share


def simulated(n: int, seed: int = 0) -> list[Read]:
    """Replies whose chance of being right is logistic in the sum of their log-probabilities."""
    rng = np.random.default_rng(seed)
    totals = -rng.exponential(2.0, n)
    right = rng.random(n) < 1 / (1 + np.exp(-(3 + 1.5 * totals)))
    return [Read(Doubt(float(t), float(t) * 0.7), bool(r)) for t, r in zip(totals, right, strict=True)]


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
    calibration = fit([Read(Doubt(-0.1 * k, -0.1), True) for k in range(20)])
    assert all(np.isfinite([calibration.intercept, calibration.total, calibration.worst]))
    assert confidences([Read(Doubt(0, 0), True)], calibration)[0] > 0.9


def test_nothing_to_calibrate_with():
    with pytest.raises(InputError, match="No request"):
        fit([])


def test_agreement_among_tried_replies_counts():
    rng = np.random.default_rng(3)
    agreement = -rng.exponential(1.0, 3000)
    right = rng.random(3000) < 1 / (1 + np.exp(-(2 + 2 * agreement)))
    read = [Read(Doubt(-1.0, -0.7, float(a)), bool(r)) for a, r in zip(agreement, right, strict=True)]
    calibration = fit(read)
    assert 1.7 < calibration.agreement < 2.3
    assert wrong_share(read, calibration, 0.5) < 0.6 * wrong_share(read, calibration, 1.0)


def test_the_closest_decision_comes_first():
    choices = [Choice(0, -0.1, 5, -2.5), Choice(3, -0.6, 7, -0.9), Choice(5, -0.01, 9, -6.0)]
    assert [choice.position for choice in forks(choices)] == [3, 0, 5]
    reply = RawReply("", [], torch.zeros(0, 1), choices=tuple(choices), agreement=-0.5)
    assert doubt_of(reply) == (pytest.approx(-0.71), -0.6, -0.5)
    assert doubt_of(RawReply("", [], torch.zeros(0, 1))) == (0.0, 0.0, 0.0)
    assert confidence_of(reply, None) is None
    calibration = Confidence(intercept=3, total=1, worst=0)
    assert confidence_of(reply, calibration) == pytest.approx(1 / (1 + np.exp(-2.29)))
    asked = Confidence(intercept=3, total=1, worst=0, agreement=2)
    assert confidence_of(reply, asked) == pytest.approx(1 / (1 + np.exp(-1.29)))


def test_replies_that_mean_the_same_support_each_other():
    def best(*tried):
        return best_of([Tried(*one) for one in tried])

    chosen, agreement = best((-1.0, 0, "a"), (-1.2, 0, "b"), (-1.1, 0, "b"))
    assert chosen == 0 and agreement == pytest.approx(-1.0 - np.log(np.exp([-1.0, -1.2, -1.1]).sum()))
    chosen, agreement = best((-1.0, 0, "a"), (-1.9, 1, "b"), (-2.1, 1, "b"))
    assert chosen == 1 and agreement == pytest.approx(
        np.log(np.exp([-0.9, -1.1]).sum() / np.exp([-1, -0.9, -1.1]).sum())
    )
    assert best((-3.0, -5, "a")) == (0, 0.0)
    # two replies that do not refuse are together more probable than a refusal
    chosen, agreement = best((-1.0, 0, "no", None), (-1.5, -1, "a"), (-1.4, -2, "b"))
    assert chosen == 1 and agreement < np.log(0.6)
    # what "grains" are, the picture decides: the request does not
    grain, particle = frozenset({"grain"}), frozenset({"particle"})
    assert best((-1.0, -9, "particles", particle), (-1.5, 0, "grains", grain))[0] == 0
