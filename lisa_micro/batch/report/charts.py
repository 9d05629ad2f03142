"""Interactive charts of the report, as plotly figures in plain JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np

from lisa_micro.batch.analysis import GroupSizes, Topic
from lisa_micro.measure.statistics import BASES, class_edges, cumulative, density

COLOURS = (
    "#1b7f79", "#d98200", "#3b75af", "#c0392b", "#8256c4", "#5b8c1f", "#c2539b", "#5b6670", "#9aa020", "#7a5230",
    "#1b9eaa", "#30405a",
)  # fmt: skip
"""Colours of groups, in order."""
POINTS = 160
"""Points of a cumulative curve."""

WIDE = 30.0
"""Ratio of the largest to the smallest median from which their axis is logarithmic."""

Figure = dict[str, Any]


def colour(number: int) -> str:
    """Colour of the n-th group."""
    return COLOURS[number % len(COLOURS)]


def topic_figures(topic: Topic) -> list[Figure]:
    """Distribution, cumulative distribution, and medians of the images, by group; none without particles."""
    if not any(len(group.sample) for group in topic.groups):
        return []
    return [distribution_figure(topic), cumulative_figure(topic), medians_figure(topic)]


def distribution_figure(topic: Topic) -> Figure:
    """Share of the number, area or volume in classes of size, one step line for each group."""
    edges = class_edges(np.concatenate([group.sample.sizes for group in topic.groups]))
    traces = []
    for basis in BASES:
        for k, group in enumerate(topic.groups):
            if not len(group.sample):
                continue
            shares = 100 * density(group.sample, basis, edges)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": group.name,
                    "x": _rounded(np.repeat(edges, 2)),
                    "y": _rounded(np.concatenate([[0], np.repeat(shares, 2), [0]])),
                    "line": {"color": colour(k), "width": 2},
                    "fill": "tozeroy",
                    "fillcolor": colour(k) + "14",
                    "visible": basis == "number",
                    "hovertemplate": f"{group.name}<br>%{{x:.4g}} {topic.unit}: %{{y:.3g}} %<extra></extra>",
                }
            )
    layout = _layout("Size distribution", topic.label, "share in each class (%)")
    layout["xaxis"]["type"] = "log"
    return {"data": traces, "layout": layout | _basis_buttons(traces)}


def cumulative_figure(topic: Topic) -> Figure:
    """Cumulative distributions, with the fitted lognormal distribution of the number."""
    sizes = np.concatenate([group.sample.sizes for group in topic.groups])
    points = np.exp(np.linspace(np.log(sizes.min() * 0.97), np.log(sizes.max() * 1.03), POINTS))
    traces = []
    for basis in BASES:
        for k, group in enumerate(topic.groups):
            if not len(group.sample):
                continue
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": group.name,
                    "x": _rounded(points),
                    "y": _rounded(100 * cumulative(group.sample, basis, points)),
                    "line": {"color": colour(k), "width": 2, "shape": "hv"},
                    "visible": basis == "number",
                    "hovertemplate": f"{group.name}<br>%{{y:.3g}} % below %{{x:.4g}} {topic.unit}<extra></extra>",
                }
            )
            if basis == "number" and group.statistics is not None and group.statistics.lognormal.spread > 1:
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines",
                        "name": f"{group.name}, lognormal",
                        "x": _rounded(points),
                        "y": _rounded(100 * group.statistics.lognormal.cumulative(points)),
                        "line": {"color": colour(k), "width": 1, "dash": "dot"},
                        "visible": True,
                        "hoverinfo": "skip",
                    }
                )
    layout = _layout("Cumulative distribution", topic.label, "share below (%)")
    layout["xaxis"]["type"] = "log"
    layout["yaxis"]["range"] = [0, 100]
    return {"data": traces, "layout": layout | _basis_buttons(traces)}


def finite_medians(group: GroupSizes) -> np.ndarray:
    """Median size of each image of a group that has particles, ``(n,)``."""
    medians = group.sample.image_medians()
    return np.asarray(medians[np.isfinite(medians)])


def medians_differ_widely(topic: Topic) -> bool:
    """Whether the medians of the images differ by more than :data:`WIDE`, so that one would hide the others."""
    medians = np.concatenate([finite_medians(group) for group in topic.groups])
    return bool(len(medians)) and float(medians.max()) > WIDE * float(medians.min())


def medians_figure(topic: Topic) -> Figure:
    """Median size of each image, by group, with the D50 of the group and its interval."""
    traces: list[Figure] = []
    names: list[str] = []
    for k, group in enumerate(topic.groups):
        medians = finite_medians(group)
        if not len(medians):
            continue
        position = len(names)
        names.append(group.name)
        spread = 0.28 * np.sin(2.4 * np.arange(len(medians)))  # so that points do not hide each other
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": group.name,
                "x": _rounded(position + spread),
                "y": _rounded(medians),
                "marker": {"color": colour(k), "size": 7, "opacity": 0.6},
                "hovertemplate": f"{group.name}: image with median %{{y:.4g}} {topic.unit}<extra></extra>",
            }
        )
        if group.statistics is not None:
            d50 = group.statistics.percentiles["number"][50]
            error = {} if d50.low != d50.low else {
                "error_y": {"type": "data", "symmetric": False, "array": [d50.high - d50.value],
                            "arrayminus": [d50.value - d50.low], "color": "#1c2430", "thickness": 1.6, "width": 8}
            }  # fmt: skip
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"{group.name}, D50",
                    "x": [position],
                    "y": [d50.value],
                    "marker": {"color": "#1c2430", "size": 11, "symbol": "diamond"},
                    "hovertemplate": f"{group.name}: D50 %{{y:.4g}} {topic.unit}<extra></extra>",
                    **error,
                }
            )
    layout = _layout("Median size of each image, and D50 of each group", "", topic.label, legend=False)
    layout["xaxis"] |= {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
    if medians_differ_widely(topic):
        layout["yaxis"]["type"] = "log"
    return {"data": traces, "layout": layout}


def _layout(title: str, x: str, y: str, legend: bool = True) -> Figure:
    axis = {"gridcolor": "#e6ebf0", "linecolor": "#9aa7b5", "ticks": "outside", "zeroline": False}
    return {
        "title": {"text": title, "font": {"size": 16}, "x": 0, "xanchor": "left"},
        "height": 420,
        "margin": {"t": 64, "r": 20, "l": 66, "b": 56},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "color": "#1c2430"},
        "xaxis": {"title": {"text": x}, **axis},
        "yaxis": {"title": {"text": y}, **axis},
        "showlegend": legend,
    }


def _basis_buttons(traces: list[Figure]) -> Figure:
    """Buttons that show the traces of one basis; the traces of the number come first."""
    blocks: list[int] = []
    solid = [not str(one["name"]).endswith(", lognormal") for one in traces]
    per_basis = sum(solid) // len(BASES)
    seen = 0
    for is_solid in solid:
        blocks.append(seen // per_basis if is_solid else (seen - 1) // per_basis)
        seen += is_solid
    buttons = [
        {"label": f"by {basis}", "method": "restyle", "args": [{"visible": [block == number for block in blocks]}]}
        for number, basis in enumerate(BASES)
    ]
    menu = {
        "type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "xanchor": "right", "y": 1.16,
        "yanchor": "bottom", "showactive": True, "pad": {"b": -14},
    }  # fmt: skip
    return {"updatemenus": [menu]}


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
