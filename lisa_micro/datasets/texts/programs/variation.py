"""Variations of written conversations, words and program at once: other nouns, two requests in one, a fresh request
after others.

A written line says one thing about one concept. What it says mostly holds for another concept too, beside another
request, or after one; a model that sees that learns which words decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import TypeVar

from lisa_micro.datasets.texts.programs.frames import draw_noun, nouns
from lisa_micro.datasets.texts.programs.written import Conversation, Exchange
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.language.program import Program, Refusal, parse_program, render_program
from lisa_micro.language.program.constructs import constructs_of
from lisa_micro.language.program.syntax import Distance, Flag, Listing, Measured, Named, Ordinal, Plot, Target, Words

ROUND = (
    "particle", "pore", "agglomerate", "grain", "precipitate", "core", "hole", "satellite", "dislocation_loop",
)  # fmt: skip
"""Concepts whose size is a diameter, so that the same words about one mean the same measure of another."""
_EXCHANGEABLE = frozenset({
    "rank", "rank range", "rank per cent", "compare", "between", "compare with factor", "compare with spread",
    "region", "third", "box", "near edge", "exclusion", "union", "value", "list", "histogram", "cumulative", "scatter",
    "new concept", "several targets", "ratio", "difference", "plot of sets", "flag",
})  # fmt: skip
"""Constructs that every concept of :data:`ROUND` has."""
_ALONE = re.compile(
    r"\b(only|just|nothing|alone|else|both|either|instead|rest|others?|those|these|them|their|it|its|former|latter)"
    r"\b"
)
"""Words of a request that needs to stand alone."""
_JOINS = (
    "{a}, and {b}", "{a} and {b}", "{a}; {b}", "{a}. {b}", "{a}; also {b}", "{a}, also {b}", "{a}. Then {b}",
    "{a}, then {b}", "{a}. In addition {b}", "{a} - and {b}", "first {a}, second {b}", "{a} + {b}",
    "two things: {a}; {b}",
)  # fmt: skip
_OPENERS = (
    "now ", "ok, ", "next: ", "next ", "new question: ", "something else: ", "and now ", "then ", "thanks. ", "good. ",
    "different topic: ", "fine. ", "alright, now ",
)  # fmt: skip
_LONGEST_JOINED = 16
"""Words of a request that may be joined with another."""
_Node = TypeVar("_Node")


@cache
def _noun_forms() -> dict[str, str]:
    """Every form of every noun, in lower case -> its concept; forms that two concepts share are left out."""
    found: dict[str, set[str]] = {}
    for concept in FULL_VOCABULARY.names:
        for half in nouns(concept):
            for noun in half:
                for form in (noun.singular, noun.plural):
                    found.setdefault(form.lower(), set()).add(concept)
    return {form: next(iter(concepts)) for form, concepts in found.items() if len(concepts) == 1}


@cache
def _any_noun() -> re.Pattern[str]:
    forms = sorted(_noun_forms(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, forms))})(?![\w-])", re.IGNORECASE)


@cache
def _plurals(concept: str) -> frozenset[str]:
    return frozenset(noun.plural.lower() for half in nouns(concept) for noun in half)


def named_concepts(words: str) -> set[str]:
    """The concepts that some words name by a noun of the lists."""
    return {_noun_forms()[match[1].lower()] for match in _any_noun().finditer(words)}


def _rebuilt(node: _Node, change) -> _Node:
    """A syntax tree with ``change`` applied to each of its nodes, the leaves first."""
    if isinstance(node, tuple):
        return tuple(_rebuilt(child, change) for child in node)  # type: ignore[return-value]
    if not is_dataclass(node) or isinstance(node, type):
        return node
    inner = {f.name: _rebuilt(getattr(node, f.name), change) for f in fields(node)}
    return change(replace(node, **inner))


def _nodes(node: object) -> Iterator[object]:
    """All nodes of a syntax tree."""
    if isinstance(node, tuple):
        for child in node:
            yield from _nodes(child)
    elif is_dataclass(node):
        yield node
        for f in fields(node):
            yield from _nodes(getattr(node, f.name))


def _plain(program: Program) -> Program:
    """The same program as the model writes it, without the texts that it was parsed from."""
    return parse_program(render_program(program))


def of_another(program: Program, concept: str, other: str) -> Program:
    """The same program about another concept."""

    def change(node):
        if isinstance(node, Target | Named) and node.concept == concept:
            return replace(node, concept=other)
        return node

    return _plain(_rebuilt(program, change))


def behind(program: Program, count: int) -> Program:
    """The same program behind ``count`` targets of other requests: its ordinals are higher by as many."""

    def change(node):
        match node:
            case Ordinal(number):
                return Ordinal(number + count)
            case Measured() | Listing():
                return replace(node, of=node.of + count)
            case Distance(one, other):
                return Distance(one + count, other + count)
            case Plot():
                return replace(node, of=tuple(k + count for k in node.of))
        return node

    return _rebuilt(program, change)


def other_nouns(voice: Voice, conversation: Conversation) -> Conversation:
    """A conversation about another concept, or with another name of its own, where that changes nothing else.

    It stays as it is where a picture decides its meaning, where no list has its noun, and where only its own concept
    has what is measured.
    """
    exchanges = conversation.exchanges
    named = set().union(*(named_concepts(exchange.user) for exchange in exchanges))
    used = {
        node.concept
        for e in exchanges
        for node in _nodes(e.program)
        if isinstance(node, Target | Named) and node.concept
    }
    shared = sorted(named & used)
    if not shared or conversation.picture:
        return conversation
    concept = voice.choose(shared)
    other = concept
    if concept in ROUND and voice.chance(0.5) and all(map(_exchangeable, exchanges)) and len(used) == 1:
        other = voice.choose([c for c in ROUND if c not in named])
    noun = draw_noun(voice, other)

    def renamed(match: re.Match) -> str:
        if _noun_forms()[match[1].lower()] != concept:
            return match[0]
        form = noun.plural if match[1].lower() in _plurals(concept) else noun.singular
        return form[:1].upper() + form[1:] if match[1][:1].isupper() and match.start() == 0 else form

    return replace(
        conversation,
        exchanges=tuple(
            Exchange(_any_noun().sub(renamed, e.user), of_another(e.program, concept, other)) for e in exchanges
        ),
    )


def _exchangeable(exchange: Exchange) -> bool:
    flags = {node.name for node in _nodes(exchange.program) if isinstance(node, Flag)}
    own = {"contacts", "gap", "neck width", "neck radius", "neck ratio"}
    props = {getattr(node, "prop", None) for node in _nodes(exchange.program)}
    return constructs_of(exchange.program) <= _EXCHANGEABLE and flags <= {"touching border"} and not props & own


def joined(voice: Voice, first: Conversation, second: Conversation) -> Conversation:
    """Two requests in one, where both can stand beside another; else the first."""
    if not (_joinable(first) and _joinable(second)):
        return first
    one, two = first.exchanges[0], second.exchanges[0]
    if one.program.refusals and two.program.refusals:
        return first
    parts = (*one.program.parts, *behind(two.program, len(one.program.targets)).parts)
    if one.program.refusals:  # what is refused is said last
        parts = (*two.program.parts, *one.program.parts)
        one, two = two, one
    a, b = one.user.rstrip(" .?!"), two.user
    if not re.match(r"I\b|[A-Z]{2}", b):
        b = b[:1].lower() + b[1:]
    words = voice.choose(_JOINS).replace("{a}", a).replace("{b}", b)
    return Conversation((Exchange(words, _plain(Program(parts))),), first.source)


def _joinable(conversation: Conversation) -> bool:
    """Whether a request can stand beside another: short, complete, of few targets, about a concept that it names."""
    if len(conversation.exchanges) > 1 or conversation.picture:
        return False
    words, program = conversation.exchanges[0].user, conversation.exchanges[0].program
    if len(words.split()) > _LONGEST_JOINED or _ALONE.search(words.lower()) or len(program.targets) > 2:
        return False
    if len(program.values) + len(program.plots) > 2 or any(isinstance(part, Words) for part in program.parts):
        return False
    if any(isinstance(part, Refusal) for part in program.parts):
        return not program.targets
    return {target.concept for target in program.targets} <= named_concepts(words)


def afresh(voice: Voice, before: Conversation, conversation: Conversation) -> Conversation:
    """A conversation after another one, whose conditions no longer hold."""
    first = conversation.exchanges[0]
    wanted = {target.concept for target in first.program.targets}
    if conversation.picture or before.picture or not wanted or not wanted <= named_concepts(first.user):
        return conversation
    if _ALONE.search(first.user.lower()):
        return conversation
    if voice.chance(0.4):
        first = replace(first, user=voice.choose(_OPENERS) + first.user[:1].lower() + first.user[1:])
    kept = before.exchanges[: int(voice.rng.integers(1, 3))]
    return replace(conversation, exchanges=(*kept, first, *conversation.exchanges[1:]))
