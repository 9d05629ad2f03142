"""Gatan DigitalMicrograph's TIFF exports: a scale and a unit for each axis, and its own tags as a whole.

65003 and 65004 are the units in x and y, 65006 and 65007 the origins, 65009 and 65010 the scales, as RosettaSciIO reads
and writes them; the resolution tags of such files say 72 dpi. 65027 holds the tags of the image in the form of a DM3 or
DM4 file: version (4 bytes), length of the rest (4 or 8), order of bytes (4), all big endian, then a group. A group is
two flags, a count, and entries: kind (20 a group, 21 data), a name, and for data ``%%%%``, a description of its type
and the little-endian values.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lisa_micro.io.tags.stated import Stated, number, page_with, raw_tag, same_size, tilt_in_degrees

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

UNIT_X, UNIT_Y, SCALE_X, SCALE_Y, TAGS = 65003, 65004, 65009, 65010, 65027
MOST_ENTRIES = 20_000
"""Entries of a group, and of all groups together, that are read."""
DEEPEST = 12

_SIMPLE = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B", 11: "q", 12: "Q"}
"""Type of a value -> its form in :mod:`struct`."""
_STRING, _STRUCT, _ARRAY = 18, 15, 20


def gatan(tif: TiffFile, page: TiffPage) -> Stated | None:
    """See the module."""
    holder = page_with(tif, page, (SCALE_X, TAGS))
    if holder is None or not same_size(page, holder):
        return None
    unit, scale = holder.tags.valueof(UNIT_X), number(holder.tags.valueof(SCALE_X))
    scale_y = number(holder.tags.valueof(SCALE_Y))
    # the scale is negative if an axis was flipped; the edge of a pixel is not
    edge = None
    if isinstance(unit, str) and scale is not None:
        edge = abs(scale), None if scale_y is None else abs(scale_y), unit
    try:
        values = dm_tags(raw_tag(tif, holder, TAGS) or b"")
    except (struct.error, ValueError, RecursionError):  # cut, or of another program: these tags only add to the scales
        values = {}
    return Stated(edge, _modality(values), tilt_in_degrees(_last(values, "Stage Position", "Stage Alpha")))


def _last(values: dict[tuple[str, ...], object], *path: str) -> object:
    """The value whose path ends like this; groups of several versions lie at different depths."""
    return next((value for key, value in values.items() if key[-len(path) :] == path), None)


def _modality(values: dict[tuple[str, ...], object]) -> str | None:
    """Bright field unless the microscope scanned or showed a diffraction pattern."""
    info = "Microscope Info"
    mode = str(_last(values, info, "Illumination Mode") or "").upper()
    imaging = str(_last(values, info, "Imaging Mode") or "").upper()
    return "BF-TEM" if mode == "TEM" and "DIFF" not in imaging and imaging else None


# ------------------------------------------------------------------------------------------------ DM's own tags


def dm_tags(raw: bytes) -> dict[tuple[str, ...], object]:
    """The single values and the texts of a DM tag group, by their path of names.

    Raises:
        ValueError, struct.error: not of this form, or cut short.
    """
    if len(raw) < 16:
        return {}
    version = struct.unpack_from(">l", raw)[0]
    if version not in (3, 4):
        raise ValueError("not the tags of DigitalMicrograph")
    reader = _Reader(raw, version == 4)
    reader.at = 4 + reader.width
    if reader.integer(">l", 4) != 1:
        raise ValueError("values are not little endian")
    reader.group((), 0)
    return reader.found


class _Reader:
    """Walks through the bytes of a group."""

    def __init__(self, raw: bytes, wide: bool):
        self.raw, self.wide, self.at, self.entries = raw, wide, 0, 0
        self.width = 8 if wide else 4
        self.found: dict[tuple[str, ...], object] = {}

    def integer(self, form: str, width: int) -> int:
        value = int(struct.unpack_from(form, self.raw, self.at)[0])
        self.at += width
        return value

    def count(self) -> int:
        value = self.integer(">q" if self.wide else ">l", self.width)
        if value < 0:
            raise ValueError("a negative count")
        return value

    def group(self, path: tuple[str, ...], depth: int) -> None:
        self.at += 2
        if depth > DEEPEST:
            raise ValueError("too deep")
        for _ in range(min(self.count(), MOST_ENTRIES)):
            self.entries += 1
            kind, length = self.raw[self.at], struct.unpack_from(">H", self.raw, self.at + 1)[0]
            if kind not in (20, 21) or self.entries > MOST_ENTRIES:
                return
            self.at += 3
            name = self.raw[self.at : self.at + length].decode("latin-1")
            self.at += length
            if self.wide:
                self.at += 8  # bytes of the entry
            if kind == 20:
                self.group((*path, name), depth + 1)
            else:
                self.data((*path, name))

    def data(self, path: tuple[str, ...]) -> None:
        if self.raw[self.at : self.at + 4] != b"%%%%":
            raise ValueError("no data where some should be")
        self.at += 4
        info = [self.count() for _ in range(min(self.count(), 1000))]
        size = _size(info)
        if self.at + size > len(self.raw):
            raise ValueError("data beyond the end")
        part = self.raw[self.at : self.at + size]
        self.at += size
        if len(info) == 1 and info[0] in _SIMPLE:
            self.found[path] = struct.unpack("<" + _SIMPLE[info[0]], part)[0]
        elif len(info) == 3 and info[:2] == [_ARRAY, 4] and size <= 10_000:  # characters of 16 bits
            self.found[path] = part.decode("utf-16-le", "replace").strip("\x00")


def _size(info: list[int]) -> int:
    """Bytes of a value of a type: single, a string, a structure, or an array of one of them."""
    if not info:
        raise ValueError("a type without a description")
    kind = info[0]
    if kind in _SIMPLE:
        return struct.calcsize("<" + _SIMPLE[kind])
    if kind == _STRING:
        return 2 * info[1]
    if kind == _STRUCT:  # length of the name, number of fields, then length of name and type of each
        return sum(_size([field]) for field in info[4 : 3 + 2 * info[2] : 2])
    if kind == _ARRAY:
        return _size(info[1:-1]) * info[-1]
    raise ValueError("an unknown type")
