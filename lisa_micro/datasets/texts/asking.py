"""Fill a wording of a request, and make the turn."""

from __future__ import annotations

import string

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.facts import SceneFacts
from lisa_micro.datasets.texts.phrases import Phrase
from lisa_micro.datasets.texts.replies import TargetTruth, Turn, absent_concepts_reply, outline_reply
from lisa_micro.datasets.texts.store import Voice


def fill(voice: Voice, path: str, said: Phrase) -> str:
    """Draw a wording of a list, fill it with a phrase, and decorate it."""
    wording = voice.pick(path, lambda item: fits(item, said.slots))
    kind = path.rsplit("/", 1)[-1]
    user = wording.format_map({**said.slots, "image": "{image}"})
    return noise.decorate(voice, noise.fill_images(voice, user), kind if kind != "yes_no" else "question")


def fits(wording: str, slots: dict[str, str]) -> bool:
    """Whether the slots of a phrase suffice for a wording."""
    return all(name in slots or name == "image" for _, name, _, _ in string.Formatter().parse(wording) if name)


def kind_of(wording: str) -> str:
    """The kind of decoration that suits a wording."""
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
    """Make a turn that segments targets; if the image has none of them, the reply says so.

    Args:
        reply: replaces the usual reply.
    """
    targets = [TargetTruth(t.concept, t.clauses, facts.present(t.concept)) for t in targets]
    user = noise.spell(voice, user)
    novel = tuple(voice.novel)
    if not any(target.present for target in targets):
        text = absent_concepts_reply(list(dict.fromkeys(t.concept for t in targets)))
        return Turn(user, text, (), category, True, novel)
    return Turn(user, reply or outline_reply(targets, yes), tuple(targets), category, False, novel)
