"""What all engines share: their interface, and the worker that holds one model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lisa_micro.batch.job import AssistantSource, Job, ModelFacts, Outcome, Task
from lisa_micro.batch.process import process
from lisa_micro.protocols import Assistant

ATTEMPTS = 3
"""How often an item is tried whose worker dies: once, and twice again."""
WORKER_ENDED = (
    f"Its worker process ended {ATTEMPTS} times while it did this image: it ran out of memory, or a library crashed."
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Engine(Protocol):
    """Runs tasks. Whatever the engine, the same tasks write the same files."""

    def facts(self) -> ModelFacts:
        """Load the model, in one worker at least, and tell what it is.

        Raises:
            InputError: it cannot be loaded, or a request is not for it.
        """
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do tasks; outcomes come in any order, one for each task. Few tasks are taken from the iterable ahead.

        Raises:
            OutputError: results cannot be written.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Facts for ``run.json``: engine, workers, threads, memory."""
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...


@dataclass
class Worker:
    """A model and a job. It is made in the process that works.

    Attributes:
        source: makes the assistant.
        job: what is done with each item.
        threads: of the model; ``None``: as many as torch likes.
    """

    source: AssistantSource
    job: Job
    threads: int | None = None
    _assistant: Assistant | None = None

    @property
    def assistant(self) -> Assistant:
        """The assistant, loaded at first use.

        Raises:
            InputError: it cannot be loaded.
        """
        if self._assistant is None:
            if self.threads is not None:
                limit_threads(self.threads)
            self._assistant = self.source()
        return self._assistant

    def facts(self) -> ModelFacts:
        """Facts of the model.

        Raises:
            InputError: it cannot be loaded, or a request is not for it.
        """
        assistant = self.assistant
        for request in self.job.requests:
            request.check(assistant.capabilities, assistant.preset)
        return ModelFacts(assistant.preset, assistant.weights_sha256, str(assistant.device))

    def process(self, task: Task) -> Outcome:
        """Do one item; see :func:`lisa_micro.batch.process.process`."""
        return process(self.assistant, self.job, task)


def limit_threads(threads: int) -> None:
    """Let torch use this number of threads in this process."""
    import torch

    torch.set_num_threads(threads)


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process in bytes; 0 where it cannot be read or has ended."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def available_bytes() -> int:
    """Memory that can be used before the machine swaps, also where a control group limits it, bytes."""
    import psutil

    available = int(psutil.virtual_memory().available)
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    return available if limit is None or used is None else max(0, min(available, limit - used))


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def usable_cores() -> int:
    """Number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
