"""``results.xlsx``: the tables of a run as one workbook."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.batch.report.content import Content
from lisa_micro.io.cells import plain_text

if TYPE_CHECKING:
    from xlsxwriter import Workbook

SHEETS = (
    ("statistics", "statistics.csv"),
    ("comparisons", "comparisons.csv"),
    ("images", "images.csv"),
    ("instances", "instances.csv"),
    ("outliers", "outliers.csv"),
    ("failed", "failed.csv"),
)
"""Name of a sheet -> table."""
MOST_ROWS = 1_048_575
"""Rows that a sheet can hold below its head."""
MOST_CHARACTERS = 32_767
TEXT_COLUMNS = frozenset(
    ("image", "group", "concept", "phrase", "where", "sentence", "path", "reply", "notes", "folder", "modality")
)
"""Columns that stay text, whatever they look like."""


def write_workbook(content: Content, path: Path) -> list[str]:
    """Write the workbook; rows are streamed, so it needs little memory.

    Returns:
        notes: which tables were cut, because a sheet holds about a million rows.
    """
    import xlsxwriter

    notes = []
    book = xlsxwriter.Workbook(
        str(path), {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    )
    _overview(book, content)
    for name, table in SHEETS:
        if not _copy(book, name, content.folder / table):
            notes.append(f"results.xlsx holds the first {MOST_ROWS} rows of {table}; the file itself has all.")
    book.close()
    return notes


def _overview(book: Workbook, content: Content) -> None:
    sheet = book.add_worksheet("overview")
    bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 110)
    record, counts = content.record, content.record["images"]
    facts: Sequence[tuple[str, object]] = (
        ("images from", content.title),
        ("requests", "; ".join(content.tables.titles)),
        ("date", content.date),
        ("program", f"LISA-micro {record['version']}, preset {record['preset']}"),
        ("weights (sha256)", record["weights_sha256"]),
        ("images", counts["done"]),
        ("failed", counts["failed"]),
        ("instances", counts["instances"]),
        ("command", record["command"]),
        ("methods", content.methods),
    )
    for row, (name, value) in enumerate(facts):
        sheet.write(row, 0, name, bold)
        if isinstance(value, int):
            sheet.write_number(row, 1, value, wrapped)
        else:
            sheet.write_string(row, 1, str(value)[:MOST_CHARACTERS], wrapped)


def _copy(book: Workbook, name: str, table: Path) -> bool:
    """Copy a table into a sheet; returns whether all of it fitted."""
    sheet = book.add_worksheet(name)
    bold = book.add_format({"bold": True, "bottom": 1})
    sheet.freeze_panes(1, 0)
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        for column, title in enumerate(head):
            sheet.set_column(column, column, max(10, min(34, len(title) + 2)))
            sheet.write_string(0, column, title, bold)
        for row, values in enumerate(_limited(reader), start=1):
            for column, value in enumerate(values):
                if value == "":
                    continue
                number = None if head[column] in TEXT_COLUMNS else _number(value)
                if number is None:
                    sheet.write_string(row, column, plain_text(value)[:MOST_CHARACTERS])
                else:
                    sheet.write_number(row, column, number)
        return next(reader, None) is None


def _limited(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    for count, row in enumerate(reader, start=1):
        yield row
        if count == MOST_ROWS:
            return


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e300 else None  # infinity is no number in a workbook
