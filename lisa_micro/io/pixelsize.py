"""Pixel size of a TIFF file, whichever microscope or program wrote it.

The readers of :mod:`lisa_micro.io.tags` each know one convention. They are tried from the most to the least reliable:
tags of the microscope, OME and ImageJ, and finally the plain resolution tags, which usually are a print setting.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lisa_micro.io.tags import CODES, FINDERS, Edge, Stated
from lisa_micro.io.tags.stated import lost_tags, rational
from lisa_micro.io.units import format_length, to_nm, unit_in_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

PRINT_DPI = 2540.0
"""Plain resolutions up to this value (10 µm per dot) belong to screens, printers and scanners, not to microscopes."""

SCANNER_DPI = (3200.0, 4000.0, 4800.0, 5400.0, 6400.0, 9600.0, 12800.0)
"""Finer resolutions of scanners; an exact match is not used as a pixel size either."""

ANISOTROPY = 0.01
"""Relative difference of the sides of a pixel above which a note is given."""

BELIEVABLE_NM = (1e-4, 1e7)
"""Pixel sizes that metadata can state, 0.1 pm to 1 cm; any other is a broken number."""

TILTED_DEG = 10.0
"""Tilt of a scanned specimen from which a note says that lengths are foreshortened: by 1.5 % at this one."""


@dataclass(frozen=True)
class PixelSize:
    """A pixel size and its origin.

    Attributes:
        nm: edge length of a pixel, or ``None`` if unknown.
        origin: as in :class:`~lisa_micro.types.Micrograph`.
        notes: notices, one sentence each.
    """

    nm: float | None
    origin: str = "none"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TagFacts:
    """What all tags of a page state together.

    Attributes:
        size: the pixel size.
        modality: as in :class:`~lisa_micro.types.Micrograph`, or ``None``.
        tilt_deg: tilt of the stage in degrees, or ``None``.
    """

    size: PixelSize
    modality: str | None = None
    tilt_deg: float | None = None


def combine(x_nm: float | None, y_nm: float | None, origin: str) -> PixelSize:
    """One pixel size from those in x and y, either of which may be ``None``.

    If they differ, their geometric mean is used, which keeps areas correct, and a note says so.
    """
    if x_nm is None or y_nm is None:
        known = x_nm if y_nm is None else y_nm
        return PixelSize(known, origin if known is not None else "none")
    if abs(x_nm - y_nm) <= 1e-6 * max(x_nm, y_nm):
        return PixelSize(x_nm, origin)
    mean = math.sqrt(x_nm * y_nm)
    if abs(x_nm - y_nm) <= ANISOTROPY * max(x_nm, y_nm):
        return PixelSize(mean, origin)
    note = (
        f"The pixels are not square ({format_length(x_nm)} wide, {format_length(y_nm)} high); "
        f"{format_length(mean)} is used, so areas are right and lengths are approximate."
    )
    return PixelSize(mean, origin, (note,))


def believed(size: PixelSize) -> PixelSize:
    """The pixel size, or none with a note if no microscope can have it."""
    low, high = BELIEVABLE_NM
    if size.nm is None or low <= size.nm <= high:
        return size
    note = f"Ignored the pixel size of {size.nm:.3g} nm ({size.origin}): no micrograph can have it."
    return PixelSize(None, "none", (note,))


def read_tags(tif: TiffFile, page: TiffPage) -> TagFacts:
    """What the tags of ``page`` of an open TIFF file state; never raises because of metadata."""
    size, modality, tilt, final = PixelSize(None), None, None, False
    notes: list[str] = []
    for origin, finder in FINDERS:
        stated: Stated | None = None
        # metadata is often partly broken; another convention may still give the pixel size
        with contextlib.suppress(Exception):
            stated = finder(tif, page)
        if stated is None:
            continue
        notes += stated.notes
        final = final or stated.final
        modality, tilt = modality or stated.modality, stated.tilt_deg if tilt is None else tilt
        if stated.edge is not None and size.nm is None:
            size, more = _sized(stated.edge, origin)
            notes += more
    with contextlib.suppress(Exception):
        notes += [
            f"The tag {code} of the microscope is cut short; it is not used." for code in lost_tags(tif, page, CODES)
        ]
    if size.nm is None and not final:
        plain = plain_resolution(rational(page, 282), rational(page, 283), _resolution_unit(page))
        size, notes = PixelSize(plain.nm, plain.origin), [*notes, *plain.notes]
    notes += tilt_notes(modality, tilt) if not any("corrected the picture" in note for note in notes) else ()
    return TagFacts(PixelSize(size.nm, size.origin, tuple(dict.fromkeys(notes))), modality, tilt)


def tiff_pixel_size(tif: TiffFile, page: TiffPage) -> PixelSize:
    """Pixel size of ``page`` of an open TIFF file, with its origin; never raises because of metadata."""
    return read_tags(tif, page).size


def tilt_notes(modality: str | None, tilt_deg: float | None) -> tuple[str, ...]:
    """The note about lengths on a tilted specimen in a scanning electron microscope; none where it lies flat."""
    if modality != "SEM" or tilt_deg is None or not TILTED_DEG <= abs(tilt_deg) < 90:
        return ()
    short = math.cos(math.radians(tilt_deg))
    return (
        f"The stage was tilted by {tilt_deg:.3g}°: across the tilt axis, lengths on the stage's plane appear "
        f"{short:.2f} times as long.",
    )


def _sized(edge: Edge, origin: str) -> tuple[PixelSize, list[str]]:
    """The pixel size of an edge, and the notes about it."""
    x, y, unit = edge
    size = believed(combine(to_nm(x, unit), to_nm(y, unit), origin))
    nameless = ("", "pixel", "pixels", "px", "none")
    if unit_in_nm(unit) is None and unit.strip().casefold() not in nameless:
        return size, [f"Ignored the file's pixel size in {unit!r}, which is not a unit of length."]
    return PixelSize(size.nm, size.origin), list(size.notes)


def _resolution_unit(page: TiffPage) -> str:
    code = page.tags.valueof(296, 2)  # the TIFF specification's default is the inch
    return {2: "inch", 3: "cm"}.get(int(code) if code is not None else 2, "")


def plain_resolution(x: float | None, y: float | None, unit: str) -> PixelSize:
    """Pixel size from bare resolution tags.

    Almost every program writes 72, 96 or 300 dpi, whatever the image shows. Resolutions that a printer or scanner could
    have are ignored, and a note says so.

    Args:
        x, y: edge length of a pixel in ``unit``, or ``None``.
        unit: ``"inch"``, ``"cm"`` or ``"m"``.
    """
    size = combine(to_nm(x, unit) if x else None, to_nm(y, unit) if y else None, "tiff resolution")
    if size.nm is None:
        return PixelSize(None)
    dpi = 2.54e7 / size.nm
    if dpi <= PRINT_DPI * 1.001 or any(abs(dpi - scanner) < 0.5 for scanner in SCANNER_DPI):
        if dpi < 2:  # "1 pixel per inch" and the like are placeholders
            return PixelSize(None)
        note = f"Ignored the file's resolution of {dpi:.4g} dpi: it is a print setting, not a pixel size."
        return PixelSize(None, "none", (note,))
    return size
