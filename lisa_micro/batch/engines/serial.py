"""The engine ``serial``: one item after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lisa_micro.batch.engines.base import Worker, resident_bytes
from lisa_micro.batch.job import AssistantSource, Job, ModelFacts, Outcome, Task


class SerialEngine:
    """One item after the other. It is a :class:`lisa_micro.batch.engines.base.Engine`.

    Args:
        source: makes the assistant.
        job: what is done with each item.
        threads: of the model; ``None``: as many as torch likes.
    """

    def __init__(self, source: AssistantSource, job: Job, threads: int | None = None):
        self._worker = Worker(source, job, threads)

    def facts(self) -> ModelFacts:
        """Load the model and tell what it is.

        Raises:
            InputError: it cannot be loaded.
        """
        return self._worker.facts()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do tasks in order.

        Raises:
            OutputError: results cannot be written.
        """
        for task in tasks:
            yield replace(self._worker.process(task), memory_bytes=resident_bytes())

    def describe(self) -> dict[str, object]:
        """Facts for ``run.json``."""
        return {"engine": "serial", "workers": 1, "threads": self._worker.threads}

    def close(self) -> None:
        """Nothing is left to stop."""
