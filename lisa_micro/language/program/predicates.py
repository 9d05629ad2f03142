"""Filters in words: what "that ..." says of a noun, and orders before and behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from lisa_micro.language.program import terms
from lisa_micro.language.program.english import (
    STATISTIC_WORDS,
    article,
    count_word,
    number_word,
    ordinal_word,
    property_word,
)
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Box,
    Compare,
    Filter,
    Flag,
    Limit,
    Near,
    Pair,
    Rank,
    Region,
    Relation,
    Relative,
    SetRef,
)

_CONJUGATED = {"be": ("are", "is"), "have": ("have", "has"), "touch": ("touch", "touches"), "lie": ("lie", "lies")}
_COMPARED = {
    ">": "above", ">=": "of at least", "<": "below", "<=": "of at most", "=": "of exactly", "~": "of about",
}  # fmt: skip
_COUNTED = {
    ">": "more than", ">=": "at least", "<": "fewer than", "<=": "at most", "=": "exactly", "~": "about",
}  # fmt: skip


class Sets(Protocol):
    """Names sets; implemented by the describer of a program."""

    def member(self, of: SetRef, every: bool = False, same: str | None = None, negated: bool = False) -> str: ...

    def group(self, of: SetRef) -> str: ...

    def counted(self, of: SetRef, number: int) -> str: ...


@dataclass(frozen=True)
class Predicate:
    """A verb and what follows it; ``negated_rest`` where that is said otherwise behind "do not"; ``opposite``: the
    opposite is meant."""

    verb: str
    rest: str
    negated_rest: str = ""
    opposite: bool = False

    def text(self, plural: bool, negated: bool) -> str:
        """``touch a neck``, ``touches a neck``, ``do not touch any neck``."""
        many, one = _CONJUGATED.get(self.verb, (self.verb, self.verb + "s"))
        if negated == self.opposite:
            return f"{many if plural else one} {self.rest}"
        rest = self.negated_rest or self.rest
        if self.verb == "be":
            return f"{many if plural else one} not {rest}"
        return f"{'do' if plural else 'does'} not {self.verb} {rest}"


def predicate_of(part: Filter, sets: Sets, concept: str | None) -> Predicate:
    """What a filter says of the instances that it keeps.

    Raises:
        TypeError: it is an order and no predicate.
    """
    match part:
        case Compare(prop, op, limit):
            return _compare(prop, op, limit, sets)
        case Between(prop, low, high, unit):
            name = property_word(prop)
            return Predicate("have", f"{article(name)} {name} between {low:g} and {number_word(high, unit)}")
        case Flag(name, negated):
            return _flag(name, negated)
        case Region(name):
            return Predicate("lie", f"in the {name}" + ("" if "centre" not in name else " of the image"))
        case Box(x0, y0, x1, y1):
            return Predicate("lie", f"in the box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) px")
        case Relation():
            return _relation(part, sets, concept)
    raise TypeError(f"not a predicate: {part!r}")


def _flag(name: str, negated: bool) -> Predicate:
    said = {
        "touching border": Predicate("touch", "the border"),
        "in contact": Predicate("be", "in contact with others"),
        "isolated": Predicate("be", "isolated"),
        "in agglomerate": Predicate("belong", "to an agglomerate", "to any agglomerate"),
    }[name]
    return replace(said, opposite=negated)


def _compare(prop: str, op: str, limit: Limit, sets: Sets) -> Predicate:
    if prop == "contacts" and isinstance(limit, Amount):
        few = "contact" if limit.value == 1 else "contacts"
        return Predicate("have", f"{_COUNTED[op]} {limit.value:g} {few}")
    name = property_word(prop)
    return Predicate("have", f"{article(name)} {name} {_COMPARED[op]} {limit_words(prop, limit, sets)}")


def limit_words(prop: str, limit: Limit, sets: Sets) -> str:
    """What is compared with: ``20 nm``, ``1.5 times the mean``, ``the mean diameter of the pores``."""
    if isinstance(limit, Amount):
        return number_word(limit.value, limit.unit)
    times = {1: "", 2: "twice ", 0.5: "half "}.get(limit.factor, f"{limit.factor:g} times ")
    if isinstance(limit, Relative):
        words = f"{times}the {limit.statistic}"
        if limit.spread:
            size = abs(limit.spread)
            many = "one standard deviation" if size == 1 else f"{size:g} standard deviations"
            words += f" {'minus' if limit.spread < 0 else 'plus'} {many}"
        return words
    return f"{times}the {STATISTIC_WORDS[limit.statistic]} {property_word(prop)} of {sets.group(limit.of)}"


def _relation(part: Relation, sets: Sets, concept: str | None) -> Predicate:
    verb, word = {
        "touching": ("touch", ""),
        "inside": ("lie", "inside"),
        "containing": ("contain", ""),
        "with": ("have", ""),
        "within": ("lie", "within"),
        "larger than": ("be", "larger than"),
        "smaller than": ("be", "smaller than"),
        "among": ("be", "among"),
    }.get(part.kind, ("lie", part.kind))
    if part.kind == "within":
        distance = part.distance or Amount(0)
        word = f"within {number_word(distance.value, distance.unit)} of"
    if part.kind == terms.AMONG:
        return Predicate(verb, f"{word} {sets.group(part.of)}")
    if part.kind in terms.ORDER_RELATIONS:
        return Predicate(verb, f"{word} {sets.member(part.of, every=True, same=concept)}")
    if part.op:
        number = count_word(part.number) if part.number else "0"
        return Predicate(verb, f"{word} {_COUNTED[part.op]} {number} {sets.counted(part.of, part.number)}".lstrip())
    positive = f"{word} {sets.member(part.of, same=concept)}".lstrip()
    return Predicate(verb, positive, f"{word} {sets.member(part.of, same=concept, negated=True)}".lstrip())


def ranked(part: Filter) -> int:
    """How many instances an order keeps, 0 where that is a share."""
    match part:
        case Rank(_, first, last, percent):
            return 0 if percent else last - first + 1
        case Near(n):
            return n
    return 2


def order_phrase(part: Filter, sets: Sets, noun: str, whole: str, others: str = "") -> str:
    """An order with its noun: ``the three largest particles``, or of a whole: ``the two darkest of the ...``.

    Args:
        part: a rank, a nearness or a closest pair.
        sets: names sets.
        noun: without article, in the number that fits; ``""`` where there is a whole, or none is said.
        whole: a definite phrase out of which it picks.
        others: what the noun's "that ..." says, of several: all that it picks from.
    """
    return " ".join(_order_phrase(part, sets, noun, whole, others).split())


def _order_phrase(part: Filter, sets: Sets, noun: str, whole: str, others: str) -> str:
    n = ranked(part)
    of = f" of {whole}" if whole else ""
    many = "" if n == 1 else f"{count_word(n)} "
    behind = noun or ("one" if n == 1 and whole else "")
    match part:
        case Rank(by, _, last, True):
            return f"the {_adjective(by)} {last} %{of or (f' of the {noun}' if noun else '')}"
        case Rank(by, first, last) if by in terms.RANK_WORDS:
            span = "" if first == 1 else f"{_span(first, last)} "
            number = many if first == 1 else ""
            return f"the {span}{number}{by} {noun}".rstrip() + of
        case Rank(by, first, last):
            end, _, prop = by.partition(" ")
            span = "" if first == 1 else f"{_span(first, last)} "
            number = many if first == 1 else ""
            return f"the {number}{_first_noun(behind, of)} with the {span}{end} {property_word(prop)}{_rest(others)}"
        case Near(_, to, farthest):
            if isinstance(to, str):
                place = "the image's nearest edge" if to == "image edge" else f"the {to}"
                place = "the centre of the image" if to == "centre" else place
            elif isinstance(to, tuple):
                place = f"the point ({to[0]:g}, {to[1]:g})"
            else:
                place = sets.group(to)
            where = f"{'farthest from' if farthest else 'nearest to'} {place}"
            return f"the {many}{_first_noun(behind, of)} {where}{_rest(others)}"
        case Pair(separate):
            apart = " without being in contact" if separate else ""
            return f"the two {_first_noun(behind, of)} closest to each other{apart}{_rest(others)}"
    raise TypeError(f"not an order: {part!r}")


def _adjective(by: str) -> str:
    return by if by in terms.RANK_WORDS else by.replace(" ", " in ", 1)


def _span(first: int, last: int) -> str:
    return ordinal_word(first) if first == last else f"{ordinal_word(first)} to {ordinal_word(last)}"


def _first_noun(noun: str, of: str) -> str:
    """The noun without what "that ..." says of it, which follows behind the order."""
    return noun.partition(" that ")[0] + of


def _rest(others: str) -> str:
    return f", of those that {others}," if others else ""
