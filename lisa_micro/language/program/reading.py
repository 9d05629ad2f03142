"""Reading pipelines, value slots and plots: lenient, linear in the length of the text, never raising.

Everything that version 1 wrote between its tags is read with the same meaning.
"""

from __future__ import annotations

import re

from lisa_micro.language.clauses import canonical_unit, flag, parse_measure, read_number
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Box,
    Compare,
    Distance,
    Filter,
    Limit,
    Listing,
    Measure,
    Measured,
    Named,
    Near,
    Operand,
    Ordinal,
    Pair,
    Pipeline,
    Plot,
    Rank,
    Region,
    Relation,
    Relative,
    SetRef,
    SetStatistic,
    Step,
    Value,
)
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary

_SPELLINGS = (
    ("≥", ">="), ("≤", "<="), ("≈", "~"), ("µ", "u"), ("μ", "u"), ("å", "a"), ("²", "2"), ("^2", "2"), ("×", ""),
    ("center", "centre"), ("upper", "top"), ("lower", "bottom"), ("fiber", "fibre"), ("−", "-"), ("–", "-"),
)  # fmt: skip
_SET = "\ue000"  # stands for a set that was taken out of the text of a filter
_NUMBER = r"(\d+(?:[.,]\d+)?|[.,]\d+)"
_UNIT = r"([a-z]+2?)?"


def _any(texts) -> str:
    return "|".join(sorted(map(re.escape, texts), key=len, reverse=True))


_PROPERTY = _any(terms.PROPERTIES)
_REST = _any(name.lower() for name in terms.STATISTICS_OF_REST)
_OF_SET = _any(name.lower() for name in terms.STATISTICS_OF_SET)
_ORDER = rf"({_any(terms.RANK_WORDS)}|(?:highest|lowest) (?:{_PROPERTY}))"
_RANK = re.compile(rf"{_ORDER}(?: (\d+)(?: ?- ?(\d+)| ?(%))?)?")
_OP = rf"({_any(terms.COMPARATORS)})"
_AMOUNT = re.compile(rf"{_NUMBER} ?{_UNIT}")
_RELATIVE = re.compile(rf"(?:{_NUMBER} ?)?({_REST})(?: ?([+-]) ?(?:{_NUMBER} ?)?std)?")
_OF_ANOTHER = re.compile(rf"(?:{_NUMBER} ?)?{_SET} ?\. ?({_OF_SET})")
_COMPARE = re.compile(rf"({_PROPERTY}) ?{_OP} ?(.+)")
_BETWEEN = re.compile(rf"({_PROPERTY}) between {_NUMBER} ?{_UNIT} and {_NUMBER} ?{_UNIT}")
_FLAG = re.compile(rf"(not )?({_any(terms.FLAGS)})")
_REGION = re.compile(rf"in (?:the )?({_any(terms.REGIONS)})")
_BOX = re.compile(rf"in (?:the )?box {_NUMBER} ?, ?{_NUMBER} ?, ?{_NUMBER} ?, ?{_NUMBER}")
_POINT = re.compile(rf"{_NUMBER} ?, ?{_NUMBER}")
_NEAR = re.compile(r"(nearest|farthest) (?:(\d+) )?(?:to|from) (.+)")
_PAIR = re.compile(r"closest (separate )?pair")
_COUNT = rf"(?:({_any(terms.COUNTERS)}) ?(\d+) )?"
_CONTACT = re.compile(rf"(touching|inside|containing|with) {_COUNT}{_SET}")
_WITHIN = re.compile(rf"within {_NUMBER} ?{_UNIT} of {_COUNT}{_SET}")
_ORDERED = re.compile(rf"({_any(terms.ORDER_RELATIONS)}|among) {_SET}")
_ORDINAL_SET = re.compile(r"\d{1,2}")
_STATISTIC_NAMES = {name.lower(): name for name in (*terms.STATISTICS_OF_SET, *terms.STATISTICS)}


class Unreadable(ValueError):
    """A piece that is not in the language; ``args[0]`` is the piece."""


def plain(text: str) -> str:
    """Text in the form in which it is read: lower case, one spelling, single spaces."""
    text = text.strip().lower()
    for old, new in _SPELLINGS:
        text = text.replace(old, new)
    return " ".join(text.split())


def parse_pipeline(text: str, vocabulary: Vocabulary = FULL_VOCABULARY) -> tuple[Pipeline, str]:
    """The steps of a ``<where>``.

    Args:
        text: any string.
        vocabulary: the concepts that sets may name.

    Returns:
        the steps, and the first piece that was not understood, ``""`` where all were; then there are no steps, since a
        part of a constraint asks another question than the whole.
    """
    if len(text) > terms.MAX_SLOT_CHARACTERS:
        return (), text[:40] + " ..."
    text = plain(text)
    if re.search(rf"\d{{{terms.MAX_DIGITS + 1},}}", text) or _SET in text:
        return (), text
    try:
        return _pipeline(text, vocabulary, terms.MAX_DEPTH), ""
    except Unreadable as error:
        return (), str(error.args[0]) or text


def _pieces(text: str, separator: str) -> list[str]:
    """Text split at a separator that stands outside of braces."""
    pieces, depth, start = [], 0, 0
    for k, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == separator and depth == 0:
            pieces.append(text[start:k])
            start = k + 1
    return [piece.strip() for piece in (*pieces, text[start:])]


def _pipeline(text: str, vocabulary: Vocabulary, depth: int) -> Pipeline:
    steps = []
    for piece in _pieces(text, ";"):
        if not piece:
            continue
        excluded = piece.startswith("except ")
        filters = tuple(_filter(alternative, vocabulary, depth) for alternative in _pieces(piece[7 * excluded :], "|"))
        if len(filters) > terms.MAX_FILTERS:
            raise Unreadable(piece)
        steps.append(Step(filters, excluded))
    if len(steps) > terms.MAX_STEPS:
        raise Unreadable(text)
    return tuple(steps)


def _filter(text: str, vocabulary: Vocabulary, depth: int) -> Filter:
    inner: list[SetRef] = []
    if "{" in text or "}" in text:
        start, end = text.find("{"), text.rfind("}")
        if not 0 <= start < end:
            raise Unreadable(text)
        inner.append(_set(text[start + 1 : end].strip(), vocabulary, depth))
        text = f"{text[:start]}{_SET}{text[end + 1 :]}"
    found = _with_set(text, inner[0]) if inner else _without_set(text)
    if found is None:
        raise Unreadable(text.replace(_SET, "{...}"))
    return found


def _set(text: str, vocabulary: Vocabulary, depth: int) -> SetRef:
    if _ORDINAL_SET.fullmatch(text):
        return Ordinal(int(text))
    if depth == 0:
        raise Unreadable(text)
    noun = vocabulary.leading_noun(text)
    if noun is None:
        raise Unreadable(text)
    concept, length = noun
    return Named(concept, _pipeline(text[length:].strip(), vocabulary, depth - 1))


def _with_set(text: str, of: SetRef) -> Filter | None:
    if match := _CONTACT.fullmatch(text):
        return Relation(match[1], of, None, match[2] or "", int(match[3] or 0))
    if match := _ORDERED.fullmatch(text):
        return Relation(match[1], of)
    if match := _WITHIN.fullmatch(text):
        unit = canonical_unit("length", match[2])
        if unit is None:
            return None
        return Relation("within", of, Amount(read_number(match[1]), unit), match[3] or "", int(match[4] or 0))
    if (match := _NEAR.fullmatch(text)) and match[3] == _SET:
        return _near(match, of)
    if match := _COMPARE.fullmatch(text):
        limit = _OF_ANOTHER.fullmatch(match[3])
        if limit:
            factor = read_number(limit[1]) if limit[1] else 1.0
            return Compare(match[1], match[2], SetStatistic(of, _STATISTIC_NAMES[limit[2]], factor))
    return None


def _without_set(text: str) -> Filter | None:
    if match := _RANK.fullmatch(text):
        return _rank(match)
    if match := _BETWEEN.fullmatch(text):
        first, last = (canonical_unit(terms.PROPERTIES[match[1]].dimension, match[k]) for k in (3, 5))
        if first is None or last is None or (first and first != last):
            return None
        low, high = sorted((read_number(match[2]), read_number(match[4])))
        return Between(match[1], low, high, last)
    if match := _COMPARE.fullmatch(text):
        limit = _limit(match[1], match[3])
        return None if limit is None else Compare(match[1], match[2], limit)
    if match := _FLAG.fullmatch(text):
        return flag(match[2], bool(match[1]))
    if match := _REGION.fullmatch(text):
        return Region(match[1])
    if match := _BOX.fullmatch(text):
        x0, y0, x1, y1 = (read_number(match[k]) for k in range(1, 5))
        return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if match := _PAIR.fullmatch(text):
        return Pair(bool(match[1]))
    if match := _NEAR.fullmatch(text):
        place = match[3].removeprefix("the ")
        if place in terms.PLACES:
            return _near(match, place)
        if point := _POINT.fullmatch(place):
            return _near(match, (read_number(point[1]), read_number(point[2])))
    return None


def _rank(match: re.Match) -> Rank | None:
    by, first, last = match[1], int(match[2] or 1), match[3]
    if match[4]:
        return Rank(by, 1, first, True) if 0 < first <= 100 else None
    if last is None:
        return Rank(by, 1, first) if first > 0 else None
    low, high = sorted((first, int(last)))
    return Rank(by, low, high) if low > 0 else None


def _near(match: re.Match, to: str | tuple[float, float] | SetRef) -> Near | None:
    n = int(match[2] or 1)
    return Near(n, to, match[1] == "farthest") if n > 0 else None


def _limit(prop: str, text: str) -> Limit | None:
    if match := _RELATIVE.fullmatch(text):
        spread = 0.0
        if match[3]:
            spread = read_number(match[4]) if match[4] else 1.0
            spread = -spread if match[3] == "-" else spread
        return Relative(_STATISTIC_NAMES[match[2]], read_number(match[1]) if match[1] else 1.0, spread)
    if match := _AMOUNT.fullmatch(text):
        unit = canonical_unit(terms.PROPERTIES[prop].dimension, match[2])
        return None if unit is None else Amount(read_number(match[1]), unit)
    return None


_OF = r"(?: of (\d{1,2}))?"
_LISTING = re.compile(rf"list (?:of )?({_PROPERTY}){_OF}")
_DISTANCE = re.compile(r"distance from (\d{1,2}) to (\d{1,2})")
_NEW_STATISTIC = re.compile(rf"({_any(s.lower() for s in terms.STATISTICS)})(?: of)? ({_PROPERTY})")
_MEASURED = re.compile(rf"(.+?){_OF}")
_PLOT = re.compile(
    rf"(?:(histogram|cumulative) (?:of )?({_PROPERTY})|scatter ({_PROPERTY}) against ({_PROPERTY}))"
    r"(?: of (\d{1,2}(?: and \d{1,2}){0,7}))?"
)


def parse_value(text: str, last: int) -> Value:
    """A value slot; ``first`` is None where it was not understood.

    Args:
        text: any string.
        last: the target that is meant where none is named.
    """
    raw = text.strip()
    text = plain(text)
    unreadable = Value(None, raw=raw[: terms.MAX_SLOT_CHARACTERS])
    if len(raw) > terms.MAX_SLOT_CHARACTERS or re.search(rf"\d{{{terms.MAX_DIGITS + 1},}}", text):
        return unreadable
    for op in ("/", "-"):
        one, found, other = text.partition(f" {op} ")
        if found:
            first, second = _operand(one, last), _operand(other, last)
            if first is None or second is None or isinstance(first, Listing) or isinstance(second, Listing):
                return unreadable
            return Value(first, op, second, raw)
    first = _operand(text, last)
    return unreadable if first is None else Value(first, raw=raw)


def _operand(text: str, last: int) -> Operand | None:
    if match := _LISTING.fullmatch(text):
        return Listing(match[1], int(match[2] or last))
    if match := _DISTANCE.fullmatch(text):
        return Distance(int(match[1]), int(match[2]))
    match = _MEASURED.fullmatch(text)
    if match is None:
        return None
    measure = read_measure(match[1])
    return None if measure is None else Measured(measure, int(match[2] or last))


def read_measure(text: str) -> Measure | None:
    """A measure of version 1, or of the properties and measures that version 2 adds; None where it is none."""
    if text in terms.WHOLE_MEASURES:
        return Measure(text)
    if match := _NEW_STATISTIC.fullmatch(text):
        return Measure(_STATISTIC_NAMES[match[1]], match[2])
    return parse_measure(text)


def parse_plot(text: str, last: int) -> Plot:
    """A plot slot; ``kind`` is ``""`` where it was not understood. ``last``: the target meant where none is named."""
    raw = text.strip()
    match = _PLOT.fullmatch(plain(text)) if len(raw) <= terms.MAX_SLOT_CHARACTERS else None
    if match is None:
        return Plot("", raw=raw[: terms.MAX_SLOT_CHARACTERS])
    of = tuple(dict.fromkeys(int(k) for k in match[5].split(" and "))) if match[5] else (last,)
    if match[1]:
        return Plot(match[1], match[2], "", of, raw)
    return Plot("scatter", match[3], match[4], of, raw)
