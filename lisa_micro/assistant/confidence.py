"""How sure a reply is, from the probabilities of the tokens that the language model chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from lisa_micro.assistant.choices import Choice
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
    logps = [choice.logp for choice in choices]
    return Doubt(float(np.sum(logps)), min(logps, default=0.0))


def confidence_of(choices: Sequence[Choice], calibration: Confidence | None) -> float | None:
    """Calibrated probability that a request was understood rightly; ``None`` without calibration."""
    if calibration is None:
        return None
    doubt = doubt_of(choices)
    return float(expit(calibration.intercept + calibration.total * doubt.total + calibration.worst * doubt.worst))
