"""Agglomerates in a matrix: when the mask decoder of the newer concepts segments them.

The shared decoder knows agglomerates as groups of particles on a support. In a polymer or another matrix it finds none,
and the reply would say that there are none. The other decoder was trained on such micrographs too, but it finds
agglomerates among isolated particles as well, so it answers only where all scores of the model speak for a matrix.
"""

from __future__ import annotations

from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.types import CONCEPTS

ROUTED = "agglomerate"
"""The concept that either decoder may segment. Pores in a dense body stay with the shared one: no score of the model
tells them from dark isolated particles."""
PARTICLE_QUALITY = 0.88
"""Predicted IoU of the mask of all particles from which on the objects are particles on a support."""
PRESENCE = 0.85
"""Least presence score of agglomerates by the other decoder. Both limits were chosen on five micrographs of a
nanocomposite, 44 of other materials and 25 of particles."""


def in_matrix(
    engine: Engine, features: ImageFeatures, concept: str, presence: float, threshold: float
) -> MaskOutputs | None:
    """Maps of the other decoder where it should answer, else ``None``.

    Args:
        engine: the model.
        features: of the micrograph.
        concept: asked for.
        presence: 0..1, its score by the shared decoder.
        threshold: presence score below which the shared decoder says that there is none; only then the other is asked.
    """
    if concept != ROUTED or engine.model.concept_head is None or presence >= threshold:
        return None
    particles = engine.decode_concept(features, CONCEPTS.index("particle"))
    if float(expit(float(particles.iou[0]))) >= PARTICLE_QUALITY:
        return None
    other = engine.decode_by_concepts(features, CONCEPTS.index(concept))
    return other if float(expit(float(other.presence[0]))) >= PRESENCE else None
