"""What the text files state that microscopes write beside their pictures.

- Hitachi: ``NAME.txt`` with the section ``[SemImageFile]`` or ``[TemImageFile]``; ``PixelSize`` in nm, for the width in
  ``DataSize``. As read by pynxtools-em.
- JEOL: ``NAME.txt``; ``$$SM_MICRON_MARKER`` is a length, ``$$SM_MICRON_BAR`` the same in px, for the width in
  ``$CM_FULL_SIZE``. As read by pynxtools-em.
- TESCAN: ``NAME.hdr`` (or ``NAME-tif.hdr``, ``NAME-png.hdr``); ``PixelSizeX`` and ``PixelSizeY`` in metres, and the
  other entries of the tag in TESCAN's TIFF files, see :mod:`lisa_micro.io.tags.tescan`.
"""

from __future__ import annotations

import re
from pathlib import Path

from lisa_micro.io.pixelsize import PixelSize, TagFacts, believed, combine, tilt_notes
from lisa_micro.io.tags import tescan_entries
from lisa_micro.io.tags.stated import sections
from lisa_micro.io.units import format_length, to_nm

ORIGIN = "side-car file"
MOST_BYTES = 1_000_000
"""A text file larger than this is no side-car file."""
AGREEMENT = 0.03
"""Two side-car files whose pixel sizes differ by more than this contradict each other."""

Read = tuple[TagFacts, int | None]
"""What a text states, and the width of the picture that it belongs to, if it states that too."""


def read_sidecar(path: Path, width: int) -> TagFacts:
    """What the side-car files of a picture state; nothing where there is none.

    Args:
        path: of the picture.
        width: of the picture in px, against which the width in the side-car file is checked.
    """
    found: list[tuple[str, TagFacts]] = []
    for candidate in _candidates(path):
        facts = _facts(candidate, width)
        if facts is not None:
            found.append((candidate.name, facts))
    if not found:
        return TagFacts(PixelSize(None))
    sizes = [(name, facts.size.nm) for name, facts in found if facts.size.nm is not None]
    first = next((facts for _, facts in found if facts.size.nm is not None), found[0][1])
    if len(sizes) > 1 and max(nm for _, nm in sizes) > (1 + AGREEMENT) * min(nm for _, nm in sizes):
        both = " and ".join(f"{format_length(nm)} ({name})" for name, nm in sizes)
        note = f"The side-car files contradict each other: {both} per pixel; none is used."
        return TagFacts(PixelSize(None, "none", (note,)), first.modality, first.tilt_deg)
    return first


def _candidates(path: Path) -> list[Path]:
    """Names that a side-car file may have; microscopes' computers do not distinguish capitals."""
    stem, kind = path.stem, path.suffix.lstrip(".")
    names = [f"{stem}{suffix}" for suffix in (".txt", ".Txt", ".TXT", ".hdr", ".Hdr", ".HDR")]
    names += [f"{stem}-{kind.lower()}.hdr", f"{stem}-{kind}.hdr"]
    found: list[Path] = []
    for name in dict.fromkeys(names):
        candidate = path.with_name(name)
        if candidate != path and not any(_same(candidate, other) for other in found):
            found.append(candidate)
    return found


def _same(one: Path, other: Path) -> bool:
    """Whether two names are one file, as on disks that do not distinguish capitals."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _facts(path: Path, width: int) -> TagFacts | None:
    """What one file states; ``None`` if it is missing or none of the known ones."""
    text = _text(path)
    if text is None:
        return None
    for read in (_hitachi, _jeol, _tescan):
        result = read(text)
        if result is None:
            continue
        facts, stated = result
        size = believed(facts.size)
        if size.nm is not None and stated is not None and stated != width:
            note = (
                f"Ignored the pixel size in {path.name}: it belongs to a picture of {stated} px in width, not of "
                f"{width} px."
            )
            return TagFacts(PixelSize(None, "none", (note,)))
        notes = (*size.notes, *tilt_notes(facts.modality, facts.tilt_deg))
        return TagFacts(PixelSize(size.nm, size.origin, notes), facts.modality, facts.tilt_deg)
    return None


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


def _sized(nm: float | None) -> PixelSize:
    return PixelSize(nm, ORIGIN if nm else "none")


def _hitachi(text: str) -> Read | None:
    match = re.search(r"^\s*\[(Sem|Tem)ImageFile\]", text, re.MULTILINE)
    if match is None:
        return None
    size = re.match(r"(\d+)\s*x\s*\d+", _entry(text, "DataSize", "=") or "")
    pixel = _sized(to_nm(_entry(text, "PixelSize", "="), "nm"))
    return TagFacts(pixel, "SEM" if match[1] == "Sem" else None), int(size[1]) if size else None


def _jeol(text: str) -> Read | None:
    marker = re.match(r"([\d.]+)\s*(\S+)", _entry(text, "$$SM_MICRON_MARKER", r"\s") or "")
    bar = to_nm(_entry(text, "$$SM_MICRON_BAR", r"\s"), "nm")
    if marker is None or bar is None:
        return None
    length = to_nm(marker[1], marker[2])
    size = re.match(r"(\d+)\s+\d+", _entry(text, "$CM_FULL_SIZE", r"\s") or "")
    return TagFacts(_sized(None if length is None else length / bar), "SEM"), int(size[1]) if size else None


def _tescan(text: str) -> Read | None:
    entries: dict[str, str] = {}
    for section in sections(text).values():
        entries |= {key: value for key, value in section.items() if key not in entries}
    stated = tescan_entries(entries)
    if stated.edge is None:
        return None
    x, y, unit = stated.edge
    return TagFacts(combine(to_nm(x, unit), to_nm(y, unit), ORIGIN), stated.modality, stated.tilt_deg), None
