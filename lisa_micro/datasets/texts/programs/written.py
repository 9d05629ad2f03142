"""Requests and conversations of version 2 that were written by hand, each with its program beside it.

The files ``composed/*.txt`` hold one conversation a line, turns separated by `` >> ``::

    the largest pore => pore[largest 1] >> what touches it? => particle[touching {pore largest 1}]

Programs are in the short form of :mod:`lisa_micro.datasets.texts.programs.meanings`. In ``pictures.txt`` a line begins
with the kind of picture, which decides what its words mean. As of all wordings, a fifth is held back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lisa_micro.datasets.texts.programs.meanings import read_short
from lisa_micro.datasets.texts.store import is_held_out
from lisa_micro.datasets.texts.written import plain, split_line
from lisa_micro.language.program import Program, render_program

FILES = (
    "basics", "ranks", "exclusion", "union", "compare", "places", "sets", "sides", "nested", "values", "plots",
    "wishes", "concepts", "field", "nouns", "orders", "declined", "sintering", "terse", "questions",
    "indirect", "metals", "relations", "devices", "outside",
    "same_plain", "same_composed", "orderings", "logic", "neighbourhood", "everyday", "border",
    "unknown", "cannot", "followups", "talks", "fresh", "dialogues",
)  # fmt: skip
"""Files of requests that need no picture."""
PICTURES = "pictures"
"""The file of requests whose meaning the picture decides."""
_KIND = re.compile(r"\(([a-z -]+)\) (.+)")


@dataclass(frozen=True)
class Exchange:
    """One turn: what the user says, and the program that the reply must be."""

    user: str
    program: Program

    @property
    def reply(self) -> str:
        """The reply as the language model must write it."""
        return render_program(self.program)


@dataclass(frozen=True)
class Conversation:
    """Exchanges in order; ``picture``: the kind of picture they are about, ``""`` for any."""

    exchanges: tuple[Exchange, ...]
    source: str
    picture: str = ""

    @property
    def held_out(self) -> bool:
        """Whether it is never trained on: decided by the words of its first turn."""
        return is_held_out("composed", plain(self.exchanges[0].user))


@cache
def conversations(name: str) -> tuple[Conversation, ...]:
    """The conversations of a file.

    Raises:
        ValueError: a line that is none, with the line.
    """
    text = files("lisa_micro.datasets.texts").joinpath("composed", f"{name}.txt").read_text("utf-8")
    return tuple(read_line(line, name) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def read_line(line: str, name: str = "") -> Conversation:
    """The conversation of one line.

    Raises:
        ValueError: it is none.
    """
    kind = _KIND.fullmatch(line.strip()) if name == PICTURES else None
    try:
        turns = split_line(kind[2] if kind else line)
        exchanges = tuple(Exchange(words, read_short(meaning)) for words, meaning in turns)
    except ValueError as error:
        raise ValueError(f"{name}: {line!r}: {error}") from error
    return Conversation(exchanges, name, kind[1] if kind else "")


@cache
def halves(names: tuple[str, ...] = FILES) -> tuple[tuple[Conversation, ...], tuple[Conversation, ...]]:
    """The conversations of some files that may be trained on, and those held back."""
    found = [conversation for name in names for conversation in conversations(name)]
    return tuple(c for c in found if not c.held_out), tuple(c for c in found if c.held_out)
