"""``lisa-micro segment``: masks, tables and an overlay of what the words, boxes or everything mode give."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

import typer

from lisa_micro.cli.loading import (
    Origin,
    ask,
    load_prompted,
    page_of,
    parse_boxes,
    read_image,
    show_alternative,
    show_notes,
    show_plots,
    with_segment,
)
from lisa_micro.cli.micrographs.like import Examples, LikeOptions, parse_examples
from lisa_micro.cli.micrographs.stacks import StackOptions, open_stack, segment_stack
from lisa_micro.cli.options import AsJson, ImageOptions, OutputOptions, grouped
from lisa_micro.cli.server.kept import ServedModelOptions
from lisa_micro.cli.summary import show_summary
from lisa_micro.cli.terminal import busy, list_written, print_json, steps
from lisa_micro.cli.terminal import notes as show
from lisa_micro.types import InputError

Tiles = Literal["auto", "off", "tiled", "cascade"]  # the values of TilingMode, which would bring NumPy into --help
SEGMENTERS = (
    "micro", "efficient_sam_vitt", "efficient_sam_vits", "sam_vit_b", "sam_vit_l", "sam_vit_h", "sam2", "sam3",
)  # fmt: skip
"""Offered by completion; a table of builders has the last word."""


@dataclass(frozen=True)
class PromptOptions:
    """What to segment besides words, and how."""

    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Box in px around one object; repeatable."),
    ] = None
    everything: Annotated[bool, typer.Option("--everything", help="Segment all objects, without a prompt.")] = False
    segmenter: Annotated[
        str | None,
        typer.Option(
            help=f"Segmenter for boxes and everything: {', '.join(SEGMENTERS)}.", autocompletion=lambda: SEGMENTERS
        ),
    ] = None
    checkpoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="Weights of the segmenter: a file, or a hub name.")
    ] = None
    tiles: Annotated[
        Tiles,
        typer.Option(
            help="How a large micrograph is segmented: auto uses tiles above 2048 px, off scales it down, tiled uses "
            "tiles at full resolution, cascade detects first and then segments crops."
        ),
    ] = "auto"


@grouped
def segment(
    source: ImageOptions,
    prompting: PromptOptions,
    examples: LikeOptions,
    stacks: StackOptions,
    model: ServedModelOptions,
    output: OutputOptions,
    prompt: Annotated[str, typer.Argument(help='What to segment, such as "all sintering necks".')] = "",
    export: Annotated[
        str,
        typer.Option(
            metavar="FORMATS",
            help="Further files, separated by commas: roi (ImageJ), geojson (QuPath), zarr (OME-Zarr), xlsx (Excel).",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Segment what the words ask for, what is in the boxes, all that is like an example, or everything; write masks,
    tables and an overlay."""
    from lisa_micro.geometry import check_boxes
    from lisa_micro.io import check_output
    from lisa_micro.language import check_prompt
    from lisa_micro.results.formats import check_formats, save_into
    from lisa_micro.results.summary import summarise_segments

    like = _examples(examples, prompting)
    formats = check_formats(export)
    words, notes = check_prompt(prompt, needed=not (prompting.box or prompting.everything or like))
    boxes = parse_boxes(prompting.box or [])
    stack = open_stack(source, stacks)
    if stack is not None:
        if like or boxes or prompting.everything or prompting.segmenter or prompting.tiles != "auto":
            raise InputError(
                "A volume, or a plane that is read part by part, is segmented by words alone; leave out --box, "
                "--everything, --like, --segmenter and --tiles."
            )
        show(notes)
        segment_stack(stack, source, stacks, words, model, output, formats, as_json)
        return
    micrograph = read_image(source)
    if boxes:
        repaired, remarks = check_boxes(boxes, micrograph.shape)
        boxes, notes = repaired.tolist(), (*notes, *remarks)
    folder = check_output(output.folder(source.image), output.force)  # before minutes of work, not after
    assistant = load_prompted(prompting.segmenter, prompting.checkpoint, words, model)
    answer = None
    if like:
        with steps("Segmenting") as progress:
            found = assistant.segment_like(
                micrograph, like.like, like.unlike, exemplar=like.exemplar, words=words, progress=progress
            )
        from lisa_micro.assistant.like import like_answer

        answer = like_answer(found, words)
    elif words:
        answer = ask(assistant, micrograph, words, prompting.tiles)
    with busy("Segmenting"):
        if boxes:
            answer = with_segment(answer, assistant.segment_boxes(micrograph, boxes), words, " from boxes")
        if prompting.everything:
            answer = with_segment(answer, assistant.segment_everything(micrograph), words)
    assert answer is not None  # check_prompt saw to it that there are words or boxes, or that everything is wanted
    answer = replace(answer, notes=(*notes, *answer.notes))
    origin = Origin(assistant, model.preset, micrograph, page_of(source))
    written = origin.save(answer, folder, output.force, boxes or None, more=like.record() if like else None)
    if like and examples.save_like is not None:
        learnt = assistant.learn_exemplar(micrograph, like.like, like.unlike, exemplar=like.exemplar)
        written.append(learnt.save(examples.save_like))
    written += save_into(answer, micrograph, folder, formats)
    summary = summarise_segments(answer.segments)
    show_notes(answer, micrograph)
    if as_json:
        record = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        print_json({**record, "summary": [asdict(row) for row in summary], "files": [str(path) for path in written]})
        return
    print(answer.text)
    show_summary(summary)
    show_plots(written)
    list_written(written)
    show_alternative(answer, "ask for that, or ask in lisa-micro chat and type ?")


def _examples(options: LikeOptions, prompting: PromptOptions) -> Examples:
    """The examples of ``--like``.

    Raises:
        InputError: they cannot be read, or cannot be combined with the other options.
    """
    found = parse_examples(options.like, options.unlike)
    if options.save_like is not None and not found:
        raise InputError("--save-like needs --like: a box around an object that is meant.")
    if found and (prompting.box or prompting.everything or prompting.segmenter):
        raise InputError("--like cannot be combined with --box, --everything or --segmenter; leave out one of them.")
    return found
