"""The engine ``processes``: worker processes on this computer, one model each.

The driver hands every worker one task at a time over a pipe. A worker that dies is replaced, and its task tried again;
a task whose worker dies :data:`~lisa_micro.batch.engines.base.ATTEMPTS` times is a failure. A worker whose memory grew
beyond its share is replaced after its task; one that goes far beyond it is stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from lisa_micro.batch.engines.base import (
    ATTEMPTS,
    THREAD_VARIABLES,
    WORKER_ENDED,
    Worker,
    available_bytes,
    resident_bytes,
    usable_cores,
)
from lisa_micro.batch.job import AssistantSource, Job, ModelFacts, Outcome, Task
from lisa_micro.batch.process import fail
from lisa_micro.batch.store import OutputError
from lisa_micro.types import InputError

WORKER_BYTES = 1_500_000_000
"""Memory that a worker of the preset ``micro`` is expected to need for images of usual size; it bounds the number of
workers that are started where none was asked for."""
CHECK_SECONDS = 0.5
"""How often the memory of working processes is looked at."""
FAR_BEYOND = 1.5
"""A worker that takes this many times its share is stopped at once."""


@dataclass(eq=False)
class _Slot:
    """A worker process, seen from the driver."""

    process: SpawnProcess
    pipe: Connection
    task: Task | None = None
    loaded: bool = False
    stopped_for_memory: bool = False


class ProcessEngine:
    """Worker processes on this computer. It is a :class:`lisa_micro.batch.engines.base.Engine`.

    Args:
        source: makes the assistant; picklable.
        job: what is done with each item.
        workers: number of processes; ``None``: as many as cores and memory allow.
        threads: of each; ``None``: the cores are shared out.
        memory_bytes: share of memory of each worker; ``None``: the available memory is shared out.

    Raises:
        InputError: a number that is not positive.
    """

    def __init__(
        self,
        source: AssistantSource,
        job: Job,
        workers: int | None = None,
        threads: int | None = None,
        memory_bytes: int | None = None,
    ):
        for name, value in (("workers", workers), ("threads", threads), ("memory", memory_bytes)):
            if value is not None and value < 1:
                raise InputError(f"The number of {name} must be positive, not {value}.")
        cores, available = usable_cores(), available_bytes()
        self._number = workers or max(1, min(cores // (threads or 1), available // (memory_bytes or WORKER_BYTES)))
        self._threads = threads or max(1, cores // self._number)
        self._share = memory_bytes or available // self._number
        self._source, self._job = source, job
        self._context = multiprocessing.get_context("spawn")
        self._slots: list[_Slot] = []
        self._facts: ModelFacts | None = None
        self._replaced, self._most, self._not_loaded = 0, 0, 0

    def facts(self) -> ModelFacts:
        """Start one worker, let it load the model and tell what it is.

        Raises:
            InputError: the model cannot be loaded, or the worker dies while it loads it.
        """
        if self._facts is None:
            slot = self._start()
            slot.loaded = True
            try:
                self._facts = slot.pipe.recv()
            except EOFError:
                self._slots.remove(slot)
                raise InputError(f"A worker process ended while it loaded the model ({_end(slot)}).") from None
            if isinstance(self._facts, Exception):
                error, self._facts = self._facts, None
                raise error
        assert self._facts is not None
        return self._facts

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do tasks; see :class:`lisa_micro.batch.engines.base.Engine`.

        Raises:
            OutputError: results cannot be written.
            InputError: new workers cannot load the model.
        """
        self.facts()
        source = iter(tasks)
        again: deque[Task] = deque()
        deaths: dict[str, int] = {}
        exhausted = False
        for slot in self._slots:
            exhausted = self._hand_out(slot, source, again) or exhausted
        while True:
            working = [slot for slot in self._slots if slot.task is not None]
            # further workers start one by one as long as there is work for them; they load while others work
            if (not exhausted or again) and len(self._slots) < self._number:
                slot = self._start()
                exhausted = self._hand_out(slot, source, again)
                continue
            if not working:
                return
            for slot in self._ready(working):
                outcome = self._receive(slot, deaths, again)
                if outcome is not None:
                    yield outcome
                if slot in self._slots and slot.task is None:
                    exhausted = self._hand_out(slot, source, again)

    def describe(self) -> dict[str, object]:
        """Facts for ``run.json``."""
        return {
            "engine": "processes",
            "workers": self._number,
            "threads": self._threads,
            "memory_per_worker_mb": round(self._share / 1e6),
            "largest_worker_mb": round(self._most / 1e6),
            "workers_replaced": self._replaced,
        }

    def close(self) -> None:
        """Stop all workers at once; what they were doing is done again by the next run."""
        for slot in self._slots:
            slot.pipe.close()
            slot.process.terminate()
        for slot in self._slots:
            slot.process.join(5)
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()
        self._slots.clear()

    def _start(self) -> _Slot:
        ours, theirs = self._context.Pipe()
        # libraries read these when they are loaded, in the new process
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self._threads)))
        try:
            process = self._context.Process(
                target=_work,
                args=(theirs, self._source, self._job, self._threads),
                daemon=True,
                name="lisa-micro-batch",
            )
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        slot = _Slot(process, ours)
        self._slots.append(slot)
        return slot

    def _hand_out(self, slot: _Slot, source: Iterator[Task], again: deque[Task]) -> bool:
        """Give a worker its next task; returns whether there are no new ones left."""
        exhausted = False
        if again:
            slot.task = again.popleft()
        else:
            slot.task = next(source, None)
            exhausted = slot.task is None
        if slot.task is not None:
            try:
                slot.pipe.send(slot.task)
            except OSError:  # it has died; that is noticed where its answer is awaited
                pass
        return exhausted

    def _ready(self, working: list[_Slot]) -> list[_Slot]:
        """Workers that have answered or died; their memory is watched meanwhile."""
        while True:
            found = wait([slot.pipe for slot in working], timeout=CHECK_SECONDS)
            if found:
                return [slot for slot in working if slot.pipe in found]
            for slot in working:
                size = resident_bytes(slot.process.pid)
                self._most = max(self._most, size)
                if size > FAR_BEYOND * self._share:
                    slot.stopped_for_memory = True
                    slot.process.kill()

    def _receive(self, slot: _Slot, deaths: dict[str, int], again: deque[Task]) -> Outcome | None:
        task = slot.task
        assert task is not None
        try:
            message = slot.pipe.recv()
        except (EOFError, OSError):
            return self._after_death(slot, task, deaths, again)
        if isinstance(message, ModelFacts):  # a later worker has loaded its model
            slot.loaded = True
            self._not_loaded = 0
            return None
        if isinstance(message, Exception):
            raise message
        slot.task = None
        self._most = max(self._most, message.memory_bytes)
        if message.memory_bytes > self._share and len(self._slots) == self._number:
            self._retire(slot)
        outcome: Outcome = message
        return outcome

    def _after_death(self, slot: _Slot, task: Task, deaths: dict[str, int], again: deque[Task]) -> Outcome | None:
        slot.process.join()
        self._slots.remove(slot)
        slot.pipe.close()
        self._replaced += 1
        if not slot.loaded:  # it has not begun with the task
            self._not_loaded += 1
            if self._not_loaded >= ATTEMPTS:
                raise InputError(
                    f"Worker processes end while they load the model ({_end(slot)}); use fewer with --workers."
                )
            again.append(task)
            return None
        deaths[task.id] = deaths.get(task.id, 0) + 1
        if deaths[task.id] < ATTEMPTS:
            again.append(task)
            return None
        if slot.stopped_for_memory:
            needed = FAR_BEYOND * self._share / 1e9
            return fail(self._job, task, f"This image needs more than the {needed:.1f} GB that a worker may take.")
        return fail(self._job, task, WORKER_ENDED)

    def _retire(self, slot: _Slot) -> None:
        """Replace a worker whose memory has grown; a new one is started in its place."""
        self._slots.remove(slot)
        slot.pipe.close()  # it ends when it sees that
        self._replaced += 1


def _end(slot: _Slot) -> str:
    slot.process.join(5)
    code = slot.process.exitcode
    if code is not None and code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _work(pipe: Connection, source: AssistantSource, job: Job, threads: int) -> None:
    """What a worker process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears it, and stops the workers
    worker = Worker(source, job, threads)
    try:
        try:
            pipe.send(worker.facts())
        except InputError as error:
            pipe.send(InputError(str(error)))
            return
        while True:
            task = pipe.recv()
            start = time.perf_counter()
            try:
                outcome = worker.process(task)
            except OutputError as error:
                pipe.send(OutputError(str(error)))
                return
            if not outcome.seconds:
                outcome = replace(outcome, seconds=time.perf_counter() - start)
            pipe.send(replace(outcome, memory_bytes=resident_bytes()))
    except (EOFError, OSError):  # the driver has gone
        return
