"""What the tags of a TIFF file state about a picture, and how such tags are read whatever is wrong with them."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MOST_BYTES = 4_000_000
"""Bytes of a tag that are read at most."""
MOST_PAGES = 8
"""Pages on which a tag of the microscope is searched: those of a long stack have it on the first ones."""
LARGEST_TILT = 180.0
"""Degrees: a larger tilt of the stage cannot be."""

Edge = tuple[Any, Any, str]
"""Edge length of a pixel in x and y, as written in the file (``None``: not stated), and their unit."""


@dataclass(frozen=True)
class Stated:
    """What one convention states.

    Attributes:
        edge: of a pixel, or ``None`` if it is not stated.
        modality: as in :class:`~lisa_micro.types.Micrograph`, or ``None``.
        tilt_deg: tilt of the stage in degrees, or ``None``.
        notes: notices, one sentence each.
        final: the plain resolution of the file is known not to be the pixel size, as in a diffraction pattern.
    """

    edge: Edge | None = None
    modality: str | None = None
    tilt_deg: float | None = None
    notes: tuple[str, ...] = ()
    final: bool = False


def number(value: object) -> float | None:
    """A finite number; of a text such as ``"52.0 °"`` the one at its beginning. Anything else is ``None``."""
    if isinstance(value, str):
        match = re.match(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", value)
        value = match[1] if match else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    result = float(value)
    return result if math.isfinite(result) else None


def tilt_in_degrees(value: object, radians: bool = False) -> float | None:
    """A tilt of the stage in degrees; ``None`` where it is not stated or cannot be."""
    tilt = number(value)
    if tilt is None:
        return None
    tilt = math.degrees(tilt) if radians else tilt
    return tilt if abs(tilt) <= LARGEST_TILT else None


def rational(page: TiffPage, code: int) -> float | None:
    """A resolution tag (pixels per unit, as a fraction) as the edge length of a pixel in that unit."""
    tag = page.tags.get(code)
    if tag is None:
        return None
    try:
        numerator, denominator = tag.value
        return float(denominator) / float(numerator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def raw_tag(tif: TiffFile, page: TiffPage, code: int) -> bytes | None:
    """The bytes of a tag of a page as they are in the file, however many there are; ``None`` without the tag."""
    tag = page.tags.get(code)
    if tag is None:
        return None
    handle = tif.filehandle
    handle.seek(tag.valueoffset)
    return bytes(handle.read(min(tag.valuebytecount, MOST_BYTES)))


def tag_text(tif: TiffFile, page: TiffPage, code: int) -> str:
    """A tag of a page as text: UTF-8, otherwise Latin-1; 16-bit characters lose their zero bytes. ``""`` without it."""
    raw = (raw_tag(tif, page, code) or b"").replace(b"\x00", b"")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def lost_tags(tif: TiffFile, page: TiffPage, codes: frozenset[int]) -> list[int]:
    """Those of the tags that the directory of a page lists although tifffile has dropped them, in ascending order.

    It drops a tag whose content lies, even partly, beyond the end of the file.
    """
    form, handle = tif.tiff, tif.filehandle
    handle.seek(page.offset)
    count = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))[0]
    entries = handle.read(min(count, 4096) * form.tagsize)
    found = [
        struct.unpack_from(form.byteorder + "H", entries, at)[0] for at in range(0, len(entries) - 1, form.tagsize)
    ]
    return sorted({code for code in found if code in codes and code not in page.tags})


def page_with(tif: TiffFile, page: TiffPage, codes: tuple[int, ...]) -> TiffPage | None:
    """The page itself if it has one of the tags, otherwise the first of :data:`MOST_PAGES` pages that has."""
    if any(code in page.tags for code in codes):
        return page
    for index in range(min(len(tif.pages), MOST_PAGES)):
        other = tif.pages[index].aspage()
        if any(code in other.tags for code in codes):
            return other
    return None


def same_size(page: TiffPage, other: TiffPage) -> bool:
    """Whether two pages have as many pixels in x and in y."""
    return (page.imagewidth, page.imagelength) == (other.imagewidth, other.imagelength)


def sections(text: str) -> dict[str, dict[str, str]]:
    """Lines ``key=value`` under headings ``[section]``; those before the first heading belong to ``""``."""
    found: dict[str, dict[str, str]] = {}
    section = found.setdefault("", {})
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = found.setdefault(line[1:-1], {})
        elif "=" in line:
            key, value = line.split("=", 1)
            section.setdefault(key.strip(), value.strip())
    return found


def xml_root(text: str) -> ElementTree.Element | None:
    """The root of an XML text, whose elements have lost their name spaces; ``None`` if it is no XML, or a broken one.

    Texts with a document type are refused: its entities can expand to any length.
    """
    start = text.find("<")
    if start < 0 or "<!DOCTYPE" in text[:10_000] or "<!ENTITY" in text[:10_000]:
        return None
    try:
        # an encoding in the declaration contradicts the text, which is decoded already
        root = ElementTree.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", text[start:].strip("\x00\x01 \r\n\t")))
    except (ElementTree.ParseError, ValueError):
        return None
    for element in root.iter():
        element.tag = str(element.tag).rsplit("}", 1)[-1]
    return root


def text_at(root: ElementTree.Element, path: str) -> str:
    """Text of the first element at a path, or ``""``."""
    return (root.findtext(path) or "").strip()
