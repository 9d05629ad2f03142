"""Suite ``speed``: load time, time of answers and peak memory, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Figure, SuiteResult
from lisa_micro.types import InputError

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
    """Runs the measurement in :data:`RUNS` fresh processes held to :data:`CORES` cores, one after another.

    A process before them converts the base model where that was never done, and brings files into memory.

    Raises:
        InputError: the preset cannot be loaded in a fresh process.
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
    command = [sys.executable, "-c", PROCESS, str(context.preset), context.device, str(CORES), what]
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(CORES))}
    # the package that runs here runs there too, installed or not
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"Loading {context.preset} and asking took more than {TIMEOUT_S} s; stopped.") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix(_INPUT_ERROR)
        raise InputError(f"{context.preset} could not be measured in a process of its own: {reason}")
    return json.loads(lines[-1])


def summary(records: list[dict]) -> SuiteResult:
    """Figures from the records of :func:`measure`: medians, since a shared machine has slow moments; the best
    are in the table."""

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

    def figure(key: str, source: str, name: str, definition: str, must: float, aim: float, unit: str = "s") -> Figure:
        numbers = all_of(source)
        return Figure(key, name, median(numbers), definition, must, aim, True, unit, len(numbers))

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
        Figure(
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


# ----------------------------------------------------------------------------------------- the process itself

PROCESS = """
import json, os, sys, time
preset, device, cores, answers = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "answers"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
begin = time.perf_counter()
import lisa_micro
assistant = lisa_micro.load_assistant(preset, device=device)
seconds = time.perf_counter() - begin
from lisa_micro.evaluate.speed import measure
print(json.dumps({"load_s": seconds, **measure(assistant, answers)}))
"""
"""What a fresh process runs; nothing but the library is imported before the clock stops, so that loading
takes what it takes a user."""


def measure(assistant: Any, answers: bool = True, shape: tuple[int, int] = (512, 512)) -> dict:
    """Times the answers of a loaded assistant in this process.

    Args:
        assistant: with ``chat(micrograph).ask(prompt)``.
        answers: whether to ask at all.
        shape: ``(H, W)`` of the simulated images.

    Returns:
        ``cold_s``: seconds of the very first answer; ``first_s``, ``further_s``: of those on further images;
        each a list; ``peak_gb``; ``cores``; ``threads`` of torch.
    """
    record: dict[str, Any] = {"cold_s": [], "first_s": [], "further_s": []}
    if answers:
        from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of
        from lisa_micro.sim import simulate_scene

        for number in range(IMAGES + 1):
            # a kind with contacts and no annotation, so that there is something to outline and to measure
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
    record["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    record["threads"] = torch.get_num_threads() if torch else 0
    return record


def peak_memory_gb() -> float:
    """Largest resident size of this process so far, 1e9 bytes; NaN where the system does not tell.

    On Linux from ``VmHWM``: ``ru_maxrss`` is inherited from the process that started this one.
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
