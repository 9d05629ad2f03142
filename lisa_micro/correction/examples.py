"""Save corrected answers as training examples."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_micro.correction.remeasure import unchanged
from lisa_micro.datasets.records import FILE_NAME, SEG, Record, Target, Turn, read_records, write_records
from lisa_micro.io import write_files, write_labels
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph

_NO_LABELS = ("object", "substrate")
"""Concepts without labels of their own in a training example: they have no name, or no instances."""
_folders = threading.Lock()


@dataclass(frozen=True)
class Saved:
    """A saved training example.

    Attributes:
        name: of its files. count: number of examples in the folder now. replaced: whether it replaced another example.
    """

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
    """Append a micrograph, its labels and its conversation to a folder of training data.

    The folder follows :mod:`lisa_micro.datasets.records`: ``images/``, ``labels/``, ``masks/`` and a line of
    ``metadata.jsonl``. If all particles were requested, they become the labels, from which other concepts are derived;
    any other concept that was requested as a whole gets labels of its own; other targets are saved as masks. Threads of
    one process may call this function at the same time; several processes must not write to one folder.

    Args:
        answers: the corrected answers, in order.
        stem: prefix of the file names; letters, digits, ``_`` and ``-``.
        instead: name of an example in this folder to replace.

    Raises:
        InputError: no answer, or a folder that cannot be written or contains something else.
    """
    if not answers:
        raise InputError("There is no accepted answer to save; accept one first.")
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
                _append(file, line.encode("utf-8"))
                records.append(record)
        except OSError as error:
            raise InputError(f"The example cannot be written: {error.strerror or error}.") from error
    return Saved(name, len(records), replaced)


def _append(file: Path, content: bytes) -> None:
    """Append to a file, all of it or nothing.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    size = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as stream:
            stream.write(content)
    except OSError:
        if file.exists():
            os.truncate(file, size)  # half a line would make all examples unreadable
        raise


def _free(folder: Path, stem: str, taken: set[str]) -> str:
    number = 1
    while f"{stem}-{number}" in taken or (folder / "images" / f"{stem}-{number}.tif").exists():
        number += 1
    return f"{stem}-{number}"


def _example(name: str, image: Micrograph, answers: Sequence[Answer]) -> tuple[Record, dict[str, np.ndarray]]:
    """The record of an example, and its label images by path."""
    # of each concept the last segment with all its instances: the latest correction counts
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
    """The reply in the reply language; for models without one, the text with a [SEG] for each segment."""
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
    """Write a micrograph as a TIFF with its pixel size, as uint8 or uint16 if these hold its pixels exactly, else
    float32."""
    import tifffile

    pixels = image.pixels
    whole = bool(np.isfinite(pixels).all()) and bool((pixels == np.floor(pixels)).all())
    low, high = (float(pixels.min(initial=0)), float(pixels.max(initial=0))) if whole else (-1.0, 0.0)
    dtype = next((t for t in (np.uint8, np.uint16) if low >= 0 and high <= np.iinfo(t).max), np.float32)
    nm = image.pixel_size_nm
    calibrated = {} if nm is None else {"resolution": (1 / nm, 1 / nm), "metadata": {"unit": "nm"}}
    tifffile.imwrite(path, pixels.astype(dtype), imagej=True, photometric="minisblack", **calibrated)
