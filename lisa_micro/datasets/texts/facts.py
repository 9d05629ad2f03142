"""Facts about an image that the texts depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FEW = 9
"""Largest number of particles that counts as "a few"; more are "many"."""


@dataclass(frozen=True)
class SceneFacts:
    """Facts about one image.

    Attributes:
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"``, or None if unknown.
        counts: number of instances per concept; missing concepts have none. The substrate counts as 1.
        in_contact: share of the particles in contact with another one, 0..1.
        pixel_size_known: whether users are likely to use nm.
    """

    modality: str | None = "BF-TEM"
    counts: Mapping[str, int] = field(default_factory=dict)
    in_contact: float = 0.0
    pixel_size_known: bool = True

    def present(self, concept: str) -> bool:
        """Whether the image has an instance of the concept."""
        return self.counts.get(concept, 0) > 0

    @classmethod
    def with_everything(cls) -> SceneFacts:
        """Facts of a scene in which every concept is present, to test language alone."""
        counts = {"particle": 40, "neck": 30, "pore": 5, "agglomerate": 4, "substrate": 1}
        return cls("BF-TEM", counts, 0.8, True)


def describe(facts: SceneFacts) -> str:
    """Describe a scene in one sentence: modality, number of particles, share in contact.

    >>> describe(SceneFacts.with_everything())
    'A BF-TEM micrograph with many particles, most of them in contact.'
    """
    name = facts.modality or "electron"
    article = "An" if name[0] in "eS" else "A"  # an electron, an SEM
    n = facts.counts.get("particle", 0)
    start = f"{article} {name} micrograph with "
    if n == 0:
        return start + "no particles."
    if n == 1:
        return start + "a single particle."
    many = "a few" if n <= FEW else "many"
    if facts.in_contact <= 0:
        contact = "all isolated"
    elif facts.in_contact < 0.5:
        contact = "some of them in contact"
    else:
        contact = "most of them in contact"
    return f"{start}{many} particles, {contact}."
