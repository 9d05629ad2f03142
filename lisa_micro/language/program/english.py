"""Words for numbers, units, properties and statistics, shared by readings and replies."""

from __future__ import annotations

import re

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = (
    "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip
_UNITS = {"um": "µm", "A": "Å", "nm2": "nm²", "px2": "px²", "um2": "µm²"}
STATISTIC_WORDS = {
    "mean": "mean",
    "median": "median",
    "min": "smallest",
    "max": "largest",
    "std": "standard deviation of the",
    "total": "total",
    "D10": "D10 of the",
    "D90": "D90 of the",
}
WHOLE_WORDS = {
    "count": "number",
    "area fraction": "area fraction",
    "number density": "number density",
    "intercept": "mean intercept length",
    "line density": "length per area",
}
PROPERTY_WORDS = {"contacts": "number of contacts", "length": "length", "neck ratio": "neck ratio x/R"}


def count_word(n: int) -> str:
    """``three``; digits from 13 on."""
    return _NUMBERS[n] if 0 <= n < len(_NUMBERS) else str(n)


def ordinal_word(n: int) -> str:
    """``second``, ``11th``, ``23rd``."""
    if 0 < n < len(_ORDINALS):
        return _ORDINALS[n]
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def unit_word(unit: str) -> str:
    """The unit as people write it: ``µm²``."""
    return _UNITS.get(unit, unit)


def number_word(value: float, unit: str = "") -> str:
    """A number with its unit: ``2.5 µm``."""
    return f"{value:g} {unit_word(unit)}".rstrip()


def property_word(prop: str) -> str:
    """A property in words."""
    return PROPERTY_WORDS.get(prop, prop)


def article(noun: str) -> str:
    """``a`` or ``an``."""
    return "an" if re.match(r"[aeiou]", noun) else "a"


def listed(pieces: list[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(pieces) < 2:
        return "".join(pieces)
    return f"{', '.join(pieces[:-1])} {last} {pieces[-1]}"


def sentence(text: str) -> str:
    """A text with a capital at its beginning and a full stop at its end."""
    text = text.strip()
    stop = "" if text.endswith((".", "!", "?")) else "."
    return f"{text[:1].upper()}{text[1:]}{stop}" if text else ""
