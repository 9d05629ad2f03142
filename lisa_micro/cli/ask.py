"""``lisa-micro ask``: questions in words about a video that ``lisa-micro track`` has followed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.terminal import Device, Precision, Preset, Projectors, load_preset
from lisa_micro.language import check_prompt


def ask(
    folder: Annotated[Path, typer.Argument(help="What 'lisa-micro track' wrote.")],
    questions: Annotated[list[str], typer.Argument(help='Such as "when do the first two particles coalesce?"')],
    video: Annotated[
        Path | None, typer.Option(help="The video, where it is no longer where it was when it was followed.")
    ] = None,
    preset: Preset = "micro",
    device: Device = "auto",
    precision: Precision = "auto",
    projectors: Projectors = None,
) -> None:
    """Answer questions about a followed video, one after the other as one conversation; every number is measured."""
    from lisa_micro.io import read_video
    from lisa_micro.video.tracks import Tracks

    # what cannot be used is told before the model is loaded
    for question in questions:
        check_prompt(question)
    tracks = Tracks.load(folder)
    stream = None if video is None else read_video(video)
    conversation = tracks.chat(load_preset(preset, device, precision, projectors), stream)
    for question in questions:
        answer = conversation.ask(question)
        print(answer.text)
        for note in answer.notes:
            print(f"note: {note}", file=sys.stderr)
