"""One step of a pipeline and its words, for every construct of a pipeline.

Words are either ``post`` (they follow a plural noun) or ``order`` (a whole phrase without article, with ``{noun}`` or
``{nouns}`` in it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lisa_micro.datasets.texts import clause_phrases
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language.program.english import count_word
from lisa_micro.language.program.syntax import (
    Filter,
    Named,
    Step,
)

NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "particle": ("particle", "neck", "pore", "agglomerate", "satellite", "hole", "annotation"),
    "neck": ("particle", "pore", "neck"),
    "pore": ("particle", "agglomerate", "crack", "grain", "layer", "pore"),
    "agglomerate": ("pore", "particle", "agglomerate"),
    "grain": ("grain", "crack", "pore", "precipitate"),
    "precipitate": ("grain_boundary", "grain", "crack", "precipitate"),
    "crack": ("pore", "layer", "grain", "crack"),
    "layer": ("crack", "pore", "layer"),
    "fibre": ("fibre", "particle"),
    "core": ("shell", "particle"),
    "shell": ("core", "particle"),
    "hole": ("particle", "hole"),
    "satellite": ("particle", "satellite"),
    "dislocation_loop": ("grain_boundary", "grain", "precipitate"),
    "annotation": ("particle",),
}
"""Which sets a request about a concept may name."""
CONTAINERS = {
    "particle": ("agglomerate", "hole"),
    "pore": ("agglomerate", "grain", "layer"),
    "neck": ("agglomerate",),
    "precipitate": ("grain",),
    "crack": ("layer",),
    "core": ("particle", "shell"),
    "dislocation_loop": ("grain",),
}
CONTENTS = {
    "agglomerate": ("pore", "particle", "neck"),
    "grain": ("pore", "precipitate", "dislocation_loop"),
    "layer": ("pore", "crack"),
    "particle": ("core",),
    "shell": ("core",),
    "hole": ("particle",),
}
BEARERS = {"particle": ("neck", "core", "shell", "satellite"), "agglomerate": ("particle", "neck"), "shell": ("core",)}
SIZES = {"neck": "neck width", "fibre": "length", "crack": "length", "layer": "thickness", "shell": "thickness"}
"""What the size of a concept is; else its diameter."""
_PROPERTY_WORDS = {
    "contacts": "number of contacts",
    "neck ratio": "x/R",
    "length": "length",
    "intensity": "brightness",
    "gap": "gap to the next one",
}


@dataclass(frozen=True)
class Piece:
    """One step and its words.

    Attributes:
        step: what it means.
        form: ``"post"``, ``"order"`` or ``"except"`` (words that follow "except").
        words: see the module.
        one: whether an order keeps one instance.
    """

    step: Step
    form: str
    words: str
    one: bool = False


@dataclass
class Maker:
    """Makes pieces about one concept.

    Attributes:
        voice: draws.
        concept: what the pieces are about.
        depth: how many levels of sets may be named.
        refer: makes another set; handed in, since it is made of noun phrases.
        nested: whether sets must name further sets.
    """

    voice: Voice
    concept: str
    depth: int
    refer: Callable[[Voice, SetWanted], SetWords]
    nested: bool = False

    # helpers

    def other(self, table: dict[str, tuple[str, ...]] = NEIGHBOURS) -> str:
        """A concept of which a set may be named."""
        return self.voice.choose(table.get(self.concept) or NEIGHBOURS[self.concept])

    def set(self, concept: str | None = None, part: bool = False, several: bool = False) -> SetWords:
        """Another set; ``part``: not all of the concept that is asked for itself; ``several``: may hold several."""
        concept = concept or self.other()
        part = part and concept == self.concept
        return self.refer(self.voice, SetWanted(concept, self.depth - 1, self.concept, part, several, self.nested))

    def count(self, most: int = 6) -> tuple[int, str]:
        """A small number, as a word or in digits."""
        n = int(self.voice.rng.integers(2, most + 1))
        return n, count_word(n) if self.voice.chance(0.5) else str(n)

    def prop(self, concept: str | None = None) -> tuple[str, str]:
        """A property of the concept, and a word for it."""
        prop = draw_property(self.voice, concept or self.concept)
        return prop, property_word(prop, concept or self.concept)

    def post(self, part: Filter, words: str) -> Piece:
        """A piece of one filter behind a noun."""
        return Piece(Step((part,)), "post", words)

    def order(self, part: Filter, words: str, one: bool) -> Piece:
        """A piece of one filter that is an order."""
        return Piece(Step((part,)), "order", words, one)


@dataclass(frozen=True)
class SetWanted:
    """What set is wanted: of a concept, naming further sets of at most ``depth`` levels, in a request about ``asked``;
    ``part``: not all of the concept; ``several``: not a single instance; ``nested``: it must name a further set."""

    concept: str
    depth: int
    asked: str
    part: bool = False
    several: bool = False
    nested: bool = False


@dataclass(frozen=True)
class SetWords:
    """Another set and its words: ``the two largest pores``, ``one of the two largest pores``, ``each of ...``; ``bare``
    without article (behind a number)."""

    ref: Named
    whole: str
    member: str
    every: str
    bare: str


def draw_property(voice: Voice, concept: str) -> str:
    """A property that is measured of a concept."""
    weights = clause_phrases.PROPERTY_WEIGHTS.get(concept)
    if weights is None:
        size = SIZES.get(concept, "diameter")
        weights = {size: 6, "area": 3, "circularity": 2, "aspect ratio": 2, "length": 2, "width": 1, "intensity": 1}
        if concept == "crack":
            weights["opening"] = 3
    return voice.weighted(weights)


def property_word(prop: str, concept: str) -> str:
    """A word for a property: of a neck its width is simply that."""
    if concept == "neck" and prop in ("neck width", "neck radius"):
        return prop.removeprefix("neck ")
    return _PROPERTY_WORDS.get(prop, prop)
