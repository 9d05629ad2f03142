"""``lisa-micro segment`` on planes that are read part by part, and on stacks as volumes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lisa_micro.cli.loading import load_preset, page_of, show_plots
from lisa_micro.cli.options import ImageOptions, ModelOptions, OutputOptions
from lisa_micro.cli.terminal import list_written, note, notes, print_json, steps
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.io.lazy import Plane, Stack


@dataclass(frozen=True)
class StackOptions:
    """Stacks and planes above the limit of memory."""

    volume: Annotated[
        bool, typer.Option("--volume", help="Segment every slice of a stack and link the slices into 3-D instances.")
    ] = False
    step: Annotated[
        float | None, typer.Option(metavar="NM", help="Distance of the slices in nm; used instead of the file's.")
    ] = None
    gap: Annotated[int, typer.Option(min=0, help="Slices of a volume in which an object may be missed.")] = 1
    least_slices: Annotated[int, typer.Option(min=1, help="Objects in fewer slices of a volume are left out.")] = 2
    lazy: Annotated[
        bool,
        typer.Option(
            "--lazy", help="Read, segment and write the plane part by part; always so above 16384 px. Words only."
        ),
    ] = False


def open_stack(source: ImageOptions, options: StackOptions) -> Stack | None:
    """The stack, where it is to be a volume or its plane to be read part by part; ``None``: an image in memory.

    Raises:
        InputError: a file that cannot be read, or only whole.
    """
    from lisa_micro.io.arrays import MAX_SIDE
    from lisa_micro.io.lazy import read_stack
    from lisa_micro.io.lazy.opening import reads_parts

    if not options.volume and options.step is not None:
        raise InputError("--step belongs to --volume: it is the distance of the slices.")
    if not reads_parts(source.image):
        if options.lazy:
            raise InputError(f"{source.image.name} cannot be read part by part; leave out --lazy.")
        if not options.volume:
            return None
    stack = read_stack(source.image, source.pixel_size, options.step, missing=source.missing_chunks)
    if options.volume or options.lazy or max(stack.shape) > MAX_SIDE:
        return stack
    stack.close()
    return None


def refuse_picture_options(field: str | None, scale_bar: str | None) -> None:
    """Refuse what applies to pictures alone.

    Raises:
        InputError: a field of view or a marked scale bar was given.
    """
    for name, value in (("--field", field), ("--scale-bar", scale_bar)):
        if value is not None:
            raise InputError(
                f"{name} does not apply to volumes and to planes that are read part by part; leave it out."
            )


def segment_stack(
    stack: Stack,
    source: ImageOptions,
    options: StackOptions,
    words: str,
    model: ModelOptions,
    output: OutputOptions,
    formats: tuple[str, ...],
    as_json: bool,
) -> None:
    """Answer words about a volume, or about one plane of a stack.

    Raises:
        InputError: a page, channel or slice that is not there, or other formats than OME-Zarr.
    """
    refuse_picture_options(source.field, source.scale_bar)
    others = [name for name in formats if name != "zarr"]
    if others:
        raise InputError(
            f"Volumes and planes that are read part by part are exported as zarr, not as {', '.join(others)}."
        )
    if options.volume:
        _volume(stack, source, options, words, model, output, formats, as_json)
        return
    _plane(stack.plane(page_of(source), source.channel), source, words, model, output, formats, as_json)


def _plane(
    plane: Plane,
    source: ImageOptions,
    words: str,
    model: ModelOptions,
    output: OutputOptions,
    formats: tuple[str, ...],
    as_json: bool,
) -> None:
    from lisa_micro.io import check_output
    from lisa_micro.large_images.planes import segment_plane
    from lisa_micro.large_images.planes.files import write_omezarr

    folder = check_output(output.folder(source.image), output.force)
    notes(plane.notes)
    assistant = load_preset(model)
    with steps("Reading") as progress:
        found = segment_plane(assistant, plane, words, scratch=folder, progress=progress)
    details = {"preset": assistant.preset or model.preset, "weights_sha256": assistant.weights_sha256}
    written = found.save(folder, details={**details, "device": str(assistant.device)}, force=output.force)
    if formats:
        written.append(write_omezarr(found, folder / "image.zarr"))
    notes(found.notes)
    if plane.pixel_size_nm is None and found.segments:
        note("The pixel size is unknown, so sizes are in px; give it with --pixel-size NM.")
    _tell(found.text, folder / "answer.json", written, as_json)


def _tell(text: str, record: Path, written: list[Path], as_json: bool) -> None:
    """Show what was found and written; ``record``: the file with the facts, which are all that is printed as JSON."""
    if as_json:
        facts = json.loads(record.read_text(encoding="utf-8"))
        print_json({**facts, "files": [str(path) for path in written]})
        return
    print(text)
    show_plots(written)
    list_written(written)


def _volume(
    stack: Stack,
    source: ImageOptions,
    options: StackOptions,
    words: str,
    model: ModelOptions,
    output: OutputOptions,
    formats: tuple[str, ...],
    as_json: bool,
) -> None:
    from lisa_micro.io import check_output
    from lisa_micro.volumes.files import VOLUME_FILES, write_omezarr
    from lisa_micro.volumes.run import VolumeOptions, check_volume, segment_volume

    place = None if source.page.strip() == "0" else source.page
    check_volume(stack.slices(place, source.channel))  # before the model is loaded
    folder = check_output(output.folder(source.image), output.force, VOLUME_FILES)
    assistant = load_preset(model)
    how = VolumeOptions(place, source.channel, options.gap, least_slices=options.least_slices, scratch=folder)
    with steps("Segmenting slices") as progress:
        volume = segment_volume(assistant, stack, words, how, progress=progress)
    written = volume.save(folder, output.force)
    if formats:
        written.append(write_omezarr(volume, folder / "image.zarr"))
    notes(volume.notes)
    _tell(volume.text, folder / "volume.json", written, as_json)
