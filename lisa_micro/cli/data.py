"""``lisa-micro data check`` and ``lisa-micro data convert``: one's own images, labels and sentences, made ready for
training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.terminal import list_written, steps
from lisa_micro.types import InputError

data = typer.Typer(help="Your own images, labels and sentences as a data set to train on.", no_args_is_help=True)
SHOWN = 200
"""Faults, and warnings, that are printed at most; the last line says how many there are."""


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="With metadata.jsonl, or with train/ and validation/.")],
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw a few records with their conversations into DIR.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite pictures that are there already.")] = False,
) -> None:
    """Say what a data set holds and what is wrong with it, line by line."""
    from lisa_micro.datasets import checking_report
    from lisa_micro.datasets.checking import check_folder
    from lisa_micro.io import check_output, write_files

    if pictures is not None:
        check_output(pictures, force, names=(checking_report.PICTURE_NAMES,))
    with steps("Checking") as progress:
        report = check_folder(folder, progress)
    for line in checking_report.summary(report):
        print(line)
    for warning in report.warnings[:SHOWN]:
        print(f"warning: {warning}")
    if len(report.warnings) > SHOWN:
        print(f"warning: and {len(report.warnings) - SHOWN} more")
    _list(str(fault) for fault in report.faults)
    if pictures is not None:
        with steps("Drawing"):
            written = write_files(pictures, checking_report.pictures(report))
        list_written(written)
    if report.faults:
        raise InputError(f"{folder} cannot be trained on: {_things(len(report.faults))} wrong; mend the lines above.")
    print("nothing is wrong" + (f"; warnings: {len(report.warnings)}" if report.warnings else ""))


@data.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Folder of the data, or its JSON or CSV file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data set; new or empty.")],
    kind: Annotated[
        str, typer.Option("--from", help="auto, labels, sentences, coco, reasonseg, labelme, corrections.")
    ] = "auto",
    concept: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=NAME", help="What a label means; LABEL= leaves it out. Repeatable."),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="NM", help="Edge of a pixel, instead of the files'.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="BF-TEM, HAADF-STEM, SEM, or another word.")] = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the images, held back; else as the source says, or 0.2."),
    ] = None,
    conversations: Annotated[
        int, typer.Option(min=0, help="Made up for each image that has labels and no sentences.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of the made-up conversations.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a data set that is there already.")] = False,
) -> None:
    """Make a data set of records from label images, sentences, COCO, ReasonSeg, Labelme, or saved corrections."""
    from lisa_micro.datasets.converting import Choices
    from lisa_micro.datasets.converting import convert as convert_folder
    from lisa_micro.datasets.formats.drafts import Faults

    choices = Choices(kind, _concepts(concept or []), pixel_size, modality, validation, conversations, seed)
    try:
        with steps("Converting") as progress:
            done = convert_folder(source, out, choices, force, progress)
    except Faults as error:
        _list(error.faults)
        raise InputError(f"{error.summary}; nothing was written.") from error
    for note in done.notes[:SHOWN]:
        print(f"note: {note}", file=sys.stderr)
    parts = ", ".join(f"{count} {part}" for part, count in sorted(done.records.items()))
    print(f"{done.images} images of {done.sources} sources as {sum(done.records.values())} records ({parts})")
    for own in done.custom_concepts:
        print(f"own concept {own.name}: {own.singular}, {own.plural} (dataset.yaml)")
    list_written([done.folder])


def _concepts(texts: list[str]) -> dict[str, str]:
    """Label -> concept.

    Raises:
        InputError: a text without ``=``, or one label twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        label, equals, name = text.partition("=")
        if not equals or not label.strip() or label.strip() in found:
            raise InputError(f"--concept {text} is not LABEL=NAME, or says what a label means again.")
        found[label.strip()] = name.strip()
    return found


def _list(faults) -> None:
    """One line each on the standard error stream."""
    lines = [" ".join(str(fault).split()) for fault in faults]
    for line in lines[:SHOWN]:
        print(line, file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"... and {len(lines) - SHOWN} more", file=sys.stderr)


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"
