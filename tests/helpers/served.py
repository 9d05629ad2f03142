"""Programs of the command line and a server for them, each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_program.py")))
REAL = (sys.executable, "-m", "lisa_micro")
PATIENCE_S = 180


@dataclass
class Commands:
    """Starts programs that share a runtime folder.

    Attributes:
        program: what runs the command line. model: options that name the model.
        folder: working folder. runtime: holds the socket; its path is short.
    """

    folder: Path
    program: Sequence[str] = STAND_IN
    model: Sequence[str] = ("--preset", "stand-in")
    runtime: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="lm-")))
    started: list[subprocess.Popen] = field(default_factory=list)
    server: subprocess.Popen | None = None

    @property
    def socket(self) -> Path:
        return self.runtime / "lisa-micro" / "socket"

    def start(self, *arguments: object, environment: dict[str, str] | None = None, **how) -> subprocess.Popen:
        """Start a command; its standard streams are pipes."""
        names = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime), **(environment or {})}
        for name in {"LISA_MICRO_NO_SERVER", "LISA_MICRO_DEBUG"} - set(environment or {}):
            names.pop(name, None)
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        command = [*self.program, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=names, text=True, preexec_fn=_heed_interrupts, **settings
        )
        self.started.append(process)
        return process

    def run(self, *arguments: object, **how) -> subprocess.CompletedProcess:
        """Run a command to its end."""
        return ended(self.start(*arguments, **how))

    def segment(self, *arguments: object, **how) -> subprocess.CompletedProcess:
        """Segment with the model of these commands."""
        return self.run("segment", *arguments, *self.model, **how)

    def serve(self, *arguments: object, **how) -> subprocess.Popen:
        """Start a server and wait until it serves."""
        server = self.start("serve", *self.model, *arguments, **how)
        wait_until(lambda: self.socket.exists() or server.poll() is not None)
        assert server.poll() is None, server.communicate()
        self.server = server
        return server

    def is_served(self, result: subprocess.CompletedProcess) -> bool:
        """Whether the server answered, and not the command itself."""
        assert self.server is not None
        return answered_by(result) == self.server.pid

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        shutil.rmtree(self.runtime)


def _heed_interrupts() -> None:
    """Programs that a shell starts in the background ignore interrupts, and so do those that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """What a process printed, and its exit code."""
    output, errors = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def answered_by(result: subprocess.CompletedProcess) -> int:
    """The process whose model answered."""
    assert result.returncode == 0, result.stderr
    found = re.search(r"\(process (\d+)\)", result.stdout)
    assert found, result.stdout
    return int(found[1])


def nameless(text: str) -> str:
    """Output without the number of the process."""
    return re.sub(r"\(process \d+\)", "(process)", text)
