"""How sure a reply is, from the probabilities of the tokens that the language model chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import expit

from lisa_micro.assistant.choices import Choice, total
from lisa_micro.models.lisa.config import Confidence


class Doubt(NamedTuple):
    """What the confidence of a reply depends on.

    Attributes:
        total: sum of the log-probabilities of the chosen tokens.
        worst: smallest of them.
    """

    total: float
    worst: float


def doubt_of(choices: Sequence[Choice]) -> Doubt:
    """Sum up the choices of a reply; without any, nothing is in doubt."""
    return Doubt(float(total(choices)), min((choice.logp for choice in choices), default=0.0))


def confidence_of(choices: Sequence[Choice], calibration: Confidence | None) -> float | None:
    """Calibrated probability that a request was understood rightly; ``None`` without calibration."""
    if calibration is None:
        return None
    doubt = doubt_of(choices)
    return float(expit(calibration.intercept + calibration.total * doubt.total + calibration.worst * doubt.worst))


def is_unsure(confidence: float | None, calibration: Confidence | None) -> bool:
    """Whether an answer says how the request was understood, and asks back; never without calibration."""
    return confidence is not None and calibration is not None and confidence < calibration.unsure
