"""The plan of a run: its items in order, on disk, so that a million of them need no memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

from lisa_micro.batch.items import Item, Items, Pages, list_items
from lisa_micro.batch.job import Job, Task, item_id
from lisa_micro.batch.store import unwritable
from lisa_micro.io.files import write_files

PLAN_FILE = "plan.jsonl"
SOME_OVERLAYS = 24
"""Number of images whose overlays are drawn by ``some``; they are spread evenly over the plan."""


@dataclass(frozen=True)
class Plan:
    """The items of a run, read from its file each time they are needed.

    Attributes:
        path: file with one item a line.
        count: number of items.
    """

    path: Path
    count: int

    def items(self) -> Iterator[Item]:
        """The items in order."""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield Item(*json.loads(line))

    def tasks(self, job: Job, weights_sha256: str, overlays: str = "none") -> Iterator[Task]:
        """The tasks in order.

        Args:
            job: what is done with each item.
            weights_sha256: of the model.
            overlays: ``"none"``, ``"some"`` or ``"all"``.
        """
        step = 1 if overlays == "all" else -(-self.count // SOME_OVERLAYS)
        for number, item in enumerate(self.items()):
            drawn = overlays != "none" and number % step == 0
            yield Task(item_id(item, job, weights_sha256), item, drawn)


def make_plan(folder: Path, sources: Items, pages: Pages = "all", limit: int | None = None) -> Plan:
    """List the items and write them into the folder of the run.

    Args:
        folder: of the run; it is left out where it lies inside a source.
        sources, pages: see :func:`lisa_micro.batch.items.list_items`.
        limit: number of items; ``None``: all.

    Raises:
        InputError: nothing was found.
        OutputError: the folder cannot be written.
    """
    count = 0

    def write(path: Path) -> None:
        nonlocal count
        with path.open("w", encoding="utf-8") as file:
            for item in islice(list_items(sources, pages, without=folder), limit):
                file.write(json.dumps(astuple(item), ensure_ascii=True) + "\n")
                count += 1

    try:
        write_files(folder, {PLAN_FILE: write})
    except OSError as error:
        raise unwritable(folder, error) from error
    return Plan(folder / PLAN_FILE, count)


def count_items(sources: Items, pages: Pages = "all", limit: int | None = None, without: Path | None = None) -> int:
    """Number of items of a batch, without writing anything.

    Raises:
        InputError: nothing was found.
    """
    return sum(1 for _ in islice(list_items(sources, pages, without), limit))
