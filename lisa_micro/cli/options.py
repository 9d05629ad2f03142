"""Options that several commands share, in groups.

A group is a frozen dataclass whose fields are annotated as Typer options. :func:`grouped` turns a function that takes
groups into a command that has their fields as options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

PrecisionName = Literal["auto", "fp32", "bf16", "fp16", "8bit", "4bit"]
ModalityName = Literal["BF-TEM", "HAADF-STEM", "SEM"]

PixelSize = Annotated[
    float | None, typer.Option(metavar="NM", help="Pixel size in nm; used instead of the file's.", show_default=False)
]
FieldOfView = Annotated[
    str | None,
    typer.Option(
        "--field",
        metavar="X0,Y0,X1,Y1",
        help="Part of the picture that shows the specimen, in px; used instead of a data bar that is found.",
    ),
]
NoBanner = Annotated[
    bool, typer.Option("--no-banner", help="Take the whole picture as the field of view; look for no data bar.")
]
NoScaleBar = Annotated[bool, typer.Option("--no-scale-bar", help="Do not read the pixel size from a scale bar.")]
ScaleBar = Annotated[
    str | None,
    typer.Option(
        "--scale-bar",
        metavar="X0,Y0,X1,Y1,LENGTH",
        help='Ends of the scale bar in px and its length, such as "40,980,240,980,20 nm"; used instead of the file\'s '
        "pixel size and of a scale bar that is read.",
    ),
]
MissingChunks = Annotated[
    Literal["error", "fill"],
    typer.Option(help="A chunk of OME-Zarr that has no file: an error, or filled with the array's fill value."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on the standard output.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random choices.")]
DeviceName = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, mps ...")]


@dataclass(frozen=True)
class ModelOptions:
    """Which model answers, and where it runs."""

    preset: Annotated[str, typer.Option(help="Model: name of a preset, folder of a model or adapter, or hub name.")] = (
        "micro"
    )
    device: DeviceName = "auto"
    precision: Annotated[
        PrecisionName,
        typer.Option(help="Precision of the language model; 4bit, and 8bit of an official LISA, need the extra quant."),
    ] = "auto"
    projectors: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Trained projectors of a preset with a larger language model."),
    ] = None


@dataclass(frozen=True)
class ImageOptions:
    """Which micrograph is read."""

    image: Annotated[Path, typer.Argument(help="Micrograph: TIFF, PNG, JPEG, MRC, DM3, DM4, EMD, SER, OME-Zarr ...")]
    pixel_size: PixelSize = None
    page: Annotated[
        str,
        typer.Option(
            metavar="PAGE",
            help="Page of a stack: its number from 0 (negative numbers count from the end), its name, or its place, "
            "such as z=12 or t=3,z=12.",
        ),
    ] = "0"
    channel: Annotated[str | None, typer.Option(help="Channel of a stack, by name or number from 0.")] = None
    missing_chunks: MissingChunks = "error"
    field: FieldOfView = None
    no_banner: NoBanner = False
    no_scale_bar: NoScaleBar = False
    scale_bar: ScaleBar = None


@dataclass(frozen=True)
class OutputOptions:
    """Where results go."""

    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the results (default: ./STEM-lisa)."),
    ] = None
    force: Force = False

    def folder(self, source: Path) -> Path:
        """The folder given, or ``STEM-lisa`` in the working directory, where STEM is the name of the input."""
        return self.out if self.out is not None else default_folder(source)


def default_folder(source: Path) -> Path:
    """``STEM-lisa`` in the working directory; ``film.ome.tif`` and ``film.tif`` both give ``film-lisa``."""
    name = source.name or source.resolve().name
    stem = name if source.is_dir() else Path(name).stem.removesuffix(".ome")
    return Path(f"{stem}-lisa")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: every field of a dataclass parameter becomes an option of its own, in the
    place of that parameter."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[name] = kind
            parameters += _of_fields(kind)
        else:
            parameters.append(_keyword(name, parameter.default, kind))

    @wraps(command)
    def call(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _of_fields(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        _keyword(field.name, inspect.Parameter.empty if field.default is MISSING else field.default, hints[field.name])
        for field in fields(group)
    ]


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
