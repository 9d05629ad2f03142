"""Answer replies of the language model about a tracked video.

The language model writes which number is meant, in the reply language. The number itself is always measured from the
tables and labels of the video. The rules are described in ``docs/asking.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lisa_micro.execution import Number, PlotData, Result, Series, number_words, tell
from lisa_micro.execution.columns import column, scale_of
from lisa_micro.execution.quantities import combined
from lisa_micro.language import FULL_VOCABULARY, Measure, Vocabulary
from lisa_micro.language.program import Program, Target, describe, terms
from lisa_micro.language.program.describe import measure_words
from lisa_micro.language.program.english import sentence
from lisa_micro.language.program.syntax import Measured as MeasuredOperand
from lisa_micro.language.program.syntax import Operand, Plot
from lisa_micro.language.program.syntax import Value as ValueSlot
from lisa_micro.language.words import VIDEO_MEASURES
from lisa_micro.results.answer import Answer
from lisa_micro.types import Value
from lisa_micro.video.questions.changes import measure_exponent, measure_over_time
from lisa_micro.video.questions.events import measure_event
from lisa_micro.video.questions.frames import FRAMES_COUNT_FROM_0, nouns
from lisa_micro.video.questions.lineage import Pair
from lisa_micro.video.questions.scene import instances
from lisa_micro.video.questions.values import Measured, Question, VideoMeasurements, listed, none


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


NOT_OF_VIDEO = "That is measured on a single micrograph; ask for it with one frame."
"""Answer to measures that a video does not have."""


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


def answer_program(
    video: VideoMeasurements,
    program: Program,
    concepts: Sequence[str] = (),
    vocabulary: Vocabulary = FULL_VOCABULARY,
) -> VideoAnswer:
    """Measure what a program asks of a video.

    Args:
        video: measurements of the video.
        program: parsed reply of the language model.
        concepts: concepts of the targets, for targets that the words of the reply do not name.
        vocabulary: concepts that the model knows.

    Returns:
        the answer; ``prompt``, ``raw`` and ``seconds`` are empty. A reply without a target that refuses nothing
        gives one sentence with what can be asked.
    """
    targets = program.targets
    if not targets:
        return _without_targets(video, program, vocabulary)
    names = [
        target.concept or (concepts[k] if k < len(concepts) else video.tracks.concept)
        for k, target in enumerate(targets)
    ]
    filler = _Filler(video, targets, names)
    measured = [filler.value(slot) for slot in program.values]
    plots = tuple(filler.plot(slot) for slot in program.plots)
    notes = [*program.notes, *(note for one in measured for note in one.notes)]
    meant: list[Meant] = []
    told: list[str] = []
    reasons: list[str] = []
    asked = {number for slot in program.values for number in _numbers(slot)}
    asked |= {number for plot in program.plots for number in plot.of}
    if any(slot.first is None for slot in program.values):
        asked = set(range(1, len(targets) + 1))
    for number, (target, concept) in enumerate(zip(targets, names, strict=True), 1):
        of = next((m for slot, m in zip(program.values, measured, strict=True) if number in _numbers(slot)), None)
        one, why, remarks = _meaning(video, Question(Measure("count"), concept, target.pipeline, number, targets), of)
        meant.append(replace(one, where=target.where))
        if number in asked:
            notes += remarks
        else:
            told += remarks
            reasons += [why] if why else []
    failed = [one.why for one in measured if one.why]
    told += [filler.told(slot, one) for slot, one in zip(program.values, measured, strict=True) if not one.why]
    told += [_plot_words(data, vocabulary) for data in plots]
    if told:
        notes += [*failed, *reasons]
    else:
        told = [*failed, *reasons]
    told += [sentence for sentence in [_refusals(program, vocabulary)] if sentence]
    text = " ".join(dict.fromkeys(told))
    notes = list(dict.fromkeys([*notes, *video.partly]))
    if re.search(r"\bframe \d", " ".join((text, *notes))):
        notes.append(FRAMES_COUNT_FROM_0)
    return VideoAnswer(
        text=text,
        values=tuple(one.value for one in measured),
        plots=plots,
        understood=describe(program, vocabulary),
        notes=tuple(notes),
        targets=tuple(meant),
    )


def _without_targets(video: VideoMeasurements, program: Program, vocabulary: Vocabulary) -> VideoAnswer:
    kinds = [refusal.kind for refusal in program.refusals]
    if not kinds:
        return VideoAnswer(what_can_be_asked(video.tracks.concept), notes=tuple(program.notes))
    text = tell(Result(program), vocabulary)
    return VideoAnswer(text, declined=True, refusal=kinds[0], notes=tuple(program.notes))


def _refusals(program: Program, vocabulary: Vocabulary) -> str:
    parts = tuple(part for part in program.refusals if part.kind != "absent")
    return tell(Result(Program(parts)), vocabulary) if parts else ""


def _numbers(slot: ValueSlot) -> tuple[int, ...]:
    """The targets of a value slot, from 1."""
    return tuple(o.of for o in (slot.first, slot.second) if isinstance(o, MeasuredOperand))


class _Filler:
    """Measures the slots of one program on a video."""

    def __init__(self, video: VideoMeasurements, targets: tuple[Target, ...], concepts: Sequence[str]):
        self.video, self.targets, self.concepts = video, targets, tuple(concepts)

    def question(self, measure: Measure, number: int) -> Question:
        """A measure of a target."""
        return Question(measure, self.concepts[number - 1], self.targets[number - 1].pipeline, number, self.targets)

    def value(self, slot: ValueSlot) -> Measured:
        """Measure a value slot."""
        if not isinstance(slot.first, MeasuredOperand):
            why = "The measure was not understood." if slot.first is None else NOT_OF_VIDEO
            return none(Question(Measure("count"), self.video.tracks.concept), why)
        first = self.operand(slot.first)
        if slot.second is None:
            return first
        second = self.operand(slot.second)
        for one in (first, second):
            if one.why:
                return one
        numbers = [Number(one.value.value, one.value.unit) for one in (first, second)]
        result = combined(numbers[0], slot.op, numbers[1])
        if not result.known:
            return none(self.question(slot.first.measure, slot.first.of), f"There is no value: {result.why}.")
        percent = slot.op == "/" and first.value.unit == second.value.unit and self._share(slot)
        text = f"{number_words(Number(100 * result.value, '%'))}" if percent else number_words(result)
        notes = (f"From {first.value.text} and {second.value.text}.", *first.notes, *second.notes)
        value = Value(slot.raw, result.value, result.unit, text, slot.first.of)
        return Measured(value, notes, frame=first.frame, identities=first.identities)

    def _share(self, slot: ValueSlot) -> bool:
        """Whether a ratio compares counts of a part with those of all of a concept."""
        assert isinstance(slot.first, MeasuredOperand) and isinstance(slot.second, MeasuredOperand)
        whole = self.targets[slot.second.of - 1]
        same = self.concepts[slot.first.of - 1] == self.concepts[slot.second.of - 1]
        return same and not whole.pipeline and slot.first.measure == slot.second.measure

    def operand(self, operand: Operand) -> Measured:
        """Measure one operand."""
        assert isinstance(operand, MeasuredOperand)
        question = self.question(operand.measure, operand.of)
        if operand.measure.stat in terms.WHOLE_DIMENSIONS:
            return none(question, NOT_OF_VIDEO)
        if operand.measure.event:
            return measure_event(self.video, question)
        if operand.measure.stat in VIDEO_MEASURES:
            return measure_exponent(self.video, question)
        over_time = operand.measure.when in ("change", "rate")
        return measure_over_time(self.video, question) if over_time else self.video.moment(question)

    def told(self, slot: ValueSlot, measured: Measured) -> str:
        """One sentence with a measured value."""
        first = slot.first
        if slot.second is None and isinstance(first, MeasuredOperand) and self._counts(first):
            return self._counted(first, measured)
        words = [self._operand_words(o) for o in (slot.first, slot.second) if isinstance(o, MeasuredOperand)]
        if len(words) == 2:
            kind = "ratio" if slot.op == "/" else "difference"
            between = "to" if slot.op == "/" else "and"
            return sentence(f"the {kind} of the {words[0]} {between} the {words[1]} is {measured.value.text}")
        return sentence(f"the {words[0]} is {measured.value.text}")

    @staticmethod
    def _counts(operand: MeasuredOperand) -> bool:
        measure = operand.measure
        return measure.stat == "count" and not measure.event and measure.when not in ("change", "rate")

    def _counted(self, operand: MeasuredOperand, measured: Measured) -> str:
        """``There are 12 particles at the end.``"""
        question = self.question(operand.measure, operand.of)
        when = measure_words(operand.measure).removeprefix(measure_words(replace(operand.measure, when="")))
        n = int(measured.value.value)
        if question.pipeline:
            return sentence(f"there {'is' if n == 1 else 'are'} {n} of the {question.phrase}{when}")
        return sentence(f"there {'is' if n == 1 else 'are'} {n} {nouns(question.concept)[n != 1]}{when}")

    def _operand_words(self, operand: MeasuredOperand) -> str:
        phrase = self.question(operand.measure, operand.of).phrase
        if operand.measure.event or operand.measure.stat in VIDEO_MEASURES:
            of = "" if not self.targets[operand.of - 1].pipeline else f" of the {phrase}"
            return f"{measure_words(operand.measure)}{of}"
        words = measure_words(replace(operand.measure, when=""))
        when = measure_words(operand.measure).removeprefix(words)
        return (
            f"{words} of {'' if words == 'number' else 'the '}{phrase}{when}"
            if when.startswith(" at")
            else (f"{measure_words(operand.measure)} of {'' if words == 'number' else 'the '}{phrase}")
        )

    def plot(self, slot: Plot) -> PlotData:
        """The numbers of a plot, from the last frame."""
        video, size = self.video, self.video.tracks.pixel_size_nm
        if not slot.kind:
            return PlotData(slot, problem="it was not understood")
        series = []
        for number in slot.of:
            question = self.question(Measure("count"), number)
            unknown = video.frames.unknown(question.concept)
            if unknown:
                return PlotData(slot, problem=unknown[0].lower() + unknown[1:].rstrip("."))
            found = instances(video.kept(question, video.frames.last)[0], None)
            columns = [column(prop, found, question.concept) for prop in (slot.prop, slot.against) if prop]
            if any(values is None for values in columns):
                return PlotData(slot, problem=f"the {slot.prop} was not measured")
            scaled = [
                values * scale_of(prop, size)[0]
                for values, prop in zip(columns, (slot.prop, slot.against), strict=False)
                if values is not None
            ]
            against = scaled[1] if slot.against else None
            name = f"{question.phrase} in {video.frames.named(video.frames.last)}"
            series.append(Series(number, name, scaled[0], against))
        against_unit = scale_of(slot.against, size)[1] if slot.against else ""
        return PlotData(slot, tuple(series), scale_of(slot.prop, size)[1], against_unit)


def _plot_words(data: PlotData, vocabulary: Vocabulary) -> str:
    """One sentence about a plot."""
    if data.problem:
        return f"The plot could not be drawn: {data.problem}."
    names = " and ".join(f"{len(series.values)} {series.name}" for series in data.series)
    return f"Here is the {data.slot.kind} of the {data.slot.prop}: {names}."


def _meaning(
    video: VideoMeasurements, question: Question, measured: Measured | None
) -> tuple[Meant, str, tuple[str, ...]]:
    """Return what a target means, one sentence why it means nothing (or ``""``), and notes."""
    concept, phrase = question.concept, question.phrase
    meant = Meant(concept, "", phrase)
    if measured is not None:
        return replace(meant, frame=measured.frame, identities=measured.identities, pairs=measured.pairs), "", ()
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
    if not question.pipeline:
        ids = tuple(tracks.identities)
        return replace(meant, identities=ids), "", (f"There are {len(ids)} tracks in all.",)
    t, ids, notes = video.chosen(question)
    if not ids:
        return meant, f"There are no {question.kind} in {frames.named(first)}.", notes
    return replace(meant, frame=t, identities=ids), "", (*notes, f"In {frames.named(first)}: {listed(ids)}.")
