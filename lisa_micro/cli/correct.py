"""``lisa-micro correct``: a correction made by hand, repeated from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.terminal import busy, list_written, read_image
from lisa_micro.types import InputError


def correct(
    image: Annotated[Path, typer.Argument(help="The micrograph.")],
    labels: Annotated[Path, typer.Argument(help="Instance labels from before the correction.")],
    log: Annotated[Path, typer.Argument(help="corrections.json, as the app gives it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    pixel_size: Annotated[
        float | None, typer.Option(metavar="NM", help="Edge of a pixel, instead of the file's.")
    ] = None,
    page: Annotated[int, typer.Option(help="Which image of a stack, from 0.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there already.")] = False,
) -> None:
    """Repeat a correction from its log: the same labels come out, measured and drawn."""
    from lisa_micro.correction.remeasure import corrected_segment
    from lisa_micro.correction.replay import read_log, replay_log
    from lisa_micro.io import check_output, read_labels
    from lisa_micro.results import save_answer
    from lisa_micro.results.answer import Answer, Segmentation

    record = read_log(log)
    micrograph = read_image(image, pixel_size, page)
    before = read_labels(labels, kind="instances").pixels
    if before.shape != micrograph.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (before.shape, micrograph.shape)]
        raise InputError(f"The labels are {sizes[0]} px and the micrograph {sizes[1]} px; they must be alike.")
    check_output(out, force)
    with busy("Correcting and measuring"):
        correction = replay_log(before, record, log.name)
        segment = Segmentation(
            before, concept=record.concept, phrase=record.phrase or "objects", pixel_size_nm=micrograph.pixel_size_nm
        )
        segment = corrected_segment(segment, correction.result(), micrograph, correction.summary)
        text = f"{segment.count} instances after {len(correction.actions)} corrections."
        answer = Answer(text, (segment,), record.prompt)
        details = {"correction": {"log": str(log), "labels": str(labels), "steps": correction.said}}
        written = save_answer(answer, micrograph, out, details=details, force=force)
    for sentence in correction.said:
        print(sentence)
    print(text)
    list_written(written)
