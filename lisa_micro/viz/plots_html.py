"""The plots of :mod:`lisa_micro.viz.plots` as an interactive page.
 It offers zoom, values under the pointer, and pairs that can be switched on and off. The page is self-contained and
opens without a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.measure.growth import growth_band, growth_curve
from lisa_micro.measure.motion import sizes_over_time, unit_of
from lisa_micro.viz.plots import (
    BLUE,
    GREY,
    KIND_STYLES,
    best_pairs,
    exponent_text,
    family_order,
    fit_times,
    lives,
    ratio_rows,
    refused_pairs,
    times_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_SHOWN = 3  # pairs that are switched on initially
_COLOURS = (
    "#3b75af",
    "#d98200",
    "#2e9e5b",
    "#c0392b",
    "#8256c4",
    "#7a5230",
    "#c2539b",
    "#5b6670",
    "#9aa020",
    "#1b9eaa",
)


def plots_page(tracks: pd.DataFrame, events: pd.DataFrame, necks: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The page as HTML text; arguments as for :func:`lisa_micro.viz.plot_files.save_plots`.

    Raises:
        InputError: a table lacks a column.
    """
    parts = []
    for number, figure in enumerate((sizes_page(tracks), growth_page(necks, pairs), timeline_page(tracks, events))):
        # without a name plotly draws one at random, and no two files would be alike
        name, whole = f"plot-{number}", number == 0
        parts.append(
            figure.to_html(full_html=False, include_plotlyjs=whole, div_id=name, config={"displaylogo": False})
        )
    style = "body{max-width:1100px;margin:auto;font-family:sans-serif}"
    head = f'<meta charset="utf-8"><title>Particles over time</title><style>{style}</style>'
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _layout(figure: Figure, title: str, x: str, y: str, height: int = 480) -> Figure:
    figure.update_layout(title=title, template="plotly_white", height=height, margin={"t": 60, "r": 20})
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def sizes_page(tracks: pd.DataFrame, name: str = "diameter") -> Figure:
    """As :func:`lisa_micro.viz.plots.sizes_figure`."""
    from plotly.graph_objects import Figure

    sizes = sizes_over_time(tracks, name)
    unit = unit_of(tracks, name)
    times, label = times_of(sizes if len(sizes) else tracks)
    figure = Figure()
    every = tracks["frame"].map(dict(zip(sizes["frame"], times, strict=False)))
    figure.add_scattergl(
        x=every,
        y=tracks[f"{name}_{unit}"],
        customdata=tracks["identity"],
        mode="markers",
        name="each particle",
        marker={"size": 3, "color": GREY, "opacity": 0.4},
        hovertemplate="particle %{customdata}: %{y:.4g} " + unit + "<extra></extra>",
    )
    hidden = {"width": 0}
    figure.add_scatter(x=times, y=sizes["D10"], line=hidden, showlegend=False, hoverinfo="skip", mode="lines")
    band = "rgba(59,117,175,0.2)"
    figure.add_scatter(x=times, y=sizes["D90"], line=hidden, fill="tonexty", fillcolor=band, name="10 to 90 %")
    figure.add_scatter(
        x=times,
        y=sizes["median"],
        customdata=sizes["count"],
        line={"color": BLUE, "width": 2.5},
        name="median",
        hovertemplate="median %{y:.4g} " + unit + " of %{customdata} particles<extra></extra>",
    )
    return _layout(figure, "Sizes over time", label, f"{name.replace('_', ' ')} ({unit})")


def growth_page(necks: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """As :func:`lisa_micro.viz.plots.growth_figure`, for all pairs; the most certain ones are switched on."""
    import pandas as pd
    from plotly.graph_objects import Figure

    figure = Figure()
    shown = pd.concat([one for one in (best_pairs(pairs), refused_pairs(pairs)) if len(one)] or [pairs.iloc[:0]])
    for number, (_, row) in enumerate(shown.iterrows()):
        times, ratio, used = ratio_rows(necks, row)
        colour = _COLOURS[number % len(_COLOURS)]
        name = f"{int(row['a'])} and {int(row['b'])}: {exponent_text(row)}"
        common: dict[str, Any] = {"legendgroup": name, "visible": True if number < _SHOWN else "legendonly"}
        fitted = bool(np.isfinite(row["n"]))
        if fitted:
            _add_fit(figure, necks, row, fit_times(row, times, used), colour, name, common)
        figure.add_scatter(
            x=times,
            y=ratio,
            mode="markers",
            marker={"size": 5, "color": colour, "opacity": np.where(used, 0.8, 0.25)},
            showlegend=not fitted,
            name=name,
            hovertemplate="t = %{x:.4g} s: x/R = %{y:.3f}<extra></extra>",
            **common,
        )
    title = "Growth of necks: x / R, fit and 95 % interval"
    if not np.isfinite(shown["n"]).any():
        title = "No neck whose growth could be fitted"
    return _layout(figure, title, "time (s)", "x / R", 560).update_yaxes(rangemode="tozero")


def _add_fit(
    figure: Figure,
    necks: pd.DataFrame,
    row: Any,
    fine: np.ndarray,
    colour: str,
    name: str,
    common: dict[str, Any],
) -> None:
    """Add the curve of a fitted pair, and the band of its interval, at the times ``fine``."""
    low, high = growth_band(necks, row, fine)
    seen = np.isfinite(low) & np.isfinite(high)
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([fine[seen], fine[seen][::-1]]),
        y=np.concatenate([low[seen], high[seen][::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **common,
    )
    figure.add_scatter(x=fine, y=growth_curve(row, fine), line={"color": colour}, name=name, mode="lines", **common)


def timeline_page(tracks: pd.DataFrame, events: pd.DataFrame) -> Figure:
    """As :func:`lisa_micro.viz.plots.timeline_figure`."""
    from plotly.graph_objects import Figure

    spans = lives(tracks, events)
    rows = family_order(spans.index.tolist(), events)
    figure = Figure()
    x: list[float | None] = []
    y: list[float | None] = []
    for name, first, last in spans.itertuples():
        x += [first, last, None]
        y += [rows[name], rows[name], None]
    line = {"color": "#b9c3cf", "width": 4}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="seen")
    times, label = times_of(events if len(events) else tracks)
    for kind, (colour, _, symbol) in KIND_STYLES.items():
        points: list[tuple[float, float, str]] = []
        links_x: list[float | None] = []
        links_y: list[float | None] = []
        for k in np.flatnonzero((events["kind"] == kind).to_numpy()) if len(events) else []:
            before, after = tuple(events["before"].iloc[k]), tuple(events["after"].iloc[k])
            names = [name for name in dict.fromkeys((*before, *after)) if name in rows]
            words = f"{kind}: {', '.join(map(str, before)) or 'none'} -> {', '.join(map(str, after)) or 'none'}"
            marked = [n for n in after if n in rows] if kind in ("coalesce", "appear") else names
            points += [(times[k], rows[name], words) for name in marked]
            if len(names) > 1:
                links_x += [times[k], times[k], None]
                links_y += [min(rows[n] for n in names), max(rows[n] for n in names), None]
        if not points:
            continue
        if links_x:
            thin = {"color": colour, "width": 1}
            figure.add_scatter(
                x=links_x, y=links_y, mode="lines", line=thin, legendgroup=kind, showlegend=False, hoverinfo="skip"
            )
        px, py, texts = zip(*points, strict=True)
        figure.add_scatter(
            x=px,
            y=py,
            text=texts,
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": 9, "line": {"color": colour, "width": 1.5}},
            legendgroup=kind,
            name=kind,
            hovertemplate="%{text}, at %{x:.5g}<extra></extra>",
        )
    _layout(figure, "Tracks and events", label, "particle", int(np.clip(180 + 16 * len(rows), 360, 1600)))
    ticks = {"tickvals": list(rows.values()), "ticktext": [str(name) for name in rows]} if len(rows) <= 120 else {}
    return figure.update_yaxes(autorange="reversed", showgrid=False, **ticks)
