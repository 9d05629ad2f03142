"""Runs suites, says on what, and writes the report."""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro import __version__
from lisa_micro.datasets.readers import data_root
from lisa_micro.evaluate.context import Assistant, Context
from lisa_micro.evaluate.language import read_prompts
from lisa_micro.evaluate.results import Report, Row, SuiteResult
from lisa_micro.evaluate.suites import SUITES, suite_names
from lisa_micro.evaluate.tables import markdown
from lisa_micro.io import write_files, write_json
from lisa_micro.types import InputError

REPORT_FILES = ("evaluation.json", "evaluation.md")
"""What tells that a folder holds a report; the lists of failures lie beside."""
_CPU_FEATURES = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512f", "avx2")


def evaluate(
    suite: str,
    assistant: Assistant | None = None,
    *,
    preset: str = "micro",
    device: str = "auto",
    data: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    prompts: str | os.PathLike[str] | None = None,
    show: Callable[[SuiteResult], None] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Report:
    """Judges an assistant on validation data.

    Args:
        suite: a key of :data:`lisa_micro.evaluate.suites.SUITES`, or ``"all"``.
        assistant: what is judged; None: ``load_assistant(preset, device)``, when the first suite needs it.
            The suite ``speed`` always loads ``preset`` itself, in processes of its own.
        preset, device: as for ``lisa_micro.load_assistant``.
        data: folder that holds ``emps`` and ``tem-sintering``; None: the environment variable
            ``LISA_MICRO_DATA``.
        limit: number of images, scenes or requests instead of each suite's own.
        seed: of everything drawn by chance: wordings, requests.
        prompts: YAML file of requests for the suite ``language``
            (:func:`lisa_micro.evaluate.language.read_prompts`).
        show: called with each result as soon as it is there.
        out: folder for the report (:func:`write_report`), written again after each suite, so that a run that
            is stopped leaves what it had.
        progress: whether to show progress bars on the standard error stream.

    Returns:
        all results, and what is needed to repeat them.

    Raises:
        InputError: no such suite, a data set that is not found (said before anything runs), a limit below 1,
            a preset that cannot be loaded, unusable prompts, or a folder that cannot be written.
    """
    names = suite_names(suite)
    if limit is not None and limit < 1:
        raise InputError(f"The limit must be at least 1, not {limit}.")
    folder = None if data is None else Path(data)
    for name in names:
        dataset = SUITES[name].dataset
        if dataset is not None:
            data_root(dataset, folder)
    if prompts is not None:
        read_prompts(Path(prompts))
    context = Context(
        load=lambda: assistant if assistant is not None else _load(preset, device),
        preset=preset,
        device=device,
        data=folder,
        limit=limit,
        seed=seed,
        prompts=None if prompts is None else Path(prompts),
        progress=rich_progress if progress else None,
    )
    results: list[SuiteResult] = []
    report = Report((), {})
    for name in names:
        result = _run(name, context)
        results.append(result)
        report = Report(tuple(results), provenance(context))
        if out is not None:
            write_report(report, out)
        if show is not None:
            show(result)
    return report


def _load(preset: str, device: str) -> Assistant:
    from lisa_micro import load_assistant

    return load_assistant(preset, device=device)


def _run(name: str, context: Context) -> SuiteResult:
    context.defects.clear()
    context.asked = context.raised = 0
    start = time.perf_counter()
    result = SUITES[name].run(context)
    notes = list(result.notes)
    if context.raised:
        notes.append(
            f"{context.raised} of {context.asked} requests raised an exception and count as wrong; "
            f"the first: {context.defects[0]}"
        )
    if context.limit is not None:
        notes.append(f"Limited to {context.limit}: not the full suite.")
    return replace(result, notes=tuple(notes), seconds=time.perf_counter() - start)


# --------------------------------------------------------------------------------------------- what it ran on


def provenance(context: Context) -> dict[str, Any]:
    """What is needed to repeat an evaluation, as plain values for JSON."""
    assistant = context.loaded
    prompts = context.prompts
    return {
        "version": __version__,
        "commit": commit(),
        "preset": str(getattr(assistant, "preset", context.preset)),
        "device": str(getattr(assistant, "device", context.device)),
        "weights_sha256": getattr(assistant, "weights_sha256", None),
        "seed": context.seed,
        "limit": context.limit,
        "prompts_sha256": hashlib.sha256(prompts.read_bytes()).hexdigest() if prompts else None,
        "hardware": hardware(),
        "python": platform.python_version(),
        "torch": getattr(sys.modules.get("torch"), "__version__", None),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """The commit of the checkout that this package runs from, with ``+`` where files were changed since; None
    outside one (an installed package may lie inside somebody else's repository)."""
    root = Path(__file__).resolve().parents[2]
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if not top or Path(top).resolve() != root:
            return None
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "lisa_micro")
        return (_git(root, "rev-parse", "HEAD") or "") + ("+" if changed else "") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def hardware() -> str:
    """One line: processor, cores that may be used, instruction sets that matter, GPU if torch has one."""
    model, flags = platform.processor() or platform.machine(), set()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() in ("flags", "Features"):
            flags |= set(value.split())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pieces = [f"{model}, {usable} of {os.cpu_count()} cores"]
    if flags:
        pieces.append("with " + (", ".join(f for f in _CPU_FEATURES if f in flags) or "no wide vectors"))
        if not any(flag.startswith("amx") for flag in flags):
            pieces.append("no AMX")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        pieces.append(f"GPU {torch.cuda.get_device_name(0)}")
    return ", ".join(pieces)


# ---------------------------------------------------------------------------------------------------- results


def write_report(report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """Writes ``evaluation.json``, ``evaluation.md`` and the details of each suite as CSV, all or none.

    Returns:
        the paths.

    Raises:
        InputError: the folder cannot be written.
    """
    writers: dict[str, Callable[[Path], Any]] = {
        "evaluation.json": lambda path: write_json(path, report.record()),
        "evaluation.md": lambda path: path.write_text(markdown(report), encoding="utf-8"),
    }
    for result in report.results:
        for name, rows in result.details.items():
            writers[name] = partial(_write_csv, rows)
        for name, picture in result.pictures.items():
            writers[name] = partial(_write_png, picture)
    return write_files(out, writers)


def report_files(report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """The files that :func:`write_report` writes to a folder."""
    names = [name for result in report.results for name in (*result.details, *result.pictures)]
    return [Path(out) / name for name in ("evaluation.json", "evaluation.md", *names)]


def _write_png(picture: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, format="PNG")


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if not rows:  # an empty file would look like a failure
            file.write("nothing\n")
            return
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def rich_progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on the standard error stream."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
