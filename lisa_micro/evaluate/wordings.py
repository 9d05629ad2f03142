"""Held-out wordings for the suites, drawn from the texts; the same in every run."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from lisa_micro.datasets.texts import SceneFacts, Turn, sample_request
from lisa_micro.measure import contacts
from lisa_micro.sim import Scene
from lisa_micro.types import CONCEPTS

LISA_WORDINGS = (
    "Highlight dark nanoparticles",
    "Highlight all dark, round nanoparticles in the microscopy image.",
    "Highlight every dark, circular nanoparticle present in the entire microscopy image. Ensure no "
    "nanoparticles are missed and all are accurately marked.",
)
"""Three requests for which the IoU of the published LISA-7B ranged from 0.212 to 0.803 (Duan et al. 2024)."""
MOST_DRAWS = 20000


def facts_of(scene: Scene, pixel_size_known: bool = True) -> SceneFacts:
    """What the texts need to know about a simulated scene."""
    particles = int(scene.particles.max(initial=0))
    touching = len(np.unique(contacts(scene.particles))) if particles else 0
    counts = {concept: int(scene.labels(concept).max(initial=0)) for concept in CONCEPTS}
    return SceneFacts(scene.modality, counts, touching / max(particles, 1), pixel_size_known)


def whole_concept_wordings(concept: str, n: int, seed: int = 0, avoid: tuple[str, ...] = ()) -> list[str]:
    """Different held-out requests to segment all of a concept, without constraint.

    Args:
        concept: one of ``lisa_micro.types.CONCEPTS``.
        n: number of requests.
        seed: seed of the draw; the same arguments give the same list, and a smaller ``n`` its beginning.
        avoid: words, in lower case, that are wrong about the images.

    Raises:
        LookupError: the texts hold fewer.
    """

    def fits(turn: Turn) -> bool:
        whole = [(t.concept, t.clauses) for t in turn.targets] == [(concept, ())]
        wrong = any(word in turn.user.lower() for word in avoid)
        return whole and not wrong and any(path.startswith("asks/") for path in turn.novel)

    number = CONCEPTS.index(concept)
    turns = distinct(
        np.random.default_rng([seed, number, 0xA5C]),
        ("outline", "outline", "outline", "in other words"),
        SceneFacts.with_everything(),
        fits,
        n,
    )
    return [turn.user for turn in turns]


def foreign_wordings(n: int, seed: int = 0) -> list[str]:
    """Different requests for things outside the vocabulary, each with a held-out noun or wording.

    Args:
        n: number of requests.
        seed: seed of the draw.

    Raises:
        LookupError: the texts hold fewer.
    """
    rng = np.random.default_rng([seed, 0xF0E])
    # at least every other one has a noun that does not occur in training
    new_noun = distinct(
        rng,
        ("not in the vocabulary",),
        SceneFacts.with_everything(),
        lambda t: "absent" in t.novel,
        (n + 1) // 2,
    )
    other = distinct(rng, ("not in the vocabulary",), SceneFacts.with_everything(), lambda t: bool(t.novel), n // 2)
    mixed = [turn for pair in zip(new_noun, [*other, None], strict=False) for turn in pair if turn is not None]
    return [turn.user for turn in mixed]


def distinct(
    rng: np.random.Generator,
    categories: tuple[str, ...],
    facts: SceneFacts,
    fits: Callable[[Turn], bool],
    n: int,
) -> list[Turn]:
    """``n`` held-out requests with different words that satisfy ``fits``, drawn from the categories in turn.

    Requests that differ only in capitals and punctuation count as the same.

    Raises:
        LookupError: fewer were found in :data:`MOST_DRAWS` draws.
    """
    found: dict[str, Turn] = {}
    for draw in range(MOST_DRAWS):
        if len(found) >= n:
            break
        turn = sample_request(rng, facts, "held_out", categories[draw % len(categories)], absent_share=0.0)
        if fits(turn):
            found.setdefault(" ".join(re.findall(r"\w+", turn.user.lower())), turn)
    if len(found) < n:
        raise LookupError(f"the texts hold {len(found)} of {n} such requests ({', '.join(set(categories))})")
    return list(found.values())[:n]
