"""The choices that a language model made while it wrote a reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Choice(NamedTuple):
    """A token that the language model chose among several that the grammar allowed.

    Attributes:
        position: of the token in the reply, from 0.
        logp: log-probability of the token among the allowed ones.
        other: second most probable token. other_logp: its log-probability.
    """

    position: int
    logp: float
    other: int
    other_logp: float


def total(choices: Iterable[Choice]) -> float:
    """Log-probability of a reply: the sum over its choices."""
    return sum(choice.logp for choice in choices)


def forks(choices: Sequence[Choice]) -> list[Choice]:
    """The choices at which another reply could begin, the closest decision first."""
    return sorted(choices, key=lambda choice: choice.logp - choice.other_logp)
