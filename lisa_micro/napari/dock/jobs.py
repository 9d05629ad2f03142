"""Work in a thread of its own, one job at a time, so that the window stays responsive."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Signal

from lisa_micro.types import InputError

_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The user stopped the job."""


class Jobs(QObject):
    """Runs jobs and tells the window how they end. All signals arrive in the thread of the window.

    Signals:
        progressed: name of the stage, steps done, and steps in total (0: unknown).
        finished: the result.
        failed: what went wrong, one sentence; empty for a job that was cancelled.
    """

    progressed = Signal(str, int, int)
    finished = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self.running = False
        self._cancelled = False
        self._worker: FunctionWorker | None = None

    def start(self, work: Callable[[], Any]) -> None:
        """Run a function in a worker thread.

        Args:
            work: may call :meth:`report`.

        Raises:
            RuntimeError: another job is running.
        """
        if self.running:
            raise RuntimeError("a job is running already")
        self.running, self._cancelled = True, False
        # the function catches everything, so napari does not report an error a second time
        self._worker = create_worker(_attempt, work, _start_thread=False, _connect={"returned": self._ended})
        self._worker.start()

    def report(self, stage: str, done: int, total: int | None = None) -> None:
        """Tell the progress of a job; call it in the job.

        Raises:
            Cancelled: the job was cancelled, or napari is being closed.
        """
        if self._cancelled or (self._worker is not None and self._worker.abort_requested):
            raise Cancelled
        self.progressed.emit(stage, done, total or 0)

    def cancel(self) -> None:
        """Stop the running job the next time that it reports its progress."""
        self._cancelled = True

    def _ended(self, result: tuple[bool, Any]) -> None:
        self.running = False
        good, value = result
        if good and not self._cancelled:
            self.finished.emit(value)
        else:
            self.failed.emit("" if good else value)


def _attempt(work: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether the work succeeded, and its result or what went wrong in one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # napari shows every warning of a worker, those of torch too
            return True, work()
    except Cancelled:
        return False, ""
    except InputError as error:
        return False, str(error)
    except MemoryError:
        return False, "There is not enough memory for this request; use a smaller image or part of it."
    except Exception as error:
        _log.exception("a job of the napari widget failed")
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return False, f"An unexpected error stopped the request ({reason}); please report it."
