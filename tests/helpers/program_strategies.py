"""Random programs for property tests: everything that version 2 of the reply language can say, in canonical form."""

from __future__ import annotations

import re

from hypothesis import assume
from hypothesis import strategies as st

from lisa_micro.language import FULL_VOCABULARY, words
from lisa_micro.language.clauses import Measure, flag
from lisa_micro.language.program import render_program, terms
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Box,
    Compare,
    Distance,
    Listing,
    Measured,
    Named,
    Near,
    Ordinal,
    Pair,
    Plot,
    Program,
    Rank,
    Refusal,
    Region,
    Relation,
    Relative,
    SetStatistic,
    Step,
    Target,
    Value,
)

NUMBERS = st.integers(1, 9999).map(lambda n: n / 10) | st.integers(1, 500).map(float)
COUNTS = st.integers(1, 99)
PROPERTIES = st.sampled_from(list(terms.PROPERTIES))
BY = st.sampled_from(list(terms.RANK_WORDS)) | st.builds(
    "{} {}".format, st.sampled_from([terms.HIGHEST, terms.LOWEST]), PROPERTIES
)


def units(prop: str):
    """A unit that fits a property."""
    return st.sampled_from(["", *words.UNITS[terms.PROPERTIES[prop].dimension]])


@st.composite
def ranks(draw) -> Rank:
    by, kind = draw(BY), draw(st.sampled_from(["n", "range", "percent"]))
    if kind == "percent":
        return Rank(by, 1, draw(st.integers(1, 100)), True)
    first = draw(st.integers(2, 9)) if kind == "range" else 1
    return Rank(by, first, first + draw(st.integers(0, 9)))


@st.composite
def comparisons(draw, sets) -> Compare:
    prop, op = draw(PROPERTIES), draw(st.sampled_from(terms.COMPARATORS))
    amount = st.builds(Amount, NUMBERS, units(prop))
    spread = st.just(0.0) | st.sampled_from([1.0, 2.0, -1.0, 2.5, -0.5])
    factor = st.sampled_from([1.0, 1.5, 2.0, 0.5])
    relative = st.builds(Relative, st.sampled_from(terms.STATISTICS_OF_REST), factor, spread)
    other = st.builds(SetStatistic, sets, st.sampled_from(terms.STATISTICS_OF_SET), factor)
    return Compare(prop, op, draw(amount | relative if sets is None else amount | relative | other))


@st.composite
def betweens(draw) -> Between:
    prop = draw(PROPERTIES)
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Between(prop, low, high, draw(units(prop)))


@st.composite
def relations(draw, sets) -> Relation:
    kind = draw(st.sampled_from(terms.RELATIONS))
    distance = Amount(draw(NUMBERS), draw(units("gap"))) if kind == "within" else None
    if kind in terms.CONTACT_RELATIONS and draw(st.booleans()):
        return Relation(kind, draw(sets), distance, draw(st.sampled_from(terms.COUNTERS)), draw(st.integers(0, 9)))
    return Relation(kind, draw(sets), distance)


def boxes():
    edge = st.integers(0, 400).map(float)
    return st.tuples(edge, edge, edge, edge).map(
        lambda b: Box(min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    )


def filters(depth: int, ordinals: int):
    """Filters with sets of at most ``depth`` levels that may name the targets 1 to ``ordinals``."""
    point = st.tuples(*[st.integers(0, 400).map(float)] * 2)
    flat = (
        ranks()
        | betweens()
        | st.builds(flag, st.sampled_from(terms.FLAGS), st.booleans())
        | st.builds(Region, st.sampled_from(terms.REGIONS))
        | boxes()
        | st.builds(Near, COUNTS, st.sampled_from(terms.PLACES) | point, st.booleans())
        | st.builds(Pair, st.booleans())
        | comparisons(None)
    )
    known = set_references(depth, ordinals)
    if known is None:
        return flat
    return flat | comparisons(known) | relations(known) | st.builds(Near, COUNTS, known, st.booleans())


def set_references(depth: int, ordinals: int):
    """Sets, None where none can be named."""
    kinds = []
    if depth:
        concept = st.sampled_from(FULL_VOCABULARY.names)
        kinds.append(st.builds(Named, concept, pipelines(depth - 1, ordinals, most=2)))
    if ordinals:
        kinds.append(st.builds(Ordinal, st.integers(1, ordinals)))
    return st.one_of(kinds) if kinds else None


def pipelines(depth: int = terms.MAX_DEPTH, ordinals: int = 0, most: int = 3):
    """Pipelines, also empty ones."""
    step = st.builds(Step, st.lists(filters(depth, ordinals), min_size=1, max_size=2).map(tuple), st.booleans())
    return st.lists(step, max_size=most).map(tuple)


@st.composite
def measures(draw) -> Measure:
    if draw(st.booleans()):
        return Measure(draw(st.sampled_from(terms.WHOLE_MEASURES)))
    return Measure(draw(st.sampled_from(terms.STATISTICS)), draw(PROPERTIES))


@st.composite
def values(draw, targets: int) -> Value:
    of = st.integers(1, targets)
    measured = st.builds(Measured, measures(), of)
    first = draw(measured | st.builds(Listing, PROPERTIES, of) | st.builds(Distance, of, of))
    if isinstance(first, Measured) and draw(st.booleans()):
        return Value(first, draw(st.sampled_from("/-")), draw(measured))
    return Value(first)


@st.composite
def plots(draw, targets: int) -> Plot:
    of = tuple(draw(st.lists(st.integers(1, targets), min_size=1, max_size=3, unique=True)))
    kind = draw(st.sampled_from(terms.PLOT_KINDS))
    return Plot(kind, draw(PROPERTIES), draw(PROPERTIES) if kind == "scatter" else "", of)


@st.composite
def programs(draw, concepts=FULL_VOCABULARY.names) -> Program:
    """Programs with one to three targets, values and plots, or a refusal; each slot is short enough to be read."""
    refusal = st.builds(Refusal, st.just("cannot"), st.sampled_from(list(terms.CANNOT_TOPICS))) | st.builds(
        Refusal, st.just("unknown"), st.sampled_from(["dislocations", "C60 cages", "ß-phase"])
    )
    if draw(st.integers(0, 9)) == 0:
        return Program((draw(refusal),))
    parts: list = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        parts.append(Target(draw(st.sampled_from(concepts)), draw(pipelines(ordinals=number - 1))))
    targets = len(parts)
    parts += draw(st.lists(values(targets) | plots(targets), max_size=2))
    if draw(st.integers(0, 9)) == 0:
        parts.append(draw(refusal))
    program = Program(tuple(parts))
    slots = re.findall(r"<(\w+)>(.*?)</\1>", render_program(program))
    assume(all(len(slot) <= terms.MAX_SLOT_CHARACTERS for _, slot in slots))
    return program
