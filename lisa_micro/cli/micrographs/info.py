"""``lisa-micro info``: what is read from files of micrographs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lisa_micro.cli.loading import what_to_look_for
from lisa_micro.cli.micrographs.stacks import refuse_picture_options
from lisa_micro.cli.options import AsJson, FieldOfView, NoBanner, NoScaleBar, PixelSize, ScaleBar
from lisa_micro.cli.terminal import complain, print_json
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.io.lazy import Plane
    from lisa_micro.io.lazy.layout import Layout
    from lisa_micro.types import Micrograph


def info(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Micrographs, or labels.")],
    pixel_size: PixelSize = None,
    page: Annotated[int, typer.Option(help="Page of a stack, from 0; negative numbers count from the end.")] = 0,
    field: FieldOfView = None,
    no_banner: NoBanner = False,
    no_scale_bar: NoScaleBar = False,
    scale_bar: ScaleBar = None,
    as_json: AsJson = False,
) -> None:
    """Show what is read from files: size, type, pages, pixel size and its origin, data bar, scale bar, modality,
    intensities, notes.

    A file that cannot be read is an error on a line of its own; the others are shown all the same. Of a plane above
    16384 px no pixels are read.
    """
    from lisa_micro.io import read_micrograph
    from lisa_micro.io.arrays import TooLargeError
    from lisa_micro.io.lazy.opening import read_too_large

    looking = what_to_look_for(field, no_banner, no_scale_bar, scale_bar)
    records, failed = [], 0
    for path in images:
        try:
            try:
                record = describe(path, read_micrograph(path, pixel_size, page, looking))
            except TooLargeError as large:
                with read_too_large(path, large, pixel_size) as stack:
                    refuse_picture_options(field, scale_bar)
                    record = describe_plane(path, stack.plane(page))
        except InputError as error:
            failed += 1
            complain(str(error))
            continue
        records.append(record)
        if not as_json:
            print(("\n" if len(records) > 1 else "") + as_text(record))
    if as_json:
        print_json(records)
    if failed:
        raise typer.Exit(2)


def describe(path: Path, micrograph: Micrograph) -> dict[str, Any]:
    """The facts about a micrograph, as plain values.

    Keys: ``file``, ``bytes`` (``None`` of a folder), ``width_px``, ``height_px``, ``format``, ``type`` (of the file's
    pixels), ``pages``, ``pixel_size_nm``, ``pixel_size_origin``, ``field_px`` (x0, y0, x1, y1 of what shows the
    specimen), ``covered_px`` (boxes with letters in it), ``field_of_view_nm`` (width, height), ``scale_bar`` (``None``,
    or the bar that was read or marked), ``modality``, ``stage_tilt_deg``, ``intensity`` (least and greatest finite
    one), ``not_finite`` (pixels that are NaN or infinite), those of :func:`_storage`, ``notes``.
    """
    import numpy as np

    from lisa_micro.io.lazy import read_stack
    from lisa_micro.io.lazy.opening import is_omezarr

    height, width = micrograph.shape
    metadata, nm, bar = micrograph.metadata, micrograph.pixel_size_nm, micrograph.scale_bar
    high, wide = micrograph.field_shape
    finite = micrograph.pixels[np.isfinite(micrograph.pixels)]
    return {
        "file": str(path),
        "bytes": _bytes(path),
        "width_px": width,
        "height_px": height,
        "format": metadata.get("format") or _format(path),
        "type": metadata.get("dtype") or metadata.get("mode") or "",
        "pages": int(metadata.get("pages", 1)),
        "pixel_size_nm": nm,
        "pixel_size_origin": micrograph.pixel_size_origin,
        "field_px": list(micrograph.field_box),
        "covered_px": [list(box) for box in micrograph.covers],
        "field_of_view_nm": None if nm is None else [wide * nm, high * nm],
        "scale_bar": None if bar is None else asdict(bar),
        "modality": micrograph.modality,
        "stage_tilt_deg": metadata.get("stage_tilt_deg"),
        "intensity": [float(finite.min()), float(finite.max())] if finite.size else None,
        "not_finite": int(micrograph.pixels.size - finite.size),
        **_storage(read_stack(path).opened.layout if is_omezarr(path) else None),
        "notes": list(micrograph.notes),
    }


def describe_plane(path: Path, plane: Plane) -> dict[str, Any]:
    """The facts about a plane that is too large to be read whole, with the keys of :func:`describe`.

    No pixels are read, so intensities are ``None``, and data bars and scale bars are not looked for.
    """
    layout, nm = plane.layout, plane.pixel_size_nm
    height, width = plane.shape
    return {
        "file": str(path),
        "bytes": _bytes(path),
        "width_px": width,
        "height_px": height,
        "format": layout.format or _format(path),
        "type": layout.dtype,
        "pages": layout.count,
        "pixel_size_nm": nm,
        "pixel_size_origin": plane.pixel_size_origin,
        "field_px": [0, 0, width, height],
        "covered_px": [],
        "field_of_view_nm": None if nm is None else [width * nm, height * nm],
        "scale_bar": None,
        "modality": layout.modality,
        "stage_tilt_deg": None,
        "intensity": None,
        "not_finite": None,
        **_storage(layout),
        "read_in_parts": True,
        "notes": list(plane.notes),
    }


def _storage(layout: Layout | None) -> dict[str, Any]:
    """How the pixels of a stack are stored.

    Keys: ``axes`` (number of planes along each one), ``channels`` (their names), ``chunk_px`` (width, height of what is
    decoded as one, or ``None``), ``levels_px`` (width, height of each resolution of a pyramid), ``read_in_parts``
    (whether the plane is too large to be read whole).
    """
    if layout is None:
        return {"axes": {}, "channels": [], "chunk_px": None, "levels_px": [], "read_in_parts": False}
    return {
        "axes": dict(zip(layout.axes, layout.sizes, strict=True)),
        "channels": list(layout.channels),
        "chunk_px": None if layout.chunk is None else [layout.chunk[1], layout.chunk[0]],
        "levels_px": [[width, height] for height, width in layout.levels],
        "read_in_parts": False,
    }


def _bytes(path: Path) -> int | None:
    return None if path.is_dir() else path.stat().st_size


def _data_bar(record: dict[str, Any]) -> str:
    """What lies outside the field of view, and the boxes inside it."""
    x0, y0, x1, y1 = record["field_px"]
    parts = []
    if [x0, y0, x1, y1] != [0, 0, record["width_px"], record["height_px"]]:
        parts.append(f"left out; the field is {x0},{y0},{x1},{y1} ({x1 - x0} x {y1 - y0} px)")
    if record["covered_px"]:
        parts.append(f"{len(record['covered_px'])} {'box' if len(record['covered_px']) == 1 else 'boxes'} with letters")
    return "; ".join(parts)


def _format(path: Path) -> str:
    suffix = path.suffix.lstrip(".").upper()
    return {"TIF": "TIFF", "JPG": "JPEG"}.get(suffix, suffix)


def as_text(record: dict[str, Any]) -> str:
    """One line per fact; the file first."""
    from lisa_micro.io import format_length

    nm, view, bar = record["pixel_size_nm"], record["field_of_view_nm"], record["scale_bar"]
    kind = " ".join(part for part in (record["format"], record["type"]) if part)
    facts = {
        "size": f"{record['width_px']} x {record['height_px']} px, {kind}",
        "pages": str(record["pages"]) if record["pages"] > 1 else "",
        "axes": ", ".join(f"{axis} {size}" for axis, size in record["axes"].items() if size > 1),
        "channels": ", ".join(name for name in record["channels"] if name),
        "chunks": "" if record["chunk_px"] is None else "{} x {} px".format(*record["chunk_px"]),
        "resolutions": ", ".join("{} x {}".format(*level) for level in record["levels_px"]),
        "pixel size": "unknown" if nm is None else f"{nm:.6g} nm ({record['pixel_size_origin']})",
        "field of view": "" if view is None else " x ".join(format_length(side) for side in view),
        "data bar": _data_bar(record),
        "scale bar": "" if bar is None else f"{bar['text']} from x = {bar['x0']:.1f} to {bar['x1']:.1f} px",
        "modality": record["modality"] or "",
        "stage tilt": "" if record["stage_tilt_deg"] is None else f"{record['stage_tilt_deg']:.4g}°",
        "intensity": "" if record["intensity"] is None else "{:.6g} to {:.6g}".format(*record["intensity"]),
        "not finite": f"{record['not_finite']} pixels are NaN or infinite" if record["not_finite"] else "",
        "reading": "part by part; intensities are not read" if record["read_in_parts"] else "",
    }
    lines = [record["file"], *(f"  {name:14}{value}" for name, value in facts.items() if value)]
    return "\n".join([*lines, *(f"  {'note':14}{text}" for text in record["notes"])])
