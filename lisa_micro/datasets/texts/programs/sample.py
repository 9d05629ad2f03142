"""Draws requests of version 2 for training, written by hand or put together, with other numbers and careless typing;
and turns requests of version 1 into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.programs import generator, variation
from lisa_micro.datasets.texts.programs.frames import nouns
from lisa_micro.datasets.texts.programs.written import FILES, PICTURES, Conversation, Exchange, halves, read_line
from lisa_micro.datasets.texts.replies import Turn
from lisa_micro.datasets.texts.store import Voice, data
from lisa_micro.datasets.texts.written import other_numbers, split_line
from lisa_micro.language import FULL_VOCABULARY, Concept, Vocabulary
from lisa_micro.language.program import Program, Refusal, parse_program, render_program
from lisa_micro.language.program.syntax import Flag, Target, Words
from lisa_micro.language.words import ABSENT

WRITTEN_SHARE = 0.75
"""How often a request is one that was written by hand."""
OTHER_NOUNS = 0.4
"""How often the nouns of a written conversation are replaced, in its words and its programs alike."""
JOINED, AFRESH = 0.12, 0.15
"""How often a written request is joined with another, or comes after other requests."""
OTHER_NUMBERS = 0.5
"""How often the numbers of a written conversation are replaced, in its words and its programs alike."""
_ABSENCE = re.compile(r"There (?:is|are) no (.+?) in this micrograph\.")
_PLACES_IN_PX = re.compile(r"in box|\bto \d+,\d|D[19]0|\d[./x×-]\d|\d(?:st|nd|rd|th)\b")
"""Numbers that are no amounts: they stay as they are written."""


def sample(voice: Voice) -> list[Exchange]:
    """A conversation of one or more turns that needs no picture."""
    if not voice.chance(WRITTEN_SHARE):
        return [generator.draw(voice)]
    train, held = halves(FILES)
    if voice.split == "held_out":
        voice.novel.append("composed")
    return typed(voice, varied(voice, held if voice.split == "held_out" else train))


def sample_about(voice: Voice, picture: str) -> list[Exchange] | None:
    """A request whose meaning a kind of picture decides (``"polycrystal"``); None where there is none for that kind."""
    train, held = halves((PICTURES,))
    fits = [c for c in (held if voice.split == "held_out" else train) if c.picture in (picture, "any")]
    if not any(c.picture == picture for c in fits):
        return None
    return typed(voice, with_other_numbers(voice, voice.choose(fits)))


def picture_kinds() -> tuple[str, ...]:
    """The kinds of pictures that decide meanings."""
    return tuple(sorted({c.picture for half in halves((PICTURES,)) for c in half} - {"any"}))


def varied(voice: Voice, conversations: Sequence[Conversation]) -> Conversation:
    """One of some written conversations, maybe with other numbers or nouns, beside another request, or after one."""
    conversation = with_other_numbers(voice, voice.choose(conversations))
    if voice.chance(OTHER_NOUNS):
        conversation = variation.other_nouns(voice, conversation)
    kind = voice.weighted({"alone": 1 - JOINED - AFRESH, "joined": JOINED, "afresh": AFRESH})
    if kind == "joined":
        return variation.joined(voice, conversation, with_other_numbers(voice, voice.choose(conversations)))
    if kind == "afresh":
        return variation.afresh(voice, voice.choose(conversations), conversation)
    return conversation


def with_other_numbers(voice: Voice, conversation: Conversation) -> Conversation:
    """A written conversation, half of the time with other numbers."""
    return renumbered(voice, conversation) if voice.chance(OTHER_NUMBERS) else conversation


def typed(voice: Voice, conversation: Conversation) -> list[Exchange]:
    """A conversation as somebody might type it."""
    out = []
    for exchange in conversation.exchanges:
        unknown = " ".join(r.subject for r in exchange.program.refusals if r.kind == "unknown")
        out.append(replace(exchange, user=noise.spell(voice, exchange.user, unknown)))
    return out


def renumbered(voice: Voice, conversation: Conversation) -> Conversation:
    """The same conversation with other numbers where they can be told apart; else as it is."""
    line = _lines(conversation.source).get(conversation)
    if line is None or _PLACES_IN_PX.search(line):
        return conversation
    turns = other_numbers(voice, split_line(line))
    try:
        return read_line(" >> ".join(f"{words} => {meaning}" for words, meaning in turns), conversation.source)
    except ValueError:  # two numbers of a range fell together, or a share exceeds the whole
        return conversation


@cache
def _lines(name: str) -> dict[Conversation, str]:
    """Conversation -> the line that it was read from."""
    text = files("lisa_micro.datasets.texts").joinpath("composed", f"{name}.txt").read_text("utf-8")
    if name == PICTURES:
        return {}
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {read_line(line, name): line for line in lines}


# requests of version 1


def as_program(reply: str, own: tuple[Concept, ...] = ()) -> Program:
    """The program of a reply of version 1 as the texts write it.

    What it says is absent becomes a target where it is a concept (whether it is there, the decoder says), and something
    unknown where it is none.

    Args:
        reply: text with special tokens.
        own: concepts that users taught, beside the built-in ones.
    """
    known = Vocabulary(own, FULL_VOCABULARY.built_in)
    if reply == data("chat")["unsupported"]["reply"]:
        return Program((Refusal("cannot", "other"),))
    program = parse_program(reply, Vocabulary(own))
    parts = [part for part in program.parts if not isinstance(part, Refusal | Words)]
    missing = _ABSENCE.search(reply)
    if missing is None:
        return program if not parts else Program(tuple(parts))
    for noun in re.split(r", | or ", missing[1]):
        concept = known.named_in(noun)
        if concept and noun in known.nouns(concept):
            parts.append(Target(concept))
        else:
            parts.append(Refusal("unknown", missing[1]))
            break
    return Program(tuple(parts))


def conflicts(turn: Turn) -> bool:
    """Whether a turn of version 1 says something else in version 2: precipitates, fibres and so on are concepts now,
    "with a neck" is a relation to necks, there are plots and percentages, and what cannot be done has a topic. What
    "grains" and "holes" are, the picture decides; those that version 1 speaks about show particles, so that these words
    stay."""
    words, program = turn.user.lower(), as_program(turn.reply)
    unknown = " ".join(refusal.subject.lower() for refusal in program.refusals)
    if any(noun in words for noun in _precipitates()) or set(map(_stem, unknown.split())) & _known_stems():
        return True
    flags = [
        part.name
        for target in program.targets
        for step in target.pipeline
        for part in step.filters
        if isinstance(part, Flag)
    ]
    said_by_necks = any(name in ("in contact", "isolated") for name in flags) and ("neck" in words or "bridge" in words)
    plotted = re.search(r"\b(histogram|plot|graph|chart|percent|percentage|per cent)\b", words) is not None
    return said_by_necks or plotted or any(refusal.kind == "cannot" for refusal in program.refusals)


def _stem(word: str) -> str:
    """A word in British spelling, in the singular, without what says its scale."""
    stem = re.sub(r"^(?:nano|micro)", "", word.replace("fiber", "fibre")).removesuffix("s")
    return stem or word


@cache
def _known_stems() -> frozenset[str]:
    return frozenset(map(_stem, generator.known_words())) | {"fracture", "fibril"}


@cache
def _precipitates() -> tuple[str, ...]:
    """What version 1 took for particles."""
    return tuple(noun.singular.lower() for half in nouns("precipitate") for noun in half)


def canonical(turns: list[Turn], own: tuple[Concept, ...] = ()) -> list[Turn]:
    """Turns whose replies are those of version 2: programs without words.

    Args:
        turns: of either version.
        own: concepts that users taught.
    """
    vocabulary = Vocabulary(own, FULL_VOCABULARY.built_in)
    out = []
    for turn in turns:
        program = (
            as_program(turn.reply, own) if turn.reply.startswith(ABSENT) else parse_program(turn.reply, vocabulary)
        )
        out.append(replace(turn, reply=render_program(program, vocabulary), forced_absent=False))
    return out


def from_turns(turns: list[Turn]) -> list[Exchange] | None:
    """A conversation of version 1 in version 2; None where a turn means something else there."""
    if any(conflicts(turn) for turn in turns):
        return None
    return [Exchange(turn.user, as_program(turn.reply)) for turn in turns]


__all__ = ["as_program", "canonical", "from_turns", "picture_kinds", "render_program", "sample", "sample_about"]
