"""Measure speed and memory of one model: ``python -m lisa_micro_finetune.benchmark.speed JOB``.

It runs in a process that holds nothing else. JOB is a file of :class:`lisa_micro_finetune.benchmark.measure.SpeedJob`;
the last line printed is the result as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lisa_micro.evaluate.speed import peak_memory_gb
from lisa_micro.models.checkpoints import load_strict, read_state
from lisa_micro.models.device import pick_device
from lisa_micro.models.memory import keep_memory
from lisa_micro.types import Micrograph
from lisa_micro_finetune.benchmark.data import TileBatch
from lisa_micro_finetune.benchmark.measure import SpeedJob
from lisa_micro_finetune.benchmark.models import SPECS, build_model
from lisa_micro_finetune.benchmark.settings import MICRO
from lisa_micro_finetune.benchmark.train import make_step
from lisa_micro_finetune.precision import use_bf16

RUNS, SECONDS = 10, 15.0
"""Largest number of runs, and time after which no further run begins."""


def repeat(run: Callable[[int], Any], device: torch.device) -> float:
    """Median time in seconds of ``run(k)``, k = 1, 2, ..., after ``run(0)`` as a warm-up."""
    run(0)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < RUNS and (not times or time.perf_counter() - began < SECONDS):
        start = time.perf_counter()
        run(len(times) + 1)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times)


def peak(device: torch.device) -> float:
    """Peak memory in 1e9 bytes: resident size of this process on a CPU, memory allocated by torch on a GPU."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else peak_memory_gb()


def measure_segmenter(job: SpeedJob, device: torch.device) -> dict[str, float]:
    """Run the network on one image at a time; with ``training``, also measure the memory of one training step."""
    spec, side = SPECS[job.name], job.resolution
    model = build_model(job.name, side, None, job.seed).to(device)
    load_strict(model, read_state(Path(job.weights)), spec.title)
    model.eval()
    bf16 = use_bf16(job.precision, device)
    image = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)).to(device)

    @torch.inference_mode()
    def run(_: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            model(image)

    seconds = repeat(run, device)
    result = {"images_per_s": 1 / seconds, "peak_gb": peak(device)}
    if job.training:
        tile, batch = job.tile, job.batch
        labels = torch.zeros(batch, tile, tile, dtype=torch.long)
        labels[:, tile // 4 : tile // 2, tile // 4 : tile // 2] = 1
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
        model.train()
        step = make_step(model, spec, side, device, bf16)
        step(TileBatch(0, torch.rand(batch, 1, tile, tile), labels)).backward()
        optimiser.step()
        result["training_peak_gb"] = peak(device)
    return result


def measure_micro(job: SpeedJob, device: torch.device) -> dict[str, float]:
    """Ask about a new image of ``tile`` px in each run."""
    # imported here, since it would add to the memory of the other models
    from lisa_micro.loading import load_assistant

    assistant = load_assistant(job.preset, device=str(device))
    rng = np.random.default_rng(0)
    # blobs, since the time of an answer depends on what there is to segment
    y, x = np.mgrid[: job.tile, : job.tile]

    def run(number: int) -> None:
        pixels = 100 + 60 * np.sin(x / (11 + number)) * np.sin(y / 13) + rng.normal(0, 5, x.shape)
        assistant.ask(Micrograph(pixels.astype(np.float32)), job.prompt)

    return {"images_per_s": 1 / repeat(run, device), "peak_gb": peak(device)}


def main(path: str) -> None:
    """Print the result of the job in a file, as JSON."""
    job = SpeedJob.read(Path(path))
    if job.threads:
        torch.set_num_threads(job.threads)
    keep_memory(64)
    device = pick_device(job.device)
    measure = measure_micro if job.name == MICRO else measure_segmenter
    print(json.dumps(measure(job, device)))


if __name__ == "__main__":
    main(sys.argv[1])
