"""What the texts need to know about an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FEW = 9
"""Up to this many particles are "a few"; more are "many"."""


@dataclass(frozen=True)
class SceneFacts:
    """Facts about one image.

    Attributes:
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"`` or None where unknown.
        counts: number of instances per concept; a concept that is missing here has none. The substrate
            counts 1 where there is any.
        in_contact: 0..1, share of the particles that are in contact with another one.
        pixel_size_known: whether users can be expected to speak in nm.
    """

    modality: str | None = "BF-TEM"
    counts: Mapping[str, int] = field(default_factory=dict)
    in_contact: float = 0.0
    pixel_size_known: bool = True

    def present(self, concept: str) -> bool:
        """Whether there is any instance of the concept."""
        return self.counts.get(concept, 0) > 0

    @classmethod
    def with_everything(cls) -> SceneFacts:
        """A scene in which every concept is present; for tests of language alone."""
        counts = {"particle": 40, "neck": 30, "pore": 5, "agglomerate": 4, "substrate": 1}
        return cls("BF-TEM", counts, 0.8, True)


def describe(facts: SceneFacts) -> str:
    """The one sentence about a scene: modality, how many particles, how many of them in contact.

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
