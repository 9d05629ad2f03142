"""``lisa-micro batch``: one request about many micrographs, one table, one report."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lisa_micro.cli.loading import prepare_language_model
from lisa_micro.cli.micrographs.segment import Tiles
from lisa_micro.cli.options import AsJson, MissingChunks, ModelOptions, PixelSize, default_folder, grouped
from lisa_micro.cli.terminal import list_written, note, notes, print_json
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.batch import BatchOptions, BatchResult, Callbacks, Request

EngineChoice = Literal["serial", "processes", "dask"]
OverlayChoices = Literal["none", "some", "all"]
PageChoice = Literal["all", "first"]


@dataclass(frozen=True)
class ReadingOptions:
    """How images are read and segmented."""

    like: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Find all that is like the example in a file of segment --save-like."),
    ] = None
    also: Annotated[
        list[str] | None, typer.Option(metavar="PROMPT", help="A further request about each image; repeatable.")
    ] = None
    pixel_size: PixelSize = None
    pages: Annotated[PageChoice, typer.Option(help="Pages of a stack that are segmented.")] = "all"
    tiles: Annotated[Tiles, typer.Option(help="How large micrographs are segmented, as in `segment`.")] = "auto"
    missing_chunks: MissingChunks = "error"


@dataclass(frozen=True)
class MachineOptions:
    """Where the work is done."""

    engine: Annotated[
        EngineChoice,
        typer.Option(help="serial: in this process; processes: one model in each worker process; dask: a cluster."),
    ] = "processes"
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes, or SLURM jobs (default: what cores and memory allow).")
    ] = None
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each model (default: cores shared out).")] = (
        None
    )
    memory: Annotated[float | None, typer.Option(metavar="GB", help="Memory of each worker.")] = None
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler that runs already: tcp://HOST:8786.")
    ] = None
    slurm: Annotated[Path | None, typer.Option(metavar="YAML", help="Start workers as the SLURM jobs of a file.")] = (
        None
    )


@dataclass(frozen=True)
class RunOptions:
    """What is done, and what is written."""

    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results (default: ./STEM-batch).")
    ] = None
    group_by: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="Groups: folder, name:REGEX, or a CSV file with columns image and group."),
    ] = None
    overlays: Annotated[OverlayChoices, typer.Option(help="Images whose overlays are drawn; some: 24.")] = "some"
    limit: Annotated[int | None, typer.Option(min=1, help="Number of images, instead of all.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Resume, and try failed images again.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")] = False
    no_report: Annotated[bool, typer.Option("--no-report", help="Tables only: no statistics, no report.")] = False


@grouped
def batch(
    reading: ReadingOptions,
    machine: MachineOptions,
    running: RunOptions,
    model: ModelOptions,
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...", help="Folder, files, pattern in quotes, or - for a list on standard input."
        ),
    ] = None,
    prompt: Annotated[str, typer.Argument(help='What to segment in each image, such as "all particles".')] = "",
    as_json: AsJson = False,
) -> None:
    """Segment many micrographs: tables over all of them, statistics, a report, and a list of what failed."""
    from lisa_micro.batch import run_batch
    from lisa_micro.batch.job import PresetSource

    sources, prompt = _told_apart(sources or [], prompt, bool(reading.like))
    items = _sources(sources)
    requests = _requests(prompt, reading)
    options = _options(reading, machine, running)
    out = running.out or _default_folder(sources)
    if running.dry_run:
        _show_plan(items, requests, options, out, as_json)
        return
    if machine.scheduler is None and machine.slurm is None:
        prepare_language_model(model.preset)
    projectors = None if model.projectors is None else str(model.projectors.resolve())
    try:
        with _shown() as callbacks:
            result = run_batch(
                items,
                requests,
                out,
                machine.engine,
                assistant=PresetSource(_absolute(model.preset), model.device, model.precision, projectors),
                options=options,
                callbacks=callbacks,
                command=shlex.join(["lisa-micro", *(context.obj or ())]),
            )
    except KeyboardInterrupt:
        note(f"What was done stays in {out}; continue with --resume.")
        raise
    _show(result, as_json)


def _absolute(path: str) -> str:
    """The path of a folder as workers elsewhere find it; the name of a preset as it is."""
    return str(Path(path).resolve()) if (os.sep in path or path.startswith(".")) and Path(path).is_dir() else path


def _default_folder(sources: list[str]) -> Path:
    """``STEM-batch`` in the working directory, so that it is no folder of `segment`."""
    if sources == ["-"]:
        return Path("lisa-micro-batch")
    name = default_folder(Path(sources[0])).name.removesuffix("-lisa")
    return Path(f"{''.join(c for c in name if c not in '*?[]') or 'lisa-micro'}-batch")


def _sources(sources: list[str]) -> list[str]:
    if sources != ["-"]:
        return sources
    listed = [line.strip() for line in sys.stdin if line.strip()]
    if not listed:
        raise InputError("The list of images on standard input is empty; write one path a line.")
    return listed


def _options(reading: ReadingOptions, machine: MachineOptions, running: RunOptions) -> BatchOptions:
    from lisa_micro.batch import BatchOptions, EngineOptions, Reading

    return BatchOptions(
        reading=Reading(reading.pixel_size, reading.tiles, reading.missing_chunks),
        pages=reading.pages,
        engine=EngineOptions(machine.workers, machine.threads, machine.memory, machine.scheduler, machine.slurm),
        overlays=running.overlays,
        group_by=running.group_by,
        limit=running.limit,
        resume=running.resume,
        retry_failed=running.retry_failed,
        report=not running.no_report,
    )


def _told_apart(sources: list[str], prompt: str, like: bool) -> tuple[list[str], str]:
    """Sources and words. With ``--like`` the words may be left out; the last argument is then a source.

    Raises:
        InputError: nothing to segment, or nothing to ask.
    """
    if like and prompt and (not sources or Path(prompt).exists()):
        sources, prompt = [*sources, prompt], ""
    if not sources:
        raise InputError("Give the micrographs and what to segment in them: lisa-micro batch FOLDER WORDS.")
    return sources, prompt


def _requests(prompt: str, reading: ReadingOptions) -> tuple[Request, ...]:
    """What is asked about every image: words, or what is like an example and satisfies the words.

    Raises:
        InputError: neither words nor an example, or a file that holds none.
    """
    from lisa_micro.batch.requests import ExemplarRequest, as_requests
    from lisa_micro.exemplar import read_exemplar

    if not reading.like:
        return as_requests([prompt, *(reading.also or [])])
    exemplar = read_exemplar(reading.like[0])
    for path in reading.like[1:]:
        exemplar = exemplar.joined(read_exemplar(path))
    return as_requests([ExemplarRequest(exemplar, prompt.strip()), *(reading.also or [])])


def _show_plan(
    items: list[str], requests: tuple[Request, ...], options: BatchOptions, out: Path, as_json: bool
) -> None:
    """Print what a run would do."""
    from collections import Counter
    from itertools import islice

    from lisa_micro.batch import list_items
    from lisa_micro.batch.groups import parse_groups

    group_of = parse_groups(options.group_by)
    groups: Counter[str] = Counter()
    files: set[str] = set()
    count = size = 0
    for item in islice(list_items(items, options.pages, out), options.limit):
        count += 1
        if item.path not in files:
            files.add(item.path)
            size += item.size
        if group_of is not None:
            groups[group_of(item) or "(none)"] += 1
    record = {
        "images": count,
        "files": len(files),
        "bytes": size,
        "requests": [one.title for one in requests],
        "groups": dict(groups),
    }
    if as_json:
        print_json(record)
        return
    print(f"{count} images in {len(files)} files, {size / 1e6:.1f} MB")
    for one in requests:
        print(f"request: {one.title}")
    for name, number in groups.items():
        print(f"group {name}: {number} images")


@contextmanager
def _shown() -> Iterator[Callbacks]:
    """Callbacks that show stages and a bar with the time left; on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    from lisa_micro.batch import Callbacks

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, text="")
        yield Callbacks(
            progress=lambda now: progress.update(
                task, description="Segmenting", completed=now.done + now.failed, total=now.total, text=now.text
            ),
            stage=lambda name: progress.update(task, description=f"{name} ...", total=None, text=""),
        )


def _show(result: BatchResult, as_json: bool) -> None:
    counts = result.counts
    if as_json:
        record = asdict(counts) | {"seconds": result.seconds, "notes": result.notes}
        print_json({"folder": str(result.folder), **record, "files": [str(path) for path in result.files]})
    else:
        from lisa_micro.batch.progress import duration

        notes(result.notes)
        print(f"{counts.done} images with {counts.instances} instances, {duration(result.seconds)}")
        if counts.failed:
            note(f"{counts.failed} images failed; {result.folder / 'failed.csv'} says why.")
        list_written(result.files)
    if not counts.done:
        raise InputError(f"No image could be used; {result.folder / 'failed.csv'} says why.")
