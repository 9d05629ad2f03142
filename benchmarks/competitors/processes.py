"""Run each step of the comparison in a process of its own, and measure its time and peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "peers.py"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def alone(step: str, settings: dict[str, Any], cores: int) -> dict[str, Any]:
    """Run a step of ``peers.py`` in a new process.

    The process keeps its memory until the parent has read the peak, so nothing is missed and nothing is polled.

    Args:
        step: name of the step.
        settings: its arguments, for JSON.
        cores: number of threads that numerical libraries may use.

    Returns:
        what the step returns, with ``peak_gb``; or ``{"skipped": sentence}`` if it could not run.
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, str(cores))}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--step", step],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        peak = peak_gb(process.pid)
        process.stdin.close()
        code = process.wait()
        if line:
            return {"peak_gb": peak, **json.loads(line)}
        errors.seek(0)
        reason = (errors.read().strip().splitlines() or ["no message"])[-1]
    return {"skipped": f"The process ended with code {code}: {reason}"}


def serve_step(steps: dict[str, Callable[..., dict[str, Any]]], step: str) -> None:
    """The child's side of :func:`alone`: read the arguments, run the step, send its result, and wait for release."""
    from lisa_micro.types import InputError

    result_pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not belong to the result
    try:
        result = steps[step](**json.loads(sys.stdin.readline()))
    except InputError as error:
        result = {"skipped": str(error)}
    result_pipe.write(json.dumps(result) + "\n")
    result_pipe.flush()
    sys.stdin.readline()


def peak_gb(pid: int) -> float:
    """Peak resident memory of a running process, 1e9 bytes; NaN if the system does not report it."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass
    return float("nan")


class Clock:
    """Wall time, and processor time of all threads of this process, from its making on. On a machine that is busy with
    other work, only the second can be compared."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds of wall and of processor time so far."""
        return time.perf_counter() - self._wall, time.process_time() - self._processor


def timed(call: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    """Wall and processor seconds of each of several calls, after one that is not counted."""
    call()
    taken = []
    for _ in range(repeats):
        clock = Clock()
        call()
        taken.append(clock.read())
    return taken


def middle(values: list[float]) -> float:
    """Median; NaN without values."""
    return median(values) if values else float("nan")
