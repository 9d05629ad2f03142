"""The results of items on disk: one folder an item, complete or not there.

A folder ``items/<first two digits of the id>/<id>`` holds ``item.json`` (what is known about the image, its answers, or
why it failed), ``instances.json`` (measured columns), ``labels_<request>_<segment>.tif`` and, if wanted,
``overlay_<request>.jpg``; of an image that is read part by part also ``picture.jpg``, for the report. It is written
under a temporary name and renamed, so whoever sees it sees all of it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lisa_micro.batch.job import Task
from lisa_micro.io.files import TEMPORARY, json_text, temporary_prefix
from lisa_micro.types import InputError

ITEM_FILE, INSTANCES_FILE = "item.json", "instances.json"
Columns: TypeAlias = dict[str, list[Any]]
"""Column -> values, one per instance. A value is None, bool, int, float or str."""


class OutputError(InputError):
    """The results cannot be written. It ends the run, while an :class:`InputError` ends one item only."""


def is_done(run: str | Path, task: Task) -> bool:
    """Whether the results of a task are there, those of a failure included."""
    return (task.folder(run) / ITEM_FILE).is_file()


def write_item(
    run: str | Path,
    task: Task,
    record: Mapping[str, object],
    columns: Columns,
    writers: Mapping[str, Callable[[Path], object]] | None = None,
) -> None:
    """Write the folder of an item, all of it or nothing. What another worker wrote meanwhile is kept.

    Args:
        run: folder of the run.
        task: the item.
        record: content of ``item.json``.
        columns: content of ``instances.json``.
        writers: file name -> function that writes to the path it is given.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    target = task.folder(run)
    staged = _staged(target)
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name, write in (writers or {}).items():
            write(staged / name)
        (staged / INSTANCES_FILE).write_text(columns_text(columns), encoding="utf-8")
        (staged / ITEM_FILE).write_text(json_text(record) + "\n", encoding="utf-8")
        try:
            staged.rename(target)
        except OSError:
            if not (target / ITEM_FILE).is_file():
                raise
    except OSError as error:
        raise unwritable(run, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _staged(target: Path) -> Path:
    """Where the folder of an item is written or removed."""
    return target.with_name(f"{temporary_prefix()}{target.name}")


def unwritable(run: str | Path, error: OSError) -> OutputError:
    """The error for a folder of results that cannot be written."""
    return OutputError(
        f"{run} cannot be written: {error.strerror or error}. What was done stays; run again with --resume."
    )


def remove_item(run: str | Path, task: Task) -> None:
    """Remove the results of an item, all of them or nothing, so that it is done again.

    Raises:
        OutputError: they cannot be removed.
    """
    target = task.folder(run)
    staged = _staged(target)
    try:
        shutil.rmtree(staged, ignore_errors=True)
        target.rename(staged)
        shutil.rmtree(staged)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unwritable(run, error) from error


def remove_staged(run: str | Path) -> None:
    """Remove what killed workers left half-written; all items of the run must be done. A worker that still writes one
    of them, left over from a driver that was killed, loses nothing that counts."""
    for entry in Path(run).glob(f"items/*/{TEMPORARY}*"):
        shutil.rmtree(entry, ignore_errors=True)


def read_item(run: str | Path, task: Task) -> dict[str, Any] | None:
    """Content of ``item.json``; ``None`` for an item that is not done."""
    try:
        record: dict[str, Any] = json.loads((task.folder(run) / ITEM_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return record


def read_columns(run: str | Path, task: Task) -> Columns:
    """The measured columns of an item."""
    columns: Columns = json.loads((task.folder(run) / INSTANCES_FILE).read_bytes())
    for name, values in columns.items():
        if "inf" in values or "-inf" in values:
            columns[name] = [float(one) if one in ("inf", "-inf") else one for one in values]
    return columns


def columns_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """JSON of columns that every reader accepts: NaN becomes null, infinities ``"inf"``; numbers keep all digits."""
    return json.dumps({name: [_plain(value) for value in values] for name, values in columns.items()}, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def kind_of(values: Sequence[Any]) -> str:
    """Kind of a column: ``"bool"``, ``"int"``, ``"str"``, or ``"float"`` (also of one without values)."""
    kinds = {type(value) for value in values if value is not None}
    for kind in (bool, int, str):
        if kinds == {kind}:
            return kind.__name__
    return "str" if str in kinds else "float"
