"""Measure a tracked video at a moment, and select the instances that a constraint means.

At a moment, a constraint ("the three largest") applies to the instances of that frame. Over time and for events it
applies to the first frame with any instance; for necks, to each neck in the frame in which it is widest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict, Unpack

import numpy as np

from lisa_micro.assistant import values
from lisa_micro.language import FULL_VOCABULARY, Measure, Vocabulary, render_measure
from lisa_micro.language.program.describe import Describer, tidy
from lisa_micro.language.program.syntax import Near, Pair, Pipeline, Rank, Target
from lisa_micro.types import Value
from lisa_micro.video.analysis import Findings, analyse
from lisa_micro.video.questions.frames import Properties, VideoFrames, needs_masks, nouns
from lisa_micro.video.questions.lineage import Pair as TrackPair
from lisa_micro.video.questions.lineage import neck_lines
from lisa_micro.video.questions.scene import FixedMeasures, FrameMeasures, select
from lisa_micro.video.track_data import TrackData

NO_FRAME_TIME = "The frame time is unknown, so that times are in frames; give it when tracking to get seconds."
"""Note on answers with times."""
NO_PARTICLES = "Contacts and necks are measured between particles, but this video has no tracks of particles."
"""Answer to questions about necks in a video of something else."""


@dataclass(frozen=True)
class Measured:
    """A measured value.

    Attributes:
        value: the value, NaN if there is no number.
        notes: notes on it, one sentence each.
        why: one sentence that says why there is no number, otherwise ``""``.
        frame: frame in which the instances were selected, ``None`` if in several.
        identities: track IDs of the measured instances.
        pairs: for necks, the track IDs of the two particles.
    """

    value: Value
    notes: tuple[str, ...] = ()
    why: str = ""
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[TrackPair, ...] = ()


@dataclass(frozen=True)
class Question:
    """A measure of one target of a reply: its concept, its constraint, its number in the reply, and all targets."""

    measure: Measure
    concept: str
    pipeline: Pipeline = ()
    target: int = 1
    targets: tuple[Target, ...] = ()

    @property
    def phrase(self) -> str:
        """Noun phrase of the target, without article."""
        return phrase_of(self.concept, self.pipeline, self.targets)

    @property
    def kind(self) -> str:
        """Noun phrase in the plural without orders, for the statement that there are none."""
        plain = [step for step in self.pipeline if not any(isinstance(f, Rank | Near | Pair) for f in step.filters)]
        return phrase_of(self.concept, tuple(plain), self.targets)


def phrase_of(
    concept: str, pipeline: Pipeline, targets: tuple[Target, ...] = (), vocabulary: Vocabulary = FULL_VOCABULARY
) -> str:
    """Return the noun phrase of a target, without article."""
    if not vocabulary.knows(concept):
        vocabulary = Vocabulary.of([(concept, *nouns(concept), True)])
    return tidy(Describer(targets, vocabulary).phrase(concept, pipeline).definite()).removeprefix("the ")


class _Facts(TypedDict, total=False):
    """Optional fields of :class:`Measured`."""

    notes: tuple[str, ...]
    frame: int | None
    identities: tuple[int, ...]
    pairs: tuple[TrackPair, ...]


def unit_text(unit: str) -> str:
    """Format a unit for display: ``nm²``, ``per s``."""
    return unit.replace("um", "µm").replace("2", "²").replace("1/", "per ")


def none(question: Question, why: str, notes: Iterable[str] = (), unit: str = "") -> Measured:
    """Return a value without a number, and the reason."""
    text = f"no value ({why[0].lower()}{why[1:].rstrip('.')})"
    return Measured(Value(render_measure(question.measure), math.nan, unit, text, question.target), tuple(notes), why)


def number(question: Question, value: float, unit: str, text: str = "", **more: Unpack[_Facts]) -> Measured:
    """Return a number; ``text`` replaces the number with its unit in the reply."""
    text = text or f"{values.significant(value)} {unit_text(unit)}".rstrip()
    return Measured(Value(render_measure(question.measure), value, unit, text, question.target), **more)


class VideoMeasurements:
    """Measures a tracked video.

    Args:
        tracks: tracks of the video.
        findings: their analysis, if there is one already.
    """

    def __init__(self, tracks: TrackData, findings: Findings | None = None):
        self.tracks, self.frames = tracks, VideoFrames(tracks)
        self.findings = findings or analyse(tracks)

    @property
    def partly(self) -> tuple[str, ...]:
        """Note for tracks of a request that selected only some of the instances."""
        where, boxes = (self.tracks.record.get(name) for name in ("where", "boxes_px"))
        if not (where or boxes):
            return ()
        which = f"that '{where}' selects" if where else "in the boxes"
        return (f"Only the instances {which} were tracked; nothing is known of the others.",)

    # ------------------------------------------------------------------------------------------- a moment

    def moment(self, question: Question) -> Measured:
        """Measure at a moment, or in the last frame if the question names none. What is unknown raises no error, but is
        stated in :attr:`Measured.why`."""
        unknown, measure = self.frames.unknown(question.concept), question.measure
        if unknown:
            return none(question, unknown)
        t, note = self.frames.at(measure.when or "at end")
        if t is None:
            return none(question, note)
        found = self._in_frame(question, t)
        notes = [note] if note else []
        if not measure.when and self.frames.last:
            first = self._in_frame(question, 0)
            notes.append(
                f"This is the value in the last frame, {self.frames.named(self.frames.last)}; in the first frame it is "
                f"{first.value.text}."
            )
            if measure.stat == "count" and not question.pipeline and question.concept == self.tracks.concept:
                notes.append(f"There are {len(self.tracks.lineage)} tracks in all.")
        return replace(found, notes=(*notes, *found.notes))

    def kept(self, question: Question, t: int) -> tuple[Properties, tuple[str, ...]]:
        """Return the instances of a frame that fulfil the constraint, in px, and notes."""
        masks = needs_masks(question.measure, question.pipeline)
        found = self.frames.properties(question.concept, t, masks)
        if not question.pipeline:
            return found, ()
        measures = FrameMeasures(self.frames, t, masks)
        keep, notes = select(measures, question.concept, question.pipeline, question.targets)
        return values.subset(found, keep), notes

    def _in_frame(self, question: Question, t: int) -> Measured:
        found, notes = self.kept(question, t)
        value, remarks = self.evaluate(question, found)
        ids = self._names(question.concept, found)
        why = ""
        if math.isnan(value.value):
            why = f"There are no {question.kind} in {self.frames.named(t)}."
            if len(found["area"]):
                why = f"The {question.measure.stat} {question.measure.prop} is not defined in {self.frames.named(t)}."
        return Measured(value, (*notes, *remarks), why, t, *ids)

    def evaluate(self, question: Question, found: Properties) -> tuple[Value, tuple[str, ...]]:
        """Evaluate the measure, without its moment, on instances of a frame; also return notes."""
        plain = Measure(question.measure.stat, question.measure.prop)
        tracks = self.tracks
        shape, size = tracks.shape, tracks.pixel_size_nm
        value, notes = values.evaluate(plain, found, shape, size, question.concept, question.target)
        return replace(value, measure=render_measure(question.measure)), notes

    def _names(self, concept: str, found: Properties) -> tuple[tuple[int, ...], tuple[TrackPair, ...]]:
        labels = np.asarray(found["label"]).tolist()
        if concept == self.tracks.concept:
            return tuple(labels), ()
        if concept != "neck":
            return (), ()
        rows = self.tracks.necks.loc[:, ["particle_a", "particle_b"]].to_numpy()
        return (), tuple((int(a), int(b)) for a, b in rows[np.asarray(labels, np.int64)])

    # ------------------------------------------------------------------------------------------- constraints

    def chosen(self, question: Question) -> tuple[int | None, tuple[int, ...], tuple[str, ...]]:
        """Return the first frame with any instance, the track IDs that fulfil the constraint in it, and notes."""
        t = self.frames.first(self.tracks.concept)
        if t is None:
            return None, (), ()
        found, notes = self.kept(question, t)
        return t, tuple(np.asarray(found["label"]).tolist()), notes

    @cached_property
    def lines(self) -> np.ndarray:
        """Neck number of each row of ``TrackData.necks``; see :func:`lisa_micro.video.questions.lineage.neck_lines`."""
        return neck_lines(self.tracks.necks, self.tracks.lineage)

    def chosen_lines(self, question: Question) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return which rows of ``TrackData.necks`` belong to necks that fulfil the constraint when they are widest.

        Returns:
            ``(rows,)`` bool, and notes.
        """
        necks = self.tracks.necks
        if not len(necks) or not question.pipeline:
            return np.ones(len(necks), bool), ()
        order = np.lexsort((-necks["x_px"].to_numpy(float), self.lines))
        widest = order[np.unique(self.lines[order], return_index=True)[1]]
        masks = needs_masks(question.measure, question.pipeline)
        parts: list[Properties] = []
        for row in widest.tolist():
            found = self.frames.properties("neck", int(necks["frame"].iloc[row]), masks)
            parts.append(values.subset(found, found["label"] == row))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        fixed = FixedMeasures(self.frames, "neck", whole)
        keep, notes = select(fixed, "neck", question.pipeline, question.targets)
        return np.isin(self.lines, self.lines[widest[keep]]), notes

    def pairs(self, chosen: np.ndarray) -> tuple[TrackPair, ...]:
        """Return the pairs of particles of selected rows of ``TrackData.necks``."""
        rows = self.tracks.necks.loc[chosen, ["particle_a", "particle_b"]].drop_duplicates()
        return tuple((int(a), int(b)) for a, b in rows.itertuples(index=False))


def listed(identities: Iterable[int], most: int = 12) -> str:
    """List track IDs: ``tracks 3, 7, 12``, or ``none``."""
    names = [str(k) for k in identities]
    if not names:
        return "none"
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{'track' if len(names) == 1 else 'tracks'} {shown}"
