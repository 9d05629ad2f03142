"""The seventeen concepts of the reply language: their nouns, and whether they come in pieces that can be counted.

Which of them a model has learnt is told by its :class:`lisa_micro.language.vocabulary.Vocabulary`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConceptNoun:
    """The noun of a concept.

    Attributes:
        singular, plural: as replies use them.
        instances: whether it comes in countable pieces; otherwise all of it is one region.
        meaning: one line that says what it is.
    """

    singular: str
    plural: str
    instances: bool
    meaning: str


ALL_CONCEPTS: dict[str, ConceptNoun] = {
    "particle": ConceptNoun("particle", "particles", True, "one object on a support or in a powder"),
    "neck": ConceptNoun("neck", "necks", True, "the bridge between two particles in contact"),
    "pore": ConceptNoun("pore", "pores", True, "background enclosed by particles, or a void in a dense matrix"),
    "agglomerate": ConceptNoun("agglomerate", "agglomerates", True, "three or more particles connected by contacts"),
    "substrate": ConceptNoun("substrate", "substrate", False, "all that is not particle"),
    "grain": ConceptNoun("grain", "grains", True, "one crystal of a polycrystal or a rock"),
    "grain_boundary": ConceptNoun("grain boundary", "grain boundaries", False, "the network of lines between grains"),
    "precipitate": ConceptNoun("precipitate", "precipitates", True, "second phase in a matrix"),
    "crack": ConceptNoun("crack", "cracks", True, "thin open line"),
    "layer": ConceptNoun("layer", "layers", True, "a film or scale in cross-section"),
    "fibre": ConceptNoun("fibre", "fibres", True, "wire, rod, tube or needle"),
    "core": ConceptNoun("core", "cores", True, "the inside of a core-shell particle"),
    "shell": ConceptNoun("shell", "shells", True, "the rim of a core-shell particle"),
    "hole": ConceptNoun("hole", "holes", True, "vacuum in a support film"),
    "satellite": ConceptNoun("satellite", "satellites", True, "small particle stuck on a large one"),
    "dislocation_loop": ConceptNoun("dislocation loop", "dislocation loops", True, "small dark lens in bright field"),
    "annotation": ConceptNoun("annotation", "annotations", True, "burnt-in scale bar, text, panel letter or banner"),
}
"""Key of records and files -> noun, in the order of the class embeddings; the first five are those of version 1."""
