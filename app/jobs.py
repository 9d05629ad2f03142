"""The job queue: one thread that runs the model, so that requests of all users are answered one after the other."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from lisa_micro.protocols import Assistant
from lisa_micro.types import InputError

INTERNAL_ERROR = "Internal error in the app: the request was cancelled; the conversation is unchanged."

T = TypeVar("T")


class Cancelled(Exception):
    """The job was cancelled, or exceeded its time limit."""


class Job(Generic[T]):
    """One request: its place in the queue, its stage, and its result.

    Args:
        task: called with the job; returns the result.
        seconds: time limit, from the start of the task.

    Attributes:
        stage: what the task is doing now, in words.
        result, error: set once the job is :attr:`finished`; see :meth:`outcome`.
        cancelled: whether it was cancelled.
        long: whether short jobs may run between the steps of this one.
        place: number of jobs ahead; 0 while it runs.
        started: time at which the task started, s of ``time.monotonic``; ``None`` while the job waits.
    """

    def __init__(self, task: Callable[[Job[T]], T], seconds: float):
        self.task, self.seconds = task, seconds
        self.stage = ""
        self.result: T | None = None
        self.error: InputError | None = None
        self.cancelled = False
        self.long = False
        self.place = 0
        self.started: float | None = None
        self._done = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether the job has a result or an error, or was cancelled."""
        return self._done.is_set() or self.cancelled

    @property
    def overdue(self) -> bool:
        """Whether the task has exceeded its time limit."""
        return self.started is not None and time.monotonic() - self.started > self.seconds

    def cancel(self) -> None:
        """Cancel the job. A running task stops at its next step; its result is discarded."""
        self.cancelled = True

    def step(self, stage: str) -> None:
        """Announce the next stage. Called by the task.

        Raises:
            Cancelled: the job was cancelled or is overdue; the task should end.
        """
        if self.cancelled or self.overdue:
            raise Cancelled
        self.stage = stage

    def wait(self, seconds: float) -> bool:
        """Wait until the job is finished, for at most this time; return whether it is."""
        return self._done.wait(seconds) or self.cancelled

    def end(self) -> None:
        """Mark the job as finished. Called by the queue."""
        self._done.set()

    def outcome(self) -> T:
        """The result of a finished job that was not cancelled.

        Raises:
            InputError: the task failed.
        """
        if self.error is not None:
            raise self.error
        return cast(T, self.result)


class JobQueue:
    """Runs jobs in the order of submission, in one thread.

    The model does not support concurrent calls, and on a laptop two at once take as long as one after the other.

    Args:
        waiting: maximum number of waiting jobs.
        seconds: time limit of a job.
        load: loads the model; called once in the queue's thread before the first job. If it raises
            :class:`~lisa_micro.types.InputError`, every job ends with that error. ``None``: see :attr:`assistant`.

    Attributes:
        state: ``"loading"``, ``"ready"`` or ``"failed"``.
        reason: why loading failed, in one sentence.
    """

    def __init__(self, waiting: int = 24, seconds: float = 600.0, load: Callable[[], Assistant] | None = None):
        self.waiting, self.seconds = waiting, seconds
        self.state, self.reason = "loading" if load else "ready", ""
        self._assistant: Assistant | None = None
        self._load = load
        self._queue: deque[Job[Any]] = deque()
        self._running: Job[Any] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    @property
    def assistant(self) -> Assistant:
        """The loaded model. It can be set where no ``load`` was given.

        Raises:
            InputError: it is not loaded yet.
        """
        if self._assistant is None:
            raise InputError("The model is still loading; try again in a minute.")
        return self._assistant

    @assistant.setter
    def assistant(self, assistant: Assistant) -> None:
        self._assistant = assistant

    @property
    def loaded(self) -> Assistant | None:
        """The model, or ``None`` while it is not loaded."""
        return self._assistant

    def preset(self, default: str) -> str:
        """The name of the model, as commands take it; ``default`` while it is not loaded."""
        return default if self._assistant is None else self._assistant.preset

    def submit(
        self, task: Callable[[Job[T]], T], background: bool = False, long_seconds: float | None = None
    ) -> Job[T]:
        """Queue a task; it is called with its own job.

        Args:
            task: what to run.
            background: no user waits for it, so it is dropped if other jobs wait.
            long_seconds: time limit of a long job, which calls :meth:`run_short_jobs` between its steps; ``None``: a
                short job.

        Raises:
            InputError: too many jobs wait.
        """
        job = Job(task, self.seconds if long_seconds is None else long_seconds)
        job.long = long_seconds is not None
        with self._changed:
            ahead = [other for other in self._queue if not other.cancelled]
            if background and (ahead or self.state == "failed"):
                job.cancel()
                return job
            if len(ahead) >= self.waiting:
                raise InputError("Too many requests are waiting just now; try again in a minute.")
            self._queue.append(job)
            self._update_places()
            self._changed.notify_all()
        return job

    def run_short_jobs(self) -> None:
        """Run the short jobs that wait. Called by a long job between two steps, so that no user waits for the end of a
        video and the model still runs one job at a time."""
        while True:
            with self._changed:
                short = next((other for other in self._queue if not other.long or other.cancelled), None)
                if short is None or self._closed:
                    return
                self._queue.remove(short)
                short.place = 0
                self._update_places()
            self._run_job(short)

    def close(self) -> None:
        """Cancel all waiting jobs and end the thread."""
        with self._changed:
            self._closed = True
            for job in self._queue:
                job.cancel()
            self._changed.notify_all()

    def _update_places(self) -> None:
        place = 0 if self._running is None else 1
        for job in self._queue:
            if not job.cancelled:
                job.place = place
                place += 1

    def _run(self) -> None:
        if self._load is not None:
            try:
                self._assistant = self._load()
                self.state = "ready"
            except InputError as error:
                self.state, self.reason = "failed", str(error)
            except Exception as error:
                traceback.print_exc()
                self.state, self.reason = "failed", f"The model could not be loaded: {type(error).__name__}: {error}"
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._queue.popleft()
                self._running = None if job.cancelled else job
                job.place = 0
                self._update_places()
            self._run_job(job)
            with self._changed:
                self._running = None
                self._update_places()

    def _run_job(self, job: Job[Any]) -> None:
        if job.cancelled:
            job.end()
            return
        job.started = time.monotonic()
        try:
            if self.state == "failed":
                raise InputError(self.reason)
            job.result = job.task(job)
        except InputError as error:
            job.error = error
        except Cancelled:
            if job.overdue:
                job.error = InputError(f"The request took longer than {job.seconds:.0f} s and was cancelled.")
        except MemoryError:
            job.error = InputError("Not enough memory for this request; use a smaller image.")
        except Exception:
            # the user gets one sentence; the traceback is for the operator of the app
            traceback.print_exc()
            job.error = InputError(INTERNAL_ERROR)
        job.end()
