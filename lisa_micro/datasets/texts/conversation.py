"""Conversations: a request and what users say next, which refers to what was said before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.asking import outline_turn
from lisa_micro.datasets.texts.clause_phrases import (
    ClausePhrase,
    draw_clause,
    opposite,
    property_word,
    rank_adjective,
)
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.measuring import draw_property, draw_statistic, size_of, statistic_word
from lisa_micro.datasets.texts.phrases import agree, draw_noun
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, counts_reply, measure_reply
from lisa_micro.datasets.texts.requests import CATEGORIES, CONCEPT_WEIGHTS, chat, draw_concept, request
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import Clause, Measure, Rank, Region, ValueSlot, parse_reply
from lisa_micro.language.words import MAX_CLAUSES, PROPERTIES

FOLLOW_UPS = {
    "refine": 10, "remove": 5, "replace": 7, "switch": 8, "same": 4, "count": 5, "statistic": 5, "plain": 2,
    "size": 3, "other_stat": 3, "area fraction": 2, "number density": 1.5, "show": 3, "reset": 3, "invert": 2,
    "others": 3, "also": 2, "new": 5, "chat": 2,
}  # fmt: skip
"""Kinds of follow-ups and how often each is drawn where it makes sense."""
LATER_CHAT = ("thanks", "bye", "help", "correct", "off_topic", "unsupported")
MAX_FOLLOW_UPS = 4


@dataclass
class _State:
    """What the next turn can refer to: the targets of the last turn that had any, and what was asked
    about them."""

    targets: list[TargetTruth] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)


def sample_conversation(
    rng: np.random.Generator,
    facts: SceneFacts,
    split: str = "train",
    follow_ups: int | None = None,
) -> list[Turn]:
    """A conversation about one image.

    Args:
        rng: source of chance.
        facts: what the image shows.
        split: ``"train"`` or ``"held_out"``: in the latter the last turn uses held-back ways of asking.
        follow_ups: number of turns after the first; 0 to 4 drawn where None, fewer where nothing fits.

    Returns:
        the turns in order; at least one.

    Raises:
        ValueError: an unknown split.
    """
    Voice(rng, split)
    n = (
        follow_ups
        if follow_ups is not None
        else int(rng.choice(MAX_FOLLOW_UPS + 1, p=(0.4, 0.25, 0.17, 0.12, 0.06)))
    )
    # what comes before the turn that is tested is said in trained wordings
    splits = ["train"] * n + [split]
    first = Voice(rng, splits[0])
    if n:
        weights = {**CATEGORIES, "chat": 1.5, "not in the vocabulary": 5}
        turns = [request(first, facts, first.weighted(weights))]
    else:
        turns = [request(first, facts, first.weighted(CATEGORIES))]
    state = _State()
    _remember(state, turns[0])
    for part in splits[1:]:
        turn = follow_up(Voice(rng, part), facts, state)
        turns.append(turn)
        _remember(state, turn)
    return turns


def _remember(state: _State, turn: Turn) -> None:
    if not turn.targets:
        if turn.category != "chat":
            state.targets, state.measures = [], []
        return
    state.targets = list(turn.targets)
    values: tuple[ValueSlot, ...] = parse_reply(turn.reply).values
    state.measures = [value.measure for value in values if value.measure is not None]


def possible_kinds(state: _State, facts: SceneFacts) -> dict[str, float]:
    """The follow-ups that make sense, with their weights."""
    kinds = {"switch", "new", "chat"}
    if len(state.targets) == 1:
        target = state.targets[0]
        concept, clauses = target.concept, target.clauses
        kinds |= {"area fraction"}
        if concept != "substrate":
            kinds |= {"replace", "plain", "statistic", "size"}
            if not target.singular:
                kinds |= {"count", "number density"}
                if len(clauses) < MAX_CLAUSES - 1:
                    kinds |= {"refine", "remove"}
            if clauses:
                kinds |= {"reset"}
            if len(clauses) == 1 and opposite(clauses[0]) is not None:
                kinds.add("others")
            if not clauses and not state.measures:
                kinds |= {"invert", "also"}
        if clauses or state.measures:
            kinds.add("same")
        if state.measures:
            kinds.add("show")
            if len(state.measures) == 1 and state.measures[0].prop and not target.singular:
                kinds.add("other_stat")
    elif state.targets and not any(t.concept == "substrate" for t in state.targets):
        kinds |= {"count"} if not any(t.singular for t in state.targets) else set()
    return {kind: weight for kind, weight in FOLLOW_UPS.items() if kind in kinds}


def follow_up(voice: Voice, facts: SceneFacts, state: _State, kind: str | None = None) -> Turn:
    """The next turn of a conversation.

    Args:
        voice: draws.
        facts: what the image shows.
        state: what was said.
        kind: one of :data:`FOLLOW_UPS` instead of a drawn one that fits.
    """
    kind = kind or voice.weighted(possible_kinds(state, facts))
    category = f"follow-up: {kind}"
    if kind == "new":
        return request(voice, facts, voice.weighted(CATEGORIES))
    if kind == "chat":
        return chat(voice, LATER_CHAT)
    if kind in ("switch", "same", "also"):
        return _other_concept(voice, facts, state, kind)
    target = state.targets[0]
    concept, clauses = target.concept, target.clauses

    def turn(path: str, new: TargetTruth, measures: list[Measure] | None = None, **slots: str) -> Turn:
        user = voice.pick(f"followups/{path}").format_map({"image": "{image}", **slots})
        user = noise.decorate(voice, noise.fill_images(voice, user), "follow")
        reply = measure_reply(new, measures) if measures else None
        return outline_turn(voice, facts, user, [new], category, reply=reply)

    if kind in ("refine", "replace", "remove"):
        return _changed(voice, facts, state, kind, turn)
    if kind == "reset":
        return turn("reset", TargetTruth(concept))
    if kind == "invert":
        return turn("invert", TargetTruth("particle" if concept == "substrate" else "substrate"))
    if kind == "others":
        other = opposite(clauses[0])
        assert other is not None
        return turn("others", TargetTruth(concept, (other,)))
    if kind == "show":
        return turn("show", target)
    if kind == "count":
        if len(state.targets) > 1:
            user = noise.decorate(voice, voice.pick("followups/count"), "follow")
            return outline_turn(
                voice, facts, user, state.targets, category, reply=counts_reply(state.targets)
            )
        return turn("count", target, [Measure("count")])
    if kind in ("area fraction", "number density"):
        return turn(kind, target, [Measure(kind)])
    if kind == "size":
        return turn("one_size" if target.singular else "size", target, [Measure("mean", size_of(concept))])
    if kind == "other_stat":
        before = state.measures[0]
        stat = before.stat
        while stat == before.stat:
            stat = draw_statistic(voice, before.prop)
        word = statistic_word(voice, stat).removesuffix(" of the").removesuffix(" in")
        return turn("other_stat", target, [Measure(stat, before.prop)], stat=word)
    prop = draw_property(voice, concept)
    word = property_word(voice, concept, prop)
    if kind == "plain" or target.singular:
        path = "one_plain" if target.singular else "plain"
        return turn(path, target, [Measure("mean", prop)], prop=word)
    stat = draw_statistic(voice, prop)
    return turn("statistic", target, [Measure(stat, prop)], stat=statistic_word(voice, stat), prop=word)


def _other_concept(voice: Voice, facts: SceneFacts, state: _State, kind: str) -> Turn:
    last = {t.concept for t in state.targets}
    concept = draw_concept(voice, facts, 0.12)
    for _ in range(50):
        if concept not in last:
            break
        concept = draw_concept(voice, facts, 0.3)
    noun = draw_noun(voice, concept, 0.6)
    category = f"follow-up: {kind}"

    def said(path: str) -> str:
        user = voice.pick(f"followups/{path}").format_map({"nouns": noun.plural, "image": "{image}"})
        return noise.decorate(voice, noise.fill_images(voice, user), "follow")

    if concept in last:
        return request(voice, facts, "outline")
    if kind == "also":
        return outline_turn(voice, facts, said("also"), [state.targets[0], TargetTruth(concept)], category)
    if kind == "same":
        before = state.targets[0]
        if not _applies(before.clauses, state.measures, concept):
            kind, category = "switch", "follow-up: switch"
        else:
            target = TargetTruth(concept, before.clauses)
            reply = measure_reply(target, _as_for(state.measures, concept)) if state.measures else None
            return outline_turn(voice, facts, said("same"), [target], category, reply=reply)
    return outline_turn(voice, facts, said("switch"), [TargetTruth(concept)], category)


def _as_for(measures: list[Measure], concept: str) -> list[Measure]:
    """The size of necks is their neck width, of all else the diameter."""
    size = {"diameter", "neck width"}
    return [Measure(m.stat, size_of(concept)) if m.prop in size else m for m in measures]


def _applies(clauses: tuple[Clause, ...], measures: list[Measure], concept: str) -> bool:
    """Whether the same constraint and the same numbers make sense for another concept."""
    if concept == "substrate":
        return not clauses and all(m.stat == "area fraction" for m in measures)
    for clause in clauses:
        prop = getattr(clause, "prop", None)
        if prop and concept not in PROPERTIES[prop].concepts:
            return False
        flag = getattr(clause, "name", "") if not isinstance(clause, Region) else ""
        if flag and flag != "touching border" and concept != "particle":
            return False
        if isinstance(clause, Rank) and clause.by not in ("largest", "smallest"):
            return False
    return all(not m.prop or concept in PROPERTIES[m.prop].concepts for m in _as_for(measures, concept))


def _changed(voice: Voice, facts: SceneFacts, state: _State, kind: str, turn) -> Turn:
    """The same concept with a constraint more, or with another one."""
    target = state.targets[0]
    concept, clauses = target.concept, target.clauses
    part = draw_clause(voice, concept, facts.pixel_size_known)
    for _ in range(100):
        good = part.clause not in clauses
        if kind == "remove":
            bare = not part.words.startswith(
                ("but ", "except", "exclud", "without", "minus", "ignor", "leaving", "not ")
            )
            good &= bare and part.filters and opposite(part.clause) is not None
        if kind == "refine" and opposite(part.clause) in clauses:
            good = False
        good &= part.form is None or "adj" not in part.form
        if good:
            break
        part = draw_clause(voice, concept, facts.pixel_size_known)
    words = pronoun_phrase(voice, concept, part)
    if kind == "remove":
        other = opposite(part.clause)
        assert other is not None
        new = TargetTruth(concept, clauses if other in clauses else (*clauses, other))
        return turn("remove", new, rest=words)
    if kind == "refine":
        return turn("refine", TargetTruth(concept, (*clauses, part.clause)), those=words)
    return turn("replace", TargetTruth(concept, (part.clause,)), those=words)


def pronoun_phrase(voice: Voice, concept: str, part: ClausePhrase) -> str:
    """What a constraint calls the instances without naming them again: "those in the left half"."""
    noun = draw_noun(voice, concept, 0.7)
    nouns, one = noun.plural, noun.singular
    if part.place == "post":
        words = f"{voice.choose(('those', 'those', 'the ones', 'the ' + nouns))} {part.words}"
    elif part.place == "pre":
        words = f"the {part.words} {voice.choose(('ones', 'ones', nouns))}"
    elif part.form is not None and voice.chance(0.7):
        assert isinstance(part.clause, Rank)
        kind = part.form["kind"]
        if kind.startswith("percent"):
            words = "the " + part.words
        else:
            words = voice.pick(f"followups/rank_forms/{kind}")
            words = words.replace("{adj}", rank_adjective(voice, part.clause.by, concept == "neck"))
            if "{by}" in words:
                words = words.replace("{by}", voice.pick(f"clauses/ranks/{part.clause.by}/by", _no_diameter))
            words = words.replace("{n}", str(part.clause.n))
    else:
        words = "the " + part.words
    words = words.replace("{nouns}", nouns).replace("{noun}", agree(one))
    return noise.fill_images(voice, words)


def _no_diameter(text: str) -> bool:
    return "diameter" not in text


__all__ = ["FOLLOW_UPS", "CONCEPT_WEIGHTS", "follow_up", "sample_conversation"]
