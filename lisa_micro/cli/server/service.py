"""The server: greets clients, runs their commands one after the other, and ends when it is told to or idle.

Commands run in the main thread, as they do without a server, so that an interrupt reaches them as usual. Each client
has a thread that listens to it: a client that goes away or is interrupted stops its command, and no other.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from lisa_micro.cli.server import place
from lisa_micro.cli.server.guest import Request, as_client, silence
from lisa_micro.cli.server.kept import KeptModel, Source, kept_model, model_of
from lisa_micro.cli.server.messages import Message, MessageError, close_all, receive, receive_with_streams, send

REQUEST_S = 5.0
"""Time within which a client must say what it wants."""
GO_S = 5.0
"""Time within which a client must answer when it is its turn."""
MOST_CLIENTS = 64
"""Connections at a time; further ones are closed, and their commands run in their own processes."""


@dataclass(eq=False)
class Job:
    """A command that waits for its turn.

    Attributes:
        request: of the client. connection: to it.
        streams: takes the client's streams when it has its turn, or None when it has gone.
        cancelled: the client does not wait any more. gone: it cannot be told anything either.
    """

    request: Request
    connection: socket.socket
    streams: queue.SimpleQueue[list[int] | None] = field(default_factory=queue.SimpleQueue)
    cancelled: bool = False
    gone: bool = False


class Server:
    """Runs commands of clients with a model that is kept.

    Args:
        model: the model.
        greeting: what clients are told first; ``requests`` and ``busy`` are added.
        run: runs a command line in this process and returns its exit code.
    """

    def __init__(self, model: KeptModel, greeting: Message, run: Callable[[list[str]], int]):
        self._model, self._greeting, self._run = model, greeting, run
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._places = threading.Semaphore(MOST_CLIENTS)
        self._current: Job | None = None
        self._stopping = False
        self._requests = 0

    def serve(self, listener: socket.socket, idle_s: float | None = None) -> None:
        """Serve until :meth:`stop`, a signal, or ``idle_s`` seconds without a request. Main thread only."""
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        with self._signals():
            while not self._stopping:
                try:
                    job = self._jobs.get(timeout=idle_s)
                except queue.Empty:
                    return
                if job is not None:
                    self._answer(job)

    def stop(self) -> None:
        """End after the command that is running."""
        self._stopping = True
        self._jobs.put(None)

    # ------------------------------------------------------------------------------------------ commands

    def _answer(self, job: Job) -> None:
        """Tell a client that it is its turn, run its command and send the exit code."""
        streams: list[int] | None = None
        try:
            send(job.connection, {"say": "turn"})
            streams = job.streams.get(timeout=GO_S)
            if streams is not None:
                self._requests += 1
                send(job.connection, {"exit": self._run_job(job, streams)})
        except (OSError, MessageError, queue.Empty):
            pass  # the client has gone, or does not answer: it runs its command itself
        finally:
            close_all(streams or ())
            _hang_up(job.connection)

    def _run_job(self, job: Job, streams: Sequence[int]) -> int:
        code = 130
        try:
            with as_client(job.request, streams):
                token = kept_model.set(self._model)
                try:
                    self._current = job
                    if job.cancelled:  # since its turn came
                        self._interrupt()
                    code = self._run(list(job.request.arguments))
                except (Exception, SystemExit):
                    traceback.print_exc()
                    code = 1
                finally:
                    self._current = None
                    kept_model.reset(token)
        except KeyboardInterrupt:  # between the end of the command and the line above
            pass
        return code

    def _interrupt(self) -> None:
        """Interrupt the command that is running; at most once."""
        job, self._current = self._current, None
        if job is not None:
            if job.gone:
                silence()
            raise KeyboardInterrupt

    # ------------------------------------------------------------------------------------------- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP end the server, the second one the command too; SIGUSR1 comes from threads."""
        handlers = {signal.SIGUSR1: self._on_cancelled}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
                handlers[number] = self._on_stop
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        # a server in the background may write to the terminal of its clients
        before[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        before[signal.SIGUSR1] = signal.SIG_IGN  # clients may still go away; by default the signal kills
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        again = self._stopping
        self.stop()
        if again:
            self._interrupt()

    def _on_cancelled(self, number: int, frame: FrameType | None) -> None:
        if self._current is not None and self._current.cancelled:
            self._interrupt()

    # ------------------------------------------------------------------------------------------- clients

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._stopping or listener.fileno() < 0:
                    return
                time.sleep(0.1)  # no file descriptors left, for now
                continue
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """Greet a client and listen to it until it has gone; what is no message ends the connection."""
        try:
            with connection:
                connection.settimeout(REQUEST_S)
                if not place.is_own(connection):
                    return
                busy = self._current is not None
                send(connection, {**self._greeting, "requests": self._requests, "busy": busy})
                message = receive(connection)
                if message.get("do") == "stop":
                    self.stop()
                    connection.settimeout(None)
                    receive(connection)  # until either side has gone
                elif message.get("do") == "run":
                    self._enqueue(connection, Request.of(message))
        except (OSError, MessageError):
            pass
        finally:
            self._places.release()

    def _enqueue(self, connection: socket.socket, request: Request) -> None:
        options = model_of(request.arguments)
        if options is None or Source.of(options, request.folder) != self._model.source:
            send(connection, {"say": "refused"})
            return
        job = Job(request, connection)
        connection.settimeout(None)
        self._jobs.put(job)
        try:
            while True:
                message, streams = receive_with_streams(connection)
                if message.get("do") == "go" and len(streams) == 3:
                    job.streams.put(streams)
                    continue
                close_all(streams)
                if message.get("do") == "interrupt":
                    self._cancel(job)
        except (OSError, MessageError):
            job.gone = True
            self._cancel(job)
        finally:
            self._drain(job)

    def _cancel(self, job: Job) -> None:
        job.cancelled = True
        job.streams.put(None)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _drain(self, job: Job) -> None:
        """Close streams that nobody has taken; whoever waits for some gets None."""
        try:
            while True:
                close_all(job.streams.get_nowait() or ())
        except queue.Empty:
            job.streams.put(None)


def _hang_up(connection: socket.socket) -> None:
    """End a connection; the thread that listens to it closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def listen(folder: str) -> socket.socket:
    """Open the socket in the runtime folder, whose lock is held; a leftover there is removed.

    Raises:
        OSError: it cannot be created; among others where its path is too long.
    """
    path = place.socket_path(folder)
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(MOST_CLIENTS)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener
