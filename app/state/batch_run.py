"""A run on the page Batch: in the app's queue, with the app's model, image by image.

Between two images the short requests of other users get their turn.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.extras import require
from lisa_micro.language import check_prompt
from lisa_micro.types import InputError
from lisa_micro_app.archives import MAX_INPUT_BYTES, SCRIPT_HEAD, command_options, zip_folder
from lisa_micro_app.handlers import Pending, job_progress
from lisa_micro_app.jobs import Job, JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.batch_files import images_folder, results_folder

if TYPE_CHECKING:
    from lisa_micro.batch import BatchResult
    from lisa_micro.batch.job import Outcome
    from lisa_micro.batch.progress import Progress
    from lisa_micro_app.state.session import Session

COLUMNS = ("image", "found", "median size", "note")
"""Columns of the table on the page."""


@dataclass(frozen=True)
class BatchPending(Pending):
    """The progress of a run.

    Attributes:
        done, total: number of images.
        left: estimated time left in words, ``""`` if unknown.
        rows: number of rows of the table.
    """

    done: int = 0
    total: int = 0
    left: str = ""
    rows: int = 0


def run_files(
    session: Session, queue: JobQueue, words: object, groups: object, limits: Limits
) -> Iterator[BatchPending]:
    """Ask about all files of the session. Yields the progress; rows appear in the session's state, and at the end the
    result. A run of the same request that was stopped goes on.

    Raises:
        InputError: there are no files, an empty request, a grouping that does not exist, a run is going on, or it
            failed.
    """
    require("A batch", "pyarrow", "plotly", "xlsxwriter")
    from lisa_micro.batch import BatchOptions, Callbacks, run_batch
    from lisa_micro.batch.groups import parse_groups
    from lisa_micro.batch.progress import duration

    state = session.batch
    text, _ = check_prompt(str(words or ""))
    group_by = str(groups or "").strip() or None
    if group_by is not None and not (group_by == "folder" or group_by.startswith("name:")):
        raise InputError(f"Unknown grouping {group_by!r}; write folder, name:REGEX, or nothing.")
    parse_groups(group_by)
    if state.busy:
        raise InputError("A run is going on; stop it first.")
    if not state.files:
        raise InputError("Drop images or a zip of images first.")
    folder = results_folder(session)
    _begin(session, folder, text)
    now: list[BatchPending] = [BatchPending(text, "", total=len(state.files))]

    def task(job: Job[BatchResult]) -> BatchResult:
        def progress(told: Progress) -> None:
            left = "" if told.seconds_left is None else duration(told.seconds_left)
            now[0] = replace(now[0], done=told.done + told.failed, left=left, rows=len(state.rows))
            job.step(f"Image {told.done + told.failed} of {told.total}")
            queue.run_short_jobs()

        def outcome(one: Outcome) -> None:
            state.rows.append(_row(folder, one))

        def stage(name: str) -> None:
            job.step(name)

        return run_batch(
            images_folder(session),
            text,
            folder,
            "serial",
            assistant=queue.assistant,
            options=BatchOptions(group_by=group_by, resume=True),
            callbacks=Callbacks(progress, stage, outcome),
        )

    state.job = job = queue.submit(task, long_seconds=limits.batch_seconds)
    for pending in job_progress(job, queue, BatchPending(text, "")):
        yield replace(
            now[0], stage=pending.stage, place=pending.place, seconds=pending.seconds, loading=pending.loading
        )
    if not job.cancelled:
        state.result = job.outcome()


def _begin(session: Session, folder: Path, words: str) -> None:
    """Keep what an earlier run of the same request has done; remove the results of another request."""
    try:
        earlier = json.loads((folder / "run.json").read_bytes())["requests"]
    except (OSError, ValueError, KeyError):
        earlier = None
    if earlier != [{"kind": "words", "words": words}]:
        shutil.rmtree(folder, ignore_errors=True)
        session.batch.rows.clear()
    session.batch.result = None


def _row(folder: Path, outcome: Outcome) -> list[object]:
    """The row of an image in the table on the page."""
    from lisa_micro.batch.report.content import counted

    record = json.loads((folder / "items" / outcome.id[:2] / outcome.id / "item.json").read_bytes())
    name = record["image"] + (f" page {record['page']}" if record["page"] else "")
    if record["status"] == "failed":
        return [name, "", "", record["sentence"].replace(record["path"], record["image"])]
    segments = [segment for answer in record["answers"] for segment in answer["segments"]]
    found = ", ".join(counted(one["count"], one["concept"]) for one in segments) or "nothing"
    sizes = [f"{one['median']:.4g} {one['unit']}" for one in segments if one["property"] and one["median"] is not None]
    return [name, found, ", ".join(sizes), " ".join(record["notes"])]


def pack_batch(session: Session, preset: str) -> Path:
    """Pack results, images and ``repeat.sh`` into one archive in the session's folder.

    Args:
        session: whose run.
        preset: of the assistant.

    Raises:
        InputError: there is no finished run, or the archive cannot be written.
    """
    if session.batch.result is None:
        raise InputError("Nothing to download yet; run the batch first.")
    folder, root = results_folder(session), session.new_file()
    record = json.loads((folder / "run.json").read_bytes())
    grouping = f" --group-by {shlex.quote(record['group_by'])}" if record["group_by"] else ""
    words = shlex.quote(record["requests"][0]["words"])
    command = f"lisa-micro batch --out again{command_options(preset)}{grouping} -- input {words}\n"
    try:
        root.mkdir()
        # linked, not copied: they may be large
        shutil.copytree(folder, root / "results", copy_function=os.link)
        script = SCRIPT_HEAD
        if session.batch.bytes <= MAX_INPUT_BYTES:
            shutil.copytree(images_folder(session), root / "input", copy_function=os.link)
        else:
            script += "# The images are not in the archive, because they are large: copy them to input first.\n"
        (root / "repeat.sh").write_text(script + command, encoding="utf-8")
        return zip_folder(root, session.new_file(".zip"))
    except OSError as error:
        raise InputError(f"Cannot write the download: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(root, ignore_errors=True)


def report_file(session: Session) -> Path:
    """A copy of the report in the session's folder.

    Raises:
        InputError: there is no finished run.
    """
    report = results_folder(session) / "report.html"
    if session.batch.result is None or not report.is_file():
        raise InputError("Nothing to download yet; run the batch first.")
    path = session.new_file(".html")
    path.write_bytes(report.read_bytes())
    return path
