"""Reports of comparisons: an HTML page, tables, and a record of the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro import __version__
from lisa_micro.evaluate.comparison.outcome import PromptOutcome, WordingOutcome
from lisa_micro.evaluate.comparison.pictures import difference_map, scatter, shrunk, uncertainty_picture
from lisa_micro.io import write_files, write_json, write_labels
from lisa_micro.io.cells import write_table
from lisa_micro.results.pages import render_page
from lisa_micro.viz import draw_overlay

REPORT_FILES = ("report.html", "scores.csv", "objects.csv", "comparison.json", "labels_*.tif")
WORDING_FILES = ("wordings.csv", "wordings.json", "consensus.png", "uncertainty.png")

Caption = list[dict[str, str]]
"""Parts of a caption: ``text``, and ``style`` where a part has a colour of its own."""


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
    captions: list[tuple[str, Caption]] = []
    shown = {name: way.labels for name, way in comparison.ways.items()}
    if comparison.truth is not None:
        shown["truth"] = comparison.truth
    for name, labels in shown.items():
        writers[f"{_file(name)}.png"] = partial(_overlay, image.pixels, labels, image.pixel_size_nm)
        count = len(np.unique(labels[labels > 0]))
        captions.append((f"{_file(name)}.png", _caption(f"{name}: {count} objects")))
        if name != "truth":
            writers[f"labels_{_file(name)}.tif"] = partial(_labels, labels, image.pixel_size_nm)
    pair = _pair(comparison)
    differences: list[tuple[str, Caption]] = []
    if pair is not None:
        one, other = pair
        masks = [shown[name] > 0 for name in pair]
        writers["difference.png"] = lambda path: _save_png(shrunk(difference_map(image.pixels, *masks)), path)
        text = [
            {"text": f"only {one}", "style": "one"},
            {"text": ", ", "style": ""},
            {"text": f"only {other}", "style": "other"},
            {"text": ", grey: both", "style": ""},
        ]
        differences.append(("difference.png", text))
        if all(f"IoU {name}" in comparison.objects for name in pair) and len(comparison.objects):
            writers["scatter.png"] = lambda path: scatter(comparison.objects, one, other, path)
            differences.append(("scatter.png", _caption(f"every object of {comparison.reference}")))
    writers["scores.csv"] = lambda path: write_table(path, comparison.scores)
    writers["objects.csv"] = lambda path: write_table(path, comparison.objects)
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


def _caption(text: str) -> Caption:
    return [{"text": text, "style": ""}]


def _number(value: object) -> str:
    """A score with at most three decimals."""
    if isinstance(value, float | np.floating):
        return "-" if np.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".") if np.isfinite(value) else "∞"
    return str(value)


def _page(
    comparison: PromptOutcome, captions: list[tuple[str, Caption]], differences: list[tuple[str, Caption]]
) -> str:
    image, scores = comparison.image, comparison.scores
    size = "no pixel size" if image.pixel_size_nm is None else f"{image.pixel_size_nm:.4g} nm a pixel"
    return render_page(
        "comparison.html",
        {
            "title": f"{Path(image.source).name or 'micrograph'}: ways of prompting",
            "facts": f"{image.shape[1]} x {image.shape[0]} px, {size}; encoding the image took "
            f"{comparison.encode_seconds:.2f} s, once for all ways.",
            "sentence": comparison.sentence,
            "reference": comparison.reference,
            "scores": {
                "columns": [str(name) for name in scores.columns],
                "rows": [[_number(value) for value in row] for row in scores.itertuples(index=False)],
            },
            "masks": [{"file": name, "parts": parts} for name, parts in captions],
            "differences": [{"file": name, "parts": parts} for name, parts in differences],
            "notes": comparison.notes,
        },
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
        "wordings.csv": lambda path: write_table(path, comparison.table),
        "wordings.json": lambda path: write_json(path, summary),
        "consensus.png": lambda path: _save_png(consensus, path),
        "uncertainty.png": lambda path: _save_png(
            shrunk(uncertainty_picture(image.pixels, comparison.uncertainty)), path
        ),
    }
    return write_files(folder, writers)
