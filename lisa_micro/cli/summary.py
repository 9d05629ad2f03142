"""The summary of an answer as a table in the terminal."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lisa_micro.results.summary import InstanceSummary

HEADERS = ("target", "number", "size", "mean ± std", "median", "D10", "D90", "area")
NARROWEST = 100
"""Characters of a line at least where the output is a file or a pipe."""


def show_summary(rows: Sequence[InstanceSummary]) -> None:
    """Print one line per target: number, mean ± standard deviation, median, D10 and D90 of the size, area fraction.

    Colours are used on a terminal only, and not where the environment variable ``NO_COLOR`` is set.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(file=sys.stdout, highlight=False, width=max(NARROWEST, console.width))
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII2, header_style="bold")
    for k, header in enumerate(HEADERS):
        table.add_column(header, justify="left" if k in (0, 2) else "right", style="cyan" if k == 0 else None)
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)


def cells(row: InstanceSummary) -> tuple[str, ...]:
    """The texts of one line, in the order of :data:`HEADERS`."""
    size = f"{row.property} ({row.unit})" if row.property else ""
    spread = "" if math.isnan(row.mean) else number(row.mean)
    if spread and not math.isnan(row.std):
        spread = f"{spread} ± {number(row.std)}"
    sizes = [number(value) for value in (row.median, row.D10, row.D90)]
    return (row.name, str(row.count), size, spread, *sizes, f"{100 * row.area_fraction:.3g} %")


def number(value: float) -> str:
    """Three significant digits or more, without an exponent from 0.001 on; empty for NaN."""
    if math.isnan(value):
        return ""
    if value and abs(value) < 1e-3:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
