"""Clauses of ``<where>`` and measures of ``<value>``: dataclasses, a lenient parser, one canonical text.

The parser takes what a model or a person may write (``µm``, ``Å``, ``upper left``, missing numbers, spaces);
the renderer writes one form only, which is the form that the grammar for decoding allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lisa_micro.language import words


@dataclass(frozen=True)
class Rank:
    """The first ``n`` in the order ``by`` (a key of ``words.RANKS``); ``percent``: the first n per cent."""

    by: str
    n: int = 1
    percent: bool = False


@dataclass(frozen=True)
class Compare:
    """``prop op value unit``. ``value`` is a number, or ``"mean"`` or ``"median"``; ``unit`` is ``""`` where
    none was given or none exists."""

    prop: str
    op: str
    value: float | str
    unit: str = ""


@dataclass(frozen=True)
class Between:
    """``low <= prop <= high``."""

    prop: str
    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Flag:
    """One of ``words.FLAGS``, or its opposite."""

    name: str
    negated: bool = False


@dataclass(frozen=True)
class Region:
    """Centroid in one of ``words.REGIONS``."""

    name: str


@dataclass(frozen=True)
class Nearest:
    """The ``n`` whose centroids are nearest to ``"centre"``, a corner, or a point ``(x, y)`` in px."""

    n: int
    to: str | tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A number to be measured.

    Attributes:
        stat: one of ``words.STATISTICS`` with a property, a measure of a whole set (``count``, ``area fraction``,
            ``number density``), one of a whole video (``growth exponent``), or with an event ``first``, ``last`` or
            ``count``.
        prop: the property, ``""`` where there is none.
        when: of a video, the moment or the comparison of moments: ``"at start"``, ``"at end"``, ``"at frame 12"``,
            ``"at 3.5 s"``, ``"change"``, ``"rate"``; ``""`` where none was asked for.
        event: a key of ``words.EVENTS``: when it happens first or last, or how often; ``""`` where it is about none.
    """

    stat: str
    prop: str = ""
    when: str = ""
    event: str = ""

    @property
    def of_video(self) -> bool:
        """Whether only a video can answer it."""
        return bool(self.when or self.event or self.stat in words.VIDEO_MEASURES)


Clause = Rank | Compare | Between | Flag | Region | Nearest

_NUMBER = r"(\d+(?:[.,]\d+)?|[.,]\d+)"
_UNIT = r"([a-z]+2?)?"
_PROPERTY = "|".join(sorted(map(re.escape, words.PROPERTIES), key=len, reverse=True))
_RANK = re.compile(rf"({'|'.join(words.RANKS)})(?: (\d+) ?(%)?)?")
_COMPARE = re.compile(rf"({_PROPERTY}) ?(>=|<=|>|<|~) ?(?:{_NUMBER} ?{_UNIT}|({'|'.join(words.RELATIVE)}))")
_BETWEEN = re.compile(rf"({_PROPERTY}) between {_NUMBER} ?{_UNIT} and {_NUMBER} ?{_UNIT}")
_FLAG = re.compile(rf"(not )?({'|'.join(words.FLAGS)})")
_REGION = re.compile(rf"in (?:the )?({'|'.join(words.REGIONS)})")
_NEAREST = re.compile(rf"nearest (?:(\d+) )?to (?:the )?(?:(centre|{'|'.join(words.CORNERS)})|{_NUMBER} ?, ?{_NUMBER})")
_SPELLINGS = (
    ("≥", ">="), ("≤", "<="), ("≈", "~"), ("µ", "u"), ("μ", "u"), ("å", "a"), ("²", "2"), ("^2", "2"),
    ("center", "centre"), ("upper", "top"), ("lower", "bottom"),
)  # fmt: skip
_UNIT_NAMES = {"a": "A", "angstrom": "A", "pixel": "px", "pixels": "px", "nm": "nm", "um": "um", "px": "px"}
_MAX_DIGITS = 12  # a longer number is noise of the model, and int() of a huge one would be slow


def _plain(text: str) -> str:
    text = text.strip().lower()
    for old, new in _SPELLINGS:
        text = text.replace(old, new)
    return " ".join(text.split())


def read_number(text: str) -> float:
    """A number with a decimal point or comma."""
    return float(text.replace(",", "."))


def canonical_unit(dimension: str, unit: str | None) -> str | None:
    """The canonical unit, ``""`` for none, None where it does not fit the dimension."""
    if not unit:
        return ""
    squared = unit.endswith("2")
    name = _UNIT_NAMES.get(unit.removesuffix("2"))
    if name is None or (squared and dimension != "area"):
        return None
    if dimension == "area":  # an area "in px" means square pixels
        name += "2"
    return name if name in words.UNITS[dimension] else None


def parse_clause(text: str) -> Clause | None:
    """One clause, or None where the text is none. Never raises.

    ``not in contact`` gives ``isolated`` and the reverse, for they mean the same; a swapped range is put in
    order.
    """
    plain = _plain(text)
    if re.search(rf"\d{{{_MAX_DIGITS + 1},}}", plain):
        return None
    if match := _RANK.fullmatch(plain):
        n = int(match[2] or 1)
        percent = bool(match[3])
        return Rank(match[1], n, percent) if n > 0 and not (percent and n > 100) else None
    if match := _COMPARE.fullmatch(plain):
        prop, op = match[1], match[2]
        if match[5]:
            return Compare(prop, op, match[5])
        unit = canonical_unit(words.PROPERTIES[prop].dimension, match[4])
        return None if unit is None else Compare(prop, op, read_number(match[3]), unit)
    if match := _BETWEEN.fullmatch(plain):
        first, last = (canonical_unit(words.PROPERTIES[match[1]].dimension, match[k]) for k in (3, 5))
        if first is None or last is None or (first and first != last):
            return None
        low, high = sorted((read_number(match[2]), read_number(match[4])))
        return Between(match[1], low, high, last)
    if match := _FLAG.fullmatch(plain):
        return flag(match[2], bool(match[1]))
    if match := _REGION.fullmatch(plain):
        return Region(match[1])
    if match := _NEAREST.fullmatch(plain):
        n = int(match[1] or 1)
        return Nearest(n, match[2] or (read_number(match[3]), read_number(match[4]))) if n > 0 else None
    return None


def flag(name: str, negated: bool = False) -> Flag:
    """A flag in its canonical form: ``isolated`` for "not in contact", ``in contact`` for "not isolated"."""
    if negated and name in ("isolated", "in contact"):
        return Flag("in contact" if name == "isolated" else "isolated")
    return Flag(name, negated)


def parse_clauses(text: str) -> tuple[tuple[Clause, ...], tuple[str, ...]]:
    """Clauses separated by ``;``: those understood, and the pieces that were not. Never raises."""
    good, bad = [], []
    for piece in text.split(";"):
        clause = parse_clause(piece)
        if clause is not None:
            good.append(clause)
        elif piece.strip():
            bad.append(piece.strip())
    return tuple(good), tuple(bad)


def number_text(value: float) -> str:
    """Shortest decimal text, at most three decimals: ``20``, ``2.5``."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def render_clause(clause: Clause) -> str:
    """The canonical text of a clause."""
    match clause:
        case Rank(by, n, percent):
            return f"{by} {n} %" if percent else f"{by} {n}"
        case Compare(prop, op, value, unit):
            text = value if isinstance(value, str) else number_text(value)
            return f"{prop} {op} {text} {unit}".rstrip()
        case Between(prop, low, high, unit):
            return f"{prop} between {number_text(low)} and {number_text(high)} {unit}".rstrip()
        case Flag(name, negated):
            return f"not {name}" if negated else name
        case Region(name):
            return f"in {name}"
        case Nearest(n, to):
            return f"nearest {n} to {to if isinstance(to, str) else ','.join(map(number_text, to))}"
    raise TypeError(f"not a clause: {clause!r}")


def render_clauses(clauses: tuple[Clause, ...] | list[Clause]) -> str:
    """The canonical text of several clauses, ``; `` between them."""
    return "; ".join(map(render_clause, clauses))


def orders(clause: Clause) -> bool:
    """Whether what the clause keeps depends on what is left when it is applied (ranks, nearest, comparisons
    with the mean). Such clauses do not commute with others."""
    return isinstance(clause, Rank | Nearest) or (isinstance(clause, Compare) and isinstance(clause.value, str))


def normal(clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
    """A form that is equal for clauses that mean the same: lengths in nm, neighbouring filters sorted."""
    runs: list[list[Clause]] = [[]]
    out: list[Clause] = []
    for clause in map(_in_nm, clauses):
        if orders(clause):
            out += sorted(runs.pop(), key=render_clause)
            out.append(clause)
            runs.append([])
        elif clause not in runs[-1]:
            runs[-1].append(clause)
    return tuple(out + sorted(runs[-1], key=render_clause))


def _in_nm(clause: Clause) -> Clause:
    if isinstance(clause, Compare) and not isinstance(clause.value, str) and clause.unit in words.NM_PER_UNIT:
        unit = "nm2" if clause.unit.endswith("2") else "nm"
        return Compare(clause.prop, clause.op, round(clause.value * words.NM_PER_UNIT[clause.unit], 6), unit)
    if isinstance(clause, Between) and clause.unit in words.NM_PER_UNIT:
        factor, unit = words.NM_PER_UNIT[clause.unit], "nm2" if clause.unit.endswith("2") else "nm"
        return Between(clause.prop, round(clause.low * factor, 6), round(clause.high * factor, 6), unit)
    return clause


_MEASURE = re.compile(rf"({'|'.join(words.STATISTICS)})(?: of)? ({_PROPERTY})", re.IGNORECASE)
_STAT_CASE = {name.lower(): name for name in words.STATISTICS}
_EVENT = re.compile(rf"(?:(first|last) ({'|'.join(words.EVENTS)}) time|({'|'.join(words.EVENTS)}) count)")
_WHEN = re.compile(rf"(.+) ({'|'.join(words.MOMENTS)}|at frame (\d+)|at {_NUMBER} ?({'|'.join(words.TIME_UNITS)}))")


def parse_measure(text: str) -> Measure | None:
    """A measure, or None where the text is none. Never raises."""
    plain = _plain(text)
    if re.search(rf"\d{{{_MAX_DIGITS + 1},}}", plain):
        return None
    if plain in words.VIDEO_MEASURES:
        return Measure(plain)
    if match := _EVENT.fullmatch(plain):
        return Measure(match[1] or "count", event=match[2] or match[3])
    if match := _WHEN.fullmatch(plain):
        base = _measure_of_image(match[1])
        if base is None:
            return None
        if match[3]:
            return Measure(base.stat, base.prop, f"at frame {int(match[3])}")
        when = f"at {number_text(read_number(match[4]))} {match[5]}" if match[4] else match[2]
        return Measure(base.stat, base.prop, when)
    return _measure_of_image(plain)


def _measure_of_image(plain: str) -> Measure | None:
    if plain in words.WHOLE_MEASURES:
        return Measure(plain)
    if match := _MEASURE.fullmatch(plain):
        return Measure(_STAT_CASE[match[1].lower()], match[2].lower())
    return None


def moment(when: str) -> tuple[str, float]:
    """The kind of a moment ``"at ..."`` and where it is.

    Args:
        when: ``Measure.when`` that begins with ``at``.

    Returns:
        ``("start", 0)``, ``("end", 0)``, ``("frame", number as the user counts)`` or ``("time", seconds)``.

    Raises:
        ValueError: it is no moment.
    """
    if when in ("at start", "at end"):
        return when.removeprefix("at "), 0.0
    if match := re.fullmatch(r"at frame (\d+)", when):
        return "frame", float(match[1])
    if match := re.fullmatch(rf"at {_NUMBER} ({'|'.join(words.TIME_UNITS)})", when):
        return "time", read_number(match[1]) * words.SECONDS_PER_UNIT[match[2]]
    raise ValueError(f"not a moment: {when!r}")


def render_measure(measure: Measure) -> str:
    """The canonical text of a measure."""
    if measure.event:
        return f"{measure.event} count" if measure.stat == "count" else f"{measure.stat} {measure.event} time"
    return " ".join(part for part in (measure.stat, measure.prop, measure.when) if part)
