"""Draw numbers with units: their values, and the text that users write."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_micro.datasets.texts.store import Voice, data, leaf
from lisa_micro.language.words import PROPERTIES

PERCENTS = (5, 10, 10, 20, 25, 30, 40, 50)
COUNTS = (2, 2, 3, 3, 3, 4, 5, 5, 5, 6, 7, 8, 9, 10, 10, 12, 15, 20, 25, 30, 40, 50, 100)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit (``""``: none), and the text of both."""

    value: float
    unit: str
    text: str
    bare: str
    """The text of the number without unit."""


def count(voice: Voice, numbers: tuple[int, ...] = COUNTS) -> tuple[int, str]:
    """Draw a small whole number and its text, in digits or as a word."""
    n = int(voice.choose(numbers))
    return n, _spelled(voice, n, 0.35)


def _spelled(voice: Voice, n: int, share: float) -> str:
    spellings = data("decorations")["numbers"]
    if n in spellings and voice.chance(share):
        return voice.choose(leaf(f"decorations/numbers/{n}"))
    return str(n)


def unit_for(voice: Voice, prop: str, in_nm: bool) -> str:
    """Draw a unit that users would choose for a property, ``""`` for none."""
    dimension = PROPERTIES[prop].dimension
    if dimension == "length":
        weights = {"nm": 12, "px": 2, "um": 2, "A": 1, "": 1} if in_nm else {"px": 10, "nm": 4, "": 2, "um": 1}
    elif dimension == "area":
        weights = {"nm2": 6, "px2": 4, "um2": 1} if in_nm else {"px2": 8, "nm2": 2}
    else:
        return ""
    return voice.weighted(weights)


def quantity(voice: Voice, prop: str, unit: str, value: float | None = None, hyphen: bool = False) -> Quantity:
    """Draw a plausible number for a property, with its unit.

    Args:
        voice: source of wordings.
        prop: a property of the reply language.
        unit: canonical unit or ``""``.
        value: this number instead of a random one.
        hyphen: whether "20-nm" may be written (before a noun).
    """
    if value is None:
        value = draw_value(voice, prop, unit)
    bare = f"{value:g}"
    whole = float(value).is_integer()
    if whole and unit and voice.chance(0.08):
        bare = _spelled(voice, int(value), 1.0)
    elif not whole and voice.chance(0.03):
        bare = bare.replace(".", ",")
    text = bare
    if unit:
        spellings = [s for s in leaf(f"decorations/units/{unit}") if hyphen or not s.startswith("-")]
        spelled = spellings[0] if voice.chance(0.45) else voice.choose(spellings)
        if bare.isalpha() and not spelled.startswith((" ", "-")):
            spelled = " " + spelled
        text = bare + spelled
    return Quantity(value, unit, text, bare)


def draw_value(voice: Voice, prop: str, unit: str) -> float:
    """Draw a plausible value of a property in a unit."""
    rng = voice.rng
    if prop == "contacts":
        return float(rng.integers(1, 7))
    if prop in ("circularity", "neck ratio"):
        low = 50 if prop == "circularity" else 10
        hundredths = rng.integers(low, 99)
        return float(hundredths // 10 or 1) / 10 if voice.chance(0.5) else float(hundredths) / 100
    if prop == "aspect ratio":
        return float(rng.integers(11, 45)) / 10 if voice.chance(0.8) else float(rng.integers(2, 6))
    if prop == "intensity":
        kind = voice.choose(("byte", "byte", "unit", "word"))
        return {
            "byte": float(rng.integers(10, 250)),
            "unit": float(rng.integers(1, 10)) / 10,
            "word": float(rng.integers(10, 600)) * 100,
        }[kind]
    if unit == "um":
        return float(rng.integers(1, 100)) / 100 if voice.chance(0.5) else float(rng.integers(1, 60)) / 10
    if unit == "um2":
        return float(rng.integers(1, 300)) / 100
    if unit in ("nm2", "px2"):
        return float(voice.choose((10, 50, 100)) * int(rng.integers(1, 60)))
    if unit == "A":
        return float(rng.integers(2, 100))
    most = 40 if prop in ("neck width", "gap") else 150
    kind = voice.choose(("any", "any", "five", "half", "ten"))
    return {
        "any": float(rng.integers(1, most)),
        "five": 5.0 * float(rng.integers(1, most // 5 + 1)),
        "ten": 10.0 * float(rng.integers(1, most // 4 + 1)),
        "half": float(rng.integers(1, most)) / 2 if voice.chance(0.6) else float(rng.integers(1, 10 * most)) / 10,
    }[kind]
