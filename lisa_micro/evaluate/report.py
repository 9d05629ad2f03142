"""Write the report of an evaluation: JSON, Markdown, and details as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lisa_micro.evaluate.results import Report, Row
from lisa_micro.evaluate.tables import markdown
from lisa_micro.io import write_files, write_json
from lisa_micro.io.cells import csv_text

REPORT_FILES = ("evaluation.json", "evaluation.md")
"""Files by which a folder is known to hold a report; the details of the suites are written beside them."""


def write_report(report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """Write ``evaluation.json``, ``evaluation.md`` and the details of each suite as CSV and PNG; all of them or
    none.

    Returns:
        the paths.

    Raises:
        InputError: the folder cannot be written.
    """
    writers: dict[str, Callable[[Path], object]] = {
        "evaluation.json": lambda path: write_json(path, report.record()),
        "evaluation.md": lambda path: path.write_text(markdown(report), encoding="utf-8"),
    }
    for result in report.results:
        for name, rows in result.details.items():
            writers[name] = partial(_write_csv, rows)
        for name, picture in result.pictures.items():
            writers[name] = partial(_write_png, picture)
    return write_files(out, writers)


def report_files(report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """Paths of the files that :func:`write_report` writes to a folder."""
    names = [name for result in report.results for name in (*result.details, *result.pictures)]
    return [Path(out) / name for name in (*REPORT_FILES, *names)]


def _write_png(picture: np.ndarray, path: Path) -> None:
    Image.fromarray(picture).save(path, format="PNG")


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if not rows:  # an empty file would look like a failure
            file.write("nothing\n")
            return
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({name: csv_text(value) for name, value in row.items()} for row in rows)
