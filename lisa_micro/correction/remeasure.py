"""Measure corrected labels again, and update the numbers in the reply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lisa_micro.execution import STANDARD_ERROR, Instances, error_note, remeasured, tell
from lisa_micro.measure import particle_properties, particle_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph

NECK_ONLY = ("neck_width", "neck_ratio")
"""Properties measured on the particles around a neck: kept for unchanged necks, unknown for the others."""
BEFORE = "The numbers in the reply are from before the correction."
DERIVED = "The {} were derived from the particles before the correction."
_DERIVED_CONCEPTS = ("neck", "pore", "agglomerate")
_HAND = "Corrected by hand"


def corrected_segment(segment: Segmentation, labels: np.ndarray, image: Micrograph, summary: str = "") -> Segmentation:
    """Replace the labels of a segment and measure it again.

    Args:
        segment: before the correction. labels: ``(H, W)`` int32, 1..n. image: its micrograph.
        summary: of the correction, for the notes, such as ``2 removed, 1 split``.

    Raises:
        InputError: labels of another shape than the image.
    """
    if labels.shape != image.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (labels.shape, image.shape)]
        raise InputError(f"The labels are {sizes[0]} px, the micrograph {sizes[1]} px; they must be alike.")
    properties = properties_of(segment, labels, image)
    notes = tuple(note for note in segment.notes if not note.startswith(_HAND))
    if summary:
        notes = (*notes, f"{_HAND}: {summary}.")
    table = particle_table(properties, segment.pixel_size_nm)
    return replace(segment, labels=labels, properties=table, notes=notes, mean_size=None)


def properties_of(segment: Segmentation, labels: np.ndarray, image: Micrograph) -> dict[str, np.ndarray]:
    """Measure corrected labels (:func:`lisa_micro.measure.particle_properties`).

    Unchanged necks keep their widths; those of other necks are NaN.
    """
    properties = particle_properties(labels, image.pixels)
    before = segment.table()
    if segment.concept == "neck" and len(before) and "neck_width_px" in before:
        was = unchanged(segment.labels, labels)
        for name in NECK_ONLY:
            column = before["neck_width_px" if name == "neck_width" else name]
            known = dict(zip(before["label"].astype(int), column, strict=True))
            properties[name] = np.array([known.get(was.get(int(k), 0), np.nan) for k in properties["label"]], float)
    return properties


def unchanged(before: np.ndarray, after: np.ndarray) -> dict[int, int]:
    """Map the numbers in ``after`` to those in ``before`` for instances with exactly the same pixels."""
    either = (before > 0) | (after > 0)
    pairs, shared = np.unique(np.stack([after[either], before[either]], axis=1), axis=0, return_counts=True)
    sizes = [dict(zip(*np.unique(image[either], return_counts=True), strict=True)) for image in (after, before)]
    return {
        int(new): int(old)
        for (new, old), count in zip(pairs, shared, strict=True)
        if new > 0 and old > 0 and count == sizes[0][new] == sizes[1][old]
    }


def corrected_answer(answer: Answer, layer: int, labels: np.ndarray, image: Micrograph, summary: str = "") -> Answer:
    """Replace the labels of one segment of an answer; update its table and the numbers of the reply that depend on it.

    Args:
        layer: index of the segment.
        labels, image, summary: as for :func:`corrected_segment`.

    Raises:
        InputError: no such segment, or labels of another shape.
    """
    if not 0 <= layer < len(answer.segments):
        raise InputError("The answer has no such segment.")
    old = answer.segments[layer]
    segment = corrected_segment(old, labels, image, summary)
    segments = (*answer.segments[:layer], segment, *answer.segments[layer + 1 :])
    notes = [note for note in answer.notes if note != BEFORE and not note.startswith(STANDARD_ERROR)]
    if old.concept == "particle":
        notes += [DERIVED.format(other.phrase) for other in segments if other.concept in _DERIVED_CONCEPTS]
    changed = replace(answer, segments=segments)
    if answer.result is not None and segment.target:
        changed = _told_again(changed, segment, properties_of(old, labels, image), labels)
        assert changed.result is not None
        notes += filter(None, [error_note(changed.result)])
    elif any(value.target == segment.target for value in answer.values):
        notes.append(BEFORE)
    return replace(changed, notes=tuple(dict.fromkeys(notes)))


def _told_again(answer: Answer, segment: Segmentation, properties: dict, labels: np.ndarray) -> Answer:
    """The answer with its numbers, plots and text from corrected instances."""
    import pandas as pd

    from lisa_micro.assistant.answering import values_of

    assert answer.result is not None
    instances = Instances(pd.DataFrame(properties), labels)
    result = remeasured(answer.result, segment.target, instances)
    return replace(answer, result=result, values=values_of(result), plots=result.plots, text=tell(result))
