"""Measurements as text: tables with units, and summaries."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

import numpy as np
import pandas as pd

from lisa_micro.measure import column
from lisa_micro.results.answer import Segmentation
from lisa_micro.results.quantities import Quantity, header, number, quantities, unit_of, unit_text


def table_view(layers: list[tuple[str, str, Segmentation]], most: int) -> dict[str, Any]:
    """The table on the page as plain data.

    Args:
        layers: id, colour and segment of each layer.
        most: maximum number of rows; a note states the number of omitted rows.

    Returns:
        ``columns`` (names with units), ``rows`` (layer, label, colour, cells as numbers and as text) and ``note``.
    """
    filled = [(name, colour, segment) for name, colour, segment in layers if not segment.table().empty]
    shown: dict[str, Quantity] = {}
    for _, _, segment in filled:
        for quantity in quantities(segment):
            shown.setdefault(quantity.key, quantity)
    unit = unit_of(filled[0][2]) if filled else "px"
    several = len(layers) > 1
    columns = ["#", *(["of"] if several else []), *(header(q, unit) for q in shown.values())]
    rows: list[dict[str, Any]] = []
    total = sum(len(segment.table()) for _, _, segment in filled)
    for name, colour, segment in filled:
        for record in segment.table().head(max(0, most - len(rows))).to_dict("records"):
            values = [record.get(column(q.key, unit)) for q in shown.values()]
            label = int(record["label"])
            sort = [label, *([segment.phrase] if several else []), *map(_sortable, values)]
            text = [str(label), *([segment.phrase] if several else []), *map(_text, values)]
            rows.append({"layer": name, "label": label, "colour": colour, "sort": sort, "text": text})
    note = f"{total - len(rows)} more rows are in the downloaded table." if total > len(rows) else ""
    return {"columns": columns, "rows": rows, "note": note}


def _sortable(value: SupportsFloat | None) -> float | None:
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def _text(value: SupportsFloat | None) -> str:
    return "" if value is None else number(value)


def values_of(segment: Segmentation, key: str) -> np.ndarray:
    """The finite values ``(n,)`` of a property, in nm if the pixel size is known, else in px."""
    table: pd.DataFrame = segment.table()
    name = column(key, unit_of(segment))
    if name not in table:
        return np.zeros(0)
    values = table[name].to_numpy(float)
    return values[np.isfinite(values)]


def summary(segment: Segmentation) -> list[list[str]]:
    """The summary of a segment, ``[[name, value with unit], ...]``."""
    count = len(segment.table()) or segment.count
    lines = [["number", str(count)], ["area fraction", f"{100 * float(segment.mask.mean()):.1f} %"]]
    nm = segment.pixel_size_nm
    if nm is not None and segment.concept != "substrate":
        lines.append(["number density", f"{number(count / (segment.labels.size * nm**2) * 1e6)} per µm²"])
    main = next(iter(quantities(segment)), None)
    if main is None or segment.concept == "substrate":
        return lines
    values, unit = values_of(segment, main.key), unit_text(main, unit_of(segment))
    if len(values):
        spread = f" ± {number(values.std(ddof=1))}" if len(values) > 1 else ""
        d10, d50, d90 = np.percentile(values, [10, 50, 90])
        lines += [
            [f"mean {main.name}", f"{number(values.mean())}{spread} {unit}".rstrip()],
            ["median (D50)", f"{number(d50)} {unit}".rstrip()],
            ["D10 to D90", f"{number(d10)} to {number(d90)} {unit}".rstrip()],
        ]
    return lines
