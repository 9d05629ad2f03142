"""Plots that a reply asks for: histogram, cumulative distribution and scatter plot, as pictures and as numbers.

They are drawn from :class:`lisa_micro.execution.PlotData` alone, without matplotlib's global state, so that they may be
drawn in several threads. The bins and the names of axes and series are shared with the plotly figures of the app.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.execution import PlotData, Series
from lisa_micro.execution.telling import significant
from lisa_micro.language.program.english import property_word, unit_word
from lisa_micro.viz.overlay import PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PERCENTILES = {"D10": 10, "D50": 50, "D90": 90}
"""Marked sizes -> per cent of the instances that are smaller, by number, linearly interpolated."""
NOTHING = "There is nothing to plot."
_FEWEST, _MOST = 5, 60
_INK, _GRID = "#444444", "#e6e6e6"
_LINE = 96
MARKED_SERIES = 3
"""D10, D50 and D90 are drawn as lines where a plot has at most so many series."""


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Edges of histogram bins: one bin a number for few different whole numbers, else 5 to 60 bins, as many as the rule
    of Freedman and Diaconis or that of Sturges gives, whichever are more.

    Args:
        values: ``(n,)`` finite, of all series together.
    """
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if high - low < _MOST and np.array_equal(values, np.round(values)) and len(np.unique(values)) < len(values):
        return np.arange(low - 0.5, high + 1.0)
    if not high > low:
        pad = abs(low) * 0.05 or 0.5
        return np.linspace(low - pad, high + pad, _FEWEST + 1)
    q25, q75 = np.percentile(values, [25, 75])
    width = 2 * (q75 - q25) / len(values) ** (1 / 3)
    number = (high - low) / width if width > 0 else np.sqrt(len(values))
    number = max(number, np.log2(len(values)) + 1)
    return np.linspace(low, high, int(np.clip(np.ceil(number), _FEWEST, _MOST)) + 1)


def plot_edges(data: PlotData) -> np.ndarray:
    """Edges of the bins that all series of a histogram share."""
    return bin_edges(np.concatenate([np.zeros(0), *(series.values for series in data.series)]))


def percentiles(values: np.ndarray) -> dict[str, float]:
    """The marked sizes of a series; NaN without values."""
    if len(values) == 0:
        return dict.fromkeys(PERCENTILES, float("nan"))
    return {name: float(np.percentile(values, percent)) for name, percent in PERCENTILES.items()}


def axis_name(prop: str, unit: str) -> str:
    """``neck width (nm)``."""
    return f"{property_word(prop)} ({unit_word(unit)})" if unit else property_word(prop)


def series_name(series: Series) -> str:
    """``isolated particles (n = 12)``, the entry of a legend."""
    return f"{series.name.removeprefix('the ')} (n = {len(series.values)})"


def marks_text(series: Series, unit: str) -> str:
    """``D10 4.1, D50 5.9, D90 8 nm``; ``""`` without values."""
    if len(series.values) == 0:
        return ""
    marks = ", ".join(f"{name} {significant(value)}" for name, value in percentiles(series.values).items())
    return f"{marks} {unit_word(unit)}".rstrip()


def cumulative(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps of a cumulative distribution: sizes ``(n + 1,)`` in order, and the share of values up to each, %."""
    ordered = np.sort(values)
    share = np.arange(len(ordered) + 1) / max(len(ordered), 1) * 100
    return np.concatenate([ordered[:1], ordered]), share if len(ordered) else share[:0]


def plot_title(data: PlotData) -> str:
    """``Histogram of neck width``, the title of a plot."""
    prop = property_word(data.slot.prop)
    if data.slot.kind == "scatter":
        return f"{prop[:1].upper()}{prop[1:]} against {property_word(data.slot.against)}"
    return f"{'Histogram' if data.slot.kind == 'histogram' else 'Cumulative distribution'} of {prop}"


# ------------------------------------------------------------------------------------------------- pictures


def plot_figure(data: PlotData, colours: Sequence[str] | None = None) -> Figure:
    """Draw a plot.

    Args:
        data: the numbers. Without any, or with a problem, the figure says so.
        colours: ``#rrggbb`` of each series; ``None``: those of overlays, in order.

    Returns:
        a figure of matplotlib. Histograms and cumulative distributions mark D10, D50 and D90.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from lisa_micro.viz.notebook_figure import NotebookFigure

    figure = NotebookFigure(figsize=(7.0, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if data.problem or not any(len(series.values) for series in data.series):
        words = f"This cannot be plotted: {data.problem}." if data.problem else NOTHING
        axes.set_axis_off()
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, fontsize=12, color=_INK)
        return figure
    colours = series_colours(len(data.series)) if colours is None else colours
    draw = {"histogram": _histogram, "cumulative": _cumulative, "scatter": _scatter}[data.slot.kind]
    draw(axes, data, colours)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both" if data.slot.kind == "scatter" else "y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(plot_title(data), loc="left", fontsize=12, pad=16)
    figure.legend(loc="outside lower left", ncols=1, frameon=False, fontsize=9.5, alignment="left")
    return figure


def plot_png(data: PlotData, colours: Sequence[str] | None = None) -> bytes:
    """A plot as a PNG file; see :func:`plot_figure`."""
    buffer = io.BytesIO()
    plot_figure(data, colours).savefig(buffer, format="png")
    return buffer.getvalue()


def series_colours(count: int) -> list[str]:
    """``#rrggbb`` of the series of a plot, in the order of the colours of overlays."""
    return ["#{:02x}{:02x}{:02x}".format(*PALETTE[k % len(PALETTE)]) for k in range(count)]


def colours_by_target(data: PlotData, known: Mapping[int, str]) -> list[str]:
    """``#rrggbb`` of the series of a plot.

    Args:
        data: the plot.
        known: colours of targets on the micrograph. A series without one, since nothing of it was found, gets one that
            no other has.
    """
    free = (colour for colour in series_colours(len(data.series) + len(known)) if colour not in known.values())
    return [known[s.target] if s.target in known else next(free, _INK) for s in data.series]


def dark(colour: str) -> tuple[float, float, float]:
    """A colour ``#rrggbb`` darkened, so that lines can be seen on white: RGB, 0..1."""
    red, green, blue = (0.72 * int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _legend(series: Series, unit: str, marks: bool) -> str:
    text = marks_text(series, unit) if marks else ""
    return textwrap.fill(f"{series_name(series)}: {text}" if text else series_name(series), _LINE)


def _histogram(axes: Any, data: PlotData, colours: Sequence[str]) -> None:
    edges, several = plot_edges(data), len(data.series) > 1
    highest = 0
    for series, colour in zip(data.series, colours, strict=True):
        counts, _ = np.histogram(series.values, edges)
        highest = max(highest, int(counts.max(initial=0)))
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.38 if several else 0.7)
        axes.stairs(counts, edges, color=dark(colour), linewidth=1.3, label=_legend(series, data.unit, True))
    axes.set_ylim(0, highest * 1.06 or 1)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(axis_name(data.slot.prop, data.unit))
    axes.set_ylabel("number")
    if len(data.series) > MARKED_SERIES:
        return
    for series, colour in zip(data.series, colours, strict=True):
        for name, value in percentiles(series.values).items() if len(series.values) else ():
            axes.axvline(value, color=dark(colour), linestyle="-" if name == "D50" else "--", linewidth=1.2)
    if several:
        axes.set_title("lines: D10, D50 (solid) and D90", loc="right", fontsize=8.5, color=_INK)
        return
    for place, name in grouped_marks(data.series[0].values, float(edges[-1] - edges[0])):
        axes.text(
            place, 1.01, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8.5,
            color=dark(colours[0]),
        )  # fmt: skip


def grouped_marks(values: np.ndarray, span: float) -> list[tuple[float, str]]:
    """Places and names of D10, D50 and D90; those closer than a sixteenth of the axis share a name: ``D10, D50``."""
    groups: list[tuple[list[float], list[str]]] = []
    for name, value in percentiles(values).items():
        if groups and value - groups[-1][0][-1] < span / 16:
            groups[-1][0].append(value)
            groups[-1][1].append(name)
        else:
            groups.append(([value], [name]))
    return [(float(np.mean(places)), ", ".join(names)) for places, names in groups]


def _cumulative(axes: Any, data: PlotData, colours: Sequence[str]) -> None:
    for percent in PERCENTILES.values():
        axes.axhline(percent, color="#b5b5b5", linestyle=":", linewidth=1)
    for series, colour in zip(data.series, colours, strict=True):
        sizes, share = cumulative(series.values)
        axes.step(sizes, share, where="post", color=colour, linewidth=2, label=_legend(series, data.unit, True))
        marks = percentiles(series.values)
        axes.plot(list(marks.values()), list(PERCENTILES.values()), "o", color=dark(colour), markersize=5, zorder=3)
    for name, percent in PERCENTILES.items():
        axes.text(
            1.0, percent, f" {name}", transform=axes.get_yaxis_transform(), ha="left", va="center", fontsize=8.5,
            color=_INK,
        )  # fmt: skip
    axes.set_ylim(0, 102)
    axes.set_xlabel(axis_name(data.slot.prop, data.unit))
    axes.set_ylabel("cumulative share (%)")


def _scatter(axes: Any, data: PlotData, colours: Sequence[str]) -> None:
    for series, colour in zip(data.series, colours, strict=True):
        across = np.zeros(0) if series.against is None else series.against
        axes.scatter(
            across, series.values, s=26, color=colour, edgecolors=[dark(colour)], linewidths=0.8, alpha=0.8,
            label=_legend(series, data.unit, False),
        )  # fmt: skip
    axes.set_xlabel(axis_name(data.slot.against, data.against_unit))
    axes.set_ylabel(axis_name(data.slot.prop, data.unit))


# -------------------------------------------------------------------------------------------------- numbers


def plot_table(data: PlotData) -> pd.DataFrame:
    """The numbers of a plot, one row an instance.

    Returns:
        columns ``target`` (number in the reply), ``series`` (its name), the property, and of a scatter plot the
        horizontal one; units in the column names.
    """
    import pandas as pd

    columns = ["target", "series", _column(data.slot.prop, data.unit)]
    columns += [_column(data.slot.against, data.against_unit)] if data.slot.against else []
    rows: list[tuple[object, ...]] = []
    for series in data.series:
        values = [series.values] if series.against is None else [series.values, series.against]
        rows += [(series.target, series.name, *row) for row in zip(*values, strict=True)]
    return pd.DataFrame(rows, columns=columns[: 3 if not data.slot.against else 4])


def _column(prop: str, unit: str) -> str:
    name = prop.replace(" ", "_")
    return f"{name}_{unit}" if unit else name


def plot_record(data: PlotData) -> dict[str, Any]:
    """The numbers of a plot as plain data: kind, property, unit, and the series with values and D10, D50, D90."""
    slot = data.slot
    return {
        "kind": slot.kind,
        "property": slot.prop,
        "unit": data.unit,
        "against": slot.against or None,
        "against_unit": data.against_unit,
        "problem": data.problem or None,
        "series": [_series_record(series) for series in data.series],
    }


def _series_record(series: Series) -> dict[str, Any]:
    record = {"target": series.target, "name": series.name, "n": len(series.values), "values": series.values.tolist()}
    if series.against is not None:
        return record | {"against": series.against.tolist()}
    return record | {name: value if np.isfinite(value) else None for name, value in percentiles(series.values).items()}
