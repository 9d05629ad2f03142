"""Conversations about an image of which there are labels and no words, drawn from the texts that the default learnt."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from lisa_micro.datasets import texts
from lisa_micro.datasets.records import Target, Turn
from lisa_micro.datasets.texts.custom import sample_own_conversation
from lisa_micro.language import Concept
from lisa_micro.language.words import CONCEPT_NOUNS
from lisa_micro.measure import contacts

KINDS = {
    "outline": 30,
    "constraint": 20,
    "two constraints": 5,
    "yes or no": 8,
    "several": 8,
    "measure": 18,
    "contrast": 3,
    "in other words": 6,
}
"""Kinds of requests and how often each is drawn: those about what an image shows. Talk, and what is outside of the
vocabulary, training repeats from the default's texts anyway."""
DRAWS = 60
FOLLOW_UPS = (0.6, 0.3, 0.1)
"""How often none, one, two turns follow the first."""


def draw_conversations(
    name: str,
    truth: Mapping[str, np.ndarray],
    separate: bool,
    own: Mapping[str, Concept],
    count: int,
    seed: int,
    modality: str | None = None,
    pixel_size_known: bool = False,
) -> tuple[tuple[Turn, ...], ...]:
    """Conversations whose every target is in the truth.

    Args:
        name: of the image; with the seed it decides what is drawn.
        truth: ``(H, W)`` int32 labels by concept. separate: whether touching particles are told apart; where not, what
            depends on it is not asked for.
        own: the data set's own concepts. count: how many conversations, about the own concepts and the default's in
            turn. modality, pixel_size_known: of the image.
    """
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    facts = facts_of(truth, separate, modality, pixel_size_known)
    kinds: list[Concept | None] = [concept for concept in own.values() if concept.name in truth]
    kinds += [None] if "particle" in truth else []
    if not kinds:
        return ()
    first = int(rng.integers(len(kinds)))
    drawn = (_draw(rng, kinds[(first + k) % len(kinds)], facts, truth) for k in range(count))
    return tuple(turns for turns in drawn if turns)


def facts_of(
    truth: Mapping[str, np.ndarray], separate: bool, modality: str | None = None, pixel_size_known: bool = False
) -> texts.SceneFacts:
    """What an image shows, for the texts. What its labels cannot tell counts as there, so that no text denies it."""
    counts = {concept: int(labels.max(initial=0)) for concept, labels in truth.items()}
    counts |= {concept: 1 for concept in CONCEPT_NOUNS if concept not in truth}
    share = 0.0
    if separate and counts.get("particle") and "particle" in truth:
        share = len(np.unique(contacts(truth["particle"]))) / counts["particle"]
    return texts.SceneFacts(modality, counts, share, pixel_size_known)


def _draw(
    rng: np.random.Generator,
    concept: Concept | None,
    facts: texts.SceneFacts,
    truth: Mapping[str, np.ndarray],
) -> tuple[Turn, ...]:
    for _ in range(DRAWS):
        more = int(rng.choice(len(FOLLOW_UPS), p=FOLLOW_UPS))
        if concept is not None:
            turns = sample_own_conversation(rng, concept, facts, follow_ups=more)
        else:
            turns = texts.sample_conversation(rng, facts, follow_ups=more, categories=KINDS)
        asked = {target.concept for turn in turns for target in turn.targets}
        fit = all(turn.category in KINDS or turn.category.startswith("follow-up") for turn in turns)
        if fit and asked <= set(truth):
            return tuple(
                Turn(
                    user=turn.user, assistant=turn.reply, targets=tuple(Target(concept=t.concept) for t in turn.targets)
                )
                for turn in turns
            )
    return ()
