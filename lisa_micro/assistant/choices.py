"""The choices that a language model made while it wrote a reply."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp


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


def best_of(scores: Sequence[float], meanings: Sequence[Hashable]) -> tuple[int, float]:
    """The best of several replies to the same request.

    Args:
        scores: of each reply, logarithmic.
        meanings: what each reply means; replies that mean the same support each other.

    Returns:
        its number, and the log-probability of its meaning among those of all.
    """
    given = np.asarray(scores, float)
    best = int(given.argmax())
    same = np.array([meaning == meanings[best] for meaning in meanings])
    return best, float(logsumexp(given[same]) - logsumexp(given))
