"""The report of a benchmark: a table as Markdown and CSV, everything as JSON, the curves as a picture."""

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
    f"Boundary F1: boundary pixels count as correct within {BAND_PX:g} px.",
    f"IoU outside {BAND_PX:g} px: ignores pixels within {BAND_PX:g} px of a true edge, where labels are uncertain.",
    "Resolution: side of the network's square input; for micro: longest side of the SAM tower's input.",
    "Images/s: median for one image at a time at the model's resolution, network only; for micro: one request about a "
    "new image of the size of a tile, from words to masks.",
    "Peak memory: on a CPU the largest resident size of a process that does nothing else, including PyTorch itself; on "
    "a GPU the memory allocated by PyTorch; in 1e9 bytes.",
    "Recipe: Gaussian filter of sigma 5 px and Otsu's threshold, without training. If it scores as high as a model, "
    "the labels may be the output of such a recipe, and scores tell how well a model imitates it.",
)


def report_names(dataset: str) -> tuple[str, ...]:
    """File names of the report on a data set."""
    stem = f"segmenters-{dataset}"
    return (f"{stem}.md", f"{stem}.csv", f"{stem}.json", f"{stem}-loss.png")


def check_report(folder: Path, dataset: str, force: bool) -> None:
    """Check the output folder before any long computation. An unfinished report may be overwritten.

    Raises:
        InputError: the report cannot be written, or a finished one exists and ``force`` is false.
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
    """Write all files of the report, or none.

    Args:
        folder: output folder.
        dataset: name of the data set.
        rows: one per model, with the keys of :data:`COLUMNS`; further keys go to the JSON file.
        facts: provenance of the benchmark.
        curves: title -> rows with ``step``, ``loss`` and, in some, ``held_out_iou``.

    Returns:
        paths of the files.
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
    """Format a row; missing values are empty."""
    out = []
    for key, (_, form) in COLUMNS.items():
        value = row.get(key)
        out.append("" if value is None or value != value else form.format(value))
    return out


def markdown(dataset: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Compose the report: the table, its provenance, and definitions of its columns."""
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
    """Draw the training loss on the left and the held-out IoU on the right.

    The horizontal axis is the fraction of the steps, since models differ in their number of steps.
    """
    # pyplot would retain the figure, and may need a display
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for title, rows in curves.items():
        last = max((row["step"] for row in rows), default=1)
        points = [(row["step"] / last, row["loss"]) for row in rows if "loss" in row]
        held_out = [(row["step"] / last, row["held_out_iou"]) for row in rows if "held_out_iou" in row]
        left.plot(*zip(*points, strict=True) if points else ((), ()), label=f"{title} ({last} steps)")
        right.plot(*zip(*held_out, strict=True) if held_out else ((), ()), marker="o", markersize=3, label=title)
    left.set(xlabel="fraction of the steps", ylabel="loss (differs between models)", yscale="log", title="training")
    right.set(
        xlabel="fraction of the steps", ylabel="IoU", ylim=(0, 1), title="held-out images, weights before averaging"
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
