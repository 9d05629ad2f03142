"""Run a benchmark: train, evaluate and time all models, and write the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from lisa_micro import __version__
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.official import OfficialAssistant
from lisa_micro.evaluate.provenance import commit, hardware
from lisa_micro.loading import load_assistant
from lisa_micro.models.device import pick_device
from lisa_micro.models.segmenters.semantic import count_parameters
from lisa_micro.types import InputError, Micrograph
from lisa_micro_finetune.benchmark.data import Dataset, Item, read_dataset
from lisa_micro_finetune.benchmark.measure import METRICS, SpeedJob, measure_speed, score
from lisa_micro_finetune.benchmark.models import SPECS
from lisa_micro_finetune.benchmark.predict import predict
from lisa_micro_finetune.benchmark.recipe import SIGMA, particles_are_dark, recipe_mask
from lisa_micro_finetune.benchmark.report import write_report
from lisa_micro_finetune.benchmark.settings import MICRO, RECIPE, Settings
from lisa_micro_finetune.benchmark.train import read_plan, train
from lisa_micro_finetune.benchmark.yolo import import_ultralytics
from lisa_micro_finetune.precision import use_bf16

Log = Callable[[str], None]


def benchmark(settings: Settings, log: Log = print) -> list[Path]:
    """Train and measure all models of ``settings``; the report is rewritten after each model.

    Returns:
        paths of the report.

    Raises:
        InputError: settings, images or a checkpoint that cannot be used; a package that is not installed.
    """
    settings.check()
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    dataset = read_dataset(settings.folder, settings.test, settings.share, settings.seed)
    log(f"{dataset.name}: {len(dataset.train)} images to train on, {len(dataset.test)} held out")
    key = {"data": digest(dataset.train)}
    for name in settings.models:
        if name != MICRO and not settings.fresh:
            read_plan(
                settings.work / name, settings.training(key)
            )  # a conflict with an earlier run is an error now, not after an hour
    facts = provenance(settings, dataset, device)
    curves: dict[str, list[dict]] = {}
    rows = [recipe_row(dataset)]
    log(summary(rows[0]))
    written = write_report(settings.out, dataset.name, rows, facts, curves)
    for name in settings.models:
        if name == MICRO:
            rows.append(micro_row(dataset, settings, device, log))
        else:
            row, curve = trained_row(name, dataset, settings, device, key, log)
            rows.append(row)
            curves[row["title"]] = curve
        log(summary(rows[-1]))
        done = name == settings.models[-1]
        facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds") if done else None
        written = write_report(settings.out, dataset.name, rows, facts, curves)
    return written


def summary(row: dict[str, Any]) -> str:
    """Summarise a row in one line."""
    return f"{row['title']}: " + ", ".join(f"{name.replace('_', ' ')} {row[name]:.4f}" for name in METRICS)


def provenance(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """Everything needed to repeat a benchmark, as plain values."""
    left_out = {} if settings.left_out is None else {"left_out": settings.left_out}
    return {
        "dataset": dataset.name,
        "training_images": len(dataset.train),
        "held_out_images": [item.name for item in dataset.test],
        "hardware": hardware(),
        "device": str(device),
        "threads": settings.threads or torch.get_num_threads(),
        "precision": "bfloat16" if use_bf16(settings.precision, device) else "float32",
        "seed": settings.seed,
        "tile_px": settings.tile,
        "budget": f"{settings.steps} steps" if settings.steps else f"{settings.minutes:g} min a model",
        "efficient_sam_start": "random weights" if settings.checkpoint is None else settings.checkpoint.name,
        **left_out,
        "version": __version__,
        "commit": commit(),
        "torch": torch.__version__,
        "finished": None,
    }


def digest(items: list[Item]) -> str:
    """SHA-256 of the training images and masks."""
    sha = hashlib.sha256()
    for item in items:
        sha.update(f"{item.name} {item.pixels.shape}".encode())
        sha.update(np.ascontiguousarray(item.pixels))
        sha.update(np.packbits(item.mask))
    return sha.hexdigest()


def recipe_row(dataset: Dataset) -> dict[str, Any]:
    """Evaluate the recipe; the training images only tell whether particles are dark."""
    dark = particles_are_dark(dataset.train)
    masks, times = [], []
    for item in dataset.test:
        start = perf_counter()
        masks.append(recipe_mask(item.raw if item.raw is not None else item.pixels, dark))
        times.append(perf_counter() - start)
    title = f"recipe: Gaussian {SIGMA:g} px, Otsu, {'dark' if dark else 'bright'} particles"
    scores = score(masks, dataset.test)
    return {"name": RECIPE, "title": title, "parameters": 0, "images_per_s": 1 / median(times), **scores}


def trained_row(
    name: str, dataset: Dataset, settings: Settings, device: torch.device, key: dict[str, Any], log: Log
) -> tuple[dict[str, Any], list[dict]]:
    """Train a model, evaluate it and measure its speed; return its row and its training curve."""
    spec = SPECS[name]
    trained = train(name, dataset, settings, device, settings.work / name, key, log)
    bf16 = use_bf16(settings.precision, device)
    masks = [
        predict(trained.model, item.pixels, settings.tile, trained.resolution, device, bf16) for item in dataset.test
    ]
    row = {
        "name": name,
        "title": spec.title,
        "parameters": count_parameters(trained.model),
        "paper_parameters": spec.paper_parameters,
        "resolution": trained.resolution,
        "batch": trained.batch,
        "steps": trained.steps,
        "seconds": trained.seconds,
        **score(masks, dataset.test),
    }
    log(f"{spec.title}: measuring speed and memory")
    job = SpeedJob.of(
        settings,
        name,
        weights=str(trained.weights),
        resolution=trained.resolution,
        batch=trained.batch,
        training=True,
    )
    return row | measure_speed(job), trained.curve


def micro_row(dataset: Dataset, settings: Settings, device: torch.device, log: Log) -> dict[str, Any]:
    """Evaluate LISA-micro asked in words. It is not trained here; its training data include EMPS and tem-sintering."""
    log(f"{settings.preset}: {settings.prompt!r} on {len(dataset.test)} images")
    assistant = load_assistant(settings.preset, device=str(device))
    masks = []
    for item in dataset.test:
        pixels = item.raw if item.raw is not None else item.pixels.astype(np.float32)
        answer = assistant.ask(Micrograph(pixels), settings.prompt)
        masks.append(answer.labels(item.pixels.shape) > 0)
    model = assistant.engine.model if isinstance(assistant, Assistant | OfficialAssistant) else None
    row = {
        "name": MICRO,
        "title": f"{settings.preset} by words",
        "parameters": None if model is None else count_parameters(model),
        "resolution": model.config.work_side if isinstance(assistant, Assistant) else None,
        "weights_sha256": assistant.weights_sha256,
        "prompt": settings.prompt,
        **score(masks, dataset.test),
    }
    del assistant, model
    return row | measure_speed(SpeedJob.of(settings, MICRO))


def without_missing(settings: Settings, log: Log) -> Settings:
    """Leave out the models whose package is not installed, and log that."""
    if "yolo" not in settings.models:
        return settings
    try:
        import_ultralytics()
    except InputError as error:
        log(f"note: {error}; YOLOv8n-seg is left out")
        others = tuple(name for name in settings.models if name != "yolo")
        return replace(settings, models=others, left_out="YOLOv8n-seg, since ultralytics is not installed")
    return settings
