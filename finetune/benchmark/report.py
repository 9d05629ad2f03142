"""What a benchmark writes: a table as Markdown and CSV, everything as JSON, the curves as a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lisa_micro.io import check_output, write_files, write_json
from lisa_micro_finetune.benchmark.measure import BAND_PX

COLUMNS: dict[str, tuple[str, str]] = {
    "title": ("model", "{}"),
    "parameters": ("parameters", "{:,}"),
    "paper_parameters": ("in the paper", "{:,}"),
    "resolution": ("resolution, px", "{}"),
    "images_per_s": ("images/s", "{:.3g}"),
    "peak_gb": ("peak memory, GB", "{:.2f}"),
    "training_peak_gb": ("in training, GB", "{:.2f}"),
    "batch": ("batch", "{}"),
    "steps": ("steps", "{}"),
    "seconds": ("trained, s", "{:.0f}"),
    "iou": ("IoU", "{:.4f}"),
    "dice": ("Dice", "{:.4f}"),
    "boundary_f1": (f"boundary F1 at {BAND_PX:g} px", "{:.4f}"),
    "iou_outside_band": (f"IoU outside {BAND_PX:g} px", "{:.4f}"),
}
"""Key of a row -> heading and format."""
DEFINITIONS = (
    "IoU, Dice, boundary F1, IoU outside the band: means over the held-out images, of masks at the images' own size.",
    f"Boundary F1: boundary pixels count as right up to {BAND_PX:g} px off.",
    f"IoU outside {BAND_PX:g} px: without what is at most so far from the true edge, on either side, where labels are "
    "uncertain.",
    "Resolution: side of the square images that the network sees; of micro: the longest side that its SAM tower sees.",
    "Images/s: one image at a time at the model's resolution, through the network, median; of micro: one request about "
    "a new image of the tile's size, from words to masks.",
    "Peak memory: on a CPU the largest resident size of a fresh process that does nothing else, PyTorch itself "
    "included; on a GPU what PyTorch held there; 1e9 bytes.",
    "Recipe: Gaussian of sigma 5 px and Otsu's threshold, nothing learnt. Where its score is as high as a model's, the "
    "labels may be such a recipe's output, and scores tell how well that is imitated.",
)


def report_names(dataset: str) -> tuple[str, ...]:
    """Names of the files for a data set of that name."""
    stem = f"segmenters-{dataset}"
    return (f"{stem}.md", f"{stem}.csv", f"{stem}.json", f"{stem}-loss.png")


def check_report(folder: Path, dataset: str, force: bool) -> None:
    """Sees to it, before anything long begins, that the report can be written. One that a killed run left unfinished
    may be overwritten.

    Raises:
        InputError: it cannot, or a finished one is there and ``force`` is false.
    """
    names = report_names(dataset)
    try:
        unfinished = json.loads((folder / names[2]).read_text())["finished"] is None
    except (OSError, ValueError, KeyError, TypeError):
        unfinished = False
    check_output(folder, force or unfinished, names)


def write_report(
    folder: Path, dataset: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any], curves: dict[str, list[dict]]
) -> list[Path]:
    """Write all files, all or none.

    Args:
        rows: one a model, keys as in :data:`COLUMNS`, any further ones for the JSON.
        facts: what it ran on and with. curves: title -> rows of ``step``, ``loss`` and, in some, ``held_out_iou``.

    Returns:
        the paths.
    """
    record = {**facts, "models": list(rows), "curves": curves}
    md, table, everything, picture = report_names(dataset)
    writers: dict[str, Callable[[Path], Any]] = {
        md: lambda path: path.write_text(markdown(dataset, rows, facts), encoding="utf-8"),
        table: lambda path: _write_csv(path, rows),
        everything: lambda path: write_json(path, record),
    }
    if curves:
        writers[picture] = lambda path: draw_curves(path, curves)
    return write_files(folder, writers)


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text, empty where there is nothing to tell."""
    out = []
    for key, (_, form) in COLUMNS.items():
        value = row.get(key)
        out.append("" if value is None or value != value else form.format(value))
    return out


def markdown(dataset: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The table, what it ran on, and what the columns mean."""
    heads = [head for head, _ in COLUMNS.values()]
    numbers = ["---" if key == "title" else "---:" for key in COLUMNS]
    lines = [f"# Segmenters on {dataset}", "", "| " + " | ".join(heads) + " |", "|" + "|".join(numbers) + "|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", f"![Loss and held-out IoU over the steps]({report_names(dataset)[3]})", ""]
    for key, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        lines.append(f"- {key.replace('_', ' ')}: {text}")
    lines += ["", *(f"- {text}" for text in DEFINITIONS)]
    lines += [f"- {row['title']}: {row['note']}" for row in rows if row.get("note")]
    return "\n".join(lines) + "\n"


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["model", *list(COLUMNS)[1:]], extrasaction="ignore", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "model": row["title"]})


def draw_curves(path: Path, curves: dict[str, list[dict]]) -> None:
    """The loss of training on the left, the IoU on held-out images on the right, over the share of the steps done,
    since models differ in their steps."""
    # not pyplot: it would keep the figure, and may look for a display
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for title, rows in curves.items():
        last = max((row["step"] for row in rows), default=1)
        points = [(row["step"] / last, row["loss"]) for row in rows if "loss" in row]
        held_out = [(row["step"] / last, row["held_out_iou"]) for row in rows if "held_out_iou" in row]
        left.plot(*zip(*points, strict=True) if points else ((), ()), label=f"{title} ({last} steps)")
        right.plot(*zip(*held_out, strict=True) if held_out else ((), ()), marker="o", markersize=3, label=title)
    left.set(xlabel="share of the steps", ylabel="loss (each model's own)", yscale="log", title="training")
    right.set(xlabel="share of the steps", ylabel="IoU", ylim=(0, 1), title="held-out images, before averaging")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
