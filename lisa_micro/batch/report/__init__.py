"""The reports of a run: ``report.html``, ``report.pdf`` and ``results.xlsx``, beside the tables of its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lisa_micro.batch.analysis import analyse, read_tables
from lisa_micro.batch.report.content import gather
from lisa_micro.batch.report.document import write_document
from lisa_micro.batch.report.page import report_page
from lisa_micro.batch.report.workbook import write_workbook
from lisa_micro.batch.statistics_tables import write_statistics
from lisa_micro.extras import require
from lisa_micro.io.files import write_files

REPORT_FILES = ("report.html", "report.pdf", "results.xlsx")


@dataclass(frozen=True)
class Reports:
    """What was written.

    Attributes:
        files: paths.
        notes: what a user should know, one sentence each.
    """

    files: list[Path]
    notes: tuple[str, ...] = ()


def write_reports(folder: Path) -> Reports:
    """Write statistics and reports of a finished run.

    Raises:
        InputError: the folder holds no finished run or cannot be written, or a package is missing.
    """
    require("The report of a batch", "plotly", "xlsxwriter", "pyarrow")
    topics = analyse(folder)
    files = write_statistics(folder, topics)
    content = gather(folder, read_tables(folder), topics)
    page = report_page(content)
    notes: list[str] = []
    files += write_files(
        folder,
        {
            "report.html": lambda path: path.write_text(page, encoding="utf-8"),
            "report.pdf": lambda path: write_document(content, path),
            "results.xlsx": lambda path: notes.extend(write_workbook(content, path)),
        },
    )
    return Reports(files, tuple(notes))
