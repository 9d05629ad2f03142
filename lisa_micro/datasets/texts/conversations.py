"""Generate conversations: a request and follow-ups that refer to earlier turns.

The effect of a follow-up on the last request:

- "only ..." and "without ..." add to its constraint; "and ...?" and "now the ... ones" replace it; "reset" removes it.
- After a question about a number, a follow-up asks for the same number ("and the pores?"), unless it says to show
  something.
- A complete request starts anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lisa_micro.datasets.texts import noise, referring, written
from lisa_micro.datasets.texts.asking import outline_turn
from lisa_micro.datasets.texts.clause_phrases import draw_clause, opposite, property_word
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.measuring import draw_property, draw_statistic, size_of, statistic_word
from lisa_micro.datasets.texts.numbers import count, quantity
from lisa_micro.datasets.texts.phrases import draw_noun
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, counts_reply, measure_reply
from lisa_micro.datasets.texts.requests import CATEGORIES, chat, draw_concept, request
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import Clause, Compare, Measure, Nearest, Rank, Region, parse_reply
from lisa_micro.language.words import MAX_CLAUSES, PROPERTIES

FOLLOW_UPS = {
    "refine": 10, "remove": 5, "replace": 7, "switch": 8, "same": 4, "count": 5, "statistic": 5, "plain": 2,
    "size": 3, "other_stat": 3, "area fraction": 2, "number density": 1.5, "show": 3, "reset": 3, "invert": 2,
    "others": 3, "also": 2, "and_where": 3, "number": 3, "undo": 2, "new": 5, "chat": 2,
}  # fmt: skip
"""Kinds of follow-ups and their weights, among those that make sense."""
LATER_CHAT = ("thanks", "bye", "help", "correct", "off_topic", "unsupported")
MAX_FOLLOW_UPS = 4
WRITTEN_SHARE = 0.15
"""Share of training conversations that are handwritten from the first turn on."""
_SHOWS = re.compile(
    r"\b(show|see|segment|mark|outline|look|where|find|display|highlight|draw|pick|keep|select|do|discard|drop"
    r"|selection|all but|move on|add)\b"
)
KEPT_MEASURES = ("refine", "remove", "replace", "reset", "others", "and_where", "number")


@dataclass
class State:
    """What the next turn can refer to.

    Attributes:
        targets, measures: of the last turn with targets. before: earlier targets, the latest last.
    """

    targets: list[TargetTruth] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    before: list[list[TargetTruth]] = field(default_factory=list)

    def remember(self, turn: Turn) -> None:
        """Update the state after a turn. Small talk changes nothing; a reply without targets clears the state."""
        if not turn.targets:
            if turn.category != "chat":
                self.targets, self.measures, self.before = [], [], []
            return
        if self.targets and list(turn.targets) != self.targets:
            self.before.append(self.targets)
        self.targets = list(turn.targets)
        self.measures = [v.measure for v in parse_reply(turn.reply).values if v.measure is not None]


def sample_conversation(
    rng: np.random.Generator,
    facts: SceneFacts,
    split: str = "train",
    follow_ups: int | None = None,
    categories: Mapping[str, float] | None = None,
    nouns: Mapping[str, tuple[str, str]] | None = None,
    dialogues: float | None = None,
) -> list[Turn]:
    """Draw a conversation about one image.

    Args:
        rng: source of chance.
        facts: what the image shows.
        split: ``"train"`` or ``"held_out"``; with the latter, the last turn uses held-out wordings.
        follow_ups: number of turns after the first; None: 0 to 4 at random.
        categories: weights of the kinds of first requests, instead of
            :data:`lisa_micro.datasets.texts.requests.CATEGORIES`.
        nouns: see :class:`lisa_micro.datasets.texts.store.Voice`; for texts from templates.
        dialogues: probability of a handwritten conversation, 0..1, with ``split="train"`` only; None:
            :data:`WRITTEN_SHARE`, and 0 if ``categories`` or ``follow_ups`` are given.

    Returns:
        the turns in order; at least one.

    Raises:
        ValueError: an unknown split or category.
    """
    Voice(rng, split)
    if dialogues is None:
        dialogues = WRITTEN_SHARE if categories is None and follow_ups is None else 0.0
    if split == "train" and dialogues and rng.random() < dialogues:
        return written.draw(Voice(rng, split), facts, written.DIALOGUES)
    unknown = sorted(set(categories or ()) - set(CATEGORIES))
    if unknown:
        raise ValueError(f"category must be one of {', '.join(CATEGORIES)}, not {unknown[0]!r}")
    n = follow_ups if follow_ups is not None else int(rng.choice(MAX_FOLLOW_UPS + 1, p=(0.4, 0.25, 0.17, 0.12, 0.06)))
    # the turns before the tested one use trained wordings
    splits = ["train"] * n + [split]
    first = Voice(rng, splits[0], nouns)
    weights = categories or ({**CATEGORIES, "chat": 1.5, "not in the vocabulary": 5} if n else CATEGORIES)
    turns = [request(first, facts, first.weighted(weights))]
    state = State()
    state.remember(turns[0])
    for part in splits[1:]:
        turns.append(follow_up(Voice(rng, part, nouns), facts, state))
        state.remember(turns[-1])
    return turns


def possible_kinds(state: State) -> dict[str, float]:
    """The follow-ups that make sense after a state, with their weights."""
    kinds = {"switch", "new", "chat"}
    if len(state.targets) == 1:
        target = state.targets[0]
        concept, clauses = target.concept, target.clauses
        kinds |= {"area fraction"}
        if concept != "substrate":
            kinds |= {"replace", "plain", "statistic", "size", "and_where"}
            if not target.singular:
                kinds |= {"count", "number density"}
                if len(clauses) < MAX_CLAUSES - 1:
                    kinds |= {"refine", "remove"}
        if clauses:
            kinds |= {"reset"}
            if len(clauses) == 1 and opposite(clauses[0]) is not None:
                kinds.add("others")
            if _numeric(clauses) is not None:
                kinds.add("number")
        elif not state.measures:
            kinds |= {"invert", "also"}
        if clauses or state.measures:
            kinds.add("same")
        if state.measures:
            kinds.add("show")
            if len(state.measures) == 1 and state.measures[0].prop and not target.singular:
                kinds.add("other_stat")
        if state.before and len(state.before[-1]) == 1 and not state.measures:
            kinds.add("undo")
    elif state.targets and not any(t.singular or t.concept == "substrate" for t in state.targets):
        kinds |= {"count"}
    return {kind: weight for kind, weight in FOLLOW_UPS.items() if kind in kinds}


def _numeric(clauses: tuple[Clause, ...]) -> int | None:
    """Index of the only clause with a number; None if there is none or more than one."""
    found = [
        k
        for k, c in enumerate(clauses)
        if (isinstance(c, Rank) and not c.percent and c.n > 1)
        or (isinstance(c, Compare) and not isinstance(c.value, str))
    ]
    others = [c for c in clauses if hasattr(c, "low") or isinstance(c, Nearest) or getattr(c, "percent", False)]
    return found[0] if len(found) == 1 and not others else None


def follow_up(voice: Voice, facts: SceneFacts, state: State, kind: str | None = None) -> Turn:
    """Draw the next turn of a conversation.

    Args:
        voice: source of wordings.
        facts: what the image shows.
        state: after the turns so far.
        kind: one of :data:`FOLLOW_UPS` instead of a drawn one that fits.
    """
    kind = kind or voice.weighted(possible_kinds(state))
    if kind == "new":
        return request(voice, facts, voice.weighted(CATEGORIES))
    if kind == "chat":
        return chat(voice, LATER_CHAT)
    if kind in ("switch", "same", "also"):
        return _other_concept(voice, facts, state, kind)
    target = state.targets[0]
    concept, clauses = target.concept, target.clauses
    category = f"follow-up: {kind}"

    def turn(new: TargetTruth, measures: list[Measure] | None = None, path: str = kind, **slots: str) -> Turn:
        wording = voice.pick(f"followups/{path}")
        if kind in KEPT_MEASURES and state.measures and not _SHOWS.search(wording):
            measures = state.measures
        user = noise.fill_images(voice, wording.format_map({"image": "{image}", **slots}))
        reply = measure_reply(new, measures) if measures else None
        return outline_turn(voice, facts, noise.decorate(voice, user, "follow"), [new], category, reply=reply)

    if kind in ("refine", "replace", "remove", "and_where", "number"):
        return _changed(voice, facts, target, kind, turn)
    if kind == "reset":
        return turn(TargetTruth(concept))
    if kind == "undo":
        return turn(state.before[-1][0])
    if kind == "invert":
        return turn(TargetTruth("particle" if concept == "substrate" else "substrate"))
    if kind == "others":
        other = opposite(clauses[0])
        assert other is not None
        return turn(TargetTruth(concept, (other,)))
    if kind == "show":
        return turn(target)
    if kind == "count":
        if len(state.targets) > 1:
            user = noise.decorate(voice, voice.pick("followups/count"), "follow")
            return outline_turn(voice, facts, user, state.targets, category, reply=counts_reply(state.targets))
        return turn(target, [Measure("count")])
    if kind in ("area fraction", "number density"):
        return turn(target, [Measure(kind)])
    if kind == "size":
        return turn(target, [Measure("mean", size_of(concept))], "one_size" if target.singular else "size")
    if kind == "other_stat":
        prop, stat = state.measures[0].prop, state.measures[0].stat
        while stat == state.measures[0].stat:
            stat = draw_statistic(voice, prop)
        word = statistic_word(voice, stat).removesuffix(" of the").removesuffix(" in")
        return turn(target, [Measure(stat, prop)], stat=word)
    prop = draw_property(voice, concept)
    word = property_word(voice, concept, prop)
    if kind == "plain" or target.singular:
        return turn(target, [Measure("mean", prop)], "one_plain" if target.singular else "plain", prop=word)
    stat = draw_statistic(voice, prop)
    return turn(target, [Measure(stat, prop)], stat=statistic_word(voice, stat), prop=word)


def _changed(voice: Voice, facts: SceneFacts, target: TargetTruth, kind: str, turn: Callable[..., Turn]) -> Turn:
    """Draw a follow-up about the same concept with an additional or another constraint."""
    concept, clauses, in_nm = target.concept, target.clauses, facts.pixel_size_known
    if kind == "number":
        return _other_number(voice, target, turn)
    if kind == "remove":
        part = referring.draw_removable(voice, concept, in_nm)
        other = opposite(part.clause)
        assert other is not None
        kept = clauses if other in clauses else (*clauses, other)
        return turn(TargetTruth(concept, kept), rest=referring.pronoun_phrase(voice, part, concept=concept))
    part = draw_clause(voice, concept, in_nm)
    while (
        part.clause in clauses
        or (kind == "refine" and opposite(part.clause) in clauses)
        or (kind == "and_where" and not referring.can_stand_alone(part))
    ):
        part = draw_clause(voice, concept, in_nm)
    if kind == "and_where":
        return turn(TargetTruth(concept, (part.clause,)), post=noise.fill_images(voice, part.words))
    words = referring.pronoun_phrase(voice, part, concept=concept)
    new = (*clauses, part.clause) if kind == "refine" else (part.clause,)
    return turn(TargetTruth(concept, new), those=words)


def _other_number(voice: Voice, target: TargetTruth, turn: Callable[..., Turn]) -> Turn:
    at = _numeric(target.clauses)
    assert at is not None
    old = target.clauses[at]
    new: Clause
    if isinstance(old, Rank):
        n, text = count(voice)
        new = Rank(old.by, n)
    else:
        assert isinstance(old, Compare)
        number = quantity(voice, old.prop, old.unit)
        new, text = Compare(old.prop, old.op, number.value, old.unit), number.text
        if voice.chance(0.3):
            text = number.bare
    clauses = (*target.clauses[:at], new, *target.clauses[at + 1 :])
    return turn(TargetTruth(target.concept, clauses), x=text)


def _other_concept(voice: Voice, facts: SceneFacts, state: State, kind: str) -> Turn:
    last = {t.concept for t in state.targets}
    concept = draw_concept(voice, facts, 0.12)
    for _ in range(50):
        if concept not in last:
            break
        concept = draw_concept(voice, facts, 0.3)
    else:
        return request(voice, facts, "outline")
    noun = draw_noun(voice, concept, 0.6)
    clauses = state.targets[0].clauses if len(state.targets) == 1 else ()
    measures = state.measures if len(state.targets) == 1 and _applies((), state.measures, concept) else []
    if kind == "same" and not _applies(clauses, state.measures, concept):
        kind = "switch"
    target = TargetTruth(concept, clauses if kind == "same" else ())
    # after a number about some of the instances, "and the pores?" leaves open whether the same constraint applies
    open_question = kind == "switch" and state.measures and (clauses or not measures)
    wording = voice.pick(f"followups/{kind}", lambda w: not open_question or bool(_SHOWS.search(w)))
    user = noise.fill_images(voice, wording.format_map({"nouns": noun.plural, "image": "{image}"}))
    user = noise.decorate(voice, user, "follow")
    category = f"follow-up: {kind}"
    if kind == "also":
        return outline_turn(voice, facts, user, [state.targets[0], target], category)
    asks = bool(measures) and (kind == "same" or not _SHOWS.search(wording))
    reply = measure_reply(target, _as_for(measures, concept)) if asks else None
    return outline_turn(voice, facts, user, [target], category, reply=reply)


def _as_for(measures: list[Measure], concept: str) -> list[Measure]:
    """The size property: neck width for necks, diameter for all other concepts."""
    size = {"diameter", "neck width"}
    return [Measure(m.stat, size_of(concept)) if m.prop in size else m for m in measures]


def _applies(clauses: tuple[Clause, ...], measures: list[Measure], concept: str) -> bool:
    """Whether the same constraint and the same measures make sense for another concept."""
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


__all__ = ["FOLLOW_UPS", "State", "follow_up", "sample_conversation"]
