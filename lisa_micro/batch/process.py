"""One item: read the image, ask, measure, write the item's folder. It depends on nothing but its arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.batch.found import Found, found_in_image, found_in_plane
from lisa_micro.batch.job import Job, Outcome, Reading, Task
from lisa_micro.batch.picture import PICTURE_FILE
from lisa_micro.batch.requests import PlaneRequest, Request
from lisa_micro.batch.store import Columns, OutputError, kind_of, read_item, write_item
from lisa_micro.io.arrays import TooLargeError
from lisa_micro.io.lazy import Plane, read_stack
from lisa_micro.io.lazy.opening import is_omezarr, read_too_large
from lisa_micro.io.reader import read_micrograph
from lisa_micro.protocols import Assistant, TilingMode
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    import pandas as pd


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
    start, path, reading = time.perf_counter(), Path(task.item.path), job.reading
    tiling = TilingMode.parse(reading.tiles)
    try:
        image = _read(path, task.item.page, reading)
    except TooLargeError as error:
        with read_too_large(path, error, reading.pixel_size_nm, reading.missing_chunks) as stack:
            plane = stack.plane(task.item.page)
            read = time.perf_counter() - start
            found = [_about_plane(request, assistant, plane, tiling, job.folder) for request in job.requests]
        return _collected(job, task, found, _facts(plane, plane.layout.modality), read)
    read = time.perf_counter() - start
    answers = [request.answer(assistant, image, tiling) for request in job.requests]
    return _collected(job, task, [found_in_image(one, image) for one in answers], _facts(image, image.modality), read)


def _read(path: Path, page: int, reading: Reading) -> Micrograph:
    if not is_omezarr(path):
        return read_micrograph(path, reading.pixel_size_nm, page)
    with read_stack(path, reading.pixel_size_nm, missing=reading.missing_chunks) as stack:
        return stack.plane(page).micrograph()


def _about_plane(request: Request, assistant: Assistant, plane: Plane, tiling: TilingMode, folder: str) -> Found:
    """What a request finds in a plane that is too large to be read whole.

    Raises:
        InputError: a request of another kind than words, or another mode than tiles.
    """
    width, height = plane.shape[1], plane.shape[0]
    if not isinstance(request, PlaneRequest):
        raise InputError(
            f"The image of {width} x {height} px is read part by part, which requests in words alone allow; crop or "
            "bin it."
        )
    if tiling not in (TilingMode.AUTO, TilingMode.TILED):
        raise InputError(
            f"The image of {width} x {height} px is read part by part and segmented in tiles; use --tiles auto."
        )
    return found_in_plane(request.answer_plane(assistant, plane, Path(folder)))


def _facts(image: Micrograph | Plane, modality: str | None) -> dict[str, object]:
    height, width = image.shape
    return {
        "width_px": width,
        "height_px": height,
        "pixel_size_nm": image.pixel_size_nm,
        "pixel_size_origin": image.pixel_size_origin,
        "modality": modality,
        "notes": list(image.notes),
    }


def _collected(
    job: Job, task: Task, found: Sequence[Found], facts: Mapping[str, object], read: float
) -> tuple[dict[str, object], Columns, dict[str, Callable[[Path], object]]]:
    """As :func:`_results`, from what each request found. facts: on the image. read: seconds of reading it."""
    seconds = {"read": read}
    writers: dict[str, Callable[[Path], object]] = {}
    columns: Columns = {}
    for number, one in enumerate(found, start=1):
        for stage, duration in one.answer.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + duration
        _append(columns, _instances(one.table, number))
        writers |= {f"labels_{number}_{k}.tif": write for k, write in enumerate(one.labels, start=1)}
        if task.overlay:
            writers[f"overlay_{number}.jpg"] = one.overlay
        if number == 1 and one.picture is not None:
            writers[PICTURE_FILE] = one.picture
    titles = [request.title for request in job.requests]
    record: dict[str, object] = {
        "id": task.id,
        **_identity(task),
        "status": "done",
        **facts,
        "answers": [
            one.record(number, title) for number, (one, title) in enumerate(zip(found, titles, strict=True), start=1)
        ],
        "columns": {name: kind_of(values) for name, values in columns.items()},
        "seconds": seconds,
    }
    return record, columns, writers


def _instances(table: pd.DataFrame, number: int) -> Columns:
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


__all__ = ["OutputError", "fail", "process"]
