"""Suite ``speed``: load time, response time and peak memory, each measured in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.provenance import usable_cores
from lisa_micro.evaluate.results import Metric, SuiteResult
from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError, Micrograph

RUNS = 3
IMAGES = 3
CORES = 2
TIMEOUT_S = 1800
FIRST = "segment all particles"
FURTHER = (
    "segment the necks",
    "outline the three largest particles",
    "what is the mean diameter of the particles?",
)
_INPUT_ERROR = f"{InputError.__module__}.{InputError.__name__}: "
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def speed(context: Context) -> SuiteResult:
    """Measure in :data:`RUNS` new processes, one after another, restricted to :data:`CORES` cores.

    A first process, which is not measured, converts the base model if necessary and brings the files into memory.

    Raises:
        InputError: the preset cannot be loaded in a new process.
    """
    runs = min(RUNS, context.limit or RUNS)
    records: list[dict] = []
    with context.steps("speed", runs + 1) as step:
        _measure_in_process(context, answers=False)
        step()
        for _ in range(runs):
            records.append(_measure_in_process(context, answers=True))
            step()
    return summary(records)


def _measure_in_process(context: Context, answers: bool) -> dict:
    what = "answers" if answers else "load"
    paths = json.dumps(sys.path)
    command = [sys.executable, "-c", PROCESS, str(context.preset), context.device, str(CORES), what, paths]
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(CORES))}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"Preset {context.preset!r} took more than {TIMEOUT_S} s to load and answer; it was stopped."
        ) from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix(_INPUT_ERROR)
        raise InputError(f"Preset {context.preset!r} could not be measured in a process of its own: {reason}")
    return json.loads(lines[-1])


def summary(records: list[dict]) -> SuiteResult:
    """Metrics from the records of :func:`measure`.

    Medians are used, since a shared machine has slow moments; the best values are in the table.
    """

    def all_of(key: str) -> list[float]:
        values = []
        for record in records:
            values += record[key] if isinstance(record[key], list) else [record[key]]
        return values

    rows = []
    for key, what in (
        ("load_s", "load, s"),
        ("cold_s", "very first answer, s"),
        ("first_s", "first answer on an image, s"),
        ("further_s", "further answers on it, s"),
        ("peak_gb", "peak memory, GB"),
    ):
        numbers = all_of(key)
        rows.append(
            {
                "what": what,
                "n": len(numbers),
                "best": round(min(numbers), 3),
                "median": round(median(numbers), 3),
                "worst": round(max(numbers), 3),
            }
        )

    def figure(key: str, source: str, name: str, definition: str, must: float, aim: float, unit: str = "s") -> Metric:
        numbers = all_of(source)
        return Metric(key, name, median(numbers), definition, must, aim, True, unit, len(numbers))

    size = f"512 x 512, {CORES} cores"
    figures = (
        figure(
            "first_answer",
            "first_s",
            f"first answer on an image ({size})",
            f"Warm: seconds for '{FIRST}' on a new image, after an answer on another one; median.",
            4,
            1.5,
        ),
        figure(
            "further_answers",
            "further_s",
            "further answers on it",
            "Seconds for later requests in the same conversation; median.",
            2.5,
            0.8,
        ),
        figure(
            "load",
            "load_s",
            "load",
            "Seconds to import the library and load the assistant in a fresh process; median.",
            10,
            4,
        ),
        Metric(
            "peak_memory",
            "peak memory",
            max(all_of("peak_gb")),
            "Largest resident size of the process with all of these answers, 1e9 bytes.",
            3,
            1.5,
            True,
            "GB",
            len(records),
        ),
    )
    notes = (f"Cores used: {records[0]['cores']}; threads of torch: {records[0]['threads']}.",)
    return SuiteResult("speed", figures, {"Speed": rows}, notes=notes)


# ----------------------------------------------------------------------------------------- the new process

PROCESS = """
import json, os, sys, time
preset, device, cores, answers = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "answers"
sys.path[:] = json.loads(sys.argv[5])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
begin = time.perf_counter()
import lisa_micro
assistant = lisa_micro.load_assistant(preset, device=device)
seconds = time.perf_counter() - begin
from lisa_micro.evaluate.speed import measure
print(json.dumps({"load_s": seconds, **measure(assistant, answers)}))
"""
"""Program of the new process. Nothing but the library is imported before the load time is taken, so that it is what a
user experiences. ``sys.path`` is that of the parent, so that the same installation is measured.
"""


class Conversation(Protocol):
    """A conversation about one micrograph."""

    def ask(self, prompt: str, /) -> object:
        """Answer the next request."""


class Conversing(Protocol):
    """An assistant that holds conversations."""

    def chat(self, image: Micrograph, /) -> Conversation:
        """Begin a conversation."""


def measure(assistant: Conversing, answers: bool = True, shape: tuple[int, int] = (512, 512)) -> dict:
    """Measure the response times of a loaded assistant in this process.

    Args:
        assistant: has ``chat(micrograph).ask(prompt)``.
        answers: whether to ask at all.
        shape: ``(H, W)`` of the simulated images.

    Returns:
        ``cold_s``: seconds of the very first answer; ``first_s`` and ``further_s``: of the first and further answers on
        other images; each a list; ``peak_gb``; ``cores``; ``threads`` of torch.
    """
    record: dict[str, Any] = {"cold_s": [], "first_s": [], "further_s": []}
    if answers:
        for number in range(IMAGES + 1):
            # a kind with contacts and without annotations, so that there is something to segment and to measure
            scene = simulate_scene(FIRST_SEED + number, shape, kind="agglomerate", annotate=False)
            conversation = assistant.chat(micrograph_of(scene))
            times = []
            for prompt in (FIRST, *FURTHER):
                start = time.perf_counter()
                conversation.ask(prompt)
                times.append(time.perf_counter() - start)
            if number == 0:  # warms up caches, threads and kernels
                record["cold_s"].append(times[0])
            else:
                record["first_s"].append(times[0])
                record["further_s"] += times[1:]
    torch = sys.modules.get("torch")
    record["peak_gb"] = peak_memory_gb()
    record["cores"] = usable_cores()
    record["threads"] = torch.get_num_threads() if torch else 0
    return record


def peak_memory_gb() -> float:
    """Peak resident memory of this process, 1e9 bytes; NaN if the system does not report it.

    On Linux ``VmHWM`` is used, since ``ru_maxrss`` is inherited from the parent process.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
