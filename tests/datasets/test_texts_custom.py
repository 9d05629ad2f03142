"""Texts about a concept that users teach a model."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lisa_micro.datasets.texts.custom import sample_custom_conversation
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.language import Concept, Vocabulary, parse_reply

SHELL = Concept("shell", "shell", "shells")
FILM = Concept("oxide_film", "oxide film", "oxide films", instances=False)
FACTS = SceneFacts("BF-TEM", {"particle": 20, "neck": 4, "shell": 18, "oxide_film": 1, "substrate": 1}, 0.4, True)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_replies_mean_what_their_targets_say(split):
    rng = np.random.default_rng(5)
    vocabulary = Vocabulary((SHELL,))
    seen = set()
    for _ in range(300):
        turns = sample_custom_conversation(rng, SHELL, FACTS, split)
        assert any(target.concept == "shell" for target in turns[0].targets)
        for turn in turns:
            reply = parse_reply(turn.reply, vocabulary)
            assert not reply.notes
            assert [(t.concept, t.clauses) for t in reply.targets] == [(t.concept, t.clauses) for t in turn.targets]
            assert not re.search(r"\bpor(e|es|osity|ous)\b", turn.user + turn.reply, re.IGNORECASE)
            seen.add(turn.category)
    assert {"outline", "constraint", "measure", "yes or no", "several"} <= seen


def test_held_out_wordings_are_not_in_the_training_half():
    train = {
        sample_custom_conversation(np.random.default_rng(k), SHELL, FACTS, follow_ups=0)[0].user for k in range(400)
    }
    held = [sample_custom_conversation(np.random.default_rng(k), SHELL, FACTS, "held_out", 0)[0] for k in range(60)]
    assert all(turn.novel for turn in held)
    assert not train & {turn.user for turn in held}


def test_the_reply_says_if_there_are_none():
    without = SceneFacts("SEM", {"particle": 20}, 0.0, True)
    for k in range(40):
        turns = sample_custom_conversation(np.random.default_rng(k), SHELL, without)
        assert len(turns) == 1 and turns[0].forced_absent and not turns[0].targets
        assert turns[0].reply == "<absent>There are no shells in this micrograph."


def test_a_region_has_no_sizes():
    for k in range(60):
        for turn in sample_custom_conversation(np.random.default_rng(k), FILM, FACTS):
            own = [t for t in turn.targets if t.concept == "oxide_film"]
            assert all(not target.clauses for target in own)
