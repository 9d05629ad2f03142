"""``lisa-micro chat``: a conversation about one micrograph, line by line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.loading import Origin, load_preset, read_image, show_notes
from lisa_micro.cli.options import Force, ImageOptions, ModelOptions, grouped
from lisa_micro.cli.summary import show_summary
from lisa_micro.cli.terminal import busy, complain
from lisa_micro.types import InputError


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
    from lisa_micro.language import check_prompt
    from lisa_micro.results.summary import summarise_segments

    micrograph = read_image(source)
    if out is not None:
        check_output(out / "1", force)
    assistant = load_preset(model)
    origin = Origin(assistant, model.preset, micrograph, source.page)
    conversation = assistant.chat(micrograph)
    interactive = sys.stdin.isatty()
    if interactive:
        print("Ask about the micrograph; an empty line or Ctrl-D ends the conversation.")
    turn = 0
    while (line := _read_line(interactive)) is not None:
        if not line.strip():
            if interactive:
                break
            continue
        try:
            words, notes = check_prompt(line)
            with busy("Segmenting"):
                answer = conversation.ask(words)
            answer = replace(answer, notes=(*notes, *answer.notes))
            print(answer.text)
            show_notes(answer, micrograph)
            show_summary(summarise_segments(answer.segments))
            turn += 1
            if out is not None:
                folder = out / str(turn)
                origin.save(answer, folder, force, turn=turn)
                print(f"saved in {folder}")
        except InputError as error:  # one request that cannot be used does not end the conversation
            complain(str(error))


def _read_line(interactive: bool) -> str | None:
    """The next line; None at the end of the input."""
    try:
        return input("> " if interactive else "")
    except EOFError:
        return None
