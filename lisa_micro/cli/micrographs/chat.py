"""``lisa-micro chat``: a conversation about one micrograph, line by line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lisa_micro.cli.loading import (
    Origin,
    load_preset,
    page_of,
    read_image,
    show_alternative,
    show_notes,
    show_plots,
)
from lisa_micro.cli.options import Force, ImageOptions, ModelOptions, grouped
from lisa_micro.cli.summary import show_summary
from lisa_micro.cli.terminal import busy, complain
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.protocols import Conversation
    from lisa_micro.results.answer import Answer

OTHER = ("?", "/other")
"""Lines that take the other reading of the last request."""


@grouped
def chat(
    source: ImageOptions,
    model: ModelOptions,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Save the answers in DIR/1, DIR/2 ...")
    ] = None,
    force: Force = False,
) -> None:
    """Ask several things about one micrograph; later requests may refer to earlier ones."""
    from lisa_micro.io import check_output
    from lisa_micro.results.summary import summarise_segments

    micrograph = read_image(source)
    if out is not None:
        check_output(out / "1", force)
    assistant = load_preset(model)
    origin = Origin(assistant, model.preset, micrograph, page_of(source))
    conversation = assistant.chat(micrograph)
    answer: Answer | None = None
    interactive = sys.stdin.isatty()
    if interactive:
        print("Ask about the micrograph; an empty line or Ctrl-D ends the conversation.")
        print("Where a request could mean something else, ? takes the other reading of the last one.")
    turn = 0
    while (line := _read_line(interactive)) is not None:
        if not line.strip():
            if interactive:
                break
            continue
        try:
            other = line.strip().lower() in OTHER
            answer = _reinterpreted(conversation, answer) if other else _answered(conversation, line)
            print(answer.text)
            show_notes(answer, micrograph)
            show_summary(summarise_segments(answer.segments))
            turn += not other
            if out is not None:
                folder = out / str(turn)
                show_plots(origin.save(answer, folder, force or other, turn=turn))
                print(f"saved in {folder}")
            elif answer.plots:
                print("To save plots as pictures and tables, start with --out DIR.")
            show_alternative(answer, "type ? for that reading")
        except InputError as error:  # one request that cannot be used does not end the conversation
            complain(str(error))


def _answered(conversation: Conversation, line: str) -> Answer:
    from lisa_micro.language import check_prompt

    words, notes = check_prompt(line)
    with busy("Segmenting"):
        answer = conversation.ask(words)
    return replace(answer, notes=(*notes, *answer.notes))


def _reinterpreted(conversation: Conversation, answer: Answer | None) -> Answer:
    """The other reading of the last request.

    Raises:
        InputError: there is no request yet, or it has no other reading.
    """
    if answer is None or answer.alternative is None:
        what = "request yet" if answer is None else "other reading of the last request"
        raise InputError(f"There is no {what}; ask in your own words.")
    with busy("Segmenting"):
        return conversation.reinterpret(answer.alternative)


def _read_line(interactive: bool) -> str | None:
    """The next line; None at the end of the input."""
    try:
        return input("> " if interactive else "")
    except EOFError:
        return None
