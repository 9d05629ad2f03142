"""``lisa-micro compare``: words against boxes and points, and wordings against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.loading import load_preset, read_image
from lisa_micro.cli.options import AsJson, ImageOptions, OutputOptions, Seed, grouped
from lisa_micro.cli.server.kept import ServedModelOptions
from lisa_micro.cli.terminal import busy, list_written, notes, print_json
from lisa_micro.types import InputError

COLUMNS = ["way", "IoU", "object IoU", "found", "missed", "extra", "seconds", "user actions"]


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared."""

    boxes: Annotated[Path | None, typer.Option(help="File of boxes: JSON, or x0,y0,x1,y1 in each line.")] = None
    truth: Annotated[
        Path | None, typer.Option(help="True instance labels; boxes and points are derived from them.")
    ] = None
    wording: Annotated[list[str] | None, typer.Option(help="The prompt in other words; repeatable.")] = None
    jitter: Annotated[
        float, typer.Option(min=0, metavar="PX", help="Shift boxes from the truth at random by up to PX.")
    ] = 0.0
    seed: Seed = 0


@grouped
def compare(
    source: ImageOptions,
    comparison: ComparisonOptions,
    model: ServedModelOptions,
    output: OutputOptions,
    prompt: Annotated[str, typer.Argument(help='Words, such as "segment all particles".')] = "",
    as_json: AsJson = False,
) -> None:
    """Compare what words give with what boxes and points give, and wordings with each other; write a report."""
    from lisa_micro.evaluate import comparison as comparing
    from lisa_micro.io import check_output, read_labels
    from lisa_micro.language import check_prompt

    others = comparison.wording or []
    wordings = [check_prompt(text)[0] for text in (prompt, *others) if text.strip()]
    if not (prompt.strip() or comparison.boxes or comparison.truth):
        raise InputError("There is nothing to compare; give a prompt, --boxes or --truth.")
    if others and len(wordings) < 2:
        raise InputError("Wordings are compared with each other; give a prompt and at least one --wording.")
    micrograph = read_image(source)
    drawn = comparing.read_boxes(comparison.boxes) if comparison.boxes else None
    labels = read_labels(comparison.truth).pixels if comparison.truth else None
    folder = output.folder(source.image)
    check_output(folder, output.force, names=comparing.REPORT_FILES + comparing.WORDING_FILES)
    assistant = load_preset(model)
    with busy("Comparing"):
        result = comparing.compare_prompts(
            assistant,
            micrograph,
            wordings[0] if prompt.strip() else None,
            drawn,
            labels,
            options=comparing.ComparisonOptions(jitter_px=comparison.jitter, seed=comparison.seed),
        )
        said = comparing.compare_wordings(assistant, micrograph, wordings, labels) if others else None
    written = result.save(folder)
    if said is not None:
        written += said.save(folder)
    notes(result.notes)
    if as_json:
        print_json(
            {
                "sentence": result.sentence,
                "scores": result.scores.to_dict("records"),
                "wordings": None if said is None else {"texts": wordings, "spread": said.spread},
                "notes": list(result.notes),
                "files": [str(path) for path in written],
            }
        )
        return
    print(result.sentence)
    if len(result.scores):
        print(result.scores[COLUMNS].to_string(index=False, float_format="{:.3f}".format))
    if said is not None:
        print(f"{len(wordings)} wordings: spread of IoU {said.spread:.3f}")
    list_written(written)
