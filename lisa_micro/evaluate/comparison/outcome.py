"""Results of comparisons, without the way they are computed or reported."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.scores import Interval
from lisa_micro.evaluate.comparison.ways import Way
from lisa_micro.types import Micrograph


@dataclass(frozen=True, eq=False)
class PromptOutcome:
    """Result of several ways of prompting on one micrograph.

    Attributes:
        image: the micrograph.
        ways: results by name, in the order in which they were tried.
        truth: ``(H, W)`` int32 labels, or ``None``.
        scores: one row per way, compared with the truth or, without truth, with ``reference``.
        objects: one row per object of the truth or of ``reference``.
        reference: ``"truth"``, or the name of the way that the others are compared with.
        intervals: for each other way, the mean over objects of the IoU of words minus that of the way, with its
            confidence interval; empty without truth.
        sentence: the conclusion.
        encode_seconds: time for encoding the image, which all ways share.
        notes: notices, one sentence each.
        settings: settings of the comparison, for the record.
    """

    image: Micrograph
    ways: dict[str, Way]
    truth: np.ndarray | None
    scores: pd.DataFrame
    objects: pd.DataFrame
    reference: str
    intervals: dict[str, Interval]
    sentence: str
    encode_seconds: float
    notes: tuple[str, ...] = ()
    settings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class WordingOutcome:
    """Result of several wordings of one request.

    Attributes:
        image: the micrograph.
        table: one row per wording: ``objects``, ``area fraction``, ``IoU with consensus``, ``IoU with truth`` (if a
            truth was given), ``seconds``.
        agreement: ``(H, W)`` float32, fraction of the wordings whose mask contains the pixel, 0..1.
        consensus: ``(H, W)`` bool, pixels in more than half of the masks.
        spread: highest minus lowest IoU, with the truth if there is one, otherwise with the consensus.
    """

    image: Micrograph
    table: pd.DataFrame
    agreement: np.ndarray
    consensus: np.ndarray
    spread: float

    @property
    def uncertainty(self) -> np.ndarray:
        """``(H, W)`` float32: 4 p (1 - p) for the fraction p of wordings, the normalised variance of a vote.

        It is 0 if all wordings agree and 1 if they are split in halves.
        """
        return 4 * self.agreement * (1 - self.agreement)
