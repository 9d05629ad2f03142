"""Scores on held-out images; speed and memory, measured in a separate process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io import write_json
from lisa_micro.metrics import boundary_f1, dice, iou, iou_outside_band
from lisa_micro.types import InputError
from lisa_micro_finetune.benchmark.data import Item
from lisa_micro_finetune.benchmark.settings import Settings

BAND_PX = 2.0
"""Tolerance of the boundary F1, and half the width of the band around true edges that ``iou_outside_band`` ignores."""
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "iou": iou,
    "dice": dice,
    "boundary_f1": lambda predicted, truth: boundary_f1(predicted, truth, BAND_PX),
    "iou_outside_band": lambda predicted, truth: iou_outside_band(predicted, truth, BAND_PX),
}
"""Metrics of one image: ``(H, W)`` bool predicted and true -> 0..1 (:mod:`lisa_micro.metrics.masks`)."""
TIMEOUT_S = 1800
"""Longest time that a measurement of speed may take."""


def score(masks: Sequence[np.ndarray], items: Sequence[Item]) -> dict[str, Any]:
    """Mean of every metric over images, and under ``images`` the metrics of each image."""
    rows = {
        item.name: {name: float(metric(mask, item.mask)) for name, metric in METRICS.items()}
        for mask, item in zip(masks, items, strict=True)
    }
    means = {name: float(np.mean([row[name] for row in rows.values()])) for name in METRICS}
    return {**means, "images": rows}


@dataclass(frozen=True)
class SpeedJob:
    """A measurement of speed and memory in a separate process.

    Attributes:
        name: name of the model.
        tile: side of an image in px.
        device, precision, seed, threads, preset, prompt: as in the settings of the benchmark.
        weights: file with the weights of a trained model.
        resolution: side of its input in px.
        batch: number of tiles of a training step.
        training: whether to measure the memory of a training step, too.
    """

    name: str
    tile: int
    device: str
    precision: str
    seed: int
    threads: int
    preset: str
    prompt: str
    weights: str = ""
    resolution: int = 0
    batch: int = 0
    training: bool = False

    @classmethod
    def of(cls, settings: Settings, name: str, **details: Any) -> SpeedJob:
        """A job on one model of a benchmark; ``details`` are the last four attributes."""
        s = settings
        return cls(name, s.tile, s.device, s.precision, s.seed, s.threads, s.preset, s.prompt, **details)

    @classmethod
    def read(cls, path: Path) -> SpeedJob:
        """Read a job from a JSON file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the job to a JSON file."""
        write_json(path, dataclasses.asdict(self))


def measure_speed(job: SpeedJob) -> dict[str, Any]:
    """Run :mod:`lisa_micro_finetune.benchmark.speed` on a job in a new process, so that its memory holds nothing else.

    Returns:
        its results; NaN and a ``note`` if the measurement failed, for example for lack of memory.
    """
    environment = dict(os.environ)
    if job.threads:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(job.threads))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        job.write(path)
        command = [sys.executable, "-m", "lisa_micro_finetune.benchmark.speed", str(path)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return _unknown(f"speed was not measured: it took more than {TIMEOUT_S} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return _unknown(f"speed was not measured: {reason.removeprefix(f'{InputError.__module__}.InputError: ')}")
    return json.loads(lines[-1])


def _unknown(note: str) -> dict[str, Any]:
    return {"images_per_s": float("nan"), "peak_gb": float("nan"), "training_peak_gb": float("nan"), "note": note}
