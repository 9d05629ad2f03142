"""Results as tables on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lisa_micro.evaluate.results import Metric, Report, Row, SuiteResult

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 140
"""Terminal width from which definitions are shown in the table instead of below it."""
_STYLES = {"FAIL": "bold red", "pass": "yellow", "aim": "green", "": ""}


def show(result: SuiteResult, console: Console) -> None:
    """Print the metrics of a suite with their limits, its tables and its notes."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{result.suite} ({result.seconds:.0f} s)", title_justify="left")
    wide = console.width >= WIDE
    for name in ("figure", "value", "must", "aim", "", "n", *(["definition"] if wide else [])):
        number = name in ("value", "must", "aim", "n")
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for figure in result.figures:
        style = _STYLES[figure.verdict]
        cells = [escape(cell) for cell in _figure_cells(figure)]
        table.add_row(*cells[:4], f"[{style}]{cells[4]}[/]" if style else cells[4], *cells[5 : 6 + wide])
    console.print(table)
    if not wide:
        for figure in result.figures:
            console.print(f"{figure.name}: {figure.definition}", markup=False, highlight=False)
    for title, rows in result.tables.items():
        if rows:
            below = Table(title=title, title_justify="left")
            for name in rows[0]:
                below.add_column(name, justify="right" if _is_number(rows[0][name]) else "left", overflow="fold")
            for row in rows:
                below.add_row(*[escape(_cell(value)) for value in row.values()])
            console.print(below)
    for note in result.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def show_summary(report: Report, console: Console) -> None:
    """Print how many metrics reach their limits, the failed ones, and what the evaluation ran on."""
    judged = [f for result in report.results for f in result.figures if f.verdict]
    reached = sum(f.verdict == "aim" for f in judged)
    console.print(
        f"{len(judged) - len(report.failed)} of {len(judged)} figures reach their must, {reached} their aim.",
        highlight=False,
    )
    for figure in report.failed:
        line = f"FAIL  {figure.name}: {figure.show(figure.value)} (must be {figure.limit(figure.must)})"
        console.print(line, style="bold red", markup=False, highlight=False)
    console.print(_line(report), markup=False, highlight=False)


def _line(report: Report) -> str:
    facts = report.provenance
    weights = facts.get("weights_sha256")
    return (
        f"lisa-micro {facts.get('version')}, commit {str(facts.get('commit') or 'unknown')[:12]}, preset "
        f"{facts.get('preset')}, weights {str(weights)[:12] if weights else 'unknown'}, "
        f"seed {facts.get('seed')}; {facts.get('hardware')}"
    )


def markdown(report: Report) -> str:
    """The whole report as Markdown."""
    out = ["# Evaluation", ""]
    out += [f"- {name.replace('_', ' ')}: {_cell(value)}" for name, value in report.provenance.items()]
    judged = [f for result in report.results for f in result.figures if f.verdict]
    out += ["", f"{len(judged) - len(report.failed)} of {len(judged)} figures reach their must.", ""]
    for result in report.results:
        out += [f"## {result.suite}", "", f"{result.seconds:.0f} s", ""]
        rows = [dict(zip(_HEADER, _figure_cells(figure), strict=True)) for figure in result.figures]
        out += [*_table(rows), ""]
        for title, table in result.tables.items():
            if table:
                out += [f"### {title}", "", *_table(table), ""]
        out += [f"- {note}" for note in result.notes]
        out += [""] if result.notes else []
    return "\n".join(out).rstrip() + "\n"


_HEADER = ("figure", "value", "must", "aim", "verdict", "n", "definition")


def _figure_cells(figure: Metric) -> list[str]:
    return [
        figure.name,
        figure.show(figure.value),
        figure.limit(figure.must),
        figure.limit(figure.aim),
        figure.verdict,
        "" if figure.n is None else str(figure.n),
        figure.definition,
    ]


def _table(rows: Sequence[Row]) -> list[str]:
    names = list(rows[0])
    out = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return out + ["| " + " | ".join(_escape(_cell(row[name])) for name in names) + " |" for row in rows]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
