"""The constructs of version 2 that a program uses, so that texts and tests can tell what they cover."""

from __future__ import annotations

from collections.abc import Iterator

from lisa_micro.language.concepts import ALL_CONCEPTS
from lisa_micro.language.program import terms
from lisa_micro.language.program.replies import sets_of
from lisa_micro.language.program.syntax import (
    Between,
    Box,
    Compare,
    Distance,
    Filter,
    Flag,
    Listing,
    Named,
    Near,
    Ordinal,
    Pair,
    Pipeline,
    Plot,
    Program,
    Rank,
    Refusal,
    Region,
    Relation,
    Relative,
    SetStatistic,
    Target,
    Value,
)

STEP_CONSTRUCTS = (
    "exclusion",
    "union",
    "rank",
    "rank range",
    "rank per cent",
    "rank by property",
    "compare",
    "compare with factor",
    "compare with spread",
    "compare with set",
    "equality",
    "between",
    "flag",
    "region",
    "third",
    "box",
    "near place",
    "near edge",
    "far",
    "near set",
    "pair",
    "touching",
    "side",
    "inside",
    "with",
    "counted relation",
    "within",
    "size order",
    "among",
    "nested set",
    "earlier target",
)
"""Constructs of pipelines."""
SLOT_CONSTRUCTS = (
    "value",
    "ratio",
    "difference",
    "list",
    "distance",
    "histogram",
    "cumulative",
    "scatter",
    "plot of sets",
    "several targets",
    "unknown",
    "cannot",
)
"""Constructs of whole replies."""
CONSTRUCTS = (*STEP_CONSTRUCTS, *SLOT_CONSTRUCTS, "new concept")


def constructs_of(program: Program) -> frozenset[str]:
    """The names of :data:`CONSTRUCTS` that a program uses."""
    return frozenset(_of_program(program))


def constructs_of_pipeline(pipeline: Pipeline) -> frozenset[str]:
    """The same of the steps of one target."""
    return frozenset(_of_pipeline(pipeline, 0))


def _of_program(program: Program) -> Iterator[str]:
    if len(program.targets) > 1:
        yield "several targets"
    for part in program.parts:
        match part:
            case Target(concept, pipeline):
                if concept in list(ALL_CONCEPTS)[5:]:
                    yield "new concept"
                yield from _of_pipeline(pipeline, 0)
            case Value(first, op):
                yield {"/": "ratio", "-": "difference"}.get(op, "value")
                if isinstance(first, Listing):
                    yield "list"
                if isinstance(first, Distance):
                    yield "distance"
            case Plot(kind, of=of) if kind:
                yield kind
                if len(of) > 1:
                    yield "plot of sets"
            case Refusal("unknown" | "cannot" as kind):
                yield kind


def _of_pipeline(pipeline: Pipeline, depth: int) -> Iterator[str]:
    for step in pipeline:
        if step.excluded:
            yield "exclusion"
        if len(step.filters) > 1:
            yield "union"
        for part in step.filters:
            yield from _of_filter(part)
    for of in sets_of(pipeline):
        if isinstance(of, Ordinal):
            yield "earlier target"
        elif isinstance(of, Named):
            if depth:
                yield "nested set"
            if of.concept in list(ALL_CONCEPTS)[5:]:
                yield "new concept"
            yield from _of_pipeline(of.pipeline, depth + 1)


def _of_filter(part: Filter) -> Iterator[str]:
    match part:
        case Rank(by, first, _, percent):
            yield "rank per cent" if percent else "rank range" if first > 1 else "rank"
            if by not in terms.RANK_WORDS:
                yield "rank by property"
        case Compare(_, op, limit):
            if isinstance(limit, Relative):
                yield "compare with spread" if limit.spread else "compare with factor"
            elif isinstance(limit, SetStatistic):
                yield "compare with set"
            else:
                yield "equality" if op == "=" else "compare"
        case Between():
            yield "between"
        case Flag():
            yield "flag"
        case Region(name):
            yield "third" if name in terms.THIRDS else "region"
        case Box():
            yield "box"
        case Near(_, to, farthest):
            if farthest:
                yield "far"
            if isinstance(to, tuple) or (isinstance(to, str) and to not in terms.EDGES):
                yield "near place"
            elif isinstance(to, str):
                yield "near edge"
            else:
                yield "near set"
        case Pair():
            yield "pair"
        case Relation(kind, _, _, op):
            yield _RELATIONS[kind]
            if op:
                yield "counted relation"


_RELATIONS = {
    "touching": "touching",
    "inside": "inside",
    "containing": "inside",
    "with": "with",
    "within": "within",
    "left of": "side",
    "right of": "side",
    "above": "side",
    "below": "side",
    "larger than": "size order",
    "smaller than": "size order",
    "among": "among",
}
