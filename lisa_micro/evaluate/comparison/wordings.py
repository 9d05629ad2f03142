"""Compare several wordings of the same request: how much the answer depends on the words, and where it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.outcome import WordingOutcome
from lisa_micro.evaluate.comparison.report import write_wordings
from lisa_micro.evaluate.comparison.ways import Assistant, by_words
from lisa_micro.io import MicrographLike, as_micrograph
from lisa_micro.metrics import iou
from lisa_micro.types import InputError


class WordingComparison(WordingOutcome):
    """Result of :func:`compare_wordings`."""

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``wordings.csv``, ``consensus.png``, ``uncertainty.png`` and ``wordings.json``.

        Returns:
            the paths.

        Raises:
            InputError: the folder cannot be written.
        """
        return write_wordings(self, folder)


def compare_wordings(
    assistant: Assistant, image: MicrographLike, wordings: Sequence[str], truth: np.ndarray | None = None
) -> WordingComparison:
    """Ask the same request in several wordings.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        wordings: two or more requests with the same meaning.
        truth: ``(H, W)`` labels or mask of the requested objects.

    Raises:
        InputError: fewer than two wordings, an empty wording, or a truth of another size than the micrograph.
    """
    image = as_micrograph(image)
    if len(wordings) < 2:
        raise InputError("Wordings are compared with each other; give at least two.")
    if truth is not None and np.shape(truth) != image.shape:
        raise InputError(
            f"The truth is of shape {np.shape(truth)} but the micrograph of shape {image.shape}; they must be alike."
        )
    assistant.encode(image)
    ways = [by_words(assistant, image, wording) for wording in wordings]
    masks = np.stack([way.labels > 0 for way in ways])
    agreement = masks.mean(0, dtype=np.float32)
    consensus = agreement > 0.5
    rows = []
    for way, mask in zip(ways, masks, strict=True):
        row: dict[str, str | float] = {
            "wording": way.prompt,
            "objects": way.count,
            "area fraction": float(mask.mean()),
            "IoU with consensus": iou(mask, consensus),
        }
        if truth is not None:
            row["IoU with truth"] = iou(mask, truth)
        rows.append(row | {"seconds": way.seconds})
    table = pd.DataFrame(rows)
    scores = table["IoU with truth" if truth is not None else "IoU with consensus"]
    return WordingComparison(image, table, agreement, consensus, float(scores.max() - scores.min()))
