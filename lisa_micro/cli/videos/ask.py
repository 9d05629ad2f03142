"""``lisa-micro ask``: questions in words about a video that ``lisa-micro track`` has followed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.loading import load_preset
from lisa_micro.cli.options import AsJson, grouped
from lisa_micro.cli.server.kept import ServedModelOptions
from lisa_micro.cli.terminal import notes, print_json


@grouped
def ask(
    folder: Annotated[Path, typer.Argument(help="Results folder of `lisa-micro track`.")],
    questions: Annotated[list[str], typer.Argument(help='Such as "when do the first two particles coalesce?"')],
    model: ServedModelOptions,
    video: Annotated[Path | None, typer.Option(help="The video, where it has been moved since.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer questions about a tracked video, as one conversation; every number is measured."""
    from lisa_micro.io import read_video
    from lisa_micro.language import check_prompt
    from lisa_micro.video.tracks import Tracks

    # everything is checked before the model is loaded
    for question in questions:
        check_prompt(question)
    tracks = Tracks.load(folder)
    stream = None if video is None else read_video(video)
    conversation = tracks.chat(load_preset(model), stream)
    records = []
    for question in questions:
        answer = conversation.ask(question)
        notes(answer.notes)
        if as_json:
            values = [asdict(value) for value in answer.values]
            records.append({"question": question, "text": answer.text, "values": values, "notes": list(answer.notes)})
        else:
            print(answer.text)
    if as_json:
        print_json(records)
