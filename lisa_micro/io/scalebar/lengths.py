"""Lengths as they stand beside scale bars: ``200 nm``, ``0,5 µm``, ``1 μm*``, ``5 Å``."""

from __future__ import annotations

import re

from lisa_micro.io.units import unit_in_nm

MANTISSAS = (1.0, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Lengths of scale bars are one of these times a power of ten; others are taken for misread."""
LEAST_PICOMETRES, MOST_MILLIMETRES = 50.0, 10.0
"""``pm`` and ``mm`` are also what a poorly read ``µm`` and ``nm`` look like; beyond these they cannot be true."""

_LENGTH = re.compile(
    r"[^0-9A-Za-z]*(?P<number>\d{1,4}(?:[.,]\d{1,3})?)\s*(?P<unit>[pnm]m|[µμu]\s?m|microns?|Å|A)[^0-9A-Za-z]*"
)
_PIXEL_SIZE = re.compile(r"pixel\s*size\s*[=:]?\s*(\d+(?:[.,]\d+)?)\s*([pnm]m|[µμu]m|Å)", re.IGNORECASE)
_WIDTH = re.compile(r"(?:HFW|width|view\s*field)\s*[=:]?\s*(\d+(?:[.,]\d+)?)\s*([pnm]m|[µμu]m)", re.IGNORECASE)


def parse_length(text: str) -> float | None:
    """The length in nm that a text states, if it states nothing else and a scale bar can have it.

    >>> parse_length("200 nm"), parse_length("0,5 µm"), parse_length("1 μm*"), parse_length("1100.0 nm")
    (200.0, 500.0, 1000.0, None)
    """
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        return None
    number = _number(match["number"])
    unit = match["unit"].replace(" ", "")
    nm = unit_in_nm(unit)
    if number is None or number <= 0 or nm is None:
        return None
    if (unit == "pm" and number < LEAST_PICOMETRES) or (unit == "mm" and number > MOST_MILLIMETRES):
        return None
    digits = f"{number:.6e}"
    mantissa = float(digits.split("e")[0])
    return number * nm if any(abs(mantissa - known) < 1e-6 for known in MANTISSAS) else None


_MISREAD = (
    (re.compile(r"(?<=[\d ])[jJyμµ][Jj]?m(?![A-Za-z])"), "µm"),  # no unit looks like it but µm
    (re.compile(r"(?<=[\d ])(?:h|rn|nr)m(?![A-Za-z])"), "nm"),
    (re.compile(r"^[^0-9A-Za-z]*[Il|](?=[\d\s.,]|[pnmµμu]m)"), "1"),
    (re.compile(r"(?<=\d)[oO](?=[\doO\s.,]|[pnmµμu]m)"), "0"),
    (re.compile(r"(?<=\d)[.,·](?=\s*[pnmµμu]m)"), ""),
)
"""What letters of a length are taken for, and the letters."""


def repaired(text: str) -> str:
    """A text that is no length, with letters put right that no length has.

    Where it is a length then, several readings have to agree on it.

    >>> repaired("100 jm"), repaired("500hm"), repaired("1.mm"), repaired("2 km"), repaired("2.5 nm")
    ('100 µm', '500nm', '1mm', '2 km', '2.5 nm')
    """
    if parse_length(text) is None:
        for pattern, letters in _MISREAD:
            text = pattern.sub(letters, text)
    return text


def clean_text(text: str) -> str:
    """The length in a text, without what was read around it."""
    match = _LENGTH.fullmatch(text.strip())
    return text.strip() if match is None else f"{match['number']} {match['unit'].replace(' ', '')}"


def printed_pixel_size(texts: list[str], width_px: int) -> float | None:
    """The pixel size in nm that the words of a data bar state: ``Pixel Size = 11.16 nm``, or the width of the field as
    ``HFW 7.46 µm``; ``None`` where they state none.

    Args:
        texts: lines of the data bar.
        width_px: width of the picture.
    """
    for text in texts:
        for pattern, pixels in ((_PIXEL_SIZE, 1), (_WIDTH, width_px)):
            match = pattern.search(text)
            number = _number(match[1]) if match else None
            nm = unit_in_nm(match[2]) if match else None
            if number and nm:
                return number * nm / pixels
    return None


def _number(text: str) -> float | None:
    """A number with a decimal point or comma; ``None`` if it begins with a zero that no decimal follows."""
    if re.match(r"0\d", text):
        return None
    return float(text.replace(",", "."))
