"""Short forms of programs, as they stand behind ``=>`` in the files of written requests.

- ``particle[isolated; largest 5] + neck``: targets by the keys of their concepts, constraints in brackets;
- ``neck + particle : count of 1 / count of 2, histogram diameter of 2``: values and plots behind a colon;
- ``unknown dislocations``, ``cannot composition``: refusals, alone or behind targets with `` + ``.
"""

from __future__ import annotations

import re

from lisa_micro.language.concepts import ALL_CONCEPTS
from lisa_micro.language.program import Program, parse_program, terms
from lisa_micro.language.program.terms import CANNOT, END_PLOT, PLOT, UNKNOWN
from lisa_micro.language.words import END_VALUE, END_WHERE, SEG, VALUE, WHERE

_TARGET = re.compile(r"([a-z_]+)(?:\[(.*)\])?")
_KEYS = re.compile(r"\{(" + "|".join(sorted(ALL_CONCEPTS, key=len, reverse=True)) + r")\b")


def split_outside(text: str, separator: str) -> list[str]:
    """Text split at a separator that stands outside of brackets and braces."""
    pieces, depth, start, k = [], 0, 0, 0
    while k < len(text):
        if text[k] in "[{":
            depth += 1
        elif text[k] in "]}":
            depth -= 1
        elif depth == 0 and text.startswith(separator, k):
            pieces.append(text[start:k])
            start = k + len(separator)
            k = start
            continue
        k += 1
    return [*pieces, text[start:]]


def read_short(text: str) -> Program:
    """The program of a short form.

    Raises:
        ValueError: it is none, or a part of it is not in the language.
    """
    out: list[str] = []
    for piece in split_outside(text.strip(), " + "):
        kind, _, subject = piece.partition(" ")
        if kind in ("unknown", "cannot"):
            if kind == "cannot" and subject not in terms.CANNOT_TOPICS:
                raise ValueError(f"no topic of what cannot be asked: {subject!r}")
            out.append((UNKNOWN if kind == "unknown" else CANNOT) + subject)
            continue
        target, *slots = split_outside(piece, " : ")
        out.append(_target(target.strip()))
        out += [_slot(slot.strip()) for part in slots for slot in part.split(", ")]
    program = parse_program(" ".join(out))
    if program.notes or not program.parts:
        raise ValueError(f"not a program: {text!r} ({' '.join(program.notes)})")
    return program


def _target(text: str) -> str:
    match = _TARGET.fullmatch(text)
    if match is None or match[1] not in ALL_CONCEPTS:
        raise ValueError(f"no target: {text!r}")
    noun = ALL_CONCEPTS[match[1]].plural
    inside = _KEYS.sub(lambda m: "{" + ALL_CONCEPTS[m[1]].singular, match[2] or "")
    return f"{noun} {SEG}" + (f"{WHERE}{inside}{END_WHERE}" if inside else "")


def _slot(text: str) -> str:
    if text.startswith(terms.PLOT_KINDS):
        return f"{PLOT}{text}{END_PLOT}"
    return f"{VALUE}{text}{END_VALUE}"
