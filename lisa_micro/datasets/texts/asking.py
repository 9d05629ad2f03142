"""Fills a way of asking and makes the turn."""

from __future__ import annotations

import string

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.phrases import Phrase
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, absent_concepts_reply, outline_reply
from lisa_micro.datasets.texts.store import Voice


def fill(voice: Voice, path: str, said: Phrase) -> str:
    """A wording of a list filled with a phrase, decorated."""
    wording = voice.pick(path, lambda item: fits(item, said.slots))
    kind = path.rsplit("/", 1)[-1]
    user = wording.format_map({**said.slots, "image": "{image}"})
    return noise.decorate(voice, noise.fill_images(voice, user), kind if kind != "yes_no" else "question")


def fits(wording: str, slots: dict[str, str]) -> bool:
    """Whether a phrase has all the slots of a wording."""
    return all(name in slots or name == "image" for _, name, _, _ in string.Formatter().parse(wording) if name)


def kind_of(wording: str) -> str:
    """How a wording may be decorated."""
    return "question" if wording.endswith("?") else "command"


def outline_turn(
    voice: Voice,
    facts: SceneFacts,
    user: str,
    targets: list[TargetTruth],
    category: str,
    yes: bool = False,
    reply: str | None = None,
) -> Turn:
    """A turn that outlines targets; what the image lacks altogether is declined. ``reply`` replaces the
    usual one."""
    targets = [TargetTruth(t.concept, t.clauses, facts.present(t.concept)) for t in targets]
    user = noise.spell(voice, user)
    novel = tuple(voice.novel)
    if not any(target.present for target in targets):
        text = absent_concepts_reply(list(dict.fromkeys(t.concept for t in targets)))
        return Turn(user, text, (), category, True, novel)
    return Turn(user, reply or outline_reply(targets, yes), tuple(targets), category, False, novel)
