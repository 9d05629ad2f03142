"""``lisa-micro correct``: replay a manual correction from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.loading import read_image
from lisa_micro.cli.options import ImageOptions, OutputOptions, grouped
from lisa_micro.cli.summary import show_summary
from lisa_micro.cli.terminal import busy, list_written
from lisa_micro.types import InputError


@grouped
def correct(
    source: ImageOptions,
    labels: Annotated[Path, typer.Argument(help="Instance labels from before the correction.")],
    log: Annotated[Path, typer.Argument(help="corrections.json, as saved by the app.")],
    output: OutputOptions,
) -> None:
    """Replay a correction from its log: write the corrected labels, measured and drawn."""
    from lisa_micro.correction.remeasure import corrected_segment
    from lisa_micro.correction.replay import read_log, replay_log
    from lisa_micro.io import check_output, read_labels
    from lisa_micro.results import save_answer
    from lisa_micro.results.answer import Answer, Segmentation
    from lisa_micro.results.summary import summarise_segments

    record = read_log(log)
    micrograph = read_image(source)
    before = read_labels(labels, kind="instances").pixels
    if before.shape != micrograph.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (before.shape, micrograph.shape)]
        raise InputError(
            f"The labels are {sizes[0]} px and the micrograph {sizes[1]} px; they must have the same size."
        )
    folder = check_output(output.folder(source.image), output.force)
    with busy("Correcting and measuring"):
        correction = replay_log(before, record, log.name)
        segment = Segmentation(
            before, concept=record.concept, phrase=record.phrase or "objects", pixel_size_nm=micrograph.pixel_size_nm
        )
        segment = corrected_segment(segment, correction.result(), micrograph, correction.summary)
        text = f"{segment.count} instances after {len(correction.actions)} corrections."
        answer = Answer(text, (segment,), record.prompt)
        details = {"correction": {"log": str(log), "labels": str(labels), "steps": correction.said}}
        written = save_answer(answer, micrograph, folder, details=details, force=output.force)
    for sentence in correction.said:
        print(sentence)
    print(text)
    show_summary(summarise_segments(answer.segments))
    list_written(written)
