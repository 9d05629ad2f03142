"""The tables of an answer as an Excel workbook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lisa_micro.extras import require
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.summary import summarise_segments
from lisa_micro.types import Micrograph


def write_workbook(path: Path, answer: Answer, image: Micrograph, instances: object) -> None:
    """Write the sheets ``summary``, ``instances`` and ``about``.

    Args:
        path: ends in ``.xlsx``.
        answer: what is written.
        image: the micrograph it is about.
        instances: table with a row for each instance, see :func:`lisa_micro.results.export.instances_table`.

    Raises:
        InputError: the package XlsxWriter is missing.
    """
    require("Writing Excel workbooks", "xlsxwriter")
    import pandas as pd

    table = pd.DataFrame(instances).replace([np.inf, -np.inf], np.nan)
    sheets = {
        "summary": pd.DataFrame([asdict(row) for row in summarise_segments(answer.segments)]),
        "instances": table,
        "about": pd.DataFrame(_about(answer, image, answer.segments), columns=["what", "value"]),
    }
    options = {"options": {"strings_to_formulas": False, "strings_to_urls": False}}
    with pd.ExcelWriter(path, engine="xlsxwriter", engine_kwargs=options) as writer:
        for name, sheet in sheets.items():
            sheet.to_excel(writer, sheet_name=name, index=False)
            writer.sheets[name].freeze_panes(1, 0)
            for column, title in enumerate(sheet.columns):
                writer.sheets[name].set_column(column, column, max(10, len(str(title)) + 2))


def _about(answer: Answer, image: Micrograph, segments: Sequence[Segmentation]) -> list[tuple[str, object]]:
    height, width = image.shape
    x0, y0, x1, y1 = image.field_box
    rows: list[tuple[str, object]] = [
        ("request", answer.prompt),
        ("reply", answer.text),
        ("micrograph", Path(image.source).name),
        ("width (px)", width),
        ("height (px)", height),
        ("field of view (px)", f"{x0},{y0},{x1},{y1}"),
        ("pixel size (nm)", "unknown" if image.pixel_size_nm is None else image.pixel_size_nm),
        ("pixel size from", image.pixel_size_origin),
    ]
    notes = [*answer.notes, *(note for segment in segments for note in segment.notes)]
    return [*rows, *(("note", note) for note in dict.fromkeys(notes))]
