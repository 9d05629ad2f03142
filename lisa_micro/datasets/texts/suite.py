"""Generate the language suite: requests in held-out wordings and the meaning of the right reply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.datasets.texts import written
from lisa_micro.datasets.texts.conversations import WRITTEN_SHARE, sample_conversation
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.programs.sample import as_program, conflicts
from lisa_micro.datasets.texts.requests import CATEGORIES, sample_request
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language.program import Program, render_program

FOLLOW_UP_SHARE = 0.2


@dataclass(frozen=True)
class SuiteItem:
    """One item of the language suite.

    Attributes:
        prompt: the request.
        expected: the meaning of the right reply (compare with ``lisa_micro.language.program.same_program``).
        category: kind of request.
        history: earlier turns, (user, reply) each.
        novel: paths of the held-out wordings in the prompt.
    """

    prompt: str
    expected: Program
    category: str
    history: tuple[tuple[str, str], ...] = ()
    novel: tuple[str, ...] = ()


def held_out_suite(n: int, seed: int = 0) -> list[SuiteItem]:
    """Draw ``n`` different requests in held-out wordings about a scene in which every concept is present.

    A fifth are follow-ups. Requests that mean something else in version 2 of the reply language are left out.
    The same ``n`` and ``seed`` give the same suite.
    """
    rng = np.random.default_rng([seed, 0x5EED])
    facts = SceneFacts.with_everything()
    items: list[SuiteItem] = []
    seen = set()
    categories = list(CATEGORIES)
    weights = np.array([CATEGORIES[c] for c in categories], float)
    while len(items) < n:
        if rng.random() < WRITTEN_SHARE:
            turns = written.draw(Voice(rng, "held_out"), facts, written.DIALOGUES)
            turns = turns[: int(rng.integers(2, len(turns) + 1))]
        elif rng.random() < FOLLOW_UP_SHARE:
            turns = sample_conversation(rng, facts, "held_out", follow_ups=int(rng.integers(1, 3)))
        else:
            category = categories[int(rng.choice(len(categories), p=weights / weights.sum()))]
            turns = [sample_request(rng, facts, "held_out", category)]
        *before, last = turns
        if any(conflicts(turn) for turn in turns):
            continue
        history = tuple((turn.user, render_program(as_program(turn.reply))) for turn in before)
        if not last.novel or (last.user, history) in seen:
            continue
        seen.add((last.user, history))
        items.append(SuiteItem(last.user, as_program(last.reply), last.category, history, last.novel))
    return items
