"""``lisa-micro data check`` and ``lisa-micro data convert``: data sets of one's own images, labels and sentences."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lisa_micro.cli.options import Force, PixelSize, Seed, grouped
from lisa_micro.cli.terminal import list_written, notes, steps
from lisa_micro.types import InputError

FormatName = Literal["auto", "labels", "sentences", "coco", "reasonseg", "labelme", "corrections"]
SHOWN = 200
"""Number of errors, and of warnings, that are printed at most; the last line says how many there are."""

data = typer.Typer(no_args_is_help=True)


@data.callback()
def options() -> None:
    """Make data sets for training from your own images, labels and sentences, and check them."""


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with metadata.jsonl, or with train/ and validation/.")],
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw a few records with their conversations into DIR.")
    ] = None,
    force: Force = False,
) -> None:
    """Show what a data set holds, and what is wrong with it, one line each."""
    from lisa_micro.datasets.preparation import checking_report
    from lisa_micro.datasets.preparation.checking import check_folder
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
        raise InputError(
            f"{folder} cannot be used for training: {_things(len(report.faults))} wrong; see the lines above."
        )
    print("nothing is wrong" + (f"; warnings: {len(report.warnings)}" if report.warnings else ""))


@dataclass(frozen=True)
class SourceOptions:
    """What the source is, and what is made of it."""

    kind: Annotated[FormatName, typer.Option("--from", help="Format of the source; auto detects it.")] = "auto"
    concept: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=NAME", help="Concept that a label stands for; LABEL= leaves it out. Repeatable."),
    ] = None
    pixel_size: PixelSize = None
    modality: Annotated[str | None, typer.Option(help="BF-TEM, HAADF-STEM, SEM, or another word.")] = None
    validation: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="Fraction of the images for validation (default: the source's, or 0.2)."),
    ] = None
    conversations: Annotated[
        int, typer.Option(min=0, help="Conversations generated for each image that has labels and no sentences.")
    ] = 1


@data.command()
@grouped
def convert(
    source: Annotated[Path, typer.Argument(help="Folder of the data, or its JSON or CSV file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the data set; new or empty.")],
    options: SourceOptions,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Make a data set of records from label images, sentences, COCO, ReasonSeg, Labelme, or saved corrections."""
    from lisa_micro.datasets.formats.drafts import Faults
    from lisa_micro.datasets.preparation.converting import Choices
    from lisa_micro.datasets.preparation.converting import convert as convert_folder

    choices = Choices(
        options.kind,
        _concepts(options.concept or []),
        options.pixel_size,
        options.modality,
        options.validation,
        options.conversations,
        seed,
    )
    try:
        with steps("Converting") as progress:
            done = convert_folder(source, out, choices, force, progress)
    except Faults as error:
        _list(error.faults)
        raise InputError(f"{error.summary}; nothing was written.") from error
    notes(done.notes[:SHOWN])
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
            raise InputError(f"--concept {text} is not LABEL=NAME, or gives a label a second meaning.")
        found[label.strip()] = name.strip()
    return found


def _list(faults: Iterable[object]) -> None:
    """Print errors on the standard error stream, one line each."""
    lines = [" ".join(str(fault).split()) for fault in faults]
    for line in lines[:SHOWN]:
        print(line, file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"... and {len(lines) - SHOWN} more", file=sys.stderr)


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"
