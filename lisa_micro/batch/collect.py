"""Tables of a run, from the folders of its items, in the order of the plan; a few hundred items are in memory at once.

``instances.csv`` and ``.parquet`` have a row for each instance, ``images.csv`` one for each image, request and segment,
``failed.csv`` one for each image that could not be used, ``timings.csv`` the seconds of each stage. All but the timings
depend on the images, the requests and the weights alone, not on the engine or on interruptions.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lisa_micro.batch.groups import GroupOf
from lisa_micro.batch.job import Task
from lisa_micro.batch.store import read_columns, read_item, unwritable
from lisa_micro.io.cells import csv_text
from lisa_micro.io.files import write_files
from lisa_micro.types import InputError

TABLES = ("images.csv", "failed.csv", "timings.csv", "instances.parquet", "instances.csv")
CHUNK = 500
"""Items whose instances are in memory at once."""

_IMAGE_FIRST = ("image", "page", "group", "request", "segment", "concept", "phrase", "where", "count")
_AMOUNTS = ("area_px2", "area_fraction", "number_density_per_um2", "number_density_per_Mpx")
_STATISTICS = ("mean", "std", "median", "D10", "D90")
_IMAGE_LAST = (
    "score", "presence", "width_px", "height_px", "pixel_size_nm", "pixel_size_origin", "modality", "declined", "reply",
    "notes", "folder",
)  # fmt: skip
PROPERTIES = {"diameter": "diameter", "width": "neck_width"}
"""Property of a summary -> its name in columns."""

Row = dict[str, Any]


@dataclass
class Counts:
    """What a run has come to.

    Attributes:
        done, failed, missing: numbers of images; missing ones were not reached.
        instances: number of rows of ``instances.csv``.
    """

    done: int = 0
    failed: int = 0
    missing: int = 0
    instances: int = 0


@dataclass
class _Survey:
    """What a first pass over the items finds: counts, and the columns of the tables."""

    counts: Counts = field(default_factory=Counts)
    kinds: dict[str, str] = field(default_factory=dict)
    image_columns: set[str] = field(default_factory=set)
    stages: dict[str, None] = field(default_factory=dict)


def collect(folder: Path, tasks: Callable[[], Iterable[Task]], group_of: GroupOf | None = None) -> Counts:
    """Write the tables of a run.

    Args:
        folder: of the run.
        tasks: gives its tasks in order, each time it is called.
        group_of: gives the column ``group``; ``None``: there is none.

    Raises:
        OutputError: a table cannot be written.
    """
    survey = _survey(folder, tasks(), group_of)
    image_columns = [name for name in _image_columns() if name in survey.image_columns]
    schema = _instance_columns(survey.kinds, group_of is not None)

    def done() -> Iterator[tuple[Task, Row]]:
        for task in tasks():
            record = read_item(folder, task)
            if record is not None:
                yield task, record

    def images() -> Iterator[Row]:
        for task, record in done():
            if record["status"] == "done":
                yield from image_rows(task, record, group_of)

    def failures() -> Iterator[Row]:
        for task, record in done():
            if record["status"] == "failed":
                yield {**_names(task, group_of), "sentence": record["sentence"], "path": task.item.path}

    def timings() -> Iterator[Row]:
        for task, record in done():
            seconds = {f"{stage}_s": value for stage, value in record["seconds"].items()}
            yield {"image": task.item.name, "page": task.item.page, **seconds}

    names = ["image", "page", *(["group"] if group_of else [])]
    try:
        write_files(
            folder,
            {
                "images.csv": lambda path: write_csv(path, image_columns or list(_IMAGE_FIRST), images()),
                "failed.csv": lambda path: write_csv(path, [*names, "sentence", "path"], failures()),
                "timings.csv": lambda path: write_csv(path, ["image", "page", *survey.stages], timings()),
                "instances.parquet": lambda path: _write_parquet(
                    path, schema, _chunks(folder, done(), schema, group_of)
                ),
                "instances.csv": lambda path: _write_instances_csv(
                    path, schema, _chunks(folder, done(), schema, group_of)
                ),
            },
        )
    except OSError as error:
        raise unwritable(folder, error) from error
    except InputError as error:
        raise InputError(f"{error} What was done stays; run again with --resume.") from error
    return survey.counts


def _image_columns() -> list[str]:
    sizes = [
        f"{statistic}_{name}_{unit}"
        for name in PROPERTIES.values()
        for unit in ("nm", "px")
        for statistic in _STATISTICS
    ]
    return [*_IMAGE_FIRST, *_AMOUNTS, *sizes, *_IMAGE_LAST]


def _instance_columns(kinds: dict[str, str], grouped: bool) -> dict[str, str]:
    """Columns of the instances, in order, with their kinds."""
    first = {"image": "str", "page": "int"} | ({"group": "str"} if grouped else {})
    return {**first, "request": "int", "segment": "int", "concept": "str", "label": "int"} | kinds


def _survey(folder: Path, tasks: Iterable[Task], group_of: GroupOf | None) -> _Survey:
    found = _Survey()
    for task in tasks:
        record = read_item(folder, task)
        if record is None:
            found.counts.missing += 1
            continue
        found.stages.update(dict.fromkeys(f"{stage}_s" for stage in record["seconds"]))
        if record["status"] == "failed":
            found.counts.failed += 1
            continue
        found.counts.done += 1
        for name, kind in record["columns"].items():
            known = found.kinds.setdefault(name, kind)
            if known != kind:
                found.kinds[name] = "str" if "str" in (known, kind) else "float"
        for row in image_rows(task, record, group_of):
            found.image_columns.update(row)
            found.counts.instances += row["count"]
    return found


def _names(task: Task, group_of: GroupOf | None) -> Row:
    row: Row = {"image": task.item.name, "page": task.item.page}
    return row | ({"group": group_of(task.item)} if group_of else {})


def image_rows(task: Task, record: Row, group_of: GroupOf | None = None) -> Iterator[Row]:
    """Rows of ``images.csv``: one for each request and segment; one with the count 0 for an answer without segments."""
    nm = record["pixel_size_nm"]
    area_px = record["width_px"] * record["height_px"]
    for answer in record["answers"]:
        common = {
            **{
                name: record[name]
                for name in ("width_px", "height_px", "pixel_size_nm", "pixel_size_origin", "modality")
            },
            "declined": answer["declined"],
            "reply": answer["reply"],
            "notes": " ".join(dict.fromkeys((*record["notes"], *answer["notes"]))),
            "folder": task.place,
        }
        for segment in answer["segments"] or [{"segment": None, "concept": "", "count": 0, "area_px2": 0}]:
            density = ("number_density_per_Mpx", 1e6 / area_px) if nm is None else (
                "number_density_per_um2", 1e6 / (area_px * nm**2)
            )  # fmt: skip
            row: Row = {
                **_names(task, group_of),
                "request": answer["request"],
                **{name: segment.get(name) for name in ("segment", "concept", "phrase", "where", "count", "area_px2")},
                "area_fraction": segment["area_px2"] / area_px,
                density[0]: segment["count"] * density[1],
                **{name: segment.get(name) for name in ("score", "presence")},
                **common,
            }
            if segment.get("property"):
                name = f"{PROPERTIES[segment['property']]}_{segment['unit']}"
                row |= {f"{statistic}_{name}": segment[statistic] for statistic in _STATISTICS}
            yield row


def _chunks(
    folder: Path, done: Iterator[tuple[Task, Row]], schema: dict[str, str], group_of: GroupOf | None
) -> Iterator[dict[str, list[Any]]]:
    """Instances of :data:`CHUNK` items at a time, as columns of the schema."""
    columns: dict[str, list[Any]] = {name: [] for name in schema}
    items = 0
    for task, record in done:
        if not record.get("columns"):
            continue
        found = read_columns(folder, task)
        rows = len(next(iter(found.values()), []))
        names = _names(task, group_of)
        for name, values in columns.items():
            values += [names[name]] * rows if name in names else found.get(name, [None] * rows)
        items += 1
        if items == CHUNK:
            yield columns
            columns, items = {name: [] for name in schema}, 0
    if items:
        yield columns


def _write_parquet(path: Path, schema: dict[str, str], chunks: Iterator[dict[str, list[Any]]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "float": pa.float64()}
    fields = pa.schema([(name, types[kind]) for name, kind in schema.items()])
    with pq.ParquetWriter(path, fields) as writer:
        for columns in chunks:
            converted = [
                pa.array(
                    [None if v is None else str(v) for v in columns[f.name]]
                    if f.type == pa.string()
                    else columns[f.name],
                    f.type,
                )
                for f in fields
            ]
            writer.write_table(pa.Table.from_arrays(converted, schema=fields))


def _write_instances_csv(path: Path, schema: dict[str, str], chunks: Iterator[dict[str, list[Any]]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(schema)
        for columns in chunks:
            as_float = {name for name, kind in schema.items() if kind == "float"}
            lists = [
                [float(v) if isinstance(v, int) else v for v in values]
                if name in as_float
                else [csv_text(v) for v in values]
                for name, values in columns.items()
            ]
            writer.writerows(zip(*lists, strict=True))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> None:
    """Write rows; what a row lacks stays empty. Numbers have all digits; text follows :mod:`lisa_micro.io.cells`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: csv_text(value) for name, value in row.items()} for row in rows)
