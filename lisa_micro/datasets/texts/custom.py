"""Generate conversations about a custom concept from the wordings for built-in concepts.

A laboratory has labels and two nouns, but hardly hundreds of sentences. The wordings for pores (objects with instances
and sizes, but without contacts) suit any such concept once the nouns are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lisa_micro.datasets.texts.conversations import sample_conversation
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, absent_reply
from lisa_micro.language import Concept
from lisa_micro.language.words import CONCEPT_NOUNS

STAND_IN = "pore"
CATEGORIES = {
    "outline": 30,
    "constraint": 16,
    "two constraints": 4,
    "yes or no": 8,
    "several": 8,
    "measure": 18,
    "contrast": 3,
}
"""Kinds of first requests and their weights."""
_GIVEN_AWAY = re.compile(r"\b(por(?:es?|ous|osity)|voids?|holes?|cavit(?:y|ies)|hollows?)\b", re.IGNORECASE)
_REPLIED = re.compile(rf"\b({'|'.join(sorted(CONCEPT_NOUNS[STAND_IN], key=len, reverse=True))})\b")
_MOST_DRAWS = 200


def sample_custom_conversation(
    rng: np.random.Generator,
    concept: Concept,
    facts: SceneFacts,
    split: str = "train",
    follow_ups: int | None = None,
    categories: Mapping[str, float] | None = None,
) -> list[Turn]:
    """Draw a conversation about one image that begins with a request for a custom concept.

    Args:
        rng: random generator.
        concept: its name is used in the targets, its nouns in the sentences.
        facts: what the image shows; ``facts.counts[concept.name]`` is the number of its instances.
        split: ``"train"`` or ``"held_out"``.
        follow_ups: number of turns after the first; None: 0 to 2 at random.
        categories: weights instead of :data:`CATEGORIES`; a concept without instances is always requested as a whole.

    Returns:
        the turns in order. If the image shows no instance, replies about the concept begin with ``<absent>``.
    """
    if follow_ups is None:
        follow_ups = int(rng.choice(3, p=(0.6, 0.3, 0.1)))
    if not concept.instances:
        categories = {"outline": 4, "yes or no": 1}
    there = facts.present(concept.name)
    # its count under the stand-in's name, at least 1: absence is handled at the end
    counts = {**facts.counts, STAND_IN: max(1, facts.counts.get(concept.name, 0))}
    seen = replace(facts, counts=counts)
    nouns = {STAND_IN: (concept.singular, concept.plural)}
    for _ in range(_MOST_DRAWS):
        turns = sample_conversation(rng, seen, split, follow_ups, categories or CATEGORIES, nouns)
        if not _about(turns[0]) or any(_GIVEN_AWAY.search(turn.user) for turn in turns):
            continue
        if not concept.instances and any(t.clauses for turn in turns for t in turn.targets):
            continue
        turns = [_named(turn, concept, there) for turn in turns]
        # after <absent> a later turn has nothing to refer to
        return turns if there else turns[:1]
    raise LookupError(f"no conversation about {concept.plural!r} was found in {_MOST_DRAWS} draws")


def _about(turn: Turn) -> bool:
    return any(target.concept == STAND_IN for target in turn.targets)


def _named(turn: Turn, concept: Concept, there: bool) -> Turn:
    """Replace the stand-in by the concept in a turn."""

    def noun(match: re.Match) -> str:
        return concept.plural if match[0] == CONCEPT_NOUNS[STAND_IN][1] else concept.singular

    if not there and _about(turn):
        return replace(turn, reply=absent_reply(concept.plural), targets=(), forced_absent=True)
    targets = tuple(
        TargetTruth(concept.name if t.concept == STAND_IN else t.concept, t.clauses, t.present) for t in turn.targets
    )
    return replace(turn, reply=_REPLIED.sub(noun, turn.reply), targets=targets)
