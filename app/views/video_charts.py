"""Plots of tracks as plotly figures: timeline of events, growth of necks, sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.viz.plots import BLUE, best_pairs, pair_rows, times_of
from lisa_micro.viz.plots_html import growth_page, sizes_page, timeline_page

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lisa_micro.video.tracks import Tracks

_INK, _MUTED, _GRID = "#1c2733", "#5b6b7b", "#e5eaf0"
_MAX_PAIRS = 8
_COLOURS = ("#3b75af", "#d98200", "#2e9e5b", "#c0392b", "#8256c4", "#7a5230", "#c2539b", "#1b9eaa")


def timeline(tracks: Tracks) -> Figure:
    """Plot the tracks over time, with a point for each event and participating particle."""
    figure = timeline_page(tracks.tracks, tracks.events)
    rows = len(tracks.lineage)
    _style(figure, int(np.clip(120 + 15 * rows, 300, 900)))
    return figure.update_xaxes(range=_span(tracks))


def necks(tracks: Tracks) -> Figure:
    """Plot x / R against time, with fit and 95 % interval if the growth of any pair could be fitted."""
    growth = tracks.findings.growth
    if len(best_pairs(growth)):
        figure = growth_page(tracks.necks, growth)
    else:
        figure = _measured(tracks)
    return _style(figure, 420)


def _measured(tracks: Tracks) -> Figure:
    from plotly.graph_objects import Figure

    figure = Figure()
    rows = tracks.necks
    seen = rows.groupby(["particle_a", "particle_b"]).size().sort_values(ascending=False)
    for k, (a, b) in enumerate(seen.index[:_MAX_PAIRS]):
        pair = pair_rows(rows, int(a), int(b))
        times, _ = times_of(pair)
        figure.add_scatter(
            x=times,
            y=pair["x_over_R"],
            mode="lines+markers",
            name=f"{a} and {b}",
            marker={"size": 4},
            line={"color": _COLOURS[k], "width": 1.5},
            hovertemplate=f"{a} and {b}: x/R = " + "%{y:.3f}<extra></extra>",
        )
    if not len(seen):
        _blank(figure, "No two particles are in contact.")
        return figure
    _, label = times_of(rows)
    figure.update_xaxes(title=label)
    return figure.update_yaxes(title="x / R", rangemode="tozero")


def sizes(tracks: Tracks) -> Figure:
    """Plot the sizes over time (each particle, median, D10 to D90), and the number of particles below."""
    if not len(tracks.tracks):
        from plotly.graph_objects import Figure

        figure = Figure()
        _blank(figure, "Nothing was found.")
        return _style(figure, 300)
    figure = sizes_page(tracks.tracks)
    counts = tracks.counts()
    step = 1.0 if tracks.frame_time_s is None else tracks.frame_time_s
    figure.add_scatter(
        x=np.arange(len(counts)) * step,
        y=counts,
        yaxis="y2",
        mode="lines",
        line={"color": "#c0392b", "shape": "hvh", "width": 1.8},
        name="number",
        hovertemplate="%{y} particles<extra></extra>",
    )
    _style(figure, 460)
    label = figure.layout.xaxis.title.text
    figure.update_layout(
        yaxis={"domain": [0.34, 1.0]},
        yaxis2={"domain": [0.0, 0.24], "title": "number", "rangemode": "tozero", "gridcolor": _GRID, "tickformat": "d"},
        xaxis={"anchor": "y2", "title": label},
    )
    return figure


def _span(tracks: Tracks) -> list[float]:
    step = 1.0 if tracks.frame_time_s is None else tracks.frame_time_s
    last = max(len(tracks) - 1, 1) * step
    return [-0.02 * last, 1.02 * last]


def _blank(figure: Figure, words: str) -> None:
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    figure.add_annotation(text=words, font={"color": _MUTED}, **place)


def _style(figure: Figure, height: int) -> Figure:
    """Apply the style of the page, which has its own headings."""
    figure.update_layout(
        title=None,
        template="plotly_white",
        height=height,
        margin={"l": 56, "r": 16, "t": 44, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"bordercolor": BLUE},
        modebar={"bgcolor": "rgba(255,255,255,0.85)", "color": "#8a99a8", "activecolor": BLUE},
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False, linecolor="#c3ccd6", ticks="outside", title_font_size=13)
    return figure.update_yaxes(gridcolor=_GRID, zeroline=False, title_font_size=13)
