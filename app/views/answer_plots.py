"""The plots that a reply asks for as a plotly figure; the pictures of :mod:`lisa_micro.viz.answer_plots` show the
same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.execution import PlotData
from lisa_micro.viz import answer_plots as drawing
from lisa_micro_app.state.conversation import Turn
from lisa_micro_app.views.charts import GRID, INK, MUTED, count_step

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_HEIGHT = 300
_SHORT = 46


def has_plots(turn: Turn | None) -> bool:
    """Whether an answer has a plot to draw."""
    return turn is not None and any(not plot.problem for plot in turn.answer.plots)


def answer_figure(turn: Turn) -> Figure:
    """The plots of an answer below each other, in the colours of its segments.

    Args:
        turn: an answer for which :func:`has_plots` is true.
    """
    from plotly.subplots import make_subplots

    plots = [plot for plot in turn.answer.plots if not plot.problem]
    colours = {s.target: colour for s, colour in zip(turn.answer.segments, turn.colours, strict=True)}
    titles = [drawing.plot_title(plot) for plot in plots]
    figure = make_subplots(rows=len(plots), cols=1, subplot_titles=titles, vertical_spacing=0.32 / len(plots))
    figure.update_annotations(x=0, xanchor="left", yshift=16, font={"size": 14, "color": INK})
    named: set[tuple[int, str]] = set()
    for row, plot in enumerate(plots, start=1):
        for trace in _traces(plot, drawing.colours_by_target(plot, colours), named):
            figure.add_trace(trace, row, 1)
        _mark(figure, plot, row, drawing.colours_by_target(plot, colours))
        figure.update_xaxes(title_text=_across(plot), row=row, col=1)
        upright = {"histogram": "number", "cumulative": "cumulative share (%)"}.get(plot.slot.kind)
        figure.update_yaxes(title_text=upright or drawing.axis_name(plot.slot.prop, plot.unit), row=row, col=1)
        if plot.slot.kind != "scatter":
            figure.update_yaxes(rangemode="tozero", row=row, col=1)
        if plot.slot.kind == "histogram":
            figure.update_yaxes(tick0=0, dtick=count_step(plot_counts(plot)), row=row, col=1)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, linecolor="#c3ccd6", ticks="outside", title_font_size=13)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, title_font_size=13)
    entries = sum(bool(trace.showlegend) for trace in figure.data)
    figure.update_layout(
        template="plotly_white",
        barmode="overlay",
        height=_HEIGHT * len(plots) + 20 * entries,
        margin={"l": 56, "r": 18, "t": 60, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        legend={"orientation": "v", "y": -0.24 / len(plots), "x": 0, "yanchor": "top"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure


def plot_counts(plot: PlotData) -> int:
    """The highest bar of a histogram."""
    edges = drawing.plot_edges(plot)
    return max((int(np.histogram(series.values, edges)[0].max()) for series in plot.series), default=0)


def _across(plot: PlotData) -> str:
    if plot.slot.kind == "scatter":
        return drawing.axis_name(plot.slot.against, plot.against_unit)
    return drawing.axis_name(plot.slot.prop, plot.unit)


def _traces(plot: PlotData, colours: list[str], named: set[tuple[int, str]]) -> Iterator[Any]:
    """One trace a series. named: series that the legend has already, by target and name; extended."""
    import plotly.graph_objects as go

    edges = drawing.plot_edges(plot)
    for series, colour in zip(plot.series, colours, strict=True):
        name = drawing.series_name(series)
        if len(name) > 2 * _SHORT:
            name = f"{name[:_SHORT]} … {name[-_SHORT:]}"
        common: dict[str, Any] = {
            "name": name,
            "legendgroup": f"{series.target}",
            "showlegend": (series.target, name) not in named,
        }
        named.add((series.target, name))
        if plot.slot.kind == "histogram":
            counts, _ = np.histogram(series.values, edges)
            yield go.Bar(
                x=(edges[1:] + edges[:-1]) / 2,
                y=counts,
                width=np.diff(edges),
                marker={"color": colour, "opacity": 0.6, "line": {"color": "white", "width": 1}},
                customdata=np.stack([edges[:-1], edges[1:]], 1),
                hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y}<extra></extra>",
                **common,
            )
        elif plot.slot.kind == "cumulative":
            sizes, share = drawing.cumulative(series.values)
            yield go.Scatter(
                x=sizes,
                y=share,
                mode="lines",
                line={"color": colour, "width": 2.4, "shape": "hv"},
                hovertemplate="%{x:.4g}: %{y:.0f} %<extra></extra>",
                **common,
            )
        else:
            yield go.Scatter(
                x=series.against,
                y=series.values,
                mode="markers",
                marker={"color": colour, "size": 8, "opacity": 0.8, "line": {"color": "white", "width": 0.8}},
                hovertemplate="%{x:.4g}, %{y:.4g}<extra></extra>",
                **common,
            )


def _mark(figure: Figure, plot: PlotData, row: int, colours: list[str]) -> None:
    """Lines at D10, D50 and D90; with one series they are named."""
    if plot.slot.kind == "scatter" or len(plot.series) > drawing.MARKED_SERIES:
        return
    for series, colour in zip(plot.series, colours, strict=True):
        if not len(series.values):
            continue
        for name, value in drawing.percentiles(series.values).items():
            red, green, blue = (round(255 * part) for part in drawing.dark(colour))
            style = "solid" if name == "D50" else "dash"
            line = {"color": f"rgb({red},{green},{blue})", "width": 1.5, "dash": style}
            figure.add_vline(x=value, line=line, row=row, col=1)
    if len(plot.series) == 1 and len(plot.series[0].values):
        values = plot.series[0].values
        span = float(values.max() - values.min()) or 1.0
        for place, text in drawing.grouped_marks(values, span):
            figure.add_annotation(
                x=place, y=1, yref="y domain", text=text, showarrow=False, yanchor="bottom", row=row, col=1,
                font={"size": 11, "color": MUTED},
            )  # fmt: skip
