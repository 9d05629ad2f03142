"""From an executed program to an answer: segments, values, text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lisa_micro.assistant.measuring import FoundMeasures
from lisa_micro.assistant.targets import renumbered
from lisa_micro.execution import Measurement, Result, Selection, error_note, mean_size, number_words, tell
from lisa_micro.language import Vocabulary, render_measure
from lisa_micro.language.program import describe
from lisa_micro.language.program.describe import Describer, tidy
from lisa_micro.language.program.syntax import Distance, Measured
from lisa_micro.measure.tables import particle_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import Micrograph, Value


def answer_of(result: Result, raw: str, measures: FoundMeasures, image: Micrograph, vocabulary: Vocabulary) -> Answer:
    """The answer that an executed program gives.

    Args:
        result: of the program.
        raw: the reply as the language model wrote it.
        measures: what the program was executed on.
        image: the micrograph.
        vocabulary: concepts of the model.
    """
    segments = tuple(_segments(result, measures, image, vocabulary))
    refusal = "" if segments or any(m.number.known for m in result.values) else refusal_of(result)
    return Answer(
        text=tell(result, vocabulary),
        segments=segments,
        raw=raw,
        values=values_of(result),
        declined=bool(refusal),
        refusal=refusal,
        plots=result.plots,
        understood=describe(result.program, vocabulary),
        notes=notes_of(result, vocabulary),
        image=image,
        result=result,
    )


def refusal_of(result: Result) -> str:
    """Why nothing was answered: ``"unknown"``, ``"cannot"``, ``"absent"``, or ``""``."""
    kinds = {refusal.kind for refusal in result.program.refusals}
    for kind in ("unknown", "cannot"):
        if kind in kinds:
            return kind
    missing = result.selections and all(not s.found and not s.problem for s in result.selections)
    return "absent" if missing or "absent" in kinds else ""


def notes_of(result: Result, vocabulary: Vocabulary) -> tuple[str, ...]:
    """What a user should know about a result, one sentence each."""
    return tuple(dict.fromkeys(filter(None, (*result.program.notes, *result.notes, error_note(result, vocabulary)))))


def values_of(result: Result) -> tuple[Value, ...]:
    """The measured values of a result."""
    return tuple(_value(measurement) for measurement in result.values)


def _value(measurement: Measurement) -> Value:
    number, slot = measurement.number, measurement.slot
    text = number_words(number) if number.known else f"unknown ({number.why or 'it could not be measured'})"
    simple = isinstance(slot.first, Measured) and slot.second is None
    measure = render_measure(slot.first.measure) if simple and isinstance(slot.first, Measured) else slot.raw
    target = 0 if slot.first is None else slot.first.one if isinstance(slot.first, Distance) else slot.first.of
    return Value(measure, number.value, number.unit, text, target, number.error)


def mean_size_of(selection: Selection, result: Result) -> Value | None:
    """The mean size that replies tell of a selection; ``None`` where there is none."""
    size = mean_size(selection, result)
    if size is None:
        return None
    mean = size.mean
    return Value(f"mean {size.prop}", mean.value, mean.unit, number_words(mean), selection.number, mean.error)


def _segments(
    result: Result, measures: FoundMeasures, image: Micrograph, vocabulary: Vocabulary
) -> Iterator[Segmentation]:
    describer = Describer(result.program.targets, vocabulary)
    for selection in result.selections:
        if selection.count and not selection.problem:
            yield _segment(selection, result, measures, image, describer)


def _segment(
    selection: Selection, result: Result, measures: FoundMeasures, image: Micrograph, describer: Describer
) -> Segmentation:
    found = measures.found[selection.concept]
    columns = {name: values[selection.keep] for name, values in found.properties.items()}
    labels = renumbered(found.labels, selection.keep)
    columns["label"] = np.arange(1, selection.count + 1)
    return Segmentation(
        labels=labels,
        score=found.score,
        presence=found.presence,
        concept=found.concept,
        phrase=tidy(describer.target(selection.number)).removeprefix("the "),
        where=result.program.targets[selection.number - 1].where,
        pixel_size_nm=image.pixel_size_nm,
        properties=particle_table(columns, image.pixel_size_nm),
        target=selection.number,
        image=image,
        mean_size=mean_size_of(selection, result) if describer.vocabulary.has_instances(found.concept) else None,
    )
