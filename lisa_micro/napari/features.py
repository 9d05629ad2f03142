"""Measurements as the features table of a labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.measure import measure_particles

if TYPE_CHECKING:
    import pandas as pd

MOST_EMPTY_ROWS = 1000
"""Rows without an instance up to which row k of the features is label k."""
_UNCHANGED = ("area_px2", "box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px")
_NECK_ONLY = ("neck_width_px", "neck_width_nm", "neck_ratio")


def features_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table of instances as napari expects it: row k belongs to label k, row 0 to the background.

    Args:
        table: one row per instance, with the column ``label``.

    Returns:
        the table with a row for each number from 0; those without an instance have NaN or ``None``, which napari does
        not show. A table with very large numbers keeps its rows, and a column ``index`` names their labels instead.
        Empty without instances.

    Raises:
        ValueError: a label is no number from 0 to 2^31 - 1.
    """
    import pandas as pd

    if "label" not in table or not len(table):
        return pd.DataFrame()
    given = table["label"].to_numpy(float)
    if not ((given >= 0) & (given < 2**31)).all():
        raise ValueError("labels are numbers from 0 to 2147483647")
    labels = given.astype(np.int64)
    top = int(labels.max())
    if top > len(table) + MOST_EMPTY_ROWS:
        return table.reset_index(drop=True).assign(index=labels)
    filled = pd.DataFrame(index=pd.RangeIndex(top + 1))
    for name, column in table.items():
        values = column.to_numpy()
        number = values.dtype.kind in "iuf"
        rows = np.full(top + 1, np.nan if number else None, np.float64 if number else object)
        rows[labels] = values
        filled[str(name)] = rows
    filled["label"] = np.arange(top + 1)
    return filled


def instance_rows(features: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """The opposite of :func:`features_table`: the rows of the instances that ``labels`` ``(H, W)`` holds."""
    if "label" not in features:
        return features.iloc[:0]
    present = np.unique(labels[labels > 0])
    return features[features["label"].isin(present)].drop(columns="index", errors="ignore").reset_index(drop=True)


def measured(
    labels: np.ndarray,
    pixels: np.ndarray | None,
    pixel_size_nm: float | None,
    before: pd.DataFrame | None = None,
    concept: str = "object",
) -> pd.DataFrame:
    """Measure labels, and keep what was measured otherwise of the instances that have not changed.

    Args:
        labels: ``(H, W)`` integers, 0 = background.
        pixels: ``(H, W)`` intensities; ``None``: the column of the mean intensity is NaN.
        pixel_size_nm: edge of a pixel; ``None``: only px.
        before: an earlier table of the same layer.
        concept: of the instances. The width of a neck is measured between its particles, so it is kept from the
            earlier table, and unknown for a neck that was changed.

    Returns:
        as :func:`lisa_micro.measure_particles`, with the further columns of the earlier table.

    Raises:
        InputError: pixels of another shape, or labels that cannot be used.
    """
    table = measure_particles(labels, pixel_size_nm, pixels)
    if before is None or not len(before) or "label" not in before:
        return table
    kept = [name for name in before if name not in table and name != "index"]
    if concept == "neck":
        kept += [name for name in _NECK_ONLY if name in before and name in table]
    if not kept or any(name not in before for name in _UNCHANGED):
        return table
    earlier = before.drop_duplicates("label").set_index("label")
    same = earlier.reindex(table["label"])
    unchanged = (same[list(_UNCHANGED)].to_numpy(float) == table[list(_UNCHANGED)].to_numpy(float)).all(axis=1)
    for name in kept:
        table[name] = same[name].where(unchanged).to_numpy()
    return table
