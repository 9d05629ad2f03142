"""Lengths in nanometres, in the spellings that microscope files use."""

from __future__ import annotations

import math
import re
import unicodedata

from lisa_micro.types import InputError

_METRE_PREFIXES_NM = {"": 1e9, "d": 1e8, "c": 1e7, "m": 1e6, "u": 1e3, "n": 1.0, "p": 1e-3, "f": 1e-6}
_LONG_PREFIXES = {
    "deci": "d",
    "centi": "c",
    "milli": "m",
    "micro": "u",
    "nano": "n",
    "pico": "p",
    "femto": "f",
}
_OTHER_NM = {
    "micron": 1e3,
    "microns": 1e3,
    "micra": 1e3,
    "mikron": 1e3,
    "a": 0.1,
    "å": 0.1,
    "ang": 0.1,
    "angs": 0.1,
    "angst": 0.1,
    "angstrom": 0.1,
    "angstroms": 0.1,
    "ångström": 0.1,
    "ångströms": 0.1,
    "ångstrom": 0.1,
    "ångstroms": 0.1,
    "angström": 0.1,
    "in": 2.54e7,
    "inch": 2.54e7,
    "inches": 2.54e7,
    '"': 2.54e7,
}

# UTF-8 bytes that were read as Latin-1 or Windows-1252, and escapes of ImageJ, XML and HTML; replaced before Unicode
# normalisation, which would break the sequences
_MOJIBAKE = {
    "\\u00b5": "µ",
    "\\u03bc": "µ",
    "\\xb5": "µ",
    "\\u00c5": "å",
    "\\u212b": "å",
    "&micro;": "µ",
    "&#181;": "µ",
    "&#xb5;": "µ",
    "&mu;": "µ",
    "&aring;": "å",
    "&angst;": "å",
    "\u00c2\u00b5": "µ",
    "\u00ce\u00bc": "µ",
    "\u00c3\u2026": "å",
    "\u00c3\u0085": "å",
}


def unit_in_nm(unit: str) -> float | None:
    r"""Number of nanometres in one ``unit``; ``None`` if it is not a unit of length (``"px"``, ``"1/nm"``, ``""``).

    All spellings found in microscope files are understood, in any case: ``m cm mm µm um micron micrometre \\u00B5m nm Å
    A angstrom pm inch``. The micro sign (U+00B5) and the Greek mu (U+03BC) are the same.
    """
    text = unit.strip().strip("\x00[]() ").casefold()
    for garbled, meant in _MOJIBAKE.items():
        # casefold also changed some of the garbled characters, so both sides are folded
        text = text.replace(garbled.casefold(), meant)
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text)).casefold()
    # NFKC has replaced the micro sign by the Greek letter
    text = text.replace("\u03bc", "u").strip().rstrip(".")
    if text in _OTHER_NM:
        return _OTHER_NM[text]
    match = re.fullmatch(r"([a-z]*?)(?:m|met(?:er|re)s?)", text)
    if match is None:
        return None
    prefix = _LONG_PREFIXES.get(match[1], match[1])
    return _METRE_PREFIXES_NM.get(prefix)


def to_nm(value: object, unit: str) -> float | None:
    """A length in nanometres.

    Returns:
        ``None`` if the unit is not a length or the value is not a positive finite number (files write 0 or NaN for
        "unknown").
    """
    factor = unit_in_nm(unit)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    result = number * factor
    return result if math.isfinite(result) and result > 0 else None


PIXEL_SIZES_NM = (1e-6, 1e9)
"""Range of pixel sizes in nm: a thousandth of a picometre to a metre. Beyond it, areas and volumes are no numbers."""


def check_positive(value: object, name: str, unit: str) -> float | None:
    """Check a quantity given by a user; ``None`` stays ``None``.

    Args:
        name: of the quantity, and ``unit`` in the plural, for the message.

    Raises:
        InputError: not a positive finite number.
    """
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        raise InputError(f"The {name} must be a positive number of {unit}, not {value!r}.")
    return number


def check_pixel_size(value: object) -> float | None:
    """Check a pixel size in nm given by a user; ``None`` stays ``None``.

    Raises:
        InputError: not a positive finite number, or not within :data:`PIXEL_SIZES_NM`.
    """
    nm = check_positive(value, "pixel size", "nanometres")
    low, high = PIXEL_SIZES_NM
    if nm is not None and not low <= nm <= high:
        raise InputError(
            f"The pixel size must be a positive number of nanometres from {low:g} to {high:g}, not {nm:g}."
        )
    return nm


def format_length(nm: float) -> str:
    """A length for people, such as ``"50 nm"`` or ``"2 µm"``."""
    for limit, factor, unit in ((1.0, 1e3, "pm"), (1e3, 1.0, "nm"), (1e6, 1e-3, "µm"), (1e9, 1e-6, "mm")):
        # the tolerance keeps 999.9999999 nm, 1 µm with a rounding error, from being written in nm
        if nm < limit * (1 - 1e-9):
            return f"{nm * factor:.4g} {unit}"
    return f"{nm * 1e-9:.4g} m"
