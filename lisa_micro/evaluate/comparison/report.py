"""Reports of comparisons: an HTML page, tables, and a record of the settings."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro import __version__
from lisa_micro.evaluate.comparison.outcome import PromptOutcome, WordingOutcome
from lisa_micro.evaluate.comparison.pictures import difference_map, scatter, shrunk, uncertainty_picture
from lisa_micro.io import write_files, write_json, write_labels
from lisa_micro.viz import draw_overlay

REPORT_FILES = ("report.html", "scores.csv", "objects.csv", "comparison.json", "labels_*.tif")
WORDING_FILES = ("wordings.csv", "wordings.json", "consensus.png", "uncertainty.png")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #1c2430; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.verdict { background: #eef3f8; border-left: 4px solid #1f77b4; padding: .8em 1em; font-size: 1.05em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3em .7em; border-bottom: 1px solid #d8dee6; text-align: right; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
.row { display: flex; flex-wrap: wrap; gap: 14px; } figure { margin: 0; flex: 1 1 340px; max-width: 580px; }
figure img { width: 100%; border: 1px solid #d8dee6; } figcaption { color: #4a5666; font-size: .92em; }
.one { color: #b8430a; font-weight: 600; } .other { color: #1f77b4; font-weight: 600; }
"""


def _save_png(picture: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, format="PNG")


def _file(name: str) -> str:
    return name.replace(" ", "_")


def write_report(comparison: PromptOutcome, folder: str | Path) -> list[Path]:
    """Write the report of a comparison of prompts.

    Args:
        comparison: the result.
        folder: created if missing.

    Returns:
        the paths of :data:`REPORT_FILES` and of the pictures.

    Raises:
        InputError: the folder cannot be written.
    """
    image = comparison.image
    writers: dict[str, Callable[[Path], object]] = {}
    captions: list[tuple[str, str]] = []
    shown = {name: way.labels for name, way in comparison.ways.items()}
    if comparison.truth is not None:
        shown["truth"] = comparison.truth
    for name, labels in shown.items():
        writers[f"{_file(name)}.png"] = partial(_overlay, image.pixels, labels, image.pixel_size_nm)
        count = len(np.unique(labels[labels > 0]))
        captions.append((f"{_file(name)}.png", f"{html.escape(name)}: {count} objects"))
        if name != "truth":
            writers[f"labels_{_file(name)}.tif"] = partial(_labels, labels, image.pixel_size_nm)
    pair = _pair(comparison)
    differences: list[tuple[str, str]] = []
    if pair is not None:
        one, other = pair
        masks = [shown[name] > 0 for name in pair]
        writers["difference.png"] = lambda path: _save_png(shrunk(difference_map(image.pixels, *masks)), path)
        text = (
            f'<span class="one">only {html.escape(one)}</span>, <span class="other">only {html.escape(other)}</span>, '
            "grey: both"
        )
        differences.append(("difference.png", text))
        if all(f"IoU {name}" in comparison.objects for name in pair) and len(comparison.objects):
            writers["scatter.png"] = lambda path: scatter(comparison.objects, one, other, path)
            differences.append(("scatter.png", f"every object of {html.escape(comparison.reference)}"))
    writers["scores.csv"] = lambda path: comparison.scores.to_csv(path, index=False)
    writers["objects.csv"] = lambda path: comparison.objects.to_csv(path, index=False)
    writers["comparison.json"] = lambda path: write_json(path, record(comparison))
    writers["report.html"] = lambda path: path.write_text(_page(comparison, captions, differences), encoding="utf-8")
    return write_files(folder, writers)


def _overlay(pixels: np.ndarray, labels: np.ndarray, pixel_size_nm: float | None, path: Path) -> None:
    _save_png(shrunk(draw_overlay(pixels, labels, pixel_size_nm)), path)


def _labels(labels: np.ndarray, pixel_size_nm: float | None, path: Path) -> None:
    write_labels(path, labels, pixel_size_nm)


def _pair(comparison: PromptOutcome) -> tuple[str, str] | None:
    """The two ways whose difference is shown: words and boxes if both were tried."""
    names = list(comparison.ways)
    if len(names) < 2:
        return None
    one = "words" if "words" in names else names[0]
    other = "boxes" if "boxes" in names and one != "boxes" else next(name for name in names if name != one)
    return one, other


def record(comparison: PromptOutcome) -> dict[str, object]:
    """The comparison as plain data, for ``comparison.json``."""
    image = comparison.image
    return {
        "version": __version__,
        "image": image.source,
        "size_px": [image.shape[1], image.shape[0]],
        "pixel_size_nm": image.pixel_size_nm,
        "sentence": comparison.sentence,
        "compared_with": comparison.reference,
        "encode_seconds": comparison.encode_seconds,
        "settings": comparison.settings,
        "scores": comparison.scores.to_dict("records"),
        "words_minus": {
            name: {"mean": i.mean, "low": i.low, "high": i.high, "exceeds_chance": i.exceeds_zero}
            for name, i in comparison.intervals.items()
        },
        "notes": list(comparison.notes),
    }


def _number(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "-" if np.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".") if np.isfinite(value) else "&infin;"
    return html.escape(str(value))


def html_table(table: pd.DataFrame) -> str:
    """HTML of a table; text is escaped and numbers have three decimals."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_number(v)}</td>" for v in row) + "</tr>" for row in table.itertuples(index=False)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _figures(pictures: list[tuple[str, str]]) -> str:
    return (
        '<div class="row">'
        + "".join(
            f'<figure><img src="{name}" alt=""><figcaption>{text}</figcaption></figure>' for name, text in pictures
        )
        + "</div>"
    )


def _page(comparison: PromptOutcome, captions: list[tuple[str, str]], differences: list[tuple[str, str]]) -> str:
    image = comparison.image
    size = "no pixel size" if image.pixel_size_nm is None else f"{image.pixel_size_nm:.4g} nm a pixel"
    title = f"{html.escape(Path(image.source).name or 'micrograph')}: ways of prompting"
    parts = [
        f"<h1>{title}</h1><p>{image.shape[1]} x {image.shape[0]} px, {size}; encoding the image took "
        f"{comparison.encode_seconds:.2f} s, once for all ways.</p>",
        f'<p class="verdict">{html.escape(comparison.sentence)}</p>',
        f"<h2>Scores against {html.escape(comparison.reference)}</h2>{html_table(comparison.scores)}",
        f"<h2>Masks of each way</h2>{_figures(captions)}",
    ]
    if differences:
        parts.append(f"<h2>Where they differ</h2>{_figures(differences)}")
    if comparison.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{html.escape(n)}</li>" for n in comparison.notes) + "</ul>")
    parts.append(
        "<p>IoU, Dice, boundary F1 and Hausdorff distance are of the union of all objects; object IoU is the mean over "
        "objects of the IoU with the partner in the one-to-one assignment of the highest sum, 0 without partner; "
        "found, missed and extra are numbers of objects, matched at IoU 0.5. "
        "Intervals: 95 %, 2000 resamples of the objects.</p>"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def write_wordings(comparison: WordingOutcome, folder: str | Path) -> list[Path]:
    """Write the report of a comparison of wordings.

    Args:
        comparison: the result.
        folder: created if missing.

    Returns:
        the paths of :data:`WORDING_FILES`.

    Raises:
        InputError: the folder cannot be written.
    """
    image = comparison.image
    consensus = (comparison.consensus * np.uint8(255)).astype(np.uint8)
    summary = {
        "image": image.source,
        "spread": comparison.spread,
        "uncertain_share": float((comparison.uncertainty > 0).mean()),
        "wordings": comparison.table.to_dict("records"),
    }
    writers: dict[str, Callable[[Path], object]] = {
        "wordings.csv": lambda path: comparison.table.to_csv(path, index=False),
        "wordings.json": lambda path: write_json(path, summary),
        "consensus.png": lambda path: _save_png(consensus, path),
        "uncertainty.png": lambda path: _save_png(
            shrunk(uncertainty_picture(image.pixels, comparison.uncertainty)), path
        ),
    }
    return write_files(folder, writers)
