"""Requests of version 2 put together, words and program at once: one to three constructs in a request, every pair of
constructs within reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

import numpy as np

from lisa_micro.datasets.texts import noise, numbers
from lisa_micro.datasets.texts.phrases import read_noun
from lisa_micro.datasets.texts.programs.frames import leaf, pick
from lisa_micro.datasets.texts.programs.makers import MAKERS, NEEDS_SET, PLAIN_CONCEPTS, suits
from lisa_micro.datasets.texts.programs.phrases import NounPhrase, phrase
from lisa_micro.datasets.texts.programs.pieces import draw_property, property_word
from lisa_micro.datasets.texts.programs.written import Exchange
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.datasets.texts.store import halves as word_halves
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.language.clauses import Measure
from lisa_micro.language.program import CONSTRUCTS, Program, Refusal, Target, constructs_of
from lisa_micro.language.program.constructs import SLOT_CONSTRUCTS, STEP_CONSTRUCTS
from lisa_micro.language.program.syntax import (
    Amount,
    Distance,
    Listing,
    Measured,
    Near,
    Ordinal,
    Part,
    Plot,
    Relation,
    Step,
    Value,
)

CONCEPT_WEIGHTS = {"particle": 8.0, "neck": 2.0, "pore": 2.5, "agglomerate": 1.5} | {
    name: 0.35 for name in PLAIN_CONCEPTS if name not in ("particle", "neck", "pore", "agglomerate")
}
NEW_CONCEPTS = tuple(name for name in PLAIN_CONCEPTS if name not in ("particle", "neck", "pore", "agglomerate"))
TWO_SETS = ("ratio", "difference", "distance", "plot of sets", "several targets", "earlier target")
"""Constructs that take two targets."""
_FORMS = ("exclusion", "union", "nested set", "earlier target", "new concept")
"""Constructs that are no piece of their own."""
IMPOSSIBLE = frozenset({frozenset({"unknown", "cannot"})})
"""Pairs that no request has: a reply refuses once."""
WEIGHTS = dict.fromkeys(STEP_CONSTRUCTS, 1.0) | dict.fromkeys(SLOT_CONSTRUCTS, 0.8) | {
    "several targets": 0.4, "rank": 0.5, "compare": 0.5, "flag": 0.5, "region": 0.5, "between": 0.5,
    "rank per cent": 0.5,
    "unknown": 1.2, "cannot": 0.8, "nested set": 0.6,
}  # fmt: skip


def all_pairs() -> list[tuple[str, str]]:
    """Every pair of constructs that a request can have."""
    return [pair for pair in combinations(CONSTRUCTS, 2) if frozenset(pair) not in IMPOSSIBLE]


class Request:
    """One request while it is put together."""

    def __init__(self, voice: Voice, wanted: Sequence[str]):
        self.voice, self.wanted = voice, tuple(wanted)
        self.parts: list[Part] = []
        self.steps = [name for name in wanted if name in STEP_CONSTRUCTS and name not in _FORMS]
        self.slots = [name for name in wanted if name in SLOT_CONSTRUCTS]

    # noun phrases

    def concept(self, constructs: Sequence[str]) -> str:
        """A concept for which the constructs make sense."""
        known = NEW_CONCEPTS if "new concept" in self.wanted else tuple(CONCEPT_WEIGHTS)
        fits = {name: CONCEPT_WEIGHTS[name] for name in known if all(suits(c, name) for c in constructs)}
        if "with" in constructs and "new concept" in self.wanted and not fits:
            fits = {"particle": 1.0}  # the new concept is then in the set
        return self.voice.weighted(fits or {"particle": 1.0})

    def phrase(self, constructs: Sequence[str], concept: str | None = None, forms: bool = True) -> NounPhrase:
        """A noun phrase with some constructs, and the forms that are wanted."""
        nested = forms and "nested set" in self.wanted
        names = list(constructs)
        if nested and not set(names) & NEEDS_SET:
            names.append("touching")
        depth = 2 if nested or self.voice.chance(0.15) else 1
        return phrase(
            self.voice,
            concept or self.concept(names),
            names,
            depth,
            exclusion=forms and "exclusion" in self.wanted,
            union=forms and "union" in self.wanted,
            nested=nested,
        )

    def target(self, said: NounPhrase) -> int:
        """Put a phrase in as the next target; its number."""
        self.parts.append(Target(said.concept, said.pipeline))
        return sum(isinstance(part, Target) for part in self.parts)

    # slots

    def text(self) -> str:
        """The words of the request; parts are put in as they are said."""
        if any(name in TWO_SETS for name in self.wanted):
            words = self.two()
        elif self.slots:
            words = self.single()
        else:
            said = self.phrase(self.steps)
            self.target(said)
            words = pick(self.voice, "commands").replace("{np}", self.named(said))
        return words

    def named(self, said: NounPhrase) -> str:
        """A phrase as the object of a request."""
        if said.closed or self.voice.chance(0.6):
            return said.the
        return said.bare if self.voice.chance(0.5) else f"all {said.bare}"

    def single(self) -> str:
        """A request about one target, with one or more slots."""
        rest = [name for name in self.slots if name not in ("unknown", "cannot")]
        refusal = next((name for name in self.slots if name in ("unknown", "cannot")), "")
        only = bool(refusal) and not rest and not self.steps and not set(self.wanted) & set(_FORMS)
        if refusal == "unknown" and only:
            thing = self.thing()
            self.parts.append(Refusal("unknown", thing))
            return pick(self.voice, "unknown/commands").replace("{thing}", thing)
        said = self.phrase(self.steps)
        if refusal == "cannot" and only:
            return self.cannot(said)
        number = self.target(said)
        words = ""
        for name in rest:
            the, bare = (said.the, said.bare) if not words else ("them", "them")
            asked = self.slot(name, said.concept, number, the, bare)
            words = f"{words}{self.voice.choose((', also ', '; ', ' and '))}{asked}" if words else asked
        if not words:
            words = pick(self.voice, "commands").replace("{np}", self.named(said))
        if refusal == "unknown":
            thing = self.thing()
            self.parts.append(Refusal("unknown", thing))
            words = pick(self.voice, "unknown/also").replace("{request}", words.rstrip("?")).replace("{thing}", thing)
        elif refusal == "cannot":
            words = f"{words.rstrip('?')} and {self.cannot(said, 'them')}"
        return words

    def cannot(self, said: NounPhrase, the: str = "") -> str:
        """Something that cannot be asked."""
        topic = self.voice.choose([t for t in leaf_keys("cannot") if t != "frames"])
        asked = pick(self.voice, f"cannot/{topic}").replace("{the}", the or said.the)
        asked = asked.replace("{nouns}", "they" if the else said.noun.plural)
        if the and asked.startswith("what they"):
            asked = asked.replace("what they", "what they", 1)
        self.parts.append(Refusal("cannot", topic))
        return pick(self.voice, "cannot/frames").replace("{x}", asked)

    def thing(self) -> str:
        """Something that no concept stands for."""
        train, held = word_halves("absent")
        while True:
            entry = self.voice.choose(held if self.voice.split == "held_out" else train)
            noun = read_noun(entry, None)
            if FULL_VOCABULARY.named_in(noun.plural) is None and not set(noun.plural.lower().split()) & known_words():
                return noun.plural

    def slot(self, name: str, concept: str, number: int, the: str, bare: str) -> str:
        """The words of one slot about one target, whose part is put in."""
        prop = draw_property(self.voice, concept)
        slots = {"{the}": the, "{bare}": bare, "{prop}": property_word(prop, concept)}
        if name == "value":
            if self.voice.chance(0.4):
                self.parts.append(Value(Measured(Measure("count"), number)))
                return self.fill("value/count", slots)
            stat = self.voice.weighted(
                {"mean": 5, "median": 2, "min": 1, "max": 1.5, "std": 1, "total": 0.5, "D90": 0.7}
            )
            if stat == "total":
                prop, slots["{prop}"] = "area", "area"
            self.parts.append(Value(Measured(Measure(stat, prop), number)))
            return self.fill("value/stat", slots | {"{stat}": pick(self.voice, f"statistics/{stat}")})
        if name == "list":
            self.parts.append(Value(Listing(prop, number)))
            return self.fill("list", slots)
        if name == "scatter":
            other = draw_property(self.voice, concept)
            while other == prop:
                other = draw_property(self.voice, concept)
            self.parts.append(Plot("scatter", prop, other, (number,)))
            return self.fill("scatter", slots | {"{prop2}": property_word(other, concept)})
        self.parts.append(Plot(name, prop, "", (number,)))
        return self.fill(name, slots)

    def fill(self, path: str, slots: dict[str, str]) -> str:
        """A wording of a list with its slots filled."""
        words = pick(self.voice, path)
        for slot, text in slots.items():
            words = words.replace(slot, text)
        return words

    # two targets

    def two(self) -> str:
        """A request about two targets."""
        if "earlier target" in self.wanted:
            first, second, words = self.later()
        else:
            first, second = self.both()
            self.target(first)
            self.target(second)
            words = ""
        wishes = [name for name in self.slots if name not in ("several targets", "unknown", "cannot")]
        if "plot of sets" in wishes:
            kinds = [name for name in wishes if name in ("histogram", "cumulative", "scatter")]
            wishes = [name for name in wishes if name not in kinds]
            wishes[wishes.index("plot of sets")] = "plot of sets " + (kinds[0] if kinds else "histogram")
            wishes += kinds[1:]
        a, b = (first.the, second.the) if not words else ("the former", "the latter")
        if not words and not any(name in _BOTH or name.startswith("plot") for name in wishes):
            words = pick(self.voice, "two").replace("{a}", first.the).replace("{b}", second.the)
            a, b = "the former", "the latter"
        for name in sorted(wishes, key=lambda n: n not in _BOTH):
            asked = self.pair_slot(name, first, second, a, b)
            words = f"{words}{self.voice.choose((', also ', '; ', ', and '))}{asked}" if words else asked
            a, b = "the former", "the latter"
        if "unknown" in self.slots:
            thing = self.thing()
            self.parts.append(Refusal("unknown", thing))
            words = pick(self.voice, "unknown/also").replace("{request}", words.rstrip("?")).replace("{thing}", thing)
        if "cannot" in self.slots:
            words = f"{words.rstrip('?')} and {self.cannot(second, 'them')}"
        return words

    def both(self) -> tuple[NounPhrase, NounPhrase]:
        """Two phrases, mostly about one concept."""
        first = self.phrase(self.steps or ["rank" if self.voice.chance(0.5) else "flag"])
        if self.voice.chance(0.6):
            names = [n for n in ("flag", "rank", "third", "compare", "rank range") if suits(n, first.concept)]
            concept: str | None = first.concept
        else:
            names, concept = ["flag", "rank", "region"], None
        while True:
            second = self.phrase([self.voice.choose(names)], concept, forms=False)
            if (second.concept, second.pipeline) != (first.concept, first.pipeline):
                return first, second

    def later(self) -> tuple[NounPhrase, NounPhrase, str]:
        """A target, and one that is told by it."""
        first = self.phrase(self.steps or ["rank"])
        number = self.target(first)
        noun, voice = first.noun.plural, self.voice
        kind = voice.choose(("touching", "within", "rest", "nearest"))
        of, slots = Ordinal(number), {"{nouns}": noun}
        if kind == "rest":
            step = Step((Relation("among", of),), True)
        elif kind == "nearest":
            n = int(voice.rng.integers(2, 7))
            slots["{n}"] = str(n)
            step = Step((Near(n, of),))
        elif kind == "within":
            x = numbers.quantity(voice, "gap", numbers.unit_for(voice, "gap", True) or "nm")
            slots["{x}"] = x.text
            step = Step((Relation("within", of, Amount(x.value, x.unit)),))
        else:
            step = Step((Relation("touching", of),))
        words = self.fill(f"later/{kind}", slots)
        self.parts.append(Target(first.concept, (step,)))
        second = NounPhrase(first.concept, (step,), words, True, False, first.noun)
        return first, second, pick(voice, "two").replace("{a}", first.the).replace("{b}", words)

    def pair_slot(self, name: str, first: NounPhrase, second: NounPhrase, a: str, b: str) -> str:
        """The words of a slot about two targets."""
        slots = {"{a}": a, "{b}": b, "{b_one}": second.noun.singular}
        if name == "distance":
            self.parts.append(Value(Distance(1, 2)))
            return self.fill("distance", slots)
        concept = first.concept
        prop = draw_property(self.voice, concept) if concept == second.concept else "area"
        stat = self.voice.weighted({"mean": 5, "median": 2, "max": 1, "total": 0.7})
        prop = "area" if stat == "total" else prop
        slots |= {"{prop}": property_word(prop, concept), "{stat}": pick(self.voice, f"statistics/{stat}")}
        if name in ("ratio", "difference"):
            counts = self.voice.chance(0.4) and not first.one and not second.one and a != "the former"
            measure = Measure("count") if counts else Measure(stat, prop)
            op = "/" if name == "ratio" else "-"
            self.parts.append(Value(Measured(measure, 1), op, Measured(measure, 2)))
            if counts:
                slots |= {"{a}": first.bare, "{b}": second.bare}
                path = f"{name} of counts"
                words = self.fill(path, slots)
                return words if second.closed is False or "per" not in words else self.fill("ratio of counts", slots)
            return self.fill(name, slots)
        if name.startswith("plot of sets"):
            kind = name.removeprefix("plot of sets ")
            sets = pick(self.voice, "and sets").replace("{a}", a).replace("{b}", b)
            other = "area" if prop != "area" else "diameter"
            self.parts.append(Plot(kind, prop, other if kind == "scatter" else "", (1, 2)))
            return self.fill(kind, slots | {"{the}": sets, "{bare}": sets, "{prop2}": other})
        return self.slot(name, second.concept, 2, b, b)


_BOTH = ("ratio", "difference", "distance")


@cache
def leaf_keys(name: str) -> tuple[str, ...]:
    """The keys of a group of lists."""
    from lisa_micro.datasets.texts.programs.frames import all_paths

    return tuple(path.split("/")[1] for path in all_paths() if path.startswith(f"{name}/"))


@cache
def known_words() -> frozenset[str]:
    """Words that name a concept in one way or another, so that nothing with them is unknown."""
    from lisa_micro.datasets.texts.programs.frames import nouns

    return frozenset(
        word
        for concept in FULL_VOCABULARY.names
        for half in nouns(concept)
        for noun in half
        for form in (noun.singular, noun.plural)
        for word in form.lower().split()
        if word not in ("of", "the", "in", "between")
    )


def compose(voice: Voice, wanted: Sequence[str], tries: int = 40) -> Exchange | None:
    """A request that has at least the wanted constructs; None where none was found in some tries."""
    for _ in range(tries):
        request = Request(voice, wanted)
        words = request.text()
        program = Program(tuple(request.parts))
        if set(wanted) <= constructs_of(program) and _short(program):
            words = words.replace("{nouns}", "ones").replace("{noun}", "one")
            words = noise.fill_images(voice, words)
            kind = "question" if words.endswith("?") else "command"
            return Exchange(noise.spell(voice, noise.decorate(voice, words, kind)), program)
    return None


def _short(program: Program) -> bool:
    from lisa_micro.language.program import render_program, terms

    steps = [len(target.pipeline) for target in program.targets]
    return max(steps, default=0) <= terms.MAX_STEPS and len(render_program(program)) <= 300


def draw(voice: Voice) -> Exchange:
    """A request of one to three constructs."""
    while True:
        n = voice.weighted({1: 5, 2: 4, 3: 1.5})
        names = list(WEIGHTS)
        weights = np.array([WEIGHTS[name] for name in names])
        chosen = voice.rng.choice(len(names), size=int(n), replace=False, p=weights / weights.sum())
        wanted = [names[int(k)] for k in chosen]
        if not any(bad <= set(wanted) for bad in IMPOSSIBLE):
            exchange = compose(voice, wanted, tries=8)
            if exchange is not None:
                return exchange


Source = Callable[[Voice], Exchange]

__all__ = ["MAKERS", "all_pairs", "compose", "draw", "leaf"]
