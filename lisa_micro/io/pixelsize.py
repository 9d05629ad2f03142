"""Pixel size of a TIFF file, whichever microscope or program wrote it.
 Each finder knows one convention and returns the edge length of a pixel in x and y with its unit, or ``None``. They are
tried from the most to the least reliable: tags of the microscope, OME and ImageJ, and finally the plain resolution
tags, which usually are a print setting.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from lisa_micro.io.units import format_length, to_nm, unit_in_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

PRINT_DPI = 2540.0
"""Plain resolutions up to this value (10 µm per dot) belong to screens, printers and scanners, not to microscopes."""

SCANNER_DPI = (3200.0, 4000.0, 4800.0, 5400.0, 6400.0, 9600.0, 12800.0)
"""Finer resolutions of scanners; an exact match is not used as a pixel size either."""

ANISOTROPY = 0.01
"""Relative difference of the sides of a pixel above which a note is given."""

DM_UNIT_X, DM_UNIT_Y, DM_SCALE_X, DM_SCALE_Y = 65003, 65004, 65009, 65010


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


Edge = tuple[Any, Any, str]  # x, y, unit


def _rational(page: TiffPage, code: int) -> float | None:
    """A resolution tag (pixels per unit, as a fraction) as the edge length of a pixel in that unit."""
    tag = page.tags.get(code)
    if tag is None:
        return None
    try:
        numerator, denominator = tag.value
        return float(denominator) / float(numerator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _fei(tif: TiffFile, page: TiffPage) -> Edge | None:
    """FEI / Thermo Fisher (SFEG, HELIOS): metres, in [Scan] or the section of the beam; older software has only the
    field width."""
    metadata = tif.fei_metadata
    if not metadata:
        return None
    for section in ("Scan", "EScan", "IScan"):
        values = metadata.get(section) or {}
        if to_nm(values.get("PixelWidth"), "m") is not None:
            return values["PixelWidth"], values.get("PixelHeight"), "m"
    for section, key in (
        ("Scan", "HorFieldsize"),
        ("EScan", "HorFieldsize"),
        ("EBeam", "HFW"),
        ("IBeam", "HFW"),
    ):
        field = to_nm((metadata.get(section) or {}).get(key), "m")
        raster = (metadata.get("Image") or {}).get("ResolutionX") or page.imagewidth
        if field is not None and isinstance(raster, int | float) and raster > 0:
            return field / raster, None, "nm"
    return None


def _zeiss(tif: TiffFile, page: TiffPage) -> Edge | None:
    """Zeiss SmartSEM (CZ_SEM): a name with value and unit.

    Its older form has only an unnamed list at the head, whose fourth number is the pixel size in metres for a width of
    1024 pixels.
    """
    metadata = tif.sem_metadata
    if not metadata:
        return None
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = metadata.get(key)
        if not isinstance(entry, tuple) or len(entry) < 2:
            continue
        fields: list[Any] = [*entry, ""]
        value, unit = fields[1], fields[2]
        if isinstance(value, str):  # the reader did not separate the number from its unit
            match = re.match(r"\s*([-+.\deE]+)\s*(\S*)", value)
            if match is None:
                continue
            value, unit = match[1], match[2]
        unit = str(unit)
        # SmartSEM writes the micro sign in the code page of the microscope's computer; if it cannot be decoded, it
        # becomes one odd character before the m, unlike any other unit of length
        if re.fullmatch(r"[^\x21-\x3e\x40-\x7e]m|\?m", unit) and unit_in_nm(unit) is None:
            unit = "um"
        if to_nm(value, unit) is not None:
            return value, value, unit
    head: tuple[Any, ...] = tuple(metadata.get("") or ())
    if len(head) > 3 and to_nm(head[3], "m") is not None:
        edge = head[3] * 1024 / page.imagewidth
        return edge, edge, "m"
    return None


def _tvips(tif: TiffFile, page: TiffPage) -> Edge | None:
    """TVIPS EMMENU: nanometres."""
    metadata = tif.tvips_metadata
    return (metadata["PixelSizeX"], metadata.get("PixelSizeY"), "nm") if metadata and "PixelSizeX" in metadata else None


def _olympus(tif: TiffFile, page: TiffPage) -> Edge | None:
    """Olympus SIS (iTEM): metres."""
    metadata = tif.sis_metadata
    return (metadata["pixelsizex"], metadata.get("pixelsizey"), "m") if metadata and "pixelsizex" in metadata else None


def _gatan(tif: TiffFile, page: TiffPage) -> Edge | None:
    """Gatan DigitalMicrograph's own tags in an exported TIFF; the resolution tags of such files say 72 dpi."""
    unit, scale = page.tags.valueof(DM_UNIT_X), page.tags.valueof(DM_SCALE_X)
    if unit is None or scale is None:
        return None
    return scale, page.tags.valueof(DM_SCALE_Y), str(unit)


def _ome(tif: TiffFile, page: TiffPage) -> Edge | None:
    """OME-XML: PhysicalSizeX with its unit, micrometres by default."""
    text = tif.ome_metadata
    if not text:
        return None
    for element in ElementTree.fromstring(text).iter():
        if element.tag.rsplit("}", 1)[-1] == "Pixels":
            x, y = element.get("PhysicalSizeX"), element.get("PhysicalSizeY")
            unit_x, unit_y = element.get("PhysicalSizeXUnit", "µm"), element.get("PhysicalSizeYUnit", "µm")
            x_nm, y_nm = to_nm(x, unit_x), to_nm(y, unit_y)
            return (x_nm, y_nm, "nm") if x_nm is not None or y_nm is not None else None
    return None


def _imagej(tif: TiffFile, page: TiffPage) -> Edge | None:
    """ImageJ: unit in the description, pixels per unit in the resolution tags."""
    metadata = tif.imagej_metadata
    if not metadata:
        return None
    unit = str(metadata.get("unit", "")).strip()
    edge_x, edge_y = _rational(page, 282), _rational(page, 283)
    if not unit or edge_x is None:
        return None
    unit_y = metadata.get("yunit")
    if unit_y and unit_in_nm(str(unit_y)) and edge_y is not None:
        return to_nm(edge_x, unit), to_nm(edge_y, str(unit_y)), "nm"
    return edge_x, edge_y, unit


_FINDERS: tuple[tuple[str, Callable[[TiffFile, TiffPage], Edge | None]], ...] = (
    ("fei", _fei),
    ("zeiss", _zeiss),
    ("tvips", _tvips),
    ("olympus", _olympus),
    ("gatan", _gatan),
    ("ome", _ome),
    ("imagej", _imagej),
)


def tiff_pixel_size(tif: TiffFile, page: TiffPage) -> PixelSize:
    """Pixel size of ``page`` of an open TIFF file, with its origin; never raises because of metadata."""
    notes: list[str] = []
    for origin, finder in _FINDERS:
        edge = None
        # metadata is often partly broken; another convention may still give the pixel size
        with contextlib.suppress(Exception):
            edge = finder(tif, page)
        if edge is None:
            continue
        x, y, unit = edge
        size = combine(to_nm(x, unit), to_nm(y, unit), origin)
        if size.nm is not None:
            return PixelSize(size.nm, size.origin, (*notes, *size.notes))
        if unit.strip().casefold() not in ("", "pixel", "pixels", "px", "none"):
            notes.append(f"Ignored the file's pixel size in {unit!r}, which is not a unit of length.")
    plain = plain_resolution(_rational(page, 282), _rational(page, 283), _resolution_unit(page))
    return PixelSize(plain.nm, plain.origin, (*notes, *plain.notes))


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
