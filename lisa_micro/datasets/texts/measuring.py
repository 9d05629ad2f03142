"""Generate requests for measured numbers."""

from __future__ import annotations

from lisa_micro.datasets.texts import noise, referring
from lisa_micro.datasets.texts.asking import fill, kind_of, outline_turn
from lisa_micro.datasets.texts.clause_phrases import PROPERTY_WEIGHTS, draw_clause, property_word
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.numbers import quantity, unit_for
from lisa_micro.datasets.texts.phrases import Phrase, draw_noun, phrase
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, counts_reply, measure_reply
from lisa_micro.datasets.texts.store import Voice, data
from lisa_micro.language import Measure

STATISTIC_WEIGHTS = {
    "mean": 8,
    "median": 3,
    "min": 2.5,
    "max": 3,
    "std": 3,
    "total": 0.0,
    "D10": 0.7,
    "D90": 0.7,
}
KINDS = {
    "count": 8, "statistic": 9, "noun_statistic": 3, "sizes": 7, "plain": 3, "area fraction": 5,
    "number density": 3, "two_statistics": 2, "count_and_statistic": 2, "distribution": 2, "statistics_of": 2,
    "predicate_count": 3, "share": 1.5, "check": 1.5, "range": 1.5, "two_counts": 2,
}  # fmt: skip
COUNT = Measure("count")


def size_of(concept: str) -> str:
    """The property that "size" means for a concept."""
    return "neck width" if concept == "neck" else "diameter"


def draw_property(voice: Voice, concept: str) -> str:
    """Draw a property to ask for."""
    return voice.weighted(PROPERTY_WEIGHTS[concept])


def draw_statistic(voice: Voice, prop: str) -> str:
    """Draw a statistic of a property; totals make sense for areas and lengths only."""
    weights = dict(STATISTIC_WEIGHTS)
    if prop in ("area", "perimeter", "length"):
        weights["total"] = 3
    if prop != "diameter" and prop != "neck width":
        weights["D10"] = weights["D90"] = 0
    return voice.weighted(weights)


def measure_request(voice: Voice, facts: SceneFacts, concept: str, kind: str | None = None) -> Turn:
    """Draw a request for one or more numbers about a concept."""
    kind = kind or voice.weighted(KINDS)
    if concept == "substrate":
        kind = "area fraction"
    if kind in ("predicate_count", "share"):
        return _by_predicate(voice, facts, concept, kind)
    if kind == "two_counts":
        return _two_counts(voice, facts, concept)
    if kind == "area fraction" and concept in data("measures")["area fraction special"] and voice.chance(0.25):
        return _fixed(voice, facts, f"measures/area fraction special/{concept}", concept, Measure("area fraction"))
    constrained = concept != "substrate" and voice.chance(0.35) and kind != "noun_statistic"
    parts = [draw_clause(voice, concept, facts.pixel_size_known)] if constrained else []
    single = any(getattr(p.clause, "n", 0) == 1 for p in parts)
    if single and kind not in ("sizes", "plain"):
        if kind in ("statistic", "two_statistics", "check"):
            kind = "plain"
        else:
            parts, single = [], False
    said = phrase(voice, draw_noun(voice, concept), parts)
    target = TargetTruth(concept, said.clauses)

    def turn(path: str, measures: list[Measure], extra: dict[str, str] | None = None) -> Turn:
        full = Phrase({**said.slots, **(extra or {})}, said.noun, said.clauses, said.singular)
        user = fill(voice, path, full)
        return outline_turn(voice, facts, user, [target], "measure", reply=measure_reply(target, measures))

    size = size_of(concept)
    if kind in ("count", "area fraction", "number density"):
        return turn(f"measures/{kind}", [Measure(kind)])
    if kind == "distribution":
        return turn(f"measures/{kind}", [Measure("mean", size), Measure("std", size)])
    if kind == "statistics_of":
        return turn(f"measures/{kind}", [COUNT, Measure("mean", size), Measure("std", size)])
    if kind == "range":
        return turn(f"measures/{kind}", [Measure("min", size), Measure("max", size)])
    if kind == "sizes":
        return _size(voice, facts, said, target, turn)
    prop = draw_property(voice, concept)
    if kind == "plain":
        while not single and prop == "contacts":
            prop = draw_property(voice, concept)
        word = property_word(voice, concept, prop)
        while word.startswith(("max", "min", "long", "short")):  # "maximum Feret" could be taken for a maximum
            word = property_word(voice, concept, prop)
        return turn(f"measures/{kind}", [Measure("mean", prop)], {"prop": word})
    if kind == "noun_statistic":
        prop = voice.choose((size, size, size, "area"))
        stat = draw_statistic(voice, prop)
        word = voice.pick(f"clauses/properties/{prop}/words") if concept != "neck" else ""
        if concept == "neck":
            word = {"area": "area"}.get(prop) or property_word(voice, concept, prop)
        if word.startswith(("particle", "neck")):
            word = "size"
        return turn(f"measures/{kind}", [Measure(stat, prop)], {"stat": _simple(voice, stat), "prop": word})
    stat = draw_statistic(voice, prop)
    slots = {"stat": statistic_word(voice, stat), "prop": property_word(voice, concept, prop)}
    if kind == "check":
        slots["x"] = quantity(voice, prop, unit_for(voice, prop, facts.pixel_size_known)).text
        return turn(f"measures/{kind}", [Measure(stat, prop)], slots)
    if kind == "statistic":
        return turn("measures/statistic", [Measure(stat, prop)], slots)
    if kind == "count_and_statistic":
        return turn(f"measures/{kind}", [COUNT, Measure(stat, prop)], slots)
    stat2 = draw_statistic(voice, prop)
    while stat2 == stat:
        stat2 = draw_statistic(voice, prop)
    prop2 = prop
    if voice.chance(0.5):
        while prop2 == prop:
            prop2 = draw_property(voice, concept)
        stat2 = draw_statistic(voice, prop2)
    slots |= {"stat2": statistic_word(voice, stat2), "prop2": property_word(voice, concept, prop2)}
    return turn(f"measures/{kind}", [Measure(stat, prop), Measure(stat2, prop2)], slots)


def statistic_word(voice: Voice, stat: str) -> str:
    """Draw a word for a statistic."""
    return voice.pick(f"measures/statistics/{stat}")


def _simple(voice: Voice, stat: str) -> str:
    """Draw a word for a statistic that can directly precede a noun."""
    return voice.pick(f"measures/statistics/{stat}", lambda word: "of the" not in word or stat == "std")


def _size(voice: Voice, facts: SceneFacts, said: Phrase, target: TargetTruth, turn) -> Turn:
    """Draw a request for the mean of a property without the word "mean"."""
    concept = target.concept
    known = data("measures")["sizes"]
    allowed = {
        prop: weight
        for prop, weight in PROPERTY_WEIGHTS[concept].items()
        if prop in known and (concept == "neck" or prop != "neck width") and prop != "neck ratio"
    }
    if concept == "neck":
        allowed["neck ratio"] = 3
    prop = voice.weighted(allowed)
    whole_image = prop in ("neck ratio", "contacts", "gap")  # most of their wordings have no constraint
    if whole_image and target.clauses:
        prop = size_of(concept)
    return turn(f"measures/sizes/{prop}", [Measure("mean", prop)])


def _fixed(voice: Voice, facts: SceneFacts, path: str, concept: str, measure: Measure) -> Turn:
    wording = voice.pick(path)
    user = noise.decorate(voice, noise.fill_images(voice, wording), kind_of(wording))
    target = TargetTruth(concept)
    return outline_turn(voice, facts, user, [target], "measure", reply=measure_reply(target, [measure]))


def _by_predicate(voice: Voice, facts: SceneFacts, concept: str, kind: str) -> Turn:
    """Draw a request for the number or share of instances that fulfil a predicate."""
    part, words = referring.draw_predicate(voice, concept, facts.pixel_size_known)
    noun = draw_noun(voice, concept)
    words = words.replace("{nouns}", noun.plural).replace("{noun}", noun.singular)
    slots = {"nouns": noun.plural, "pred": words}
    user = fill(voice, f"measures/{kind}", Phrase(slots, noun))
    some, everything = TargetTruth(concept, (part.clause,)), TargetTruth(concept)
    targets = [some] if kind == "predicate_count" else [some, everything]
    reply = measure_reply(some, [COUNT]) if kind == "predicate_count" else counts_reply(targets)
    return outline_turn(voice, facts, user, targets, "measure", reply=reply)


def _two_counts(voice: Voice, facts: SceneFacts, concept: str) -> Turn:
    other = voice.choose([c for c in ("particle", "neck", "pore", "agglomerate") if c != concept])
    first = phrase(voice, draw_noun(voice, concept, 0.6), [])
    second = phrase(voice, draw_noun(voice, other, 0.6), [])
    slots = {**first.slots, "the2": second.slots["the"], "bare2": second.slots["bare"]}
    user = fill(voice, "measures/two_counts", Phrase(slots, first.noun))
    targets = [TargetTruth(concept), TargetTruth(other)]
    return outline_turn(voice, facts, user, targets, "measure", reply=counts_reply(targets))
