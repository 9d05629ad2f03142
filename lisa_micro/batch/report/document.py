"""``report.pdf``: the report on pages of A4, drawn with matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.batch.analysis import GroupSizes, Topic
from lisa_micro.batch.report.charts import colour, finite_medians, medians_differ_widely
from lisa_micro.batch.report.content import Content, Picture, heading
from lisa_micro.measure.statistics import BASES, Estimate, class_edges, cumulative, density
from lisa_micro.results.pages import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = (8.27, 11.69)
"""A4, inches."""
MOST_ROWS = 30
"""Rows of a table on a page."""
PICTURES = (5, 4)
"""Rows and columns of pictures on a page."""
MOST_PICTURE_PAGES = 3
INK, SOFT = "#1c2430", "#4a5666"


def write_document(content: Content, path: Path) -> None:
    """Write the PDF file."""
    from matplotlib.backends.backend_pdf import PdfPages

    with PdfPages(path, metadata={"Title": content.title, "Creator": "LISA-micro"}) as pages:
        for figure in _pages(content):
            pages.savefig(figure)


def _pages(content: Content) -> Iterator[Figure]:
    yield _first_page(content)
    for topic in content.topics:
        if any(len(group.sample) for group in topic.groups):
            yield _topic_page(topic, content.topics)
    rows, columns = PICTURES
    chosen = content.pictures
    most = rows * columns * MOST_PICTURE_PAGES
    chosen = chosen[:: max(1, -(-len(chosen) // most))]
    for start in range(0, len(chosen), rows * columns):
        yield _picture_page(chosen[start : start + rows * columns])
    yield from _text_pages(content)


def _page(title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE)
    FigureCanvasAgg(figure)
    figure.text(0.08, 0.945, title, fontsize=15, weight="bold", color=INK, va="top")
    return figure


def _write(figure: Figure, y: float, text: str, size: float = 9, colour: str = INK, width: int = 98) -> float:
    """Write wrapped text at a height; returns the height below it."""
    lines = [line for part in text.split("\n") for line in (textwrap.wrap(part, width) or [""])]
    figure.text(0.08, y, "\n".join(lines), fontsize=size, color=colour, va="top", linespacing=1.45)
    return y - len(lines) * size * 1.45 * 1.12 / 72 / PAGE[1] - 0.012


def _first_page(content: Content) -> Figure:
    figure = _page(_short(content.title, 60))
    counts, record = content.record["images"], content.record
    requests = ", ".join(f"“{text}”" for text in content.tables.titles)
    y = _write(
        figure, 0.905, f"{requests}\n{content.date}, LISA-micro {record['version']}, preset {record['preset']}", 9, SOFT
    )
    y = _write(
        figure, y,
        f"{counts['done']} images, {counts['instances']} instances, {counts['failed']} failed, "
        f"{len({(one.image, one.page) for one in content.outliers})} stand out", 11,
    )  # fmt: skip
    for topic in content.topics:
        if y < 0.25:
            y = _write(figure, y, "Further tables: statistics.csv and report.html.", 9, SOFT)
            break
        y = _write(figure, y - 0.01, heading(topic, content.topics), 12)
        y = _table(figure, y, [_HEAD, *([_row(group) for group in topic.groups[:MOST_ROWS]])])
        if len(topic.groups) > MOST_ROWS:
            y = _write(figure, y, f"{len(topic.groups) - MOST_ROWS} further groups: statistics.csv.", 8, SOFT)
        y = _write(
            figure, y,
            f"Sizes in {topic.unit}, by number with edge correction; in brackets the 95 % interval over images.",
            7.5, SOFT, 118,
        )  # fmt: skip
        for text in topic.notes[:6]:
            y = _write(figure, y, f"Note: {text}", 8, INK, 112)
        if topic.comparisons and y > 0.25:
            y = _table(figure, y, [_PAIR_HEAD, *([_pair_row(one) for one in topic.comparisons[:15]])])
    return figure


_HEAD = ("group", "images", "particles", "D10", "D50", "D90", "mean", "geom. std")
_PAIR_HEAD = ("pair", "ratio of D50", "Cliff’s delta", "KS distance", "KS p (Holm)", "M-W p (Holm)")


def _row(group: GroupSizes) -> tuple[str, ...]:
    found = group.statistics
    first = (_short(group.name, 22), str(group.sample.n_images), str(len(group.sample)))
    if found is None:
        return (*first, *["-"] * 5)
    sizes = [found.percentiles["number"][percentile] for percentile in (10, 50, 90)]
    return (*first, *(_interval(one) for one in (*sizes, found.means["number"], found.parameters["gsd"])))


def _pair_row(one: Any) -> tuple[str, ...]:
    values = (one.cliffs_delta, one.ks_distance, one.ks_p_holm, one.mann_whitney_p_holm)
    pair = _short(f"{one.first} / {one.second}", 34)
    return (pair, _interval(one.ratio), *("-" if value != value else f"{value:.3f}" for value in values))


def _interval(one: Estimate) -> str:
    if one.low != one.low:
        return number_text(one.value)
    return f"{number_text(one.value)}\n({number_text(one.low, 3)}-{number_text(one.high, 3)})"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _table(figure: Figure, y: float, rows: Sequence[Sequence[str]]) -> float:
    """Draw a table below a height; returns the height below it."""
    columns = len(rows[0])
    lefts = [0.08, *np.linspace(0.30 if columns > 6 else 0.42, 0.92, columns - 1)]
    for number, row in enumerate(rows):
        tall = any("\n" in cell for cell in row)
        for k, (cell, x) in enumerate(zip(row, lefts, strict=True)):
            figure.text(
                x, y, cell, fontsize=7.5, va="top", ha="left" if k == 0 else "right", linespacing=1.3,
                color=INK if number else SOFT, weight="normal" if number else "bold",
            )  # fmt: skip
        y -= 0.026 if tall else 0.017
    return y - 0.006


def _topic_page(topic: Topic, topics: Sequence[Topic]) -> Figure:
    figure = _page(_short(heading(topic, topics), 60))
    axes = figure.subplots(3, 1, gridspec_kw={"top": 0.88, "bottom": 0.07, "left": 0.12, "right": 0.92, "hspace": 0.38})
    groups = [(k, group) for k, group in enumerate(topic.groups) if len(group.sample)]
    sizes = np.concatenate([group.sample.sizes for _, group in groups])
    edges = class_edges(sizes)
    points = np.exp(np.linspace(np.log(sizes.min() * 0.97), np.log(sizes.max() * 1.03), 300))
    for k, group in groups:
        axes[0].stairs(100 * density(group.sample, "number", edges), edges, color=colour(k), label=group.name, lw=1.4)
        for basis, style in zip(BASES, ("-", "--", ":"), strict=True):
            label = f"{group.name}, by {basis}" if len(groups) == 1 else (group.name if basis == "number" else None)
            axes[1].plot(
                points, 100 * cumulative(group.sample, basis, points), style, color=colour(k), lw=1.2, label=label
            )
    _dress(axes[0], "Size distribution by number", topic.label, "share in each class (%)", len(groups) <= 12)
    _dress(
        axes[1],
        "Cumulative: by number —, by area - -, by volume ···",
        topic.label,
        "share below (%)",
        len(groups) <= 12,
    )
    for one in axes[:2]:
        one.set_xscale("log")
        _plain_ticks(one)
    for position, (k, group) in enumerate(groups):
        medians = finite_medians(group)
        spread = 0.25 * np.sin(2.4 * np.arange(len(medians)))
        axes[2].plot(position + spread, medians, "o", ms=3.5, alpha=0.55, color=colour(k), mew=0)
        d50 = group.statistics.percentiles["number"][50] if group.statistics is not None else None
        if d50 is not None and d50.low == d50.low:
            errors = [[max(d50.value - d50.low, 0)], [max(d50.high - d50.value, 0)]]
            axes[2].errorbar(position, d50.value, errors, fmt="D", ms=5, color=INK, capsize=4, lw=1.2)
    if medians_differ_widely(topic):
        axes[2].set_yscale("log")
    _dress(axes[2], "Median of each image; D50 of each group with its 95 % interval", "", topic.label, False)
    axes[2].set_xticks(
        range(len(groups)), [_short(group.name, 16) for _, group in groups], rotation=30 if len(groups) > 6 else 0
    )
    return figure


def _dress(axes: Axes, title: str, x: str, y: str, legend: bool) -> None:
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6ebf0", lw=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize=7.5, frameon=False)


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    span = high / low
    subs = (1.0,) if span > 3000 else (1.0, 2.0, 5.0) if span > 20 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _picture_page(pictures: Sequence[Picture]) -> Figure:
    from PIL import Image

    figure = _page("Images")
    rows, columns = PICTURES
    grid = figure.add_gridspec(rows, columns, top=0.90, bottom=0.03, left=0.07, right=0.93, hspace=0.24, wspace=0.08)
    for k, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[k // columns, k % columns])
        axes.imshow(np.asarray(Image.open(io.BytesIO(picture.jpeg))), interpolation="lanczos")
        axes.axis("off")
        name = _short(picture.name, 26)
        axes.set_title(
            f"{name}\n{_short(picture.short, 28)}", fontsize=6.5, color="#b8430a" if picture.flag else INK, loc="left"
        )
    return figure


def _text_pages(content: Content) -> Iterator[Figure]:
    figure = _page("Methods")
    y = _write(figure, 0.905, content.methods, 9)
    y = _write(figure, y - 0.02, "Images that stand out", 12)
    lines = [
        f"{one.image}{_page_text(one.page)}: {one.measure} {number_text(one.value, 3)}, "
        f"typical {number_text(one.typical, 3)}"
        for one in content.outliers
    ]
    y = _write(figure, y, "\n".join(_limited(lines, 14)) or "None.", 8, INK, 112)
    y = _write(figure, y - 0.01, "Failures", 12)
    failed = [f"{one['image']}{_page_text(one['page'])}: {one['sentence']}" for one in content.failures]
    _write(figure, y, "\n".join(_limited(failed, 22)) or "None.", 8, INK, 112)
    yield figure


def _page_text(page: int) -> str:
    return f" page {page}" if page else ""


def _limited(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"... and {len(lines) - most} more; the tables have all."]
