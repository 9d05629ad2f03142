"""A run: plan the items, let an engine do them, collect the tables, write the report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.batch.collect import TABLES, Counts, collect
from lisa_micro.batch.groups import parse_groups
from lisa_micro.batch.items import Items
from lisa_micro.batch.job import AssistantSource, Job, ModelFacts, Outcome, PresetSource, Task
from lisa_micro.batch.options import BatchOptions, make_engine
from lisa_micro.batch.plan import Plan, make_plan
from lisa_micro.batch.progress import Progress, Tracker
from lisa_micro.batch.requests import Requests, as_requests
from lisa_micro.batch.store import read_item, remove_item, remove_staged, unwritable
from lisa_micro.extras import require
from lisa_micro.io.cells import plain_table
from lisa_micro.io.files import check_output, write_files, write_json
from lisa_micro.protocols import Assistant
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE = "run.json"
Stage = Callable[[str], None]
"""Called with the name of a stage that begins."""


@dataclass(frozen=True)
class Callbacks:
    """What a run tells while it runs.

    Attributes:
        progress: called after each image.
        stage: called with the name of a stage that begins, such as ``"Loading the model"``.
        outcome: called with what became of each image, before ``progress``.
    """

    progress: Callable[[Progress], None] | None = None
    stage: Stage | None = None
    outcome: Callable[[Outcome], None] | None = None

    def begin(self, name: str) -> None:
        """Tell that a stage begins."""
        if self.stage is not None:
            self.stage(name)


@dataclass(frozen=True)
class BatchResult:
    """A finished run. The tables are read when they are asked for.

    Attributes:
        folder: of the run.
        counts: of images and instances.
        seconds: that the run took.
        files: the tables and reports that were written.
        notes: what a user should know, one sentence each.
    """

    folder: Path
    counts: Counts
    seconds: float
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def instances(self) -> pd.DataFrame:
        """One row for each instance of all images."""
        import pandas as pd

        return pd.read_parquet(self.folder / "instances.parquet")

    def images(self) -> pd.DataFrame:
        """One row for each image, request and segment."""
        import pandas as pd

        return plain_table(pd.read_csv(self.folder / "images.csv"))

    def failed(self) -> pd.DataFrame:
        """One row for each image that could not be used, with a sentence."""
        import pandas as pd

        return plain_table(pd.read_csv(self.folder / "failed.csv"))


def run_batch(
    items: Items,
    prompt: Requests,
    out: str | os.PathLike[str],
    engine: str = "processes",
    *,
    assistant: str | Assistant | AssistantSource = "micro",
    options: BatchOptions | None = None,
    callbacks: Callbacks | None = None,
    command: str = "",
) -> BatchResult:
    """Ask the same about many images; write one table, one report, and what failed.

    Args:
        items: a folder, a file, a pattern such as ``"films/*.tif"``, or several of them.
        prompt: one or several requests.
        out: folder for the results.
        engine: ``"serial"``, ``"processes"`` (one model for each worker process) or ``"dask"``.
        assistant: name of a preset or folder of an adapter; a picklable function that returns an assistant; or an
            assistant itself, with the engine ``serial``.
        options: further options.
        callbacks: what is told while it runs.
        command: that repeats the run, for ``run.json``.

    Raises:
        InputError: nothing to do, an option that cannot be used, a folder that holds another run or cannot be written,
            a model that cannot be loaded, or a scheduler that does not answer. What was done stays.
    """
    options, callbacks = options or BatchOptions(), callbacks or Callbacks()
    require("A batch", "pyarrow")
    if options.report:
        require("The report of a batch", "plotly", "xlsxwriter")
    folder, start, began = Path(os.path.abspath(out)), time.time(), time.monotonic()
    job = Job(as_requests(prompt), options.reading, str(folder))
    group_of = parse_groups(options.group_by)
    source = _source(assistant, engine)
    earlier = _check_folder(folder, options, job)
    callbacks.begin("Listing the images")
    plan = make_plan(folder, items, options.pages, options.limit)
    worker_engine = make_engine(engine, source, job, options.engine)
    try:
        callbacks.begin("Loading the model")
        facts = worker_engine.facts()
        if earlier and earlier.get("weights_sha256") != facts.weights_sha256:
            raise _other_run(folder, "its model has other weights")
        record = _record(job, options, engine, facts, plan, _sources(items)) | {"command": command, "started": start}
        _write_record(folder, record | {"finished": None})
        callbacks.begin("Segmenting")
        tracker = Tracker(folder, plan.count, callbacks.progress)
        for outcome in worker_engine.run(_open_tasks(plan, job, facts, options, tracker)):
            if callbacks.outcome is not None:
                callbacks.outcome(outcome)
            tracker.finished(outcome.status == "failed")
        tracker.close()
        record["workers"] = worker_engine.describe()
    finally:
        worker_engine.close()
    callbacks.begin("Collecting the tables")
    counts = collect(folder, lambda: plan.tasks(job, facts.weights_sha256), group_of)
    remove_staged(folder)
    files: list[Path] = [folder / name for name in TABLES]
    notes: tuple[str, ...] = ()
    # the clock may be set back while a run goes on
    record |= {"finished": start + time.monotonic() - began, "images": asdict(counts), "version": _version()}
    _write_record(folder, record)
    if options.report:
        callbacks.begin("Writing the report")
        from lisa_micro.batch.report import write_reports

        made = write_reports(folder)
        files += made.files
        notes = made.notes
    return BatchResult(folder, counts, time.monotonic() - began, (*files, folder / RUN_FILE), notes)


def _source(assistant: str | Assistant | AssistantSource, engine: str) -> AssistantSource:
    if isinstance(assistant, str):
        return PresetSource(assistant)
    if callable(assistant):
        return assistant
    if engine != "serial":
        raise InputError(
            "Only the engine 'serial' takes a loaded assistant; name a preset, or give a function that returns one."
        )
    loaded = assistant
    return lambda: loaded


def _sources(items: Items) -> list[str]:
    if isinstance(items, str | os.PathLike):
        return [os.fspath(items)]
    return [os.fspath(one) for one in items][:1000]


def _open_tasks(plan: Plan, job: Job, facts: ModelFacts, options: BatchOptions, tracker: Tracker) -> Iterator[Task]:
    """The tasks that are left to do; those that are done are counted."""
    for task in plan.tasks(job, facts.weights_sha256, options.overlays):
        found = read_item(job.folder, task)
        if found is None:
            yield task
        elif found["status"] == "failed" and options.retry_failed:
            remove_item(job.folder, task)
            yield task
        else:
            tracker.found(found["status"] == "failed")


def _check_folder(folder: Path, options: BatchOptions, job: Job) -> dict[str, Any]:
    """The record of the run that the folder holds, empty if it holds none.

    Raises:
        InputError: the folder cannot be written, holds a run that is not to be resumed, or another run.
    """
    check_output(folder, force=True)
    try:
        earlier: dict[str, Any] = json.loads((folder / RUN_FILE).read_bytes())
    except FileNotFoundError:
        if any((folder / name).exists() for name in TABLES):
            raise InputError(f"{folder} holds tables but no {RUN_FILE}; choose another folder.") from None
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / RUN_FILE} cannot be read; choose another folder.") from error
    if not (options.resume or options.retry_failed):
        raise InputError(f"{folder} already holds a run; continue it with --resume, or choose another folder.")
    for name, what in (("requests", "requests"), ("options", "options")):
        if earlier.get(name) != job.record()[name]:
            raise _other_run(folder, f"it has other {what}")
    return earlier


def _other_run(folder: Path, why: str) -> InputError:
    return InputError(f"{folder} holds another run ({why}); choose another folder.")


def _record(
    job: Job, options: BatchOptions, engine: str, facts: ModelFacts, plan: Plan, sources: list[str]
) -> dict[str, Any]:
    return {
        "items": sources,
        **json.loads(json.dumps(job.record())),
        "pages": options.pages,
        "group_by": options.group_by,
        "limit": options.limit,
        "overlays": options.overlays,
        "engine": engine,
        **asdict(facts),
        "planned": plan.count,
        "working_directory": os.getcwd(),
    }


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    try:
        write_files(folder, {RUN_FILE: lambda path: write_json(path, record)})
    except OSError as error:
        raise unwritable(folder, error) from error


def _version() -> str:
    from lisa_micro import __version__

    return str(__version__)
