"""One item: read the image, ask, measure, write the item's folder. It depends on nothing but its arguments."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.batch.job import Job, Outcome, Task
from lisa_micro.batch.store import Columns, OutputError, kind_of, read_item, write_item
from lisa_micro.io.labels import write_labels
from lisa_micro.io.reader import read_micrograph
from lisa_micro.protocols import Assistant, TilingMode
from lisa_micro.results.answer import Answer
from lisa_micro.results.export import instances_table
from lisa_micro.results.summary import summarise_segments
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz.overlay import draw_overlay


def process(assistant: Assistant, job: Job, task: Task) -> Outcome:
    """Do one item, unless its results are there already.

    An image that cannot be used, or that makes the model fail, gives a failure with one sentence.

    Raises:
        OutputError: the results cannot be written.
    """
    found = read_item(job.folder, task)
    if found is not None:
        return Outcome(task.id, found["status"], found.get("sentence", ""))
    start = time.perf_counter()
    try:
        record, columns, writers = _results(assistant, job, task)
    except InputError as error:
        return fail(job, task, str(error), time.perf_counter() - start)
    except MemoryError:
        return fail(job, task, "There is not enough memory for this image.", time.perf_counter() - start)
    except Exception as error:  # one image never ends a run
        sentence = f"{type(error).__name__}: {' '.join(str(error).split())[:300]} (a defect of the program)."
        return fail(job, task, sentence, time.perf_counter() - start)
    write_item(job.folder, task, record, columns, writers)
    return Outcome(task.id, "done", seconds=time.perf_counter() - start)


def fail(job: Job, task: Task, sentence: str, seconds: float = 0.0) -> Outcome:
    """Record a failure.

    Raises:
        OutputError: it cannot be written.
    """
    record = {"id": task.id, **_identity(task), "status": "failed", "sentence": sentence, "seconds": {"total": seconds}}
    write_item(job.folder, task, record, {})
    return Outcome(task.id, "failed", sentence, seconds)


def _identity(task: Task) -> dict[str, object]:
    item = task.item
    return {"image": item.name, "path": item.path, "page": item.page, "size": item.size, "mtime_ns": item.mtime_ns}


def _results(
    assistant: Assistant, job: Job, task: Task
) -> tuple[dict[str, object], Columns, dict[str, Callable[[Path], object]]]:
    """Content of ``item.json``, measured columns, and writers of the other files."""
    start = time.perf_counter()
    image = read_micrograph(task.item.path, job.reading.pixel_size_nm, task.item.page)
    seconds = {"read": time.perf_counter() - start}
    tiling = TilingMode.parse(job.reading.tiles)
    writers: dict[str, Callable[[Path], object]] = {}
    answers: list[dict[str, object]] = []
    columns: Columns = {}
    for number, request in enumerate(job.requests, start=1):
        answer = request.answer(assistant, image, tiling)
        for stage, duration in answer.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + duration
        answers.append(_answer_record(answer, number, request.title))
        _append(columns, _instances(answer, number))
        for k, segment in enumerate(answer.segments, start=1):
            writers[f"labels_{number}_{k}.tif"] = partial(
                write_labels, labels=segment.labels, pixel_size_nm=image.pixel_size_nm, compress=True
            )
        if task.overlay:
            writers[f"overlay_{number}.jpg"] = partial(_write_overlay, image=image, answer=answer)
    height, width = image.shape
    record: dict[str, object] = {
        "id": task.id,
        **_identity(task),
        "status": "done",
        "width_px": width,
        "height_px": height,
        "pixel_size_nm": image.pixel_size_nm,
        "pixel_size_origin": image.pixel_size_origin,
        "modality": image.modality,
        "notes": list(image.notes),
        "answers": answers,
        "columns": {name: kind_of(values) for name, values in columns.items()},
        "seconds": seconds,
    }
    return record, columns, writers


def _answer_record(answer: Answer, number: int, title: str) -> dict[str, object]:
    segments = []
    for segment, summary in zip(answer.segments, summarise_segments(answer.segments), strict=True):
        areas = np.bincount(segment.labels.ravel())[1:]
        segments.append(
            {
                "segment": summary.segment,
                "concept": segment.concept,
                "phrase": segment.phrase,
                "where": segment.where,
                "score": segment.score,
                "presence": segment.presence,
                "count": summary.count,
                "area_px2": int(areas.sum()),
                "area_fraction": summary.area_fraction,
                "property": summary.property,
                "unit": summary.unit,
                "mean": summary.mean,
                "std": summary.std,
                "median": summary.median,
                "D10": summary.D10,
                "D90": summary.D90,
            }
        )
    return {
        "request": number,
        "title": title,
        "reply": answer.text,
        "declined": answer.declined,
        "notes": list(dict.fromkeys((*answer.notes, *(text for one in answer.segments for text in one.notes)))),
        "segments": segments,
    }


def _instances(answer: Answer, number: int) -> Columns:
    table = instances_table(answer.segments)
    columns: Columns = {"request": [number] * len(table)}
    for name in table.columns:
        columns[str(name)] = table[name].tolist()
    return columns


def _append(columns: Columns, more: Columns) -> None:
    """Append rows; a column that one of them lacks is filled with None."""
    rows = len(next(iter(columns.values()), []))
    added = len(next(iter(more.values()), []))
    for name in more:
        columns.setdefault(name, [None] * rows)
    for name, values in columns.items():
        values.extend(more.get(name, [None] * added))


def _write_overlay(path: Path, image: Micrograph, answer: Answer) -> None:
    from PIL import Image

    segments = answer.segments
    picture = draw_overlay(
        image.pixels,
        [segment.labels for segment in segments] if segments else np.zeros(image.shape, np.int32),
        image.pixel_size_nm,
        [segment.phrase or segment.concept for segment in segments] or None,
    )
    Image.fromarray(picture).save(path, format="JPEG", quality=88)


__all__ = ["OutputError", "fail", "process"]
