"""Replies: text with targets and value slots. The parser takes any string and never raises.

A reply that is not in the language still gives an answer: an unreadable constraint leaves its target without
one, and a note says what was not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lisa_micro.language.clauses import (
    Clause,
    Measure,
    normal,
    parse_clauses,
    parse_measure,
    render_clauses,
    render_measure,
)
from lisa_micro.language.vocabulary import DEFAULT_VOCABULARY, Vocabulary
from lisa_micro.language.words import ABSENT, END_VALUE, END_WHERE, SEG, SPECIAL_TOKENS, VALUE, WHERE


@dataclass(frozen=True)
class Text:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Target:
    """One ``[SEG]``.

    Attributes:
        concept: a name of the vocabulary, or None where the words before it name none.
        clauses: its constraint; empty where there is none, or where a part of it could not be read.
        phrase: the words since the last target, value or full stop, which refer to it.
        where: the constraint as written.
    """

    concept: str | None
    clauses: tuple[Clause, ...] = ()
    phrase: str = ""
    where: str = ""


@dataclass(frozen=True)
class ValueSlot:
    """A place for a measured number.

    Attributes:
        measure: what to measure, None where it could not be read.
        of: which target, counted from 1; 0 where the reply has no such target.
        raw: the slot as written.
    """

    measure: Measure | None
    of: int
    raw: str = ""


@dataclass(frozen=True)
class Reply:
    """A parsed reply: its parts in order, whether it says that nothing of the kind is there, and notes."""

    parts: tuple[Text | Target | ValueSlot, ...] = ()
    absent: bool = False
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in order; target k of a value slot is entry k - 1."""
        return tuple(part for part in self.parts if isinstance(part, Target))

    @property
    def values(self) -> tuple[ValueSlot, ...]:
        """The value slots in order."""
        return tuple(part for part in self.parts if isinstance(part, ValueSlot))


_SPLIT = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")
_ORDINAL = re.compile(r"(.*?)(?: of (\d{1,3}))?", re.DOTALL)


def parse_reply(text: str, vocabulary: Vocabulary = DEFAULT_VOCABULARY) -> Reply:
    """Read a reply as the language model wrote it (special tokens as text).

    Args:
        text: any string.
        vocabulary: the concepts that the model knows.

    Returns:
        the reply; ``notes`` has one sentence for each piece that could not be read. Never raises, takes time
        proportional to the length of the text.
    """
    pieces = _SPLIT.split(text)
    parts: list[Text | Target | ValueSlot] = []
    notes: list[str] = []
    absent = False
    targets = 0
    k = 0
    while k < len(pieces):
        piece = pieces[k]
        if piece == ABSENT:
            absent = True
        elif piece == SEG:
            targets += 1
            where = ""
            follows = k + 1 + (k + 2 < len(pieces) and not pieces[k + 1].strip())
            if follows < len(pieces) and pieces[follows] == WHERE:
                where = pieces[follows + 1]
                closed = follows + 2 < len(pieces) and pieces[follows + 2] == END_WHERE
                if not closed:
                    notes.append("The constraint at the end of the reply was cut off.")
                k = follows + (2 if closed else 1)
            parts.append(_target(parts, where, notes, vocabulary))
        elif piece == VALUE:
            raw = pieces[k + 1]
            closed = k + 2 < len(pieces) and pieces[k + 2] == END_VALUE
            k += 2 if closed else 1
            parts.append(_value(raw, targets, notes))
        elif piece in (WHERE, END_WHERE, END_VALUE):
            notes.append(f"A stray {piece} in the reply was left out.")
        elif piece:
            parts.append(Text(piece))
        k += 1
    out = []
    for part in parts:
        if isinstance(part, ValueSlot) and not 1 <= part.of <= targets:
            notes.append(f"The value '{part.raw}' refers to nothing that was outlined.")
            part = ValueSlot(part.measure, 0, part.raw)
        out.append(part)
    return Reply(tuple(out), absent, tuple(notes))


def _target(parts: list, where: str, notes: list[str], vocabulary: Vocabulary) -> Target:
    phrase = parts[-1].text if parts and isinstance(parts[-1], Text) else ""
    phrase = re.split(r"[.;!?]\s", phrase)[-1].strip()
    clauses, bad = parse_clauses(where)
    if bad:
        notes.append(f"The constraint '{bad[0]}' was not understood, so everything of the kind is shown.")
        clauses = ()
    return Target(vocabulary.named_in(phrase), clauses, phrase, where.strip())


def _value(raw: str, targets: int, notes: list[str]) -> ValueSlot:
    match = _ORDINAL.fullmatch(" ".join(raw.split()))
    body, ordinal = match[1], match[2]
    measure = parse_measure(body)
    if measure is None:
        notes.append(f"The value '{body}' was not understood.")
    # a slot before any target means the first one that follows
    return ValueSlot(measure, int(ordinal) if ordinal else max(targets, 1), raw.strip())


def render_reply(reply: Reply) -> str:
    """The canonical text of a reply; ``parse_reply`` gives the same parts again."""
    out = [ABSENT] if reply.absent else []
    targets = 0
    for part in reply.parts:
        if isinstance(part, Text):
            out.append(part.text)
        elif isinstance(part, Target):
            targets += 1
            out.append(SEG)
            if part.clauses:
                out.append(f"{WHERE}{render_clauses(part.clauses)}{END_WHERE}")
        elif part.measure is not None:
            ordinal = "" if part.of == max(targets, 1) or part.of < 1 else f" of {part.of}"
            out.append(f"{VALUE}{render_measure(part.measure)}{ordinal}{END_VALUE}")
    return "".join(out)


def same_meaning(one: Reply, other: Reply) -> bool:
    """Whether two replies ask the runtime for the same targets, constraints, values and absence, in order.

    Words do not count; units are compared in nm; the order of commuting clauses does not count.
    """
    return _meaning(one) == _meaning(other)


def _meaning(reply: Reply) -> tuple:
    if reply.absent and not reply.targets:
        return ("absent",)
    return (
        tuple((target.concept, normal(target.clauses)) for target in reply.targets),
        tuple((value.measure, value.of) for value in reply.values),
        reply.absent,
    )
