"""How ways of prompting compare with the truth and with each other."""

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
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def bootstrap(differences: np.ndarray, seed: int = 0) -> Interval:
    """Of ``(n,)`` differences, one an object; NaN without any, and an interval of no width with one."""
    values = np.asarray(differences, float)
    if not len(values):
        return Interval(*[float("nan")] * 3)
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return Interval(float(values.mean()), float(low), float(high))


def object_ious(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """``(n,)`` IoU of every instance of ``reference``, in ascending number, with its partner in ``labels`` in the
    one-to-one assignment of the highest sum; 0 for one that has no partner."""
    numbers = overlap(labels, reference).true
    partner = {truth: value for _, truth, value in match(labels, reference, 0.0)}
    return np.array([partner.get(int(number), 0.0) for number in numbers])


def against(way: Way, truth: np.ndarray) -> dict[str, float | int | str]:
    """Scores of one way against true labels ``(H, W)``.

    Returns:
        ``IoU``, ``Dice``, ``boundary F1`` (at 2 px) and ``Hausdorff 95 px`` of the union masks; ``object IoU``, the
        mean of :func:`object_ious`; ``found``, ``missed``, ``extra``: instances matched one to one at IoU 0.5, true
        ones without partner, predicted ones without.
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
    """How far one way agrees with another, where no truth is known; the columns of :func:`against` that make sense."""
    row = against(way, reference.labels)
    row["compared with"] = reference.name
    return row


def object_table(ways: dict[str, Way], reference: np.ndarray) -> pd.DataFrame:
    """One row an object of the reference labels: its number, centre x and y px, area px2, and its IoU with its partner
    in each way."""
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
    """One sentence: which of two ways was better, by how much, where most, and whether that exceeds chance.

    Args:
        table: of :func:`object_table` against the truth.
        one, other: names of ways.
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
