"""One model, many users: requests are answered one after the other, each knows its place, any can be called off."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from lisa_micro.types import InputError

BROKEN = "Something went wrong in the app itself; the request was given up, the conversation is kept."


class Cancelled(Exception):
    """The request was called off, or took too long."""


class Ticket:
    """One request: where it stands, and what came of it.

    Attributes:
        stage: what is being done, in words.
        result, error: what came of it, once :attr:`finished`.
    """

    def __init__(self, job: Callable[[Ticket], Any], seconds: float):
        self.job, self.seconds = job, seconds
        self.stage = ""
        self.result: Any = None
        self.error: InputError | None = None
        self.cancelled = False
        self.long = False
        self.place = 0
        self.started: float | None = None
        self._done = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error, or it was called off."""
        return self._done.is_set() or self.cancelled

    @property
    def overdue(self) -> bool:
        """Whether it has worked for longer than it may."""
        return self.started is not None and time.monotonic() - self.started > self.seconds

    def cancel(self) -> None:
        """Call it off. What is being computed ends at the next step; its result is not used."""
        self.cancelled = True

    def step(self, stage: str) -> None:
        """For the job: say what comes next.

        Raises:
            Cancelled: there is no need to go on.
        """
        if self.cancelled or self.overdue:
            raise Cancelled
        self.stage = stage

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but no longer than so many seconds; whether it has come."""
        return self._done.wait(seconds) or self.cancelled

    def end(self) -> None:
        """For the desk: nothing more will come."""
        self._done.set()


class Desk:
    """Answers requests in the order in which they came, in one thread: the model is not made for several at once, and
    on a laptop two at once take as long as one after the other.

    Args:
        waiting: how many requests may wait.
        seconds: how long one may work.
        open_up: called once in the desk's thread before the first request, such as to load the model; an
            :class:`~lisa_micro.types.InputError` from it ends every request.
    """

    def __init__(self, waiting: int = 24, seconds: float = 600.0, open_up: Callable[[], Any] | None = None):
        self.waiting, self.seconds = waiting, seconds
        self.state, self.reason = "loading" if open_up else "ready", ""
        self.opened: Any = None
        self._open_up = open_up
        self._queue: deque[Ticket] = deque()
        self._now: Ticket | None = None
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    def submit(
        self, job: Callable[[Ticket], Any], background: bool = False, long_seconds: float | None = None
    ) -> Ticket:
        """Queue a job; it is called with its own ticket.

        Args:
            background: not asked for by anybody, so it is left out where others wait.
            long_seconds: for a job that may work for so long, and lets others go first between its steps: see
                :meth:`let_others`.

        Raises:
            InputError: too many wait.
        """
        ticket = Ticket(job, self.seconds if long_seconds is None else long_seconds)
        ticket.long = long_seconds is not None
        with self._change:
            ahead = [other for other in self._queue if not other.cancelled]
            if background and (ahead or self.state == "failed"):
                ticket.cancel()
                return ticket
            if len(ahead) >= self.waiting:
                raise InputError("Too many requests are waiting just now; try again in a minute.")
            self._queue.append(ticket)
            self._number()
            self._change.notify_all()
        return ticket

    def let_others(self) -> None:
        """For a long job, between two of its steps: answer what else waits and is not long. So nobody waits for the
        end of a video, and the model still does one thing at a time."""
        while True:
            with self._change:
                short = next((other for other in self._queue if not other.long or other.cancelled), None)
                if short is None or self._closed:
                    return
                self._queue.remove(short)
                short.place = 0
                self._number()
            self._do(short)

    def close(self) -> None:
        """Take no more requests."""
        with self._change:
            self._closed = True
            for ticket in self._queue:
                ticket.cancel()
            self._change.notify_all()

    def _number(self) -> None:
        place = 0 if self._now is None else 1
        for ticket in self._queue:
            if not ticket.cancelled:
                ticket.place = place
                place += 1

    def _work(self) -> None:
        if self._open_up is not None:
            try:
                self.opened = self._open_up()
                self.state = "ready"
            except InputError as error:
                self.state, self.reason = "failed", str(error)
            except Exception as error:
                traceback.print_exc()
                self.state, self.reason = "failed", f"The model could not be loaded: {type(error).__name__}: {error}"
        while True:
            with self._change:
                while not self._queue and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                ticket = self._queue.popleft()
                self._now = None if ticket.cancelled else ticket
                ticket.place = 0
                self._number()
            self._do(ticket)
            with self._change:
                self._now = None
                self._number()

    def _do(self, ticket: Ticket) -> None:
        if ticket.cancelled:
            ticket.end()
            return
        ticket.started = time.monotonic()
        try:
            if self.state == "failed":
                raise InputError(self.reason)
            ticket.result = ticket.job(ticket)
        except InputError as error:
            ticket.error = error
        except Cancelled:
            if ticket.overdue:
                ticket.error = InputError(f"The request took longer than {ticket.seconds:.0f} s and was given up.")
        except MemoryError:
            ticket.error = InputError("There is not enough memory for this request; use a smaller image.")
        except Exception:
            # the user is told in one sentence; what went wrong is for whoever runs the app
            traceback.print_exc()
            ticket.error = InputError(BROKEN)
        ticket.end()
