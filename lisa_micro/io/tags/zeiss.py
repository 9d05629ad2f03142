"""Zeiss SmartSEM: lines of names and values in the tag 34118 (``CZ_SEM``), in some files in 34119.

``AP_IMAGE_PIXEL_SIZE`` is followed by ``Image Pixel Size = 5.000 nm``, ``AP_STAGE_AT_T`` by ``Stage at T = 0.0 °``.
An older form has only an unnamed list at the head, whose fourth number is the pixel size in metres for a width of 1024
pixels. As read by tifffile and Gwyddion. Each page of a file with several has its own tag.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lisa_micro.io.tags.stated import (
    Edge,
    Stated,
    number,
    page_with,
    same_size,
    tag_text,
    tilt_in_degrees,
)
from lisa_micro.io.units import to_nm, unit_in_nm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

CODES = (34118, 34119)
RASTER = 1024
"""px: width that the pixel size of the unnamed list belongs to."""


def zeiss(tif: TiffFile, page: TiffPage) -> Stated | None:
    """See the module."""
    holder = page_with(tif, page, CODES)
    if holder is None:
        return None
    for code in CODES:
        text = tag_text(tif, holder, code)
        values = _values(text)
        edge = _named(values) or _unnamed(text, holder)
        if edge is not None or values:
            # pages of other sizes are other pictures, unless they have a tag of their own
            edge = edge if same_size(page, holder) else None
            return Stated(edge, "SEM", tilt_in_degrees(values.get("AP_STAGE_AT_T")))
    return None


def _values(text: str) -> dict[str, str]:
    """The texts after ``=`` by the names on the lines above them."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        line = line.strip()
        if re.fullmatch(r"(?:AP|DP|SV)_[A-Z0-9_]+", line):
            name = line
        elif name:
            if "=" in line:
                found.setdefault(name, line.split("=", 1)[1].strip())
            name = ""
    return found


def _named(values: dict[str, str]) -> Edge | None:
    for name in ("AP_IMAGE_PIXEL_SIZE", "AP_PIXEL_SIZE"):
        match = re.match(r"\s*([-+.\deE]+)\s*(\S*)", values.get(name, ""))
        if match is None:
            continue
        value, unit = match[1], match[2]
        # SmartSEM writes the micro sign in the code page of the microscope's computer; if it cannot be decoded, it
        # becomes one odd character before the m, unlike any other unit of length
        if re.fullmatch(r"[^\x21-\x3e\x40-\x7e]m|\?m", unit) and unit_in_nm(unit) is None:
            unit = "um"
        if to_nm(value, unit) is not None:
            return value, value, unit
    return None


def _unnamed(text: str, page: TiffPage) -> Edge | None:
    head: list[Any] = []
    for line in text.splitlines()[:4]:
        if re.match(r"\s*[-+.\d]", line) is None:
            return None
        head.append(number(line))
    if len(head) < 4 or to_nm(head[3], "m") is None:
        return None
    edge = head[3] * RASTER / page.imagewidth
    return edge, edge, "m"
