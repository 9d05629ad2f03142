"""Scores on held-out images; speed and memory in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io import write_json
from lisa_micro.metrics import boundary_f1, dice, iou, iou_outside_band
from lisa_micro.types import InputError
from lisa_micro_finetune.benchmark.data import Item

BAND_PX = 2.0
"""How far a boundary may be off, and how wide a band on either side of the true edge is left out."""
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "iou": iou,
    "dice": dice,
    "boundary_f1": lambda predicted, truth: boundary_f1(predicted, truth, BAND_PX),
    "iou_outside_band": lambda predicted, truth: iou_outside_band(predicted, truth, BAND_PX),
}
"""Each of one image, ``(H, W)`` bool predicted and true -> 0..1 (:mod:`lisa_micro.metrics.masks`)."""
TIMEOUT_S = 1800


def score(masks: Sequence[np.ndarray], items: Sequence[Item]) -> dict[str, Any]:
    """Means over images of every metric, and under ``images`` those of each image."""
    rows = {
        item.name: {name: float(metric(mask, item.mask)) for name, metric in METRICS.items()}
        for mask, item in zip(masks, items, strict=True)
    }
    means = {name: float(np.mean([row[name] for row in rows.values()])) for name in METRICS}
    return {**means, "images": rows}


def measure_speed(job: dict[str, Any]) -> dict[str, Any]:
    """Runs :mod:`lisa_micro_finetune.benchmark.speed` on a job in a fresh process, so that nothing else is in its
    memory.

    Returns:
        what it tells; NaN and a ``note`` where it could not be measured (killed for memory, say): the scores are kept.
    """
    environment = dict(os.environ)
    if job.get("threads"):
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(job["threads"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        write_json(path, job)
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
