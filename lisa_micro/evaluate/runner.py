"""Run evaluation suites and collect their results."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lisa_micro import __version__
from lisa_micro.datasets.readers import data_root
from lisa_micro.evaluate.context import Assistant, Context, Described
from lisa_micro.evaluate.language import read_prompts
from lisa_micro.evaluate.provenance import commit, hardware
from lisa_micro.evaluate.report import write_report
from lisa_micro.evaluate.results import Report, SuiteResult
from lisa_micro.evaluate.suites import SUITES, suite_names
from lisa_micro.types import InputError


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of :func:`evaluate`.

    Attributes:
        preset, device: as for :func:`lisa_micro.load_assistant`.
        data: folder that holds ``emps`` and ``tem-sintering``; ``None`` for the environment variable
            ``LISA_MICRO_DATA``.
        limit: number of images, scenes or requests, instead of the number of each suite.
        seed: seed of everything that is drawn at random: wordings, requests.
        prompts: YAML file of requests, for the suites ``language`` and ``programs``
            (:func:`lisa_micro.evaluate.language.read_prompts`) or ``wordings``
            (:func:`lisa_micro.evaluate.meanings.read_meanings`).
    """

    preset: str = "micro"
    device: str = "auto"
    data: str | os.PathLike[str] | None = None
    limit: int | None = None
    seed: int = 0
    prompts: str | os.PathLike[str] | None = None


def evaluate(
    suite: str,
    assistant: Assistant | None = None,
    settings: EvaluationSettings | None = None,
    *,
    show: Callable[[SuiteResult], None] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Report:
    """Evaluate an assistant on validation data.

    Args:
        suite: a key of :data:`lisa_micro.evaluate.suites.SUITES`, or ``"all"``.
        assistant: the assistant to evaluate; by default ``load_assistant(preset, device)``, loaded when the first suite
            needs it. The suite ``speed`` always loads ``preset`` itself, in separate processes.
        settings: preset, data, limit and seed.
        show: called with each result as soon as it is available.
        out: folder for the report (:func:`lisa_micro.evaluate.report.write_report`), written after each suite, so that
            an interrupted run keeps its results.
        progress: whether to show progress bars on the standard error stream.

    Returns:
        all results, and what is needed to repeat them.

    Raises:
        InputError: unknown suite, missing data set (reported before anything runs), a limit below 1, a preset that
            cannot be loaded, unusable prompts, or a folder that cannot be written.
    """
    settings = settings or EvaluationSettings()
    names = suite_names(suite)
    if settings.limit is not None and settings.limit < 1:
        raise InputError(f"The limit must be at least 1, not {settings.limit}.")
    folder = None if settings.data is None else Path(settings.data)
    prompts = None if settings.prompts is None else Path(settings.prompts)
    for name in names:
        dataset = SUITES[name].dataset
        if dataset is not None:
            data_root(dataset, folder)
    if prompts is not None:
        for read in {SUITES[name].read_file or read_prompts for name in names}:
            read(prompts)
    context = Context(
        load=lambda: assistant if assistant is not None else _load(settings.preset, settings.device),
        preset=settings.preset,
        device=settings.device,
        data=folder,
        limit=settings.limit,
        seed=settings.seed,
        prompts=prompts,
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

    loaded: Assistant = load_assistant(preset, device=device)
    return loaded


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


def provenance(context: Context) -> dict[str, Any]:
    """What is needed to repeat an evaluation, as plain values for JSON."""
    assistant, prompts = context.loaded, context.prompts
    described = assistant if isinstance(assistant, Described) else None
    return {
        "version": __version__,
        "commit": commit(),
        "preset": context.preset if described is None else str(described.preset),
        "device": context.device if described is None else str(described.device),
        "weights_sha256": context.weights_sha256,
        "seed": context.seed,
        "limit": context.limit,
        "prompts_sha256": hashlib.sha256(prompts.read_bytes()).hexdigest() if prompts else None,
        "hardware": hardware(),
        "python": platform.python_version(),
        "torch": None if "torch" not in sys.modules else str(sys.modules["torch"].__version__),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def rich_progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on the standard error stream; yields the function that advances it."""
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
