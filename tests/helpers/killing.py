"""Run a command in a child process that is killed at a chosen moment.

The child is a fork of this process, which has imported what the command needs: kills hit the command and not the
imports. A moment is a time, or the number of an operation on files in watched folders: creating, opening for writing,
renaming or removing one, or making or removing a folder. Killing before each operation in turn reaches every state of
the folder, also those that last for microseconds.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHANGES = dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"), 0) | dict.fromkeys(
    ("os.rename", "os.link", "socket.bind"), 1
)
"""Audit events of operations that change a folder -> which of their arguments is the path that counts."""
REMOVING = ("os.remove", "os.rmdir", "shutil.rmtree", "os.rename")
"""Operations that need no room."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        seconds: after its start.
        operation: instead of a time, before which of its operations on files; the first is 1.
        full: it is not killed, but the disk is full from this operation on: all fail that do not remove anything.
    """

    seconds: float | None = None
    operation: int | None = None
    full: bool = False

    def __str__(self) -> str:
        return f"operation {self.operation}" if self.operation is not None else f"{self.seconds:.3f} s"


NEVER = Moment()


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: its exit code; ``None`` if it was killed.
        seconds: how long it ran.
        operations: how many operations on files it began.
        output: what it printed.
    """

    code: int | None
    seconds: float
    operations: int
    output: str


class Child:
    """A fork of this process that does some work.

    Args:
        work: returns the exit code.
        watched: folders whose operations are counted.
        log: file for the output.
        moment: when it is killed.
        patience: seconds after which it is killed in any case, and :meth:`end` raises an error.
    """

    def __init__(
        self,
        work: Callable[[], int],
        watched: Sequence[Path],
        log: Path,
        moment: Moment = NEVER,
        patience: float = PATIENCE_S,
    ):
        self._count = mmap.mmap(-1, 8)
        self._log, self._moment, self._patience = log, moment, patience
        self._status: int | None = None
        self._late = False
        self._began = self._ended = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be(work, tuple(str(folder) for folder in watched), log, moment, self._count)

    def running(self) -> bool:
        """Whether the process runs; it is killed here when its time has come."""
        if self._status is not None:
            return False
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        if ended:
            self._status, self._ended = status, time.monotonic()
            return False
        age = time.monotonic() - self._began
        if age > (self._patience if self._moment.seconds is None else self._moment.seconds):
            self._late = self._moment.seconds is None
            self.kill()
        return self._status is None

    def kill(self) -> None:
        """Kill the process if it runs."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)
            self._ended = time.monotonic()

    def end(self) -> Ending:
        """Wait until the process has ended, or kill it when its moment comes.

        Raises:
            TimeoutError: it did not end.
        """
        while self.running():
            time.sleep(0.005)
        status = self._status or 0
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        (operations,) = struct.unpack("q", self._count[:8])
        output = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        took = self._ended - self._began
        if self._late:
            raise TimeoutError(f"no end after {took:.0f} s: {output[-2000:]}")
        return Ending(None if killed else os.waitstatus_to_exitcode(status), took, operations, output)


def _be(work: Callable[[], int], watched: tuple[str, ...], log: Path, moment: Moment, count: mmap.mmap) -> None:
    """What the child does; it never returns."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, encoding="utf-8", closefd=False) for number in (1, 2))
        sys.addaudithook(_counter(watched, moment, count))
        code = work()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _counter(watched: tuple[str, ...], moment: Moment, count: mmap.mmap) -> Callable[[str, tuple], None]:
    """An audit hook that counts operations, and kills the process or fills the disk at its moment."""
    done = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal done
        if not _path(event, arguments).startswith(watched):
            return
        done += 1
        count[:8] = struct.pack("q", done)
        if moment.full and moment.operation is not None and done >= moment.operation and event not in REMOVING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if done == moment.operation and not moment.full:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _path(event: str, arguments: tuple) -> str:
    """The path that an operation changes; ``""`` for what changes nothing."""
    if event == "open":
        path = arguments[0] if isinstance(arguments[2], int) and arguments[2] & WRITING else ""
    elif event in CHANGES:
        path = arguments[CHANGES[event]]
    else:
        path = ""
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    path = os.fsdecode(path)
    # a tree is removed through descriptors of its folders
    if event in ("os.remove", "os.rmdir") and isinstance(arguments[-1], int) and arguments[-1] >= 0:
        return os.path.join(os.readlink(f"/proc/self/fd/{arguments[-1]}"), path)
    return path
