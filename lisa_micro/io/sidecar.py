"""Pixel sizes in the text files that microscopes write beside their pictures.

- Hitachi: ``NAME.txt`` with the section ``[SemImageFile]``; ``PixelSize`` in nm, for the width in ``DataSize``.
- JEOL: ``NAME.txt``; ``$$SM_MICRON_MARKER`` is a length, ``$$SM_MICRON_BAR`` the same in px, for the width in
  ``$CM_FULL_SIZE``.
- TESCAN: ``NAME.hdr`` (or ``NAME-tif.hdr``, ``NAME-png.hdr``); ``PixelSizeX`` and ``PixelSizeY`` in metres.
"""

from __future__ import annotations

import re
from pathlib import Path

from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.units import to_nm

ORIGIN = "side-car file"
MOST_BYTES = 1_000_000
"""A text file larger than this is no side-car file."""


def sidecar_pixel_size(path: Path, width: int) -> PixelSize:
    """Pixel size that a side-car file of a picture states; none where there is no such file, or it states none.

    Args:
        path: of the picture.
        width: of the picture in px, against which the width in the side-car file is checked.
    """
    stem = path.with_suffix("")
    kind = path.suffix.lower().lstrip(".")
    names = (f"{stem.name}.txt", f"{stem.name}.hdr", f"{stem.name}-{kind}.hdr")
    for candidate in map(path.with_name, names):
        text = _text(candidate)
        if text is None:
            continue
        for read in (_hitachi, _jeol, _tescan):
            size, stated = read(text)
            if size.nm is None:
                continue
            if stated is not None and stated != width:
                note = (
                    f"Ignored the pixel size in {candidate.name}: it belongs to a picture of {stated} px in width, "
                    f"not of {width} px."
                )
                return PixelSize(None, "none", (note,))
            return size
    return PixelSize(None)


def _text(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        raw = path.read_bytes()
    except OSError:
        return None
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _entry(text: str, name: str, separator: str) -> str | None:
    match = re.search(rf"^\s*{re.escape(name)}\s*{separator}\s*(\S.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else None


def _hitachi(text: str) -> tuple[PixelSize, int | None]:
    if "[SemImageFile]" not in text:
        return PixelSize(None), None
    nm = to_nm(_entry(text, "PixelSize", "="), "nm")
    size = re.match(r"(\d+)\s*x\s*\d+", _entry(text, "DataSize", "=") or "")
    return PixelSize(nm, ORIGIN if nm else "none"), int(size[1]) if size else None


def _jeol(text: str) -> tuple[PixelSize, int | None]:
    marker = re.match(r"([\d.]+)\s*(\S+)", _entry(text, "$$SM_MICRON_MARKER", r"\s") or "")
    bar = to_nm(_entry(text, "$$SM_MICRON_BAR", r"\s"), "nm")
    if marker is None or bar is None:
        return PixelSize(None), None
    length = to_nm(marker[1], marker[2])
    size = re.match(r"(\d+)\s+\d+", _entry(text, "$CM_FULL_SIZE", r"\s") or "")
    nm = None if length is None else length / bar
    return PixelSize(nm, ORIGIN if nm else "none"), int(size[1]) if size else None


def _tescan(text: str) -> tuple[PixelSize, int | None]:
    edges = [to_nm(_entry(text, name, "="), "m") for name in ("PixelSizeX", "PixelSizeY")]
    return combine(edges[0], edges[1], ORIGIN), None
