"""Cameras: Olympus SIS (iTEM, also on JEOL's JEM-2100), and TVIPS EMMENU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lisa_micro.io.tags.stated import Stated, number, page_with, same_size
from lisa_micro.io.units import format_length, to_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

SIS_CODES = (33560, 33471)
TVIPS_CODE = 37706


def olympus(tif: TiffFile, page: TiffPage) -> Stated | None:
    """Olympus SIS: a structure in the tag 33560 or a text in 33471, as read by tifffile; metres.

    Some files, such as those of the JEM-2100, have it on the second page only (HyperSpy's issue 2511). It holds for a
    page without a tag of its own if that has as many pixels.
    """
    holder = page_with(tif, page, SIS_CODES)
    if holder is None:
        return None
    values: dict[str, object] = {}
    for code in reversed(SIS_CODES):
        value = holder.tags.valueof(code)
        if isinstance(value, dict):
            values.update(value)
    x, y = number(values.get("pixelsizex")), number(values.get("pixelsizey"))
    if x is None:
        return None
    if not same_size(page, holder):
        nm = to_nm(x, "m")
        if nm is None:
            return None
        note = (
            f"Page {holder.index} of the file states {format_length(nm)} per pixel for its "
            f"{holder.imagewidth} x {holder.imagelength} px; it is not used for a page of another size."
        )
        return Stated(notes=(note,))
    return Stated((x, y, "m"))


def tvips(tif: TiffFile, page: TiffPage) -> Stated | None:
    """TVIPS EMMENU: a structure in the tag 37706, as read by tifffile; nanometres."""
    holder = page_with(tif, page, (TVIPS_CODE,))
    values = None if holder is None else holder.tags.valueof(TVIPS_CODE)
    if holder is None or not isinstance(values, dict) or "PixelSizeX" not in values or not same_size(page, holder):
        return None
    return Stated((values["PixelSizeX"], values.get("PixelSizeY"), "nm"))
