"""What follows from corrected labels: measurements, the numbers in a reply, and training examples."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lisa_micro.datasets.records import FILE_NAME, SEG, Record, Target, Turn, read_records, write_records
from lisa_micro.io import write_files, write_labels
from lisa_micro.measure import particle_properties, particle_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph, Value

NECK_ONLY = ("neck_width", "neck_ratio")
"""Measured on the particles around a neck: known again only for necks that were not changed."""
BEFORE = "The numbers in the reply are from before the correction."
DERIVED = "The {} were outlined from the particles as they were before the correction."
_DERIVED_CONCEPTS = ("neck", "pore", "agglomerate")
_NO_LABELS = ("object", "substrate")
"""Concepts that have no labels of their own in a training example: no name, or no instances."""
_HAND = "Corrected by hand"
_folders = threading.Lock()


# ------------------------------------------------------------------------------------------------ measurements


def corrected_segment(segment: Segmentation, labels: np.ndarray, image: Micrograph, summary: str = "") -> Segmentation:
    """A segment with other labels, measured anew.

    Args:
        segment: as it was. labels: ``(H, W)`` int32, 1..n. image: what it is about.
        summary: what was done, for the notes, such as ``2 removed, 1 split``.

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
    return replace(segment, labels=labels, properties=table, notes=notes)


def properties_of(segment: Segmentation, labels: np.ndarray, image: Micrograph) -> dict[str, np.ndarray]:
    """:func:`lisa_micro.measure.particle_properties` of corrected labels; of necks with the widths of those that are as
    they were, NaN for the others."""
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
    """Numbers of instances in ``after`` -> their numbers in ``before``, for those with exactly the same pixels."""
    either = (before > 0) | (after > 0)
    pairs, shared = np.unique(np.stack([after[either], before[either]], axis=1), axis=0, return_counts=True)
    sizes = [dict(zip(*np.unique(image[either], return_counts=True), strict=True)) for image in (after, before)]
    return {
        int(new): int(old)
        for (new, old), count in zip(pairs, shared, strict=True)
        if new > 0 and old > 0 and count == sizes[0][new] == sizes[1][old]
    }


def corrected_answer(answer: Answer, layer: int, labels: np.ndarray, image: Micrograph, summary: str = "") -> Answer:
    """An answer with one of its segments corrected: its table, and the numbers of the reply that are measured on it.

    Args:
        layer: which segment, from 0.
        labels, image, summary: as for :func:`corrected_segment`.

    Raises:
        InputError: no such segment, or labels of another shape.
    """
    if not 0 <= layer < len(answer.segments):
        raise InputError("The answer has no such segment.")
    old = answer.segments[layer]
    segment = corrected_segment(old, labels, image, summary)
    segments = (*answer.segments[:layer], segment, *answer.segments[layer + 1 :])
    notes = [note for note in answer.notes if note != BEFORE]
    if old.concept == "particle":
        notes += [DERIVED.format(other.phrase) for other in segments if other.concept in _DERIVED_CONCEPTS]
    changed = replace(answer, segments=segments)
    if any(value.target == segment.target for value in answer.values):
        changed, known = _with_values(changed, segment, properties_of(old, labels, image), image)
        notes += [] if known else [BEFORE]
    return replace(changed, notes=tuple(dict.fromkeys(notes)))


def _with_values(answer: Answer, segment: Segmentation, properties: dict, image: Micrograph) -> tuple[Answer, bool]:
    """The answer with its numbers measured anew, and whether its text could be written with them."""
    from lisa_micro.assistant import values
    from lisa_micro.language import parse_reply
    from lisa_micro.language.display import display

    reply = parse_reply(answer.raw)
    if len(reply.values) != len(answer.values):
        return answer, False
    filled: list[Value] = []
    for slot, value in zip(reply.values, answer.values, strict=True):
        if slot.of == segment.target and slot.measure is not None:
            value, _ = values.evaluate(
                slot.measure, properties, image.shape, image.pixel_size_nm, segment.concept, slot.of
            )
        filled.append(value)
    there = {other.target for other in answer.segments}
    missing = {k for k in range(1, len(reply.targets) + 1) if k not in there}
    for kinds in ((missing, ()), ((), missing)):  # absent, or there but not as wanted: what gave the old text
        if display(reply, answer.values, *kinds) == answer.text:
            return replace(answer, values=tuple(filled), text=display(reply, filled, *kinds)), True
    return replace(answer, values=tuple(filled)), False


# ------------------------------------------------------------------------------------------- training examples


@dataclass(frozen=True)
class Saved:
    """A training example that was written: its name, how many the folder holds now, and whether it took the place of an
    earlier one."""

    name: str
    count: int
    replaced: bool = False


def save_example(
    folder: str | os.PathLike[str],
    image: Micrograph,
    answers: Sequence[Answer],
    stem: str = "micrograph",
    instead: str | None = None,
) -> Saved:
    """Append a micrograph, its labels and its conversation to a folder of training data
    (:mod:`lisa_micro.datasets.records`): ``images/``, ``labels/``, ``masks/`` and a line of ``metadata.jsonl``.

    The particles, where all of them were asked for, are the labels, from which other concepts are derived; another
    concept of which all were asked for has labels of its own; what else the replies refer to is kept as masks. Threads
    of one process may call it at once; several processes must not write to one folder.

    Args:
        answers: what was asked and what is true, in order.
        stem: what the files are called after; letters, digits, ``_`` and ``-``.
        instead: name of an example of this folder whose place it takes.

    Raises:
        InputError: nothing was answered, or the folder cannot be written or holds something else.
    """
    if not answers:
        raise InputError("There is nothing to learn from yet; accept an answer first.")
    folder = Path(folder)
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:60].strip("_-") or "micrograph"
    with _folders:
        file = folder / FILE_NAME
        records = read_records(file, check_files=False) if file.is_file() and file.stat().st_size else []
        names = [Path(record.file_name).stem for record in records]
        replaced = instead is not None and instead in names
        name = instead if replaced and instead is not None else _free(folder, stem, set(names))
        record, arrays = _example(name, image, answers)
        writers = {Path(path).name: (Path(path).parent, array) for path, array in arrays.items()}
        nm = image.pixel_size_nm
        for part in sorted({parent for parent, _ in writers.values()}):
            write_files(
                folder / part,
                {
                    key: lambda path, array=array: write_labels(path, array, nm)
                    for key, (parent, array) in writers.items()
                    if parent == part
                },
            )
        write_files(folder / "images", {f"{name}.tif": lambda path: write_image(path, image)})
        try:
            if replaced:
                before, records[names.index(name)] = records[names.index(name)], record
                write_records(file, records)
                for path in set(before.files) - set(record.files):
                    if Path(path).name.startswith(name):
                        (folder / path).unlink(missing_ok=True)
            else:
                # appended in one write: a training run that reads meanwhile sees whole lines
                line = json.dumps(record.model_dump(mode="json", exclude_none=True), ensure_ascii=False) + "\n"
                with file.open("ab") as stream:
                    stream.write(line.encode("utf-8"))
                records.append(record)
        except OSError as error:
            raise InputError(f"The example cannot be written: {error.strerror or error}.") from error
    return Saved(name, len(records), replaced)


def _free(folder: Path, stem: str, taken: set[str]) -> str:
    number = 1
    while f"{stem}-{number}" in taken or (folder / "images" / f"{stem}-{number}.tif").exists():
        number += 1
    return f"{stem}-{number}"


def _example(name: str, image: Micrograph, answers: Sequence[Answer]) -> tuple[Record, dict[str, np.ndarray]]:
    """The record, and label images by path."""
    # of each concept the last segment that has all of it: what was corrected last is what is true
    whole = {s.concept: s for answer in answers for s in answer.segments if not s.where and s.concept not in _NO_LABELS}
    paths = {c: f"labels/{name}.tif" if c == "particle" else f"labels/{name}_{c}.tif" for c in whole}
    arrays = {path: whole[c].labels for c, path in paths.items()}
    turns = []
    for k, answer in enumerate(answers, 1):
        reply = _reply(answer)
        by_target = {s.target: s for s in answer.segments}
        targets = []
        for t in range(1, reply.count(SEG) + 1):
            segment = by_target.get(t) or (answer.segments[t - 1] if SEG not in answer.raw else None)
            targets.append(_target(segment, whole, f"masks/{name}_{k}_{t}.tif", arrays, image.shape))
        turns.append(Turn(user=answer.prompt, assistant=reply, targets=tuple(targets)))
    record = Record(
        file_name=f"images/{name}.tif",
        labels=paths.pop("particle", None),
        concept_labels=paths,
        source=name.rsplit("-", 1)[0],
        pixel_size_nm=image.pixel_size_nm,
        modality=image.modality,
        conversations=tuple(turns),
    )
    return record, arrays


def _reply(answer: Answer) -> str:
    """The reply in the reply language; where a model has none, the text with a [SEG] for each segment."""
    if answer.raw.strip() and (SEG in answer.raw or not answer.segments):
        return answer.raw
    text = answer.text.strip()
    return " ".join([*([text] if text else []), *[SEG] * len(answer.segments)]) or "There is nothing of the kind."


def _target(
    segment: Segmentation | None,
    whole: dict[str, Segmentation],
    path: str,
    arrays: dict[str, np.ndarray],
    shape: tuple[int, int],
) -> Target:
    alike = None if segment is None else whole.get(segment.concept)
    if segment is not None and alike is not None:
        if not segment.where and np.array_equal(segment.labels, alike.labels):
            return Target(concept=segment.concept)
        same = unchanged(alike.labels, segment.labels) if segment.concept == "particle" else {}
        count = len(np.unique(segment.labels[segment.labels > 0]))
        if count and len(same) == count:
            return Target(instances=tuple(sorted(same.values())))
    arrays[path] = np.zeros(shape, np.int32) if segment is None else segment.labels
    return Target(mask=path)


def write_image(path: Path, image: Micrograph) -> None:
    """A micrograph as a TIFF with its pixel size, its pixels as they are: uint8 or uint16 where that holds them, else
    float32."""
    import tifffile

    pixels = image.pixels
    whole = bool(np.isfinite(pixels).all()) and bool((pixels == np.floor(pixels)).all())
    low, high = (float(pixels.min(initial=0)), float(pixels.max(initial=0))) if whole else (-1.0, 0.0)
    dtype = next((t for t in (np.uint8, np.uint16) if low >= 0 and high <= np.iinfo(t).max), np.float32)
    nm = image.pixel_size_nm
    calibrated = {} if nm is None else {"resolution": (1 / nm, 1 / nm), "metadata": {"unit": "nm"}}
    tifffile.imwrite(path, pixels.astype(dtype), imagej=True, photometric="minisblack", **calibrated)
