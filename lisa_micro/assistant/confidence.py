"""How sure a reply is, from the probabilities of the tokens that the language model chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scipy.special import expit

from lisa_micro.assistant.choices import total
from lisa_micro.models.lisa.config import Confidence

if TYPE_CHECKING:
    from lisa_micro.assistant.language_engine import RawReply


class Doubt(NamedTuple):
    """What the confidence of a reply depends on.

    Attributes:
        total: sum of the log-probabilities of the chosen tokens.
        worst: smallest of them.
        agreement: log-probability of what the reply means among the replies that were tried.
    """

    total: float
    worst: float
    agreement: float = 0.0

    def confidence(self, calibration: Confidence) -> float:
        """Calibrated probability that the request was understood rightly."""
        score = calibration.total * self.total + calibration.worst * self.worst + calibration.agreement * self.agreement
        return float(expit(calibration.intercept + score))


def doubt_of(reply: RawReply) -> Doubt:
    """Sum up the choices of a reply; without any, nothing is in doubt."""
    worst = min((choice.logp for choice in reply.choices), default=0.0)
    return Doubt(float(total(reply.choices)), worst, reply.agreement)


def confidence_of(reply: RawReply, calibration: Confidence | None) -> float | None:
    """Calibrated probability that a request was understood rightly; ``None`` without calibration."""
    return None if calibration is None else doubt_of(reply).confidence(calibration)


def is_unsure(confidence: float | None, calibration: Confidence | None) -> bool:
    """Whether an answer says how the request was understood, and asks back; never without calibration."""
    return confidence is not None and calibration is not None and confidence < calibration.unsure
