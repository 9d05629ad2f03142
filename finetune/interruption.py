"""Signals that interrupt a run: their handler waits for the end of the current step, when a checkpoint is written.

Schedulers announce the end of a job by a signal. A handler that ends the process in the middle of a step loses all
steps since the last checkpoint.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Interruption:
    """A signal whose handler is postponed. All methods are called in the main thread.

    Attributes:
        pending: whether the signal has arrived and its handler has not run yet.
    """

    def __init__(self) -> None:
        self.pending = False
        self._signum = 0
        self._handler: Handler = _ignore
        self._patience = 0.0

    def postpone(self, signum: int, handler: Handler, patience: float) -> None:
        """Run ``handler`` after a signal when the training loop calls :meth:`deliver`.

        Args:
            signum: the signal.
            handler: what to do; it usually ends the process.
            patience: seconds after which it runs in any case, such as during an evaluation before the training.
        """
        self._signum, self._handler, self._patience = signum, handler, patience
        signal.signal(signum, self._arrived)

    def deliver(self) -> None:
        """Run the handler, whether the signal has reached this process or only the main one."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.pending = False
        self._handler(self._signum, None)

    def _arrived(self, *_: object) -> None:
        if self.pending:
            return
        self.pending = True
        signal.signal(signal.SIGALRM, lambda *_: self.deliver())
        signal.setitimer(signal.ITIMER_REAL, self._patience)


def _ignore(*_: object) -> None:
    pass


INTERRUPTION = Interruption()
"""The one of this process: signals belong to a process."""
