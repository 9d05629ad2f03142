"""Answer replies of the language model about a tracked video.

The language model writes which number is meant, in the reply language. The number itself is always measured from the
tables and labels of the video. The rules are described in ``docs/asking.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lisa_micro.language import DEFAULT_VOCABULARY, Measure, Reply, Target, ValueSlot, Vocabulary
from lisa_micro.language.display import UNREADABLE_VALUE, display, noun_phrase
from lisa_micro.language.words import VIDEO_MEASURES
from lisa_micro.results.answer import Answer
from lisa_micro.types import Value
from lisa_micro.video.questions.changes import measure_exponent, measure_over_time
from lisa_micro.video.questions.events import measure_event
from lisa_micro.video.questions.frames import FRAMES_COUNT_FROM_0, nouns
from lisa_micro.video.questions.lineage import Pair
from lisa_micro.video.questions.values import Measured, Question, VideoMeasurements, listed


@dataclass(frozen=True)
class Meant:
    """What a target of a reply means in a video.

    Attributes:
        concept, where, phrase: as in :class:`lisa_micro.results.answer.Segmentation`.
        frame: frame in which it was selected, from 0; ``None`` if in several.
        identities: track IDs; for an event, those that take part in it.
        pairs: for necks, the track IDs of the two particles.
    """

    concept: str
    where: str = ""
    phrase: str = ""
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class VideoAnswer(Answer):
    """An answer about a video: an :class:`~lisa_micro.results.answer.Answer` without segmentations, but with
    ``targets``, one :class:`Meant` for each target of the reply."""

    targets: tuple[Meant, ...] = ()


def what_can_be_asked(concept: str) -> str:
    """Return the sentence that answers a question about a video that names nothing to measure.

    Args:
        concept: concept of the tracked instances.
    """
    plural = nouns(concept)[1]
    return (
        f"This cannot be measured from the tracks; ask for a number or size of {plural} at a moment, how it changes, "
        "when or how often an event happens, or for the growth exponent of necks."
    )


def answer_reply(
    video: VideoMeasurements,
    reply: Reply,
    concepts: Sequence[str] = (),
    vocabulary: Vocabulary = DEFAULT_VOCABULARY,
) -> VideoAnswer:
    """Fill the value slots of a reply with measurements of a video.

    Args:
        video: measurements of the video.
        reply: parsed reply.
        concepts: concepts of the targets, for targets that the words of the reply do not name.
        vocabulary: concepts that the model knows.

    Returns:
        the answer; ``prompt``, ``raw`` and ``seconds`` are empty. A reply without a target that does not state that
        something is absent gives one sentence with what can be asked.
    """
    targets = reply.targets
    if not targets and not reply.absent:
        return VideoAnswer(what_can_be_asked(video.tracks.concept), notes=tuple(reply.notes))
    concepts = [
        target.concept or (concepts[k] if k < len(concepts) else video.tracks.concept)
        for k, target in enumerate(targets)
    ]
    measured = [_fill(video, slot, targets, concepts) for slot in reply.values]
    notes = [*reply.notes, *(note for one in measured for note in one.notes)]
    meant: list[Meant] = []
    reasons: list[str] = []
    for k, (target, concept) in enumerate(zip(targets, concepts, strict=True)):
        of = next((m for slot, m in zip(reply.values, measured, strict=True) if slot.of == k + 1), None)
        one, why, remarks = _meaning(video, target, concept, of)
        meant.append(one)
        notes += remarks
        reasons += [why] if why and of is None else []
    failed = [one.why for one in measured if one.why]
    whole = display(reply, [one.value for one in measured], vocabulary=vocabulary)
    if measured and len(failed) == len(measured):
        text = " ".join(dict.fromkeys(failed))
    elif not measured and reasons and len(reasons) == len(targets):
        text = " ".join(dict.fromkeys(reasons))
    else:
        text = whole
        notes += [*failed, *reasons]
    notes = list(dict.fromkeys([*notes, *(video.partly if targets else ())]))
    if re.search(r"\bframe \d", " ".join((text, *notes))):
        notes.append(FRAMES_COUNT_FROM_0)
    return VideoAnswer(
        text=text,
        values=tuple(one.value for one in measured),
        declined=reply.absent and not targets,
        notes=tuple(notes),
        targets=tuple(meant),
    )


def _fill(video: VideoMeasurements, slot: ValueSlot, targets: Sequence[Target], concepts: Sequence[str]) -> Measured:
    """Measure a value slot."""
    if slot.measure is None or not 1 <= slot.of <= len(targets):
        return Measured(Value(slot.raw, float("nan"), "", UNREADABLE_VALUE, slot.of))
    question = Question(slot.measure, concepts[slot.of - 1], targets[slot.of - 1].clauses, slot.of)
    if slot.measure.event:
        return measure_event(video, question)
    if slot.measure.stat in VIDEO_MEASURES:
        return measure_exponent(video, question)
    over_time = slot.measure.when in ("change", "rate")
    return measure_over_time(video, question) if over_time else video.moment(question)


def _meaning(
    video: VideoMeasurements, target: Target, concept: str, measured: Measured | None
) -> tuple[Meant, str, tuple[str, ...]]:
    """Return what a target means, one sentence why it means nothing (or ``""``), and notes."""
    phrase = noun_phrase(concept, target.clauses)
    meant = Meant(concept, target.where, phrase)
    if measured is not None:
        return replace(meant, frame=measured.frame, identities=measured.identities, pairs=measured.pairs), "", ()
    question = Question(Measure("count"), concept, target.clauses)
    unknown = video.frames.unknown(concept)
    if unknown:
        return meant, unknown, ()
    frames, tracks = video.frames, video.tracks
    first = frames.first(concept)
    if first is None:
        return meant, f"There are no {question.kind} in any frame.", ()
    if concept == "neck" and tracks.concept != "neck":
        rows, notes = video.chosen_lines(question)
        pairs = video.pairs(rows)
        note = f"{len(pairs)} pairs of particles are joined by the {phrase}."
        return (
            replace(meant, pairs=pairs),
            "" if pairs else f"There are no {question.kind} in any frame.",
            (*notes, note),
        )
    if concept != tracks.concept:
        count = len(video.kept(question, first)[0]["area"])
        return replace(meant, frame=first), "", (f"In {frames.named(first)} there are {count} {nouns(concept)[1]}.",)
    if not target.clauses:
        ids = tuple(tracks.identities)
        return replace(meant, identities=ids), "", (f"There are {len(ids)} tracks in all.",)
    t, ids, notes = video.chosen(question)
    if not ids:
        return meant, f"There are no {question.kind} in {frames.named(first)}.", notes
    return replace(meant, frame=t, identities=ids), "", (*notes, f"In {frames.named(first)}: {listed(ids)}.")
