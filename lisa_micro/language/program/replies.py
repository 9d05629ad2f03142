"""Whole replies: text with targets, value slots, plots and refusals. Reads any string, writes one canonical text.

The canonical text of a program has no words but nouns, since the runtime writes the sentences::

    particles [SEG]<where>in contact</where> particles [SEG]<value>count of 1 / count of 2</value>

Replies of version 1 ("Here are the particles [SEG].") have the same meaning as that without their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lisa_micro.language.program import terms
from lisa_micro.language.program.reading import parse_pipeline, parse_plot, parse_value
from lisa_micro.language.program.syntax import (
    Compare,
    Distance,
    Named,
    Near,
    Ordinal,
    Part,
    Pipeline,
    Plot,
    Program,
    Refusal,
    Relation,
    SetRef,
    SetStatistic,
    Target,
    Value,
    Words,
)
from lisa_micro.language.program.writing import render_pipeline, render_plot, render_value
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.words import ABSENT, END_VALUE, END_WHERE, SEG, VALUE, WHERE

_SPLIT = re.compile("(" + "|".join(map(re.escape, terms.PROGRAM_TOKENS)) + ")")
_SLOTS = {VALUE: END_VALUE, terms.PLOT: terms.END_PLOT}
_MAX_PIECES = 400
"""Pieces between special tokens that are read; a reply of the language has some thirty."""


def parse_program(text: str, vocabulary: Vocabulary = FULL_VOCABULARY) -> Program:
    """Read a reply as the language model wrote it (special tokens as text).

    Args:
        text: any string.
        vocabulary: the concepts that the model knows.

    Returns:
        the program; ``notes`` has one sentence for each piece that could not be read. Never raises, and takes time
        proportional to the length of the text.
    """
    return _Reader(_SPLIT.split(text)[:_MAX_PIECES], vocabulary).program()


class _Reader:
    def __init__(self, pieces: list[str], vocabulary: Vocabulary):
        self.pieces, self.vocabulary = pieces, vocabulary
        self.parts: list[Part] = []
        self.notes: list[str] = []
        self.targets = 0

    def program(self) -> Program:
        k = 0
        while k < len(self.pieces):
            k = self.read(k)
        parts = [self.checked(part) for part in self.parts]
        return Program(tuple(parts), tuple(dict.fromkeys(self.notes)))

    def after(self, k: int) -> str:
        return self.pieces[k] if k < len(self.pieces) else ""

    def read(self, k: int) -> int:
        """Read piece k; the number of the next one to read."""
        piece = self.pieces[k]
        if piece == SEG:
            return self.target(k)
        if piece in _SLOTS:
            inside, closed = self.after(k + 1), self.after(k + 2) == _SLOTS[piece]
            last = max(self.targets, 1)
            self.parts.append(parse_value(inside, last) if piece == VALUE else parse_plot(inside, last))
            return k + (3 if closed else 2)
        if piece == ABSENT:
            self.parts.append(Refusal("absent"))
        elif piece == terms.UNKNOWN:
            subject = " ".join(self.after(k + 1).split())[: terms.MAX_UNKNOWN_CHARACTERS]
            self.parts.append(Refusal("unknown", subject))
            return k + 2
        elif piece == terms.CANNOT:
            topic = self.after(k + 1).strip().lower()
            self.parts.append(Refusal("cannot", topic if topic in terms.CANNOT_TOPICS else "other"))
            return k + 2
        elif piece in terms.PROGRAM_TOKENS:
            self.notes.append(f"A stray {piece} in the reply was left out.")
        elif piece.strip():
            self.parts.append(Words(piece))
        return k + 1

    def target(self, k: int) -> int:
        words = ""
        if self.parts and isinstance(self.parts[-1], Words):
            words = self.parts.pop().text
        phrase = re.split(r"[.;!?]\s", words)[-1].strip()
        self.targets += 1
        where, after = "", k + 1
        # white space between [SEG] and <where> does not count
        opens = k + 1 + (self.after(k + 2) == WHERE and not self.after(k + 1).strip())
        problem = ""
        pipeline: Pipeline = ()
        if self.after(opens) == WHERE:
            where = self.after(opens + 1)
            after = opens + (3 if self.after(opens + 2) == END_WHERE else 2)
            pipeline, bad = parse_pipeline(where, self.vocabulary)
            if after == opens + 2:
                bad = bad or where
            if not bad and _later(pipeline, self.targets):
                bad = where
            if bad:
                pipeline, problem = (), f"'{' '.join(bad.split())[:120]}' was not understood"
                self.notes.append(f"The constraint {problem}.")
        concept = self.vocabulary.named_in(phrase)
        self.parts.append(Target(concept, pipeline, problem, " ".join(where.split()), phrase))
        return after

    def checked(self, part: Part) -> Part:
        """A slot that refers to no target becomes an unreadable one."""
        if isinstance(part, Value):
            of = [number for operand in (part.first, part.second) for number in _targets_of(operand)]
            if part.first is None or any(not 1 <= number <= self.targets for number in of):
                self.notes.append(f"The value '{part.raw[:120]}' was not understood.")
                return Value(None, raw=part.raw)
        if isinstance(part, Plot) and (not part.kind or any(not 1 <= number <= self.targets for number in part.of)):
            self.notes.append(f"The plot '{part.raw[:120]}' was not understood.")
            return Plot("", raw=part.raw)
        return part


def _targets_of(operand) -> tuple[int, ...]:
    if operand is None:
        return ()
    return (operand.one, operand.other) if isinstance(operand, Distance) else (operand.of,)


def sets_of(pipeline: Pipeline) -> Iterator[SetRef]:
    """The sets that the filters of a pipeline refer to, without those within them."""
    for step in pipeline:
        for part in step.filters:
            if isinstance(part, Relation):
                yield part.of
            elif isinstance(part, Near) and not isinstance(part.to, str | tuple):
                yield part.to
            elif isinstance(part, Compare) and isinstance(part.limit, SetStatistic):
                yield part.limit.of


def concepts_in(program: Program) -> tuple[str, ...]:
    """The concepts that a program refers to: those of its targets that name one, then those of sets within constraints,
    each once."""
    found = dict.fromkeys(target.concept for target in program.targets if target.concept)

    def add(pipeline: Pipeline) -> None:
        for of in sets_of(pipeline):
            if isinstance(of, Named):
                found.setdefault(of.concept)
                add(of.pipeline)

    for target in program.targets:
        add(target.pipeline)
    return tuple(found)


def _later(pipeline: Pipeline, number: int) -> bool:
    """Whether target ``number`` refers to itself, to a later target, or to none."""
    return any(
        not 1 <= of.number < number if isinstance(of, Ordinal) else _later(of.pipeline, number)
        for of in sets_of(pipeline)
    )


def render_program(program: Program, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """The canonical text of a program: ``parse_program`` gives the same parts again, without words.

    A reply that has words only (talk, a description) stays as it is. What could not be read is left out.
    """
    out: list[str] = []
    targets = 0
    speaks = not (program.targets or program.values or program.plots)
    for part in program.parts:
        if isinstance(part, Target):
            targets += 1
            noun = vocabulary.nouns(part.concept)[1]
            where = render_pipeline(part.pipeline, vocabulary)
            out.append(f"{' ' if out else ''}{noun} {SEG}" + (f"{WHERE}{where}{END_WHERE}" if where else ""))
        elif isinstance(part, Value):
            text = render_value(part, max(targets, 1))
            out.append(f"{VALUE}{text}{END_VALUE}" if text else "")
        elif isinstance(part, Plot):
            text = render_plot(part, max(targets, 1))
            out.append(f"{terms.PLOT}{text}{terms.END_PLOT}" if text else "")
        elif isinstance(part, Refusal):
            token = {"absent": ABSENT, "unknown": terms.UNKNOWN, "cannot": terms.CANNOT}[part.kind]
            out.append(token + part.subject)
        elif speaks:
            out.append(part.text)
    return "".join(out)
