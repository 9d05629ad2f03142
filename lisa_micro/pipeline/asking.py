"""Asking about a followed video in words.

The language model reads the question with one frame and answers in the reply language; every number in the answer is
measured from the tables and labels of the video, none is written by the model. What is meant by what, is in
``docs/asking.md``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.assistant.assistant import Assistant, Clock
from lisa_micro.assistant.engine import CONTEXT_TOKENS, Memory, Written
from lisa_micro.assistant.reply import UNREADABLE_VALUE, display, noun_phrase
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.language import DEFAULT_VOCABULARY, Measure, Reply, Target, ValueSlot, Vocabulary, parse_reply
from lisa_micro.language.words import VIDEO_MEASURES
from lisa_micro.pipeline.events import NECK_RATIO
from lisa_micro.pipeline.question_changes import measure_exponent, measure_over_time
from lisa_micro.pipeline.question_events import measure_event
from lisa_micro.pipeline.question_frames import FRAMES_COUNT_FROM_0, nouns
from lisa_micro.pipeline.question_lines import Pair
from lisa_micro.pipeline.question_values import Asked, Found, Measuring, listed
from lisa_micro.types import Answer, InputError, Micrograph, Value

if TYPE_CHECKING:
    from lisa_micro.pipeline.tracks import Tracks

_TURNS = 3  # of a conversation that are read again when it begins anew


@dataclass(frozen=True)
class Meant:
    """What a target of a reply means in a video.

    Attributes:
        concept, where, phrase: as in :class:`lisa_micro.types.Segmentation`.
        frame: in which that was decided, from 0; ``None`` where in no one frame.
        identities: of what was followed; of an event, those that take part in it.
        pairs: of necks, the identities of their two particles.
    """

    concept: str
    where: str = ""
    phrase: str = ""
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class VideoAnswer(Answer):
    """An answer about a video: an :class:`~lisa_micro.types.Answer` without outlines, and ``targets``, one
    :class:`Meant` a target of the reply."""

    targets: tuple[Meant, ...] = ()


def answer_reply(
    measuring: Measuring,
    reply: Reply,
    concepts: list[str] | None = None,
    vocabulary: Vocabulary = DEFAULT_VOCABULARY,
) -> VideoAnswer:
    """Fill the value slots of a reply from what was measured in a video.

    Args:
        measuring: of the video.
        reply: parsed.
        concepts: of the targets, where the words of the reply do not name them.
        vocabulary: the concepts that the model knows.

    Returns:
        the answer; ``prompt``, ``raw`` and ``seconds`` are empty.
    """
    targets = reply.targets
    concepts = [
        target.concept or (concepts[k] if concepts and k < len(concepts) else measuring.tracks.concept)
        for k, target in enumerate(targets)
    ]
    found = [_fill(measuring, slot, targets, concepts) for slot in reply.values]
    notes = [*reply.notes, *(note for one in found for note in one.notes)]
    meant: list[Meant] = []
    reasons: list[str] = []
    for k, (target, concept) in enumerate(zip(targets, concepts, strict=True)):
        of = next((f for slot, f in zip(reply.values, found, strict=True) if slot.of == k + 1), None)
        one, why, remarks = _means(measuring, target, concept, of)
        meant.append(one)
        notes += remarks
        reasons += [why] if why and of is None else []
    failed = [one.why for one in found if one.why]
    whole = display(reply, [one.value for one in found], vocabulary=vocabulary)
    if found and len(failed) == len(found):
        text = " ".join(dict.fromkeys(failed))
    elif not found and reasons and len(reasons) == len(targets):
        text = " ".join(dict.fromkeys(reasons))
    else:
        text = whole
        notes += [*failed, *reasons]
    notes = list(dict.fromkeys([*notes, *(measuring.partly if targets else ())]))
    if re.search(r"\bframe \d", " ".join((text, *notes))):
        notes.append(FRAMES_COUNT_FROM_0)
    return VideoAnswer(
        text=text,
        values=tuple(one.value for one in found),
        declined=reply.absent and not targets,
        notes=tuple(notes),
        targets=tuple(meant),
    )


def _fill(measuring: Measuring, slot: ValueSlot, targets: tuple[Target, ...], concepts: list[str]) -> Found:
    if slot.measure is None or not 1 <= slot.of <= len(targets):
        return Found(Value(slot.raw, float("nan"), "", UNREADABLE_VALUE, slot.of))
    asked = Asked(slot.measure, concepts[slot.of - 1], targets[slot.of - 1].clauses, slot.of)
    if slot.measure.event:
        return measure_event(measuring, asked)
    if slot.measure.stat in VIDEO_MEASURES:
        return measure_exponent(measuring, asked)
    over_time = slot.measure.when in ("change", "rate")
    return measure_over_time(measuring, asked) if over_time else measuring.moment(asked)


def _means(
    measuring: Measuring, target: Target, concept: str, found: Found | None
) -> tuple[Meant, str, tuple[str, ...]]:
    """Who a target means; where nobody, one sentence why; and notes."""
    phrase = noun_phrase(concept, target.clauses)
    meant = Meant(concept, target.where, phrase)
    if found is not None:
        return replace(meant, frame=found.frame, identities=found.identities, pairs=found.pairs), "", ()
    asked = Asked(Measure("count"), concept, target.clauses)
    unknown = measuring.frames.unknown(concept)
    if unknown:
        return meant, unknown, ()
    frames, tracks = measuring.frames, measuring.tracks
    first = frames.first(concept)
    if first is None:
        return meant, f"There are no {asked.kind} in any frame.", ()
    if concept == "neck" and tracks.concept != "neck":
        rows, notes = measuring.chosen_lines(asked)
        pairs = measuring.pairs(rows)
        note = f"{len(pairs)} pairs of particles are joined by the {phrase}."
        return replace(meant, pairs=pairs), "" if pairs else f"There are no {asked.kind} in any frame.", (*notes, note)
    if concept != tracks.concept:
        count = len(measuring.kept(asked, first)[0]["area"])
        return replace(meant, frame=first), "", (f"In {frames.named(first)} there are {count} {nouns(concept)[1]}.",)
    if not target.clauses:
        who = tuple(tracks.identities)
        return replace(meant, identities=who), "", (f"{len(who)} identities were followed in all.",)
    t, who, notes = measuring.chosen(asked)
    if not who:
        return meant, f"There are no {asked.kind} in {frames.named(first)}.", notes
    return replace(meant, frame=t, identities=who), "", (*notes, f"In {frames.named(first)}: {listed(who)}.")


class VideoConversation:
    """Questions about a followed video, in order; later ones may refer to what was said.

    The language model reads them with one frame: the first with a neck (x/R above 0.1), or the first with anything.
    Both towers see it once. Where a reply says that something is not there which the tables know from another frame,
    the question is read again with that frame.

    Args:
        tracks: the video.
        assistant: from :func:`lisa_micro.load_assistant`.
        video: as for :func:`lisa_micro.read_video`; ``None`` for the file that the record names. Where that is gone,
            the frame is drawn from the labels, and a note says so.

    Raises:
        InputError: the assistant does not speak the reply language, or the video is another one.
    """

    def __init__(self, tracks: Tracks, assistant: Any, video: Any = None):
        if not speaks(assistant):
            raise InputError(
                "This model does not write the reply language, so it cannot be asked about a video; use micro."
            )
        self.tracks, self.assistant = tracks, assistant
        self.measuring = Measuring(tracks)
        self.answers: list[VideoAnswer] = []
        self._stream, self._drawn = self._open(video)
        self._seen = self._first()
        self._begun: dict[int, Memory] = {}
        self._memory: Memory | None = None

    def ask(self, question: str) -> VideoAnswer:
        """The next question.

        Args:
            question: any words; beyond :data:`lisa_micro.language.MAX_PROMPT` characters they are cut, with a notice.

        Raises:
            InputError: an empty question, or a video that ends before the frame that is to be looked at.
        """
        prompt, notes = self.assistant.readable(question)
        clock = Clock()
        vocabulary = self.assistant.engine.vocabulary
        written = self._read(prompt)
        reply = parse_reply(written.raw, vocabulary)
        missing = vocabulary.named_in(display(reply, vocabulary=vocabulary)) if _declines(reply) else None
        if missing is not None and not self.measuring.frames.unknown(missing):
            shown = self.measuring.frames.first(missing)
            if shown is not None and shown != self._seen:
                self._seen, self._memory = shown, None
                written = self._read(prompt)
                reply = parse_reply(written.raw, vocabulary)
        clock.lap("language")
        engine = self.assistant.engine
        named = [engine.code_names[k] for k in engine.nearest_concept(written.states)]
        answer = answer_reply(self.measuring, reply, named, vocabulary)
        if _declines(reply):
            answer = replace(answer, text=self._absence(answer.text, missing))
        if self._drawn:
            notes = (*notes, self._drawn)
        clock.lap("measure")
        answer = replace(answer, prompt=prompt, raw=written.raw, notes=(*notes, *answer.notes), seconds=clock.seconds)
        self.answers.append(answer)
        return answer

    def _absence(self, text: str, missing: str | None) -> str:
        """What the model says of one frame, said of what is known of all."""
        if missing is not None:
            unknown = self.measuring.frames.unknown(missing)
            if unknown:
                return unknown
            if self.measuring.frames.first(missing) is None:
                return f"There are no {nouns(missing)[1]} in any frame."
        return text.replace("in this micrograph", f"in frame {self._seen}, with which the question was read")

    def _read(self, prompt: str) -> Written:
        engine = self.assistant.engine
        # given back at the end: a question that fails half-way leaves nothing half-read behind
        memory, self._memory = self._memory, None
        if memory is None or memory.length > CONTEXT_TOKENS:
            memory = engine.fork(self._begin(self._seen))
            for number, answer in enumerate(self.answers[-_TURNS:]):
                engine.recite(memory, answer.prompt, answer.raw, first=number == 0)
        written, _ = engine.write(memory, prompt, first=not self.answers)
        self._memory = memory
        return written

    def _begin(self, t: int) -> Memory:
        if t not in self._begun:
            pixels = self._frame(t).pixels
            self._begun[t] = self.assistant.engine.begin(
                self.assistant.engine.encode(self.assistant.intensities(pixels))
            )
        return self._begun[t]

    def _first(self) -> int:
        tracks = self.tracks
        necks = tracks.necks.loc[tracks.necks["x_over_R"] > NECK_RATIO, "frame"] if len(tracks.necks) else ()
        rows = necks if len(necks) else tracks.tracks["frame"]
        return int(rows.min()) if len(rows) else 0

    def _open(self, video: Any) -> tuple[VideoStream | None, str]:
        """The video, or ``None`` and a note that it is gone."""
        source = str(self.tracks.record.get("video", {}).get("source", ""))
        given = video is not None
        try:
            if not given and not (source and os.path.exists(source)):
                raise InputError("it is not there")
            stream = read_video(video if given else Path(source))
        except InputError:
            if given:
                raise
            name = f" ({Path(source).name})" if source else ""
            return None, (
                f"The video{name} could not be read again, so the question was read with a picture drawn from the "
                "labels; the numbers are measured all the same."
            )
        if stream.shape != self.tracks.shape:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (stream.shape, self.tracks.shape)]
            raise InputError(f"The video is {sizes[0]} px and what was followed {sizes[1]} px; give the same video.")
        return stream, ""

    def _frame(self, t: int) -> Micrograph:
        if self._stream is None:
            return Micrograph(drawn(self.tracks.labels[t]), self.tracks.pixel_size_nm, f"labels of frame {t}")
        for k, image in enumerate(self._stream.micrographs()):
            if k == t:
                return image
        raise InputError(f"The video ends before frame {t}, which is to be looked at; give the same video.")


def speaks(assistant: Any) -> bool:
    """Whether an assistant writes the reply language."""
    from lisa_micro.assistant.official import OfficialAssistant

    return isinstance(assistant, Assistant) and not isinstance(assistant, OfficialAssistant)


def drawn(labels: np.ndarray) -> np.ndarray:
    """A picture of labels in the manner of bright-field TEM: dark particles with lighter outlines on a light ground.

    Args:
        labels: ``(H, W)`` int32.

    Returns:
        ``(H, W)`` float32, 0..1.
    """
    from scipy import ndimage

    edge = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    picture = np.where(labels > 0, np.where(edge, 0.45, 0.25), 0.8).astype(np.float32)
    return ndimage.gaussian_filter(picture, 1.0)


def _declines(reply: Reply) -> bool:
    return reply.absent and not reply.targets
