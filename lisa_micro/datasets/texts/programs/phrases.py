"""Noun phrases of version 2: words and the pipeline that they mean, put together from pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lisa_micro.datasets.texts.phrases import Noun
from lisa_micro.datasets.texts.programs.frames import draw_noun, pick
from lisa_micro.datasets.texts.programs.makers import MAKERS, NEEDS_SET, suits
from lisa_micro.datasets.texts.programs.pieces import Maker, Piece, SetWanted, SetWords
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language.concepts import ALL_CONCEPTS
from lisa_micro.language.program.syntax import Filter, Named, Pipeline, Step

_DETERMINED = ("the ", "those ", "of ", "among ", "out ", "both ", "all ", "any ")
"""How a phrase begins that takes no further article."""
_RELATIVE = ("that ", "which ", "whose ", "with ", "having ", "of ")
"""How words begin that do not follow "that are also"."""
_SIMPLE = ("flag", "compare", "region", "third")


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase and its meaning.

    Attributes:
        concept: what it is about.
        pipeline: what it selects.
        text: the words without article; a plural noun and what follows it as long as the phrase is open.
        closed: whether it is complete and begins with an order (or an exception).
        one: whether it is about one instance.
        noun: as it is said.
    """

    concept: str
    pipeline: Pipeline
    text: str
    closed: bool
    one: bool
    noun: Noun

    @property
    def the(self) -> str:
        """With its article."""
        return self.text if self.text.startswith(_DETERMINED) else f"the {self.text}"

    @property
    def bare(self) -> str:
        """Without article."""
        return self.text.removeprefix("the ")


class Builder:
    """Adds pieces to a noun.

    Args:
        voice: draws.
        concept: of the noun.
    """

    def __init__(self, voice: Voice, concept: str):
        self.voice, self.concept = voice, concept
        self.noun = draw_noun(voice, concept)
        self.text, self.closed, self.one, self.posts = self.noun.plural, False, False, 0
        self.steps: list[Step] = []

    def worded(self, words: str, elliptical: bool = False) -> str:
        """Words with their noun, or with "one" and "ones"."""
        one, many = ("one", "ones") if elliptical else (self.noun.singular, self.noun.plural)
        return words.replace("{nouns}", many).replace("{noun}", one)

    def add(self, piece: Piece) -> None:
        """Add one step. Nothing is picked out of a single instance."""
        if piece.form == "order" and self.closed and self.one:
            return
        self.steps.append(piece.step)
        words = self.worded(piece.words, elliptical=piece.form == "order" and (self.closed or self.posts > 0))
        if piece.form == "post":
            if self.closed:
                frame = pick(self.voice, "assembly/post on closed")
                self.text = frame.replace("{np}", self.the).replace("{post}", words)
                self.one = False
            else:
                join = pick(self.voice, "assembly/joins") if self.posts else " "
                if join.rstrip().endswith("are also") and words.startswith(_RELATIVE):
                    join = " and "
                self.text = f"{self.text}{join}{words}"
                self.posts += 1
            return
        if self.closed:
            frame = pick(self.voice, "assembly/order on closed")
            self.text = frame.replace("{np}", self.the).replace("{order}", f"the {words}")
        elif self.posts:
            frame = pick(self.voice, "assembly/order of open")
            self.text = frame.replace("{order}", words).replace("{nouns}", self.text)
        else:
            self.text = words
        self.closed, self.one = True, piece.one

    @property
    def the(self) -> str:
        """What there is so far with its article."""
        return self.built().the

    def exclude(self, pieces: Sequence[Piece]) -> None:
        """Leave out what one or two pieces keep."""
        self.steps.append(Step(tuple(part for piece in pieces for part in piece.step.filters), True))
        gone = []
        for piece in pieces:
            words = self.worded(piece.words, elliptical=True)
            if piece.form == "post":
                words = pick(self.voice, "exclusion/those").replace("{post}", words)
            else:
                words = f"the {words}"
            gone.append(words)
        frame = pick(self.voice, "exclusion/frames")
        all_of = self.the if self.closed else self.voice.choose(("all ", "the ", "all the ", "")) + self.text
        self.text = frame.replace("{np}", all_of).replace("{x}", " and ".join(gone))
        self.closed, self.one = True, False

    def unite(self, first: Piece, second: Piece) -> None:
        """Keep what either of two pieces of the same form keeps."""
        filters: tuple[Filter, ...] = (*first.step.filters, *second.step.filters)
        step = Step(filters)
        frame = pick(self.voice, f"union/{first.form}")
        if first.form == "order":
            a, b = (self.worded(p.words, True) for p in (first, second))
            if not self.closed and not self.posts:
                a = self.worded(first.words)
            words = frame.replace("{a}", a).replace("{b}", f"the {b}")
            self.add(Piece(step, "order", words))
            return
        words = frame.replace("{a}", first.words).replace("{b}", second.words)
        self.add(Piece(step, "post", words))

    def built(self) -> NounPhrase:
        """The noun phrase."""
        text = " ".join(self.text.split())
        return NounPhrase(self.concept, tuple(self.steps), text, self.closed, self.one, self.noun)


def phrase(
    voice: Voice,
    concept: str,
    constructs: Sequence[str],
    depth: int = 1,
    exclusion: bool = False,
    union: bool = False,
    nested: bool = False,
) -> NounPhrase:
    """A noun phrase with some constructs.

    Args:
        voice: draws.
        concept: what it is about.
        constructs: names of :data:`pieces.MAKERS`; predicates are mostly said before orders.
        depth: levels of sets.
        exclusion: whether one of them is left out, not kept.
        union: whether two of the same form are joined (another is drawn where there are not two).
        nested: whether sets name further sets.
    """
    maker = Maker(voice, concept, depth, refer, nested)
    pieces = [MAKERS[name](maker) for name in constructs]
    if voice.chance(0.75):
        pieces.sort(key=lambda piece: piece.form == "order")
    builder = Builder(voice, concept)
    if union:
        first = pieces[-1] if pieces else MAKERS["rank"](maker)
        pieces = pieces[:-1]
        like = ("rank", "rank by property", "near edge") if first.form == "order" else ("flag", "compare", "third")
        second = MAKERS[voice.choose([c for c in like if suits(c, concept)])](maker)
        last = pieces.pop() if exclusion and pieces else None
        for piece in pieces:
            builder.add(piece)
        builder.unite(first, second)
        if last is not None or exclusion:
            builder.exclude([last or MAKERS["rank"](maker)])
        return builder.built()
    gone = pieces.pop() if exclusion and pieces else None
    for piece in pieces:
        builder.add(piece)
    if exclusion:
        builder.exclude([gone or MAKERS["rank"](maker)])
    return builder.built()


def refer(voice: Voice, wanted: SetWanted) -> SetWords:
    """Another set and its words."""
    concept, depth = wanted.concept, wanted.depth
    noun = draw_noun(voice, concept)
    if not ALL_CONCEPTS[concept].instances:
        whole = f"the {noun.singular}"
        return SetWords(Named(concept), whole, whole, whole, noun.plural)
    kinds = {"all": 4.0, "one": 4.0, "many": 1.5, "simple": 2.0, "related": 1.5}
    if wanted.part:
        kinds.pop("all")
    if wanted.several:
        kinds.pop("one")
    if depth <= 0:
        kinds.pop("related")
    kind = "related" if wanted.nested and depth > 0 else voice.weighted(kinds)
    if kind == "all":
        other = " other" if concept == wanted.asked else ""
        one = f"another {noun.singular}" if other else f"{_article(noun.singular)} {noun.singular}"
        return SetWords(Named(concept), f"the {noun.plural}", one, f"every{other} {noun.singular}", noun.plural)
    if kind in ("simple", "related"):
        names = NEEDS_SET - {"among", "near set", "compare with set"} if kind == "related" else _SIMPLE
        names = sorted(n for n in names if suits(n, concept))
        said = phrase(voice, concept, [voice.choose(names)], depth)
        return SetWords(Named(concept, said.pipeline), said.the, said.text, f"all {said.text}", said.text)
    orders = ("rank", "rank", "rank", "near edge", "rank range", "rank by property")
    while True:
        said = phrase(voice, concept, [voice.choose(orders)], 0)
        if said.one == (kind == "one"):
            break
    ref = Named(concept, said.pipeline)
    if said.one:
        return SetWords(ref, said.the, said.the, said.the, f"of {said.the}")
    return SetWords(ref, said.the, f"one of {said.the}", f"each of {said.the}", f"of {said.the}")


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
