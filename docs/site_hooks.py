"""Hooks of the documentation site: the model card and the data card are pages of it, with links that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CARDS = {"model-card.md": "MODEL_CARD.md", "data-card.md": "DATA_CARD.md"}
REPOSITORY = "https://github.com/lisa-micro/lisa-micro/blob/main/"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Insert a card below its page's introduction; point links out of ``docs`` at the repository."""
    folder = "docs"
    if page.file.src_uri == "command-line.md":
        return markdown + "\n".join(_commands())
    if page.file.src_uri in CARDS:
        markdown += "\n" + (ROOT / "data" / CARDS[page.file.src_uri]).read_text(encoding="utf-8")
        folder = "data"

    def link(match: re.Match[str]) -> str:
        target, _, anchor = match[2].partition("#")
        pages = {card: name for name, card in CARDS.items()}
        if target in pages and folder == "data":
            target = pages[target]
        elif target.startswith("../docs/"):
            target = target.removeprefix("../docs/")
        elif target.startswith("../"):
            inside = (ROOT / folder / target).resolve().relative_to(ROOT).as_posix()
            target = pages.get(Path(inside).name, REPOSITORY + inside)
        return f"{match[1]}({target}{'#' + anchor if anchor else ''})"

    return re.sub(r"(!?\[[^\]]*\])\((?!https?:|#)([^)\s]+)\)", link, markdown)


def _commands() -> Iterator[str]:
    """Every command with its arguments and options, as Markdown."""
    import typer

    from lisa_micro.cli.commands import app

    yield from _command("lisa-micro", typer.main.get_command(app), 1)


def _command(name: str, command: Any, level: int) -> Iterator[str]:
    import typer

    context = typer.Context(command, info_name=name)
    if level > 1:
        yield f"\n{'#' * min(level, 4)} {name}\n"
        yield f"{_plain(command.help or command.short_help or '')}\n"
    for child in sorted(command.list_commands(context)) if level == 1 or _is_group(command) else ():
        inner = command.get_command(context, child)
        if not inner.hidden:
            yield from _command(f"{name} {child}", inner, level + 1)
    if level > 1 and not _is_group(command):
        rows = [row for parameter in command.params if (row := _row(parameter, context))]
        if rows:
            yield "| argument or option | meaning |\n|---|---|"
            yield from rows


def _is_group(command: Any) -> bool:
    return isinstance(command, click_group())


def click_group() -> type:
    """The class of command groups, which typer may bring under its own name."""
    import typer

    return typer.core.TyperGroup


def _row(parameter: Any, context: Any) -> str | None:
    record = parameter.get_help_record(context)
    if record is None:
        help_text = getattr(parameter, "help", "") or ""
        return f"| `{_code(parameter.make_metavar(context))}` | {_plain(help_text)} |"
    usage, meaning = record
    return f"| `{_code(usage)}` | {_plain(meaning)} |"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    """Text inside a code span of a table, where a bar cannot be escaped."""
    return " ".join(text.split()).replace("|", ", ")
