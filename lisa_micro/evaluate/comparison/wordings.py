"""The same request in several wordings: how much does the answer depend on the words, and where do all agree?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.ways import Assistant, by_words
from lisa_micro.metrics import iou
from lisa_micro.types import InputError, Micrograph


@dataclass(frozen=True)
class WordingComparison:
    """What several wordings gave.

    Attributes:
        image: the micrograph.
        table: one row a wording: ``objects``, ``area fraction``, ``IoU with consensus``, ``IoU with truth`` where one
            was given, ``seconds``.
        agreement: ``(H, W)`` float32, 0..1: share of the wordings that outline each pixel.
        consensus: ``(H, W)`` bool: what more than half of them outline.
        spread: highest minus lowest IoU, with the truth where there is one, else with the consensus.
    """

    image: Micrograph
    table: pd.DataFrame
    agreement: np.ndarray
    consensus: np.ndarray
    spread: float

    @property
    def uncertainty(self) -> np.ndarray:
        """``(H, W)`` float32, 0..1: 4 p (1 - p) of the share p of wordings, the variance of a vote over its largest
        possible value: 0 where all agree, 1 where they are split in halves."""
        return 4 * self.agreement * (1 - self.agreement)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``wordings.csv``, ``consensus.png``, ``uncertainty.png`` and ``wordings.json``; the paths."""
        from lisa_micro.evaluate.comparison.report import write_wordings

        return write_wordings(self, folder)


def compare_wordings(
    assistant: Assistant, image: Micrograph, wordings: Sequence[str], truth: np.ndarray | None = None
) -> WordingComparison:
    """Ask for the same in several wordings.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        wordings: two or more requests that mean the same.
        truth: ``(H, W)`` labels or mask of what is meant.

    Raises:
        InputError: fewer than two wordings, an empty one, or a truth of another size.
    """
    if len(wordings) < 2:
        raise InputError("Wordings are compared with each other; give at least two.")
    if truth is not None and np.shape(truth) != image.shape:
        raise InputError(f"The truth is {np.shape(truth)} px, the micrograph {image.shape}; they must be alike.")
    assistant.encode(image)
    ways = [by_words(assistant, image, wording) for wording in wordings]
    masks = np.stack([way.labels > 0 for way in ways])
    agreement = masks.mean(0, dtype=np.float32)
    consensus = agreement > 0.5
    rows = []
    for way, mask in zip(ways, masks, strict=True):
        row = {
            "wording": way.prompt,
            "objects": way.count,
            "area fraction": float(mask.mean()),
            "IoU with consensus": iou(mask, consensus),
        }
        if truth is not None:
            row["IoU with truth"] = iou(mask, truth)
        rows.append(row | {"seconds": way.seconds})
    table = pd.DataFrame(rows)
    judged = table["IoU with truth" if truth is not None else "IoU with consensus"]
    return WordingComparison(image, table, agreement, consensus, float(judged.max() - judged.min()))
