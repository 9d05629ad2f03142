"""TESCAN: blocks of text in the tag 50431, with the entries of the side-car file ``.hdr``.

The tag is a row of blocks: 4 bytes with the size of what follows, 2 bytes with the kind, little endian, then the
content. The kinds are 0 end, 1 thumbnail (JPEG), 2 main, 3 SEM, 4 GAMA, 5 FIB; the size counts the bytes of the kind.
Lengths are in metres, angles in degrees. As read by Gwyddion, NexusLIMS and pynxtools-em.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lisa_micro.io.tags.stated import Stated, number, page_with, raw_tag, same_size, sections, tilt_in_degrees

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

CODE = 50431
END, THUMBNAIL, MAIN, SEM = 0, 1, 2, 3
KINDS = 6


def tescan(tif: TiffFile, page: TiffPage) -> Stated | None:
    """See the module."""
    holder = page_with(tif, page, (CODE,))
    if holder is None:
        return None
    values, whole = _entries(raw_tag(tif, holder, CODE) or b"")
    stated = tescan_entries(values)
    notes = () if whole else (f"The tag {CODE} of the microscope is cut short.",)
    return Stated(stated.edge if same_size(page, holder) else None, stated.modality, stated.tilt_deg, notes)


def tescan_entries(values: dict[str, str]) -> Stated:
    """What the entries of the tag or of the file ``.hdr`` state."""
    x, y = number(values.get("PixelSizeX")), number(values.get("PixelSizeY"))
    edge = None if x is None else (abs(x), None if y is None else abs(y), "m")  # an axis may count downwards
    scanning = any(name in values for name in ("HV", "SpotSize", "AcceleratorVoltage", "WD"))
    return Stated(edge, "SEM" if scanning else None, tilt_in_degrees(values.get("StageTilt")))


def _entries(raw: bytes) -> tuple[dict[str, str], bool]:
    """The entries of the text blocks, and whether the blocks were complete."""
    texts: list[bytes] = []
    at, whole = 0, False
    while at + 6 <= len(raw):
        size, kind = struct.unpack_from("<IH", raw, at)
        if size < 2 or kind >= KINDS:
            break
        content = raw[at + 6 : at + 4 + size]
        if kind not in (END, THUMBNAIL):
            texts.append(content)
        at += 4 + size
        whole = at <= len(raw)
        if kind == END:
            break
    if not texts:  # some versions write the text alone
        texts, whole = [raw], True
    if not whole:  # the last line may be half a number
        texts[-1] = texts[-1].rpartition(b"\n")[0]
    entries: dict[str, str] = {}
    for text in texts:
        for section in sections(text.replace(b"\x00", b"").decode("utf-8", "replace")).values():
            for key, value in section.items():
                entries.setdefault(key, value)
    return entries, whole
