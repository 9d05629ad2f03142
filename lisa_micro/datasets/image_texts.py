"""Generate conversations about an image that has labels but no sentences, from the texts of the default model."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lisa_micro.datasets import texts
from lisa_micro.datasets.records import Target, Turn
from lisa_micro.datasets.texts.custom import sample_custom_conversation
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
"""Kinds of requests and their weights: those about what an image shows. Small talk and requests outside the vocabulary
are left out, since training takes these from the texts of the default model anyway."""
DRAWS = 60
FOLLOW_UPS = (0.6, 0.3, 0.1)
"""Probabilities of zero, one and two turns after the first."""


@dataclass(frozen=True)
class Drawing:
    """How conversations are drawn for an image.

    Attributes:
        count: number of conversations, about the custom concepts and the built-in ones in turn.
        seed: together with the name of the image it determines what is drawn.
        modality, pixel_size_known: of the image.
    """

    count: int
    seed: int
    modality: str | None = None
    pixel_size_known: bool = False


def draw_conversations(
    name: str, truth: Mapping[str, np.ndarray], separate: bool, custom: Mapping[str, Concept], drawing: Drawing
) -> tuple[tuple[Turn, ...], ...]:
    """Draw conversations in which every target occurs in the ground truth.

    Args:
        name: of the image.
        truth: ``(H, W)`` int32 labels by concept. separate: whether touching particles are separated; if not, nothing
            that depends on it is requested.
        custom: the custom concepts of the data set.
    """
    rng = np.random.default_rng((drawing.seed, zlib.crc32(name.encode())))
    facts = facts_of(truth, separate, drawing.modality, drawing.pixel_size_known)
    kinds: list[Concept | None] = [concept for concept in custom.values() if concept.name in truth]
    kinds += [None] if "particle" in truth else []
    if not kinds:
        return ()
    first = int(rng.integers(len(kinds)))
    drawn = (_draw(rng, kinds[(first + k) % len(kinds)], facts, truth) for k in range(drawing.count))
    return tuple(turns for turns in drawn if turns)


def facts_of(
    truth: Mapping[str, np.ndarray], separate: bool, modality: str | None = None, pixel_size_known: bool = False
) -> texts.SceneFacts:
    """Collect what an image shows, for the texts.

    Concepts that the labels do not determine count as present, so that no text denies them.
    """
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
            turns = sample_custom_conversation(rng, concept, facts, follow_ups=more)
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
