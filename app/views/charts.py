"""Size distributions as plotly figures: histogram and cumulative distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.results.quantities import BODY, NECK, Quantity, header, quantities, unit_of
from lisa_micro.viz.answer_plots import bin_edges
from lisa_micro_app.state.conversation import Turn
from lisa_micro_app.views.tables import values_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, MUTED, GRID = "#1c2733", "#5b6b7b", "#e5eaf0"
_NO_CHART = ("touches_border",)


def chart_choices(turn: Turn | None) -> list[tuple[str, str]]:
    """Names and keys of the properties of an answer that can be plotted, the most important first."""
    seen: dict[str, Quantity] = {}
    for segment in turn.answer.segments if turn else ():
        if segment.concept != "substrate":
            for quantity in quantities(segment):
                seen.setdefault(quantity.key, quantity)
    return [(q.name, key) for key, q in seen.items() if key not in _NO_CHART]


def count_step(highest: int) -> int | None:
    """Distance of the ticks of an axis of counts; ``None``: plotly chooses one, which is a whole number for large
    counts."""
    return 1 if highest <= 6 else None


def distribution(turn: Turn | None, key: str | None) -> Figure:
    """Plot histogram (left) and cumulative share (right) of one property, one colour per segment.

    Args:
        turn: an answer; without one, or without values, the figure is empty and says so.
        key: one of :func:`chart_choices`; ``None``: the first.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    choices = [key_ for _, key_ in chart_choices(turn)]
    if key not in choices:
        key = choices[0] if choices else None
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.11)
    parts = []
    if turn is not None and key is not None:
        for segment, colour in zip(turn.answer.segments, turn.colours, strict=True):
            values = values_of(segment, key)
            if len(values) and segment.concept != "substrate":
                parts.append((segment, colour, values))
    edges = bin_edges(np.concatenate([values for *_, values in parts]) if parts else np.zeros(0))
    for segment, colour, values in parts:
        counts, _ = np.histogram(values, edges)
        middles, name = (edges[1:] + edges[:-1]) / 2, segment.phrase or segment.concept
        figure.add_trace(
            go.Bar(
                x=middles,
                y=counts,
                width=np.diff(edges),
                marker={"color": colour, "opacity": 0.72, "line": {"color": "white", "width": 1}},
                name=name,
                customdata=np.stack([edges[:-1], edges[1:]], 1),
                hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y}<extra></extra>",
                showlegend=len(parts) > 1,
                legendgroup=name,
            ),
            1,
            1,
        )
        ordered = np.sort(values)
        share = np.arange(1, len(ordered) + 1) / len(ordered) * 100
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([ordered[:1], ordered]),
                y=np.concatenate([[0], share]),
                mode="lines",
                line={"color": colour, "width": 2.4, "shape": "hv"},
                name=name,
                showlegend=False,
                legendgroup=name,
                hovertemplate="%{x:.4g}: %{y:.0f} %<extra></extra>",
            ),
            1,
            2,
        )
    quantity = next((q for q in (*BODY, *NECK) if q.key == key), None)
    title = header(quantity, unit_of(parts[0][0])) if quantity and parts else ""
    figure.update_xaxes(
        title_text=title, title_font_size=13, gridcolor=GRID, zeroline=False, linecolor="#c3ccd6", ticks="outside"
    )
    figure.update_yaxes(title_font_size=13, gridcolor=GRID, zeroline=False, rangemode="tozero")
    highest = max((int(max(trace.y)) for trace in figure.data if trace.type == "bar"), default=0)
    figure.update_yaxes(title_text="number", row=1, col=1, tickformat="d", dtick=count_step(highest))
    figure.update_yaxes(title_text="cumulative share (%)", row=1, col=2, range=[0, 102])
    figure.update_layout(
        template="plotly_white",
        barmode="overlay",
        height=330,
        margin={"l": 56, "r": 18, "t": 18, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    if not parts:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text="No measurements to plot yet.",
            showarrow=False,
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            font={"color": MUTED},
        )
    return figure
