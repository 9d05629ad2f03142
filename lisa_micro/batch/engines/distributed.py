"""The engine ``dask``: workers of dask.distributed, on this computer, behind a scheduler's address, or in SLURM jobs.

Only tasks and outcomes go through the scheduler; results are written to the shared folder. As many items are in flight
as there are worker threads, so that a graph of a million items never exists, and a worker that dies takes one item
with it at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lisa_micro.batch.engines.base import (
    ATTEMPTS,
    THREAD_VARIABLES,
    WORKER_ENDED,
    Worker,
    available_bytes,
    resident_bytes,
    usable_cores,
)
from lisa_micro.batch.engines.processes import WORKER_BYTES
from lisa_micro.batch.engines.slurm import SlurmSettings, start_cluster
from lisa_micro.batch.job import AssistantSource, Job, ModelFacts, Outcome, Task
from lisa_micro.batch.process import fail
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS = 20.0
"""How long a scheduler may take to answer."""
FIRST_WORKER_SECONDS = 3600.0
"""How long the first worker may take to come; in a cluster it waits in a queue."""
LOOK_SECONDS = 5.0
"""How often the number of worker threads is looked at."""


@dataclass(frozen=True)
class DaskSettings:
    """Where the workers are.

    Attributes:
        scheduler: address of a scheduler that runs already, such as ``"tcp://node7:8786"``.
        slurm: starts workers as SLURM jobs.
        workers: number of processes on this computer, or of SLURM jobs; ``None``: as many as cores and memory allow.
        threads: threads of each model.
        memory_bytes: limit of each worker on this computer.
    """

    scheduler: str | None = None
    slurm: SlurmSettings | None = None
    workers: int | None = None
    threads: int | None = None
    memory_bytes: int | None = None


class DaskEngine:
    """Workers of dask.distributed. It is a :class:`lisa_micro.batch.engines.base.Engine`.

    Args:
        source: makes the assistant; picklable.
        job: what is done with each item; its folder must be the same on all machines.
        settings: where the workers are.

    Raises:
        InputError: the scheduler does not answer, or SLURM's commands are missing.
    """

    def __init__(self, source: AssistantSource, job: Job, settings: DaskSettings):
        self._job, self._settings = job, settings
        self._threads = settings.threads or 1
        self._work = (source, job, self._threads)
        self._cluster: Any = None
        self._client = self._connect()

    def _connect(self) -> Client:
        import dask
        from distributed import Client, LocalCluster

        for name in ("distributed", "distributed.scheduler", "distributed.nanny", "distributed.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # every death of a worker is told at once; how often an item is tried again is counted here
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": "10s"})
        settings = self._settings
        if settings.scheduler is not None:
            try:
                return Client(settings.scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                reason = " ".join(str(error).split())[:160] or type(error).__name__
                raise InputError(f"The scheduler {settings.scheduler} does not answer ({reason}).") from error
        if settings.slurm is not None:
            self._cluster = start_cluster(settings.slurm, settings.workers)
        else:
            share = settings.memory_bytes or WORKER_BYTES
            number = settings.workers or max(1, min(usable_cores() // self._threads, available_bytes() // share))
            self._cluster = LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                processes=True,
                memory_limit=settings.memory_bytes or available_bytes() // number,
                dashboard_address=None,
                env=dict.fromkeys(THREAD_VARIABLES, str(self._threads)),
            )
        return Client(self._cluster, timeout=ANSWER_SECONDS, set_as_default=False)

    def facts(self) -> ModelFacts:
        """Let one worker load the model and tell what it is.

        Raises:
            InputError: no worker comes, or the model cannot be loaded.
        """
        try:
            self._client.wait_for_workers(1, timeout=FIRST_WORKER_SECONDS)
        except TimeoutError as error:
            raise InputError("No worker has come; check the queue of the cluster.") from error
        future = self._client.submit(_facts, *self._work, pure=False)
        facts: ModelFacts = future.result()
        return facts

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do tasks; see :class:`lisa_micro.batch.engines.base.Engine`.

        Raises:
            OutputError: results cannot be written.
            InputError: all workers have gone and none comes back.
        """
        from concurrent.futures import CancelledError

        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        source = iter(tasks)
        pending: dict[str, tuple[Task, int]] = {}
        arriving = as_completed(loop=self._client.loop)
        looked, window = 0.0, 1
        exhausted = False

        def submit(task: Task, attempt: int) -> None:
            key = f"lisa-micro-{task.id}-{attempt}"
            pending[key] = (task, attempt)
            arriving.add(self._client.submit(_process, *self._work, task, key=key, pure=False))

        while True:
            if time.monotonic() - looked > LOOK_SECONDS:
                looked, window = time.monotonic(), max(1, sum(self._client.nthreads().values()))
            while not exhausted and len(pending) < window:
                task = next(source, None)
                exhausted = task is None
                if task is not None:
                    submit(task, 1)
            if not pending:
                return
            future = next(arriving)
            task, attempt = pending.pop(future.key)
            try:
                outcome: Outcome = future.result()
            except (KilledWorker, CancelledError):
                if self._client.status != "running":
                    raise InputError(
                        "The connection to the scheduler was lost; what was done stays, run again with --resume."
                    ) from None
                if attempt < ATTEMPTS:
                    submit(task, attempt + 1)
                    continue
                outcome = fail(self._job, task, WORKER_ENDED)
            finally:
                future.release()
            yield outcome

    def describe(self) -> dict[str, object]:
        """Facts for ``run.json``."""
        where = "scheduler" if self._settings.scheduler else "slurm" if self._settings.slurm else "local"
        return {"engine": "dask", "where": where, "threads": self._threads, "workers": self._settings.workers}

    def close(self) -> None:
        """Disconnect; workers that were started here are stopped."""
        try:
            self._client.close()
        finally:
            if self._cluster is not None:
                self._cluster.close()


_lock = threading.Lock()
_workers: dict[str, Worker] = {}


def _worker(source: AssistantSource, job: Job, threads: int) -> Worker:
    """The model of this process; it is loaded once, whatever job comes."""
    key = f"{source!r} {threads}"
    with _lock:
        worker = _workers.get(key)
        if worker is None:
            worker = Worker(source, job, threads)
            worker.facts()
            _workers.clear()
            _workers[key] = worker
        elif worker.job != job:
            worker.job = job
            worker.facts()
    return worker


def _facts(source: AssistantSource, job: Job, threads: int) -> ModelFacts:
    return _worker(source, job, threads).facts()


def _process(source: AssistantSource, job: Job, threads: int, task: Task) -> Outcome:
    worker = _worker(source, job, threads)
    with _lock:  # a worker of a foreign cluster may have several threads; the model has one user at a time
        return replace(worker.process(task), memory_bytes=resident_bytes())
