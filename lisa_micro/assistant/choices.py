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


class Tried(NamedTuple):
    """One of several replies to the same request.

    Attributes:
        logp: log-probability of the reply.
        request: log-probability of the request given the reply, with its weight; 0 where that is not known.
        meaning: what the reply means; replies that mean the same support each other.
        about: the concepts that it is about; None for a refusal.
    """

    logp: float
    request: float
    meaning: Hashable
    about: frozenset[str] | None = frozenset()


def best_of(tried: Sequence[Tried]) -> tuple[int, float]:
    """The best of several replies, by their own probability and that of the request.

    Whether to refuse, and what the reply is about, is decided by the replies' own probability: what can be refused is
    too wide for a refusal to make any request probable, and what a word means the picture may decide, which the
    way back does not see.

    Returns:
        its number, and the log-probability of its meaning among those of all.
    """
    logp = np.array([one.logp for one in tried])
    sides = {one.about: np.array([other.about == one.about for other in tried]) for one in tried}
    about = max(sides, key=lambda side: logsumexp(logp[sides[side]]))
    among = sides[about]
    requests = np.array([0.0 if about is None else one.request for one in tried])
    scores = np.where(among, logp + requests, -np.inf)
    best = int(scores.argmax())
    same = np.array([one.meaning == tried[best].meaning for one in tried]) & among
    side = logsumexp(logp[among]) - logsumexp(logp)
    return best, float(side + logsumexp(scores[same]) - logsumexp(scores[among]))
