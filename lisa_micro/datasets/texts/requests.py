"""Generate single requests with their replies."""

from __future__ import annotations

import numpy as np

from lisa_micro.datasets.texts import measuring, noise, referring, written
from lisa_micro.datasets.texts.asking import fill, kind_of, outline_turn
from lisa_micro.datasets.texts.clause_phrases import ClausePhrase, draw_clause, opposite, rank_adjective
from lisa_micro.datasets.texts.facts import SceneFacts, describe
from lisa_micro.datasets.texts.numbers import count
from lisa_micro.datasets.texts.phrases import Noun, Phrase, draw_noun, listing, phrase
from lisa_micro.datasets.texts.replies import (
    TargetTruth,
    Turn,
    absence,
    absent_concepts_reply,
    absent_reply,
    chat_reply,
    outline_reply,
)
from lisa_micro.datasets.texts.store import Voice, data
from lisa_micro.language import Rank

CATEGORIES = {
    "outline": 16,
    "constraint": 30,
    "two constraints": 20,
    "yes or no": 5,
    "several": 9,
    "measure": 18,
    "contrast": 2,
    "in other words": 7,
    "not in the vocabulary": 12,
    "scene": 8,
    "chat": 5,
    "written": 130,
    "described": 4,
    "video": 10,
    "recent": 40,
}
"""Kinds of single requests and how often each is drawn. All but ``"written"``, ``"recent"``, ``"described"`` and
``"video"`` are made from templates."""
FILES = {
    "written": written.SINGLE,
    "recent": written.RECENT,
    "described": written.DESCRIBED,
    "video": written.VIDEOS,
}
"""Handwritten files of each kind of request."""
CONCEPT_WEIGHTS = {"particle": 40, "neck": 22, "pore": 14, "agglomerate": 13, "substrate": 11}
_VERBS = ("are", "them", "do")
CHAT_KINDS = (
    "greeting", "thanks", "bye", "help", "unclear", "correct", "off_topic", "unsupported", "refuse", "define",
)  # fmt: skip


def sample_request(
    rng: np.random.Generator,
    facts: SceneFacts,
    split: str = "train",
    category: str | None = None,
    absent_share: float = 0.12,
) -> Turn:
    """Draw one request and its reply.

    Args:
        rng: random generator.
        facts: what the image shows.
        split: ``"train"`` or ``"held_out"``.
        category: one of :data:`CATEGORIES`; None: at random.
        absent_share: probability of requesting a built-in concept that this image lacks, if any.

    Raises:
        ValueError: an unknown split or category.
    """
    voice = Voice(rng, split)
    if category is not None and category not in CATEGORIES:
        raise ValueError(f"category must be one of {', '.join(CATEGORIES)}, not {category!r}")
    return request(voice, facts, category or voice.weighted(CATEGORIES), absent_share)


def request(voice: Voice, facts: SceneFacts, category: str, absent_share: float = 0.12) -> Turn:
    """Draw one request of a category with a voice."""
    if category in FILES:
        return written.draw(voice, facts, FILES[category])[0]
    if category == "not in the vocabulary":
        return _foreign(voice, facts)
    if category == "scene":
        user = noise.fill_images(voice, voice.pick("chat/scene/asks"))
        return Turn(noise.spell(voice, user), describe(facts), (), category, novel=tuple(voice.novel))
    if category == "chat":
        return chat(voice)
    if category == "several":
        return _several(voice, facts)
    concept = draw_concept(voice, facts, absent_share)
    if category in ("constraint", "two constraints", "measure", "yes or no") and concept == "substrate":
        if category in ("constraint", "two constraints"):
            concept = draw_concept(voice, facts, absent_share, without="substrate")
        elif category == "measure" and voice.chance(0.5):
            concept = "particle" if facts.present("particle") else concept
    if category == "measure":
        return measuring.measure_request(voice, facts, concept)
    if category == "in other words":
        kind = "other languages" if voice.chance(0.1) else "special"
        wording = voice.pick(f"asks/{kind}/{concept}")
        if kind == "other languages":
            return outline_turn(voice, facts, wording, [TargetTruth(concept)], category)
        user = noise.decorate(voice, noise.fill_images(voice, wording), kind_of(wording))
        return outline_turn(voice, facts, user, [TargetTruth(concept)], category)
    if category == "contrast":
        return _contrast(voice, facts, concept)
    if category == "constraint" and voice.chance(0.4):
        return _said_otherwise(voice, facts, concept)
    n = {"constraint": 1, "two constraints": 2}.get(category, 0)
    if category == "yes or no" and concept != "substrate" and voice.chance(0.3):
        n = 1
    parts = draw_parts(voice, concept, n, facts.pixel_size_known)
    if category == "yes or no":
        parts = [part for part in parts if part.filters]
        said = phrase(voice, draw_noun(voice, concept), parts)
        user = fill(voice, "asks/yes_no", said)
        return outline_turn(voice, facts, user, [TargetTruth(concept, said.clauses)], category, yes=True)
    said = phrase(voice, draw_noun(voice, concept), parts)
    user = ask(voice, said)
    return outline_turn(voice, facts, user, [TargetTruth(concept, said.clauses)], category)


def draw_concept(voice: Voice, facts: SceneFacts, absent_share: float, without: str = "") -> str:
    """Draw a concept, mostly one that the image has."""
    there = {c: w for c, w in CONCEPT_WEIGHTS.items() if facts.present(c) and c != without}
    missing = {c: w for c, w in CONCEPT_WEIGHTS.items() if not facts.present(c) and c != without}
    if missing and (not there or voice.chance(absent_share)):
        return voice.weighted(missing)
    return voice.weighted(there)


USUAL_SHARE = 0.65
USUAL_PAIRS = {
    ("flag", "compare"): 5,
    ("flag", "rank"): 4,
    ("region", "rank"): 4,
    ("compare", "flag"): 3,
    ("compare", "region"): 3,
    ("flag", "region"): 3,
    ("compare", "rank"): 3,
    ("compare", "compare"): 2,
}
"""Pairs of constraints that users combine and their weights; other requests combine any two."""


def draw_parts(voice: Voice, concept: str, n: int, in_nm: bool) -> list[ClausePhrase]:
    """Draw ``n`` compatible clauses, a few of them expressed as exclusions."""
    if n == 0 or concept == "substrate":
        return []
    kinds: tuple[str | None, str | None] = (None, None)
    if n == 2 and voice.chance(USUAL_SHARE):
        kinds = voice.weighted(USUAL_PAIRS)
        if concept == "neck" and "flag" in kinds:
            kinds = ("region", "compare")
    first = draw_clause(voice, concept, in_nm, kinds[0])
    if n == 1:
        return [referring.excluded(voice, first)] if first.place == "post" and voice.chance(0.08) else [first]
    for _ in range(50):
        second = draw_clause(voice, concept, in_nm, kinds[1])
        same = type(first.clause) is type(second.clause) and not hasattr(first.clause, "prop")
        same |= getattr(first.clause, "prop", 1) == getattr(second.clause, "prop", 2)
        same |= {"isolated", "in contact", "in agglomerate"} >= {
            getattr(first.clause, "name", ""), getattr(second.clause, "name", "")
        }  # fmt: skip
        both_whole = first.place == second.place == "whole"
        if not same and not both_whole and not (first.place == second.place == "pre"):
            if second.place == "post" and voice.chance(0.15):
                second = referring.excluded(voice, second)
            return [first, second]
    return [first]


def ask(voice: Voice, said: Phrase) -> str:
    """Draw a wording of a segmentation request, filled and decorated."""
    path = "asks/" + voice.weighted({"command": 6, "question": 2.2, "telegraphic": 1.8})
    return fill(voice, path, said)


OTHERWISE = {"predicate": 14, "fronted": 13, "exclude": 13, "rank_question": 4, "extremes": 3}


def _said_otherwise(voice: Voice, facts: SceneFacts, concept: str) -> Turn:
    """Draw a request whose constraint is not part of the noun phrase."""
    way, in_nm, noun = voice.weighted(OTHERWISE), facts.pixel_size_known, draw_noun(voice, concept)
    slots = {"nouns": noun.plural, "noun": noun.singular, "image": "{image}"}
    part = draw_clause(voice, concept, in_nm, "rank" if way in ("rank_question", "extremes") else None)
    clause = part.clause
    if way == "extremes":
        return _extremes(voice, facts, concept, noun)
    if way == "predicate":
        part, slots["pred"] = referring.draw_predicate(voice, concept, in_nm)
        clause = part.clause
    elif way == "fronted":
        slots["those"] = referring.pronoun_phrase(voice, part, noun)
    elif way == "rank_question":
        said = phrase(voice, noun, [part])
        slots |= {"rank": said.slots["the"], "are": said.slots["are"]}
    else:
        part = referring.draw_removable(voice, concept, in_nm)
        other = opposite(part.clause)
        assert other is not None
        clause = other
        bare = f"{part.words} {noun.plural}" if part.place == "pre" else f"{noun.plural} {part.words}"
        slots["rest_bare"] = bare
        those = f"{voice.choose(('those', 'the ones'))} {part.words}"
        if part.place == "pre":
            those = f"the {part.words} ones"
        slots["rest"] = voice.choose((bare, f"the {bare}", those, those))
    for name in ("pred", "rest", "rest_bare", "those", "rank"):
        if name in slots:
            slots[name] = slots[name].replace("{nouns}", noun.plural).replace("{noun}", noun.singular)
    wording = voice.pick(f"asks/{way}")
    user = noise.decorate(voice, noise.fill_images(voice, wording.format_map(slots)), kind_of(wording))
    return outline_turn(voice, facts, user, [TargetTruth(concept, (clause,))], "constraint")


def _extremes(voice: Voice, facts: SceneFacts, concept: str, noun: Noun) -> Turn:
    """Draw a request for the largest and the smallest."""
    n, word = (1, "") if voice.chance(0.6) else count(voice)
    large, small = (rank_adjective(voice, by, concept == "neck") for by in ("largest", "smallest"))
    name = noun.singular if n == 1 else noun.plural
    word = f"{word} " if word else ""
    forms = (
        f"the {word}{large} and the {word}{small} {name}",
        f"the {word}{large} and {word}{small} {name}",
        f"the {word}{large} {name} and the {word}{small} one{'s' * (n > 1)}",
        f"the {word}{large} {name} as well as the {word}{small}",
    )
    both = voice.choose(forms)
    user = voice.pick("asks/extremes").format_map({"both": both, "image": "{image}"})
    user = noise.decorate(voice, noise.fill_images(voice, user), "command")
    targets = [TargetTruth(concept, (Rank("largest", n),)), TargetTruth(concept, (Rank("smallest", n),))]
    return outline_turn(voice, facts, user, targets, "constraint")


def _several(voice: Voice, facts: SceneFacts) -> Turn:
    n = voice.choose((2, 2, 2, 3))
    there = [c for c in CONCEPT_WEIGHTS if facts.present(c)]
    pool = dict(CONCEPT_WEIGHTS) if voice.chance(0.15) or len(there) < 2 else {c: CONCEPT_WEIGHTS[c] for c in there}
    concepts: list[str] = []
    while len(concepts) < min(n, len(pool)):
        concept = voice.weighted(pool)
        if concept not in concepts:
            concepts.append(concept)
    phrases: list[Phrase] = []
    constrained = voice.chance(0.5)
    for concept in concepts:
        parts = []
        if constrained and concept != "substrate" and voice.chance(0.6):
            part = draw_clause(voice, concept, facts.pixel_size_known)
            # a constraint after the last noun could be read as one on all of them, unless each has its own
            each_constrained = all(p.clauses for p in phrases)
            if part.place != "post" or each_constrained:
                parts = [part]
        phrases.append(phrase(voice, draw_noun(voice, concept, 0.6), parts))
    said = listing(voice, phrases)
    targets = [TargetTruth(c, p.clauses) for c, p in zip(concepts, phrases, strict=True)]
    if not any(p.clauses for p in phrases) and "substrate" not in concepts and voice.chance(0.2):
        # a place after the last noun applies to all of them
        place = draw_clause(voice, "pore", facts.pixel_size_known, "region")
        if place.place == "post":
            said = Phrase({k: v if k in _VERBS else f"{v} {place.words}" for k, v in said.slots.items()}, said.noun)
            targets = [TargetTruth(c, (place.clause,)) for c in concepts]
            return outline_turn(voice, facts, ask(voice, said), targets, "several")
    if voice.chance(0.12):  # one of them is outside the vocabulary
        noun = draw_noun(voice, None)
        foreign = phrase(voice, noun, [])
        said = listing(voice, [*phrases[:1], foreign])
        targets = [TargetTruth(targets[0].concept, targets[0].clauses, facts.present(targets[0].concept))]
        user = noise.spell(voice, ask(voice, said), noun.plural + noun.singular)
        if targets[0].present:
            reply = f"{outline_reply(targets)} {absence(noun.plural, noun.mass)}"
            return Turn(user, reply, tuple(targets), "several", novel=tuple(voice.novel))
        text = absent_concepts_reply([targets[0].concept])
        return Turn(user, f"{text} {absence(noun.plural, noun.mass)}", (), "several", True, tuple(voice.novel))
    return outline_turn(voice, facts, ask(voice, said), targets, "several")


def _contrast(voice: Voice, facts: SceneFacts, concept: str) -> Turn:
    other = voice.choose([c for c in CONCEPT_WEIGHTS if c != concept])
    said = phrase(voice, draw_noun(voice, concept, 0.6), [])
    unwanted = phrase(voice, draw_noun(voice, other, 0.6), [])
    slots = {
        **said.slots,
        "other": unwanted.slots["the"],
        "other_bare": unwanted.slots["bare"],
        "other_are": unwanted.slots["are"],
        "image": "{image}",
    }
    wording = voice.pick("asks/contrast")
    user = noise.decorate(voice, noise.fill_images(voice, wording.format_map(slots)), kind_of(wording))
    return outline_turn(voice, facts, user, [TargetTruth(concept)], "contrast")


def _foreign(voice: Voice, facts: SceneFacts) -> Turn:
    noun = draw_noun(voice, None)
    parts: list[ClausePhrase] = []
    if not noun.mass and voice.chance(0.2):
        part = draw_clause(voice, "agglomerate", facts.pixel_size_known, voice.choose(("rank", "region", "compare")))
        parts = [part]
    said = phrase(voice, noun, parts)
    way = voice.weighted({"ask": 6, "yes": 3, "count": 1.5, "one": 1.5, "size": 0.7, "fraction": 0.5})
    singular = said.singular
    if way == "one" and not noun.mass:
        article = "an" if noun.singular[0].lower() in "aeiou" else "a"
        one = f"{article} {noun.singular}"
        slots = {"bare": noun.singular, "the": f"the {noun.singular}", "are": "is", "them": "it", "any": one}
        said = Phrase(slots, noun, (), True)
        singular = True
        if voice.chance(0.4):
            user = voice.choose((f"is there {one}?", f"is there {one} in this image?", f"do you see {one}?",
                                 f"can you see {one} here?", f"find {one}", f"show me {one}"))  # fmt: skip
        else:
            user = ask(voice, said)
    elif way == "yes" and "any" in said.slots:
        user = fill(voice, "asks/yes_no", said)
    elif way == "count" and not noun.mass and not said.singular:
        user = fill(voice, "measures/count", said)
    elif way == "size" and not noun.mass and not said.singular:
        user = fill(voice, "measures/sizes/diameter", said)
    elif way == "fraction" and not parts:
        user = fill(voice, "measures/area fraction", said)
    else:
        user = ask(voice, said)
    user = noise.spell(voice, user, f"{noun.plural} {noun.singular}")
    name = noun.singular if singular else noun.plural
    if not singular and noun.singular in user and noun.plural not in user:
        name, singular = noun.singular, True
    return Turn(user, absent_reply(name, singular), (), "not in the vocabulary", novel=tuple(voice.novel))


def chat(voice: Voice, kinds: tuple[str, ...] = CHAT_KINDS) -> Turn:
    """Draw a turn of small talk."""
    kind = voice.choose(kinds)
    path = f"chat/{kind}"
    if kind == "define":
        path += "/" + voice.choose(list(data("chat")["define"]))
    user = noise.fill_images(voice, voice.pick(f"{path}/asks"))
    if any(character.isalpha() for character in user):
        user = noise.spell(voice, user)
    return Turn(user, chat_reply(path), (), "chat", novel=tuple(voice.novel))
