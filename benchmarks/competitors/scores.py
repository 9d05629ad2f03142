"""Scores of the particles found in micrographs: overlap, number and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lisa_micro.metrics import counts, iou

RESAMPLES = 1000


@dataclass(frozen=True)
class ImageScore:
    """Scores of one micrograph.

    Attributes:
        name: of the picture.
        iou: of the two masks, particle against background.
        tp, fp, fn: instances at an IoU of at least 0.5.
        diameter, true_diameter: means over instances, px; ``diameter`` is 0 if nothing was found.
        seconds, processor_s: see :class:`competitors.found.Found`.
    """

    name: str
    iou: float
    tp: int
    fp: int
    fn: int
    diameter: float
    true_diameter: float
    seconds: float
    processor_s: float | None = None

    @property
    def count_error(self) -> float:
        """Number found minus true number, over the true number."""
        return (self.fp - self.fn) / (self.tp + self.fn)

    @property
    def diameter_error(self) -> float:
        """Mean diameter minus true mean diameter, over the true one; -1 if nothing was found."""
        return self.diameter / self.true_diameter - 1


def score(
    name: str,
    labels: np.ndarray,
    truth: np.ndarray,
    diameters: Sequence[float],
    seconds: float,
    processor_s: float | None = None,
) -> ImageScore:
    """Score the labels of one micrograph that has at least one true particle.

    Raises:
        ValueError: the table of the method has another number of particles than its labels, so one was misread.
    """
    found = np.count_nonzero(np.bincount(labels.ravel())[1:])
    if found != len(diameters):
        raise ValueError(f"{name}: {found} particles in the labels but {len(diameters)} in the table")
    hits = counts(labels, truth)
    areas = np.bincount(truth.ravel())[1:]
    true_diameter = float(np.sqrt(4 * areas[areas > 0] / np.pi).mean())
    diameter = float(np.mean(diameters)) if len(diameters) else 0.0
    overlap = iou(labels, truth)
    return ImageScore(name, overlap, hits.tp, hits.fp, hits.fn, diameter, true_diameter, seconds, processor_s)


def summary(scores: Sequence[ImageScore]) -> dict[str, Any]:
    """Scores of several micrographs.

    Returns:
        ``images``, ``particles`` (true); ``iou``: mean over images; ``ap``: TP / (TP + FP + FN) of all instances
        together, with its interval ``ap_low`` to ``ap_high``; ``precision`` and ``recall``; ``diameter_error`` and
        ``count_error``: medians over images of the relative errors without sign; ``diameter_bias`` and ``count_bias``:
        with sign; ``diameter_within_10``: share of images with an error of at most 10 %; ``seconds`` and
        ``processor_s``: medians; ``per_image``: everything.
    """
    table = np.array([[one.tp, one.fp, one.fn] for one in scores], float)
    tp, fp, fn = table.sum(axis=0)
    diameter = np.array([one.diameter_error for one in scores])
    count = np.array([one.count_error for one in scores])
    low, high = ap_interval(table)
    worked = [one.processor_s for one in scores if one.processor_s is not None]
    return {
        "images": len(scores),
        "particles": int(tp + fn),
        "iou": float(np.mean([one.iou for one in scores])),
        "ap": tp / max(tp + fp + fn, 1),
        "ap_low": low,
        "ap_high": high,
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "diameter_error": float(np.median(np.abs(diameter))),
        "diameter_bias": float(np.median(diameter)),
        "diameter_within_10": float(np.mean(np.abs(diameter) <= 0.1)),
        "count_error": float(np.median(np.abs(count))),
        "count_bias": float(np.median(count)),
        "seconds": float(np.median([one.seconds for one in scores])),
        "processor_s": float(np.median(worked)) if worked else None,
        "per_image": [asdict(one) for one in scores],
    }


def ap_interval(table: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of TP / (TP + FP + FN) from a bootstrap over images (seed 0).

    Args:
        table: ``(n, 3)`` TP, FP, FN of each image.
    """
    drawn = np.random.default_rng(0).integers(0, len(table), (RESAMPLES, len(table)))
    sums = table[drawn].sum(axis=1)  # (RESAMPLES, 3)
    low, high = np.quantile(sums[:, 0] / np.maximum(sums.sum(axis=1), 1), (0.025, 0.975))
    return float(low), float(high)
