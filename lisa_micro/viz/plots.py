"""Plots of a tracked video: sizes over time, growth of necks, and a timeline of tracks and events.

They are drawn from the tables alone, without matplotlib's global state, so they may be made in several threads. Times
are in seconds if known, otherwise in frames. :mod:`lisa_micro.viz.plots_html` gives the same as an interactive page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.measure.growth import growth_band, growth_curve
from lisa_micro.measure.growth_fit import LEAST_FRAMES
from lisa_micro.measure.motion import numbers, sizes_over_time, unit_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KIND_STYLES: dict[str, tuple[str, str, str]] = {
    "appear": ("#2e9e5b", "o", "circle"),
    "contact": ("#3b75af", "|", "line-ns-open"),
    "neck": ("#8256c4", "D", "diamond"),
    "coalesce": ("#c0392b", "*", "star"),
    "split": ("#d98200", "v", "triangle-down"),
    "vanish": ("#555555", "x", "x"),
    "leave": ("#8a8a8a", ">", "triangle-right"),
}
"""Kind of event -> colour, marker in matplotlib, marker in plotly."""
BLUE, RED, GREY = "#3b75af", "#c0392b", "#444444"
_PANELS = 6
_TITLE_CHARACTERS = 36


def times_of(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Times of the rows and their axis label: seconds, or frames if any time is unknown."""
    times = numbers(table, "time_s", "rows") if "time_s" in table else np.full(len(table), np.nan)
    return (times, "time (s)") if np.isfinite(times).all() else (numbers(table, "frame", "rows"), "frame")


def _figure(width: float = 8.0, height: float = 5.0) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _nothing(axes: Any, words: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, fontsize=12, color=GREY)


def sizes_figure(tracks: pd.DataFrame, name: str = "diameter") -> Figure:
    """Size distribution over time, and the number of particles below.

    Each particle is a dot; shown are the median and the ranges of the middle 80 % and 50 %.

    Args:
        tracks: see :func:`lisa_micro.viz.plot_files.save_plots`.
        name: as for :func:`lisa_micro.measure.sizes_over_time`.

    Raises:
        InputError: a column is missing.
    """
    sizes = sizes_over_time(tracks, name)
    figure = _figure()
    if len(sizes) == 0:
        _nothing(figure.add_subplot(), "no particles")
        return figure
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    times, label = times_of(sizes)
    unit = unit_of(tracks, name)
    values = tracks[f"{name}_{unit}"].to_numpy(float)
    quartiles = tracks.assign(_value=values).groupby("frame")["_value"].quantile([0.25, 0.75]).unstack()
    quartiles = quartiles.reindex(sizes["frame"])
    every = tracks["frame"].map(dict(zip(sizes["frame"], times, strict=True)))
    top.plot(every, values, ".", color=GREY, markersize=2.5, alpha=0.35, label="each particle", zorder=1)
    top.fill_between(times, sizes["D10"], sizes["D90"], color=BLUE, alpha=0.16, linewidth=0, label="10 to 90 %")
    top.fill_between(times, quartiles[0.25], quartiles[0.75], color=BLUE, alpha=0.3, linewidth=0, label="25 to 75 %")
    top.plot(times, sizes["median"], color=BLUE, linewidth=2, label="median")
    top.set_ylabel(f"{name.replace('_', ' ')} ({unit})")
    top.legend(frameon=False, fontsize=9, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), handlelength=1.4)
    bottom.step(times, sizes["count"], where="mid", color=RED, linewidth=1.8)
    bottom.set_ylim(0, float(sizes["count"].max()) * 1.12)
    bottom.set_ylabel("particles")
    bottom.yaxis.get_major_locator().set_params(integer=True)
    bottom.set_xlabel(label)
    for axes in (top, bottom):
        _plain(axes)
    return figure


def best_pairs(pairs: pd.DataFrame, count: int | None = None) -> pd.DataFrame:
    """Fitted pairs, those with the most certain n first (relative width of its interval, then number of frames)."""
    fitted = pairs[np.isfinite(pairs["n"])]
    width = (fitted["n_high"] - fitted["n_low"]) / fitted["n"]
    order = np.lexsort((-fitted["frames_used"].to_numpy(), width.to_numpy()))
    return fitted.iloc[order[:count]]


def refused_pairs(pairs: pd.DataFrame, count: int | None = None) -> pd.DataFrame:
    """Pairs with enough frames, but no fit, those with the most frames first; ``why`` has the reason."""
    refused = pairs[~np.isfinite(pairs["n"]) & (pairs["frames_used"] >= LEAST_FRAMES)]
    return refused.sort_values("frames_used", ascending=False, kind="stable").iloc[:count]


def exponent_text(row: Any) -> str:
    """``n = 5.1 (4.6 to 5.8)``, or why there is no n."""
    if not np.isfinite(row["n"]):
        return f"no fit: {row['why']}"
    high = f"{row['n_high']:.3g}" if np.isfinite(row["n_high"]) else "no limit"
    return f"n = {row['n']:.3g} ({row['n_low']:.3g} to {high})"


def pair_rows(necks: pd.DataFrame, a: int, b: int) -> pd.DataFrame:
    """The rows of one pair, in order of frames."""
    first, second = ("a", "b") if "a" in necks else ("particle_a", "particle_b")
    low, high = necks[[first, second]].min(axis=1), necks[[first, second]].max(axis=1)
    return necks[(low == a) & (high == b)].sort_values("frame")


def ratio_rows(necks: pd.DataFrame, row: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one pair: times, x / R with the R of the fit, and whether the fit used the frame."""
    rows = pair_rows(necks, row["a"], row["b"])
    ratio = rows["x_px"] / row["R_px"] if "x_px" in rows else rows["x_nm"] / row["R_nm"]
    used = (rows["frame"] >= row["first_frame"]) & (rows["frame"] <= row["last_frame"])
    return rows["time_s"].to_numpy(float), ratio.to_numpy(float), used.to_numpy(bool)


def fit_times(row: Any, times: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Times at which to draw a fit: from t0 or the first frame to the last used one, denser at the steep start."""
    start, stop = max(float(row["t0_s"]), float(times[0])), float(times[used].max())
    return start + (stop - start) * np.linspace(0, 1, 200) ** 2


def growth_figure(necks: pd.DataFrame, pairs: pd.DataFrame, chosen: Iterable[tuple[int, int]] | None = None) -> Figure:
    """x / R against time for up to six pairs: measured values, fit, and the band of all curves within the interval.

    A pair whose fit was refused has its measured values and the reason.

    Args:
        necks, pairs: see :func:`lisa_micro.viz.plot_files.save_plots`.
        chosen: pairs to show; by default the six with the most certain n. Refused ones come last.

    Raises:
        InputError: a column is missing.
    """
    import pandas as pd

    figure = _figure(8.0, 5.4)
    if chosen is not None:
        wanted = {(min(pair), max(pair)) for pair in chosen}
        pairs = pairs[[pair in wanted for pair in zip(pairs["a"], pairs["b"], strict=True)]]
    fitted = best_pairs(pairs, _PANELS) if chosen is None else pairs[np.isfinite(pairs["n"])].head(_PANELS)
    refused = refused_pairs(pairs, _PANELS - len(fitted))
    shown = pd.concat([fitted, refused]) if len(refused) else fitted
    if len(shown) == 0:
        _nothing(figure.add_subplot(), "no neck whose growth could be fitted")
        return figure
    columns = min(len(shown), 3)
    grid = figure.subplots(-(-len(shown) // columns), columns, squeeze=False, sharey=True).ravel()
    for axes, (_, row) in zip(grid, shown.iterrows(), strict=False):
        times, ratio, used = ratio_rows(necks, row)
        axes.plot(times[~used], ratio[~used], ".", color="#a8a8a8", markersize=4, label="not used")
        axes.plot(times[used], ratio[used], ".", color=BLUE, markersize=4.5, label="measured")
        if np.isfinite(row["n"]):
            fine = fit_times(row, times, used)
            low, high = growth_band(necks, row, fine)
            axes.fill_between(fine, low, high, color=RED, alpha=0.22, linewidth=0, label="95 % interval")
            axes.plot(fine, growth_curve(row, fine), color=RED, linewidth=1.5, label="fit")
        words = textwrap.fill(exponent_text(row), _TITLE_CHARACTERS)
        axes.set_title(f"{int(row['a'])} and {int(row['b'])}\n{words}", fontsize=9.5)
        _plain(axes)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel("time (s)", fontsize=10)
    figure.supylabel("x / R", fontsize=10)
    grid[0].set_ylim(0, None)
    handles = dict(zip(*reversed(grid[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def lives(tracks: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """First and last time of each track, in the unit of :func:`times_of`.

    Returns:
        columns ``first, last``, indexed by track ID. The parents of a coalescence last until it.
    """
    times, _ = times_of(tracks)
    spans = tracks.assign(_time=times).groupby("identity")["_time"].agg(first="min", last="max").astype(float)
    if len(events):
        at, _ = times_of(events)
        for k in np.flatnonzero((events["kind"] == "coalesce").to_numpy()):
            for name in events["before"].iloc[k]:
                if name in spans.index and spans.at[name, "last"] < at[k]:
                    spans.at[name, "last"] = at[k]
    return spans


def family_order(names: Iterable[int], events: pd.DataFrame) -> dict[int, int]:
    """Track ID -> row, from 0: parents next to each other with their child between them, so that lines seldom cross."""
    parents = {after[0]: before for before, after in _coalescences(events)}
    names = list(names)
    known: set[int] = set(names)
    rows: dict[int, int] = {}
    children = {parent for before in parents.values() for parent in before}

    def place(name: int) -> None:
        # without recursion, since a chain of coalescences may be long
        stack: list[tuple[int, bool]] = [(name, False)]
        while stack:
            current, ready = stack.pop()
            before = [p for p in parents.get(current, ()) if p in known and p not in rows]
            if ready or not before:
                if current in known and current not in rows:
                    rows[current] = len(rows)
                continue
            half = (len(before) + 1) // 2
            stack += [(p, False) for p in reversed(before[half:])] + [(current, True)]
            stack += [(p, False) for p in reversed(before[:half])]

    for name in names:
        if name not in children:
            place(name)
    for name in names:
        place(name)
    return rows


def _coalescences(events: pd.DataFrame) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    rows = events[events["kind"] == "coalesce"]
    return [(tuple(b), tuple(a)) for b, a in zip(rows["before"], rows["after"], strict=True) if len(a)]


def timeline_figure(tracks: pd.DataFrame, events: pd.DataFrame) -> Figure:
    """Timeline: each particle is a line from its first to its last frame, with its events.

    Coalescing particles are joined to the resulting one.

    Args:
        tracks, events: see :func:`lisa_micro.viz.plot_files.save_plots`.

    Raises:
        InputError: a column is missing.
    """
    spans = lives(tracks, events)
    figure = _figure(8.0, float(np.clip(1.6 + 0.13 * len(spans), 3.2, 14.0)))
    axes = figure.add_subplot()
    if len(spans) == 0:
        _nothing(axes, "no particles")
        return figure
    rows = family_order(spans.index.tolist(), events)
    place = np.array([rows[name] for name in spans.index])
    axes.hlines(place, spans["first"], spans["last"], color="#b9c3cf", linewidth=2.2, zorder=1)
    times, label = times_of(events if len(events) else tracks)
    for kind, (colour, marker, _) in KIND_STYLES.items():
        which = np.flatnonzero((events["kind"] == kind).to_numpy()) if len(events) else np.zeros(0, int)
        at: list[tuple[float, int]] = []
        for k in which:
            before, after = events["before"].iloc[k], events["after"].iloc[k]
            names = [name for name in dict.fromkeys((*before, *after)) if name in rows]
            heights = [rows[name] for name in names]
            at += [
                (times[k], rows[name]) for name in (after if kind in ("coalesce", "appear") else names) if name in rows
            ]
            if len(names) > 1:
                strong = kind in ("coalesce", "split")
                axes.vlines(times[k], min(heights), max(heights), color=colour, lw=1.3 if strong else 0.5, zorder=2)
        if len(which):
            size = {"coalesce": 70, "contact": 26, "neck": 12}.get(kind, 22)
            x, y = np.array(at).reshape(-1, 2).T
            title = f"{kind} ({len(which)})"
            axes.scatter(x, y, s=size, color=colour, marker=marker, zorder=3, linewidths=1.1, label=title)
    axes.set_ylim(-1, len(rows))
    axes.invert_yaxis()
    if len(rows) <= 80:
        axes.set_yticks(list(rows.values()), [str(name) for name in rows], fontsize=7)
    axes.set_ylabel("particle")
    axes.set_xlabel(label)
    _plain(axes)
    axes.grid(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9, handletextpad=0.2)
    return figure
