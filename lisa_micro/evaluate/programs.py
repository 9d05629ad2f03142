"""Programs judged by what they do: two programs that select the same instances and measure the same numbers answer the
same question, however they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lisa_micro.execution import Measures, Result, execute
from lisa_micro.language import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.program import Program, same_program

LEAST_IOU = 0.8
"""Overlap of two selections from which on they count as the same."""


@dataclass(frozen=True)
class Verdict:
    """How a reply compares with what was expected.

    Attributes:
        right: it does what was expected.
        refused: it refuses (as unknown, as impossible, or since a part could not be read) and does nothing else.
        same_text: it means the same by its text alone.
    """

    right: bool
    refused: bool
    same_text: bool

    @property
    def silently_wrong(self) -> bool:
        """Whether another question was answered without a word about it."""
        return not self.right and not self.refused


def refuses(program: Program) -> bool:
    """Whether a program only refuses: unknown, cannot, or nothing in it that could be read."""
    kinds = {refusal.kind for refusal in program.refusals}
    if kinds & {"unknown", "cannot"}:
        return True
    unread = any(t.problem for t in program.targets) or any(v.first is None for v in program.values)
    return unread or any(not plot.kind for plot in program.plots) or not program.targets


def judge(
    expected: Program,
    read: Program,
    scenes: Sequence[Measures],
    vocabulary: Vocabulary = FULL_VOCABULARY,
) -> Verdict:
    """Compare a reply with what was expected, by its text and on scenes.

    Args:
        expected: what the request means.
        read: what the model replied.
        scenes: to execute both on; a scene on which nothing is selected decides nothing.
        vocabulary: the concepts of the model.

    Returns:
        the verdict. A request outside of the language is answered rightly by any refusal as unknown or impossible.
    """
    same = same_program(expected, read)
    if refuses(expected):
        refused = refuses(read)
        alike = bool(expected.targets) == bool(read.targets)
        return Verdict(same or (refused and alike), refused, same)
    if same:
        return Verdict(True, False, True)
    if refuses(read):
        return Verdict(False, True, False)
    return Verdict(_does_the_same(expected, read, scenes, vocabulary), False, False)


def _does_the_same(one: Program, other: Program, scenes: Sequence[Measures], vocabulary: Vocabulary) -> bool:
    if (len(one.targets), len(one.values), len(one.plots)) != (len(other.targets), len(other.values), len(other.plots)):
        return False
    if [p.kind for p in one.plots] != [p.kind for p in other.plots]:
        return False
    decided = 0
    for scene in scenes:
        first, second = execute(one, scene, vocabulary), execute(other, scene, vocabulary)
        if not _alike(first, second):
            return False
        decided += any(selection.count for selection in first.selections)
    return decided > 0


def _alike(one: Result, other: Result) -> bool:
    for a, b in zip(one.selections, other.selections, strict=True):
        if (
            a.concept != b.concept
            or bool(a.problem) != bool(b.problem)
            or overlap(a.labels() > 0, b.labels() > 0) < LEAST_IOU
        ):
            return False
    for x, y in zip(one.values, other.values, strict=True):
        if x.number.unit != y.number.unit or not np.isclose(x.number.value, y.number.value, rtol=1e-6, equal_nan=True):
            return False
        if (x.entries is None) != (y.entries is None):
            return False
    return all(
        (p.slot.prop, p.slot.against, len(p.series)) == (q.slot.prop, q.slot.against, len(q.series))
        for p, q in zip(one.plots, other.plots, strict=True)
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
