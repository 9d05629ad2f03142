"""Scores of ways of prompting, against the truth and against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.ways import Way
from lisa_micro.metrics import boundary_f1, dice, hausdorff95, iou, match, overlap

BOUNDARY_PX = 2.0
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval (percentiles of the means of resampled objects; Efron 1979)."""

    mean: float
    low: float
    high: float

    @property
    def exceeds_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def bootstrap(differences: np.ndarray, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean of ``(n,)`` differences, one per object; NaN without any."""
    values = np.asarray(differences, float)
    if not len(values):
        return Interval(*[float("nan")] * 3)
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return Interval(float(values.mean()), float(low), float(high))


def object_ious(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """IoU of each instance of ``reference`` with its match in ``labels``.

    Instances are matched one to one so that the sum of IoUs is largest.

    Returns:
        ``(n,)``, in ascending order of the instance numbers; 0 for an instance without match.
    """
    numbers = overlap(labels, reference).true
    partner = {truth: value for _, truth, value in match(labels, reference, 0.0)}
    return np.array([partner.get(int(number), 0.0) for number in numbers])


def against(way: Way, truth: np.ndarray) -> dict[str, float | int | str]:
    """Scores of one way against true labels ``(H, W)``.

    Returns:
        ``IoU``, ``Dice``, ``boundary F1`` (at 2 px) and ``Hausdorff 95 px`` of the union masks; ``object IoU``, the
        mean of :func:`object_ious`; ``found``, ``missed`` and ``extra``: matched instances (one to one, IoU of at least
        0.5), true instances without match, and predicted instances without match.
    """
    mask, true_mask = way.labels > 0, truth > 0
    true_count = len(np.unique(truth[true_mask]))
    found = len(match(way.labels, truth, 0.5))
    each = object_ious(way.labels, truth)
    return {
        "way": way.name,
        "prompt": way.prompt,
        "IoU": iou(mask, true_mask),
        "Dice": dice(mask, true_mask),
        f"boundary F1 ({BOUNDARY_PX:g} px)": boundary_f1(mask, true_mask, BOUNDARY_PX),
        "Hausdorff 95 px": hausdorff95(mask, true_mask),
        "object IoU": float(each.mean()) if len(each) else float("nan"),
        "found": found,
        "missed": true_count - found,
        "extra": way.count - found,
        "seconds": way.seconds,
        "user actions": way.actions,
    }


def without_truth(way: Way, reference: Way) -> dict[str, float | int | str]:
    """Agreement of one way with another, if there is no truth; columns as in :func:`against`."""
    row = against(way, reference.labels)
    row["compared with"] = reference.name
    return row


def object_table(ways: dict[str, Way], reference: np.ndarray) -> pd.DataFrame:
    """One row per object of the reference labels.

    Returns:
        columns ``object`` (its number), ``x_px`` and ``y_px`` (centre), ``area_px2``, and its IoU in each way.
    """
    numbers, first = np.unique(reference[reference > 0], return_inverse=True)
    rows, columns = np.nonzero(reference)
    size = np.bincount(first, minlength=len(numbers))
    table = pd.DataFrame(
        {
            "object": numbers,
            "x_px": np.bincount(first, columns + 0.5, minlength=len(numbers)) / np.maximum(size, 1),
            "y_px": np.bincount(first, rows + 0.5, minlength=len(numbers)) / np.maximum(size, 1),
            "area_px2": size,
        }
    )
    for name, way in ways.items():
        table[f"IoU {name}"] = object_ious(way.labels, reference)
    return table


def verdict(table: pd.DataFrame, one: str, other: str, interval: Interval) -> str:
    """The conclusion in one sentence: which way is better, by how much, for which objects, and whether by chance.

    Args:
        table: from :func:`object_table`, against the truth.
        one, other: names of two ways.
        interval: of the differences ``one - other``.
    """
    if not len(table):
        return f"The truth holds no object, so {one} and {other} cannot be compared object by object."
    difference = table[f"IoU {one}"] - table[f"IoU {other}"]
    better, worse = (one, other) if interval.mean >= 0 else (other, one)
    span = f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}, {len(table)} objects"
    if not interval.exceeds_zero:
        return (
            f"Between {one} and {other} there is no difference beyond chance: mean object IoU of {one} minus {other} "
            f"is {interval.mean:+.3f} ({span})."
        )
    gain = difference if interval.mean >= 0 else -difference
    middle = table["area_px2"].median()
    small, large = gain[table["area_px2"] <= middle].mean(), gain[table["area_px2"] > middle].mean()
    if not np.isfinite(large):
        where = ""
    else:
        where = f", most on the {'smaller' if small >= large else 'larger'} half of the objects"
    gain_text = f"by {abs(interval.mean):.3f} in mean object IoU ({span})"
    return f"{better.capitalize()} did better than {worse}, {gain_text}{where}."
