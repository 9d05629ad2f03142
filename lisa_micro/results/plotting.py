"""The numbers of plots of segments, from their tables of measured properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.execution import PlotData, Series
from lisa_micro.execution.columns import scale_of
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import Plot
from lisa_micro.measure import column
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.results.answer import Segmentation

_HALVES = {"radius": "diameter", "neck radius": "neck width"}
_ALONG_AXIS = ("length", "width")


def plot_of(segments: Sequence[Segmentation], prop: str, kind: str = "histogram", against: str = "") -> PlotData:
    """The numbers of a plot.

    Args:
        segments: one series each; those that do not have the property are left out.
        prop: a property, such as ``"diameter"`` or ``"neck width"``; of a scatter plot the vertical one.
        kind: ``"histogram"``, ``"cumulative"`` or ``"scatter"``.
        against: of a scatter plot the horizontal property.

    Returns:
        series in nm where the pixel size is known, else in px. Instances whose properties are not finite are left out.

    Raises:
        InputError: an unknown property or kind, a scatter plot without a second property, or a property that was
            measured on no segment.
    """
    kind = "scatter" if against and kind == "histogram" else kind
    if kind not in terms.PLOT_KINDS:
        raise InputError(f"Unknown kind of plot {kind!r}; choose {', '.join(terms.PLOT_KINDS)}.")
    if (kind == "scatter") != bool(against):
        raise InputError("A scatter plot needs a second property, and only it: against='area'.")
    wanted = [_known(name) for name in ([prop, against] if against else [prop])]
    series, numbers = [], []
    for k, segment in enumerate(segments, start=1):
        columns = [_values(segment, name) for name in wanted]
        if any(values is None for values in columns):
            continue
        rows = np.stack([values for values in columns if values is not None])
        rows = rows[:, np.isfinite(rows).all(axis=0)]
        number = segment.target or k
        numbers.append(number)
        series.append(Series(number, segment.phrase or segment.concept, rows[0], rows[1] if against else None))
    if segments and not series:
        names = ", ".join(dict.fromkeys(segment.phrase or segment.concept for segment in segments))
        measured = [name for name in terms.PROPERTIES if any(_values(s, name) is not None for s in segments)]
        instead = f"; measured were {', '.join(measured)}" if measured else ""
        raise InputError(f"No {' and '.join(wanted)} was measured of {names}{instead}.")
    size = segments[0].pixel_size_nm if segments else None
    units = [scale_of(name, size)[1] for name in wanted]
    slot = Plot(kind, wanted[0], wanted[1] if against else "", tuple(numbers))
    return PlotData(slot, tuple(series), units[0], units[1] if against else "")


def _known(prop: str) -> str:
    name = prop.strip().lower().replace("_", " ")
    if name not in terms.PROPERTIES:
        raise InputError(f"Unknown property {prop!r}; choose one of {', '.join(terms.PROPERTIES)}.")
    return name


def _values(segment: Segmentation, prop: str) -> np.ndarray | None:
    """``(n,)`` values in the unit of the segment; ``None`` if they were not measured."""
    table = segment.table()
    unit = "px" if segment.pixel_size_nm is None else "nm"
    whole = _HALVES.get(prop, prop)
    key = terms.PROPERTIES[whole].key
    names = [column(key, unit)]
    # of fibres, cracks and layers both are measured along the axis, beside the caliper diameters
    if key in _ALONG_AXIS:
        names.insert(0, f"{key}_{unit}")
    name = next((name for name in names if name in table), None)
    if name is None:
        return None
    values = table[name].to_numpy(float)
    return values / 2 if prop in _HALVES else values
