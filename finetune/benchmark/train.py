"""Training of one model for a given time, in the common training loop, resumable.

The number of steps that fit into the time is measured once, before the first step, and saved. So an interrupted run
takes the same steps and ends with the same weights. If the machine becomes slower later, the training takes longer; the
actual time is reported.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lisa_micro.io import write_files, write_json
from lisa_micro.metrics import iou
from lisa_micro.models.checkpoints import load_strict, read_state, save_module
from lisa_micro.types import InputError
from lisa_micro_finetune.benchmark.data import Dataset, TileBatch, TileMaker
from lisa_micro_finetune.benchmark.models import SPECS, ModelSpec, build_model, resize_images
from lisa_micro_finetune.benchmark.predict import predict
from lisa_micro_finetune.benchmark.settings import Settings
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.schedule import Schedule

PLAN, CLOCK, WEIGHTS = "plan.json", "clock.json", "weights.safetensors"
POINTS, HELD_OUT_POINTS, HELD_OUT_TILES = 60, 8, 3
"""Number of points of the loss curve and of the curve of held-out IoU, and number of images of the latter."""
NORM_BATCHES = 16
"""Number of batches from which the statistics of batch norm are estimated for the final weights."""
TRIAL_S = 60.0
"""Longest time of the trial that measures the duration of a step."""


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: the model in evaluation mode, on its device.
        resolution, batch, steps: those of the training.
        seconds: duration of the training.
        curve: rows with ``step`` and ``loss``, some with ``held_out_iou``.
        weights: file with the weights.
    """

    model: nn.Module
    resolution: int
    batch: int
    steps: int
    seconds: float
    curve: list[dict[str, float]]
    weights: Path


def sizes(spec: ModelSpec, settings: Settings, device: torch.device) -> tuple[int, int]:
    """Resolution and batch size of a model."""
    batch = settings.batch or (spec.cpu_batch if device.type == "cpu" else spec.gpu_batch)
    return settings.resolution or spec.resolution, batch


def make_step(
    model: nn.Module, spec: ModelSpec, resolution: int, device: torch.device, bf16: bool
) -> Callable[[TileBatch], Tensor]:
    """Make the function from a batch to its loss ``()``."""

    def step(batch: TileBatch) -> Tensor:
        images = resize_images(batch.images.to(device), resolution)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return spec.loss(model, images, batch.labels.to(device))

    return step


def train(
    name: str,
    dataset: Dataset,
    settings: Settings,
    device: torch.device,
    folder: Path,
    data_key: dict[str, Any],
    log: Callable[[str], None],
) -> Trained:
    """Train a model, resume its training, or read it if it is trained already.

    Args:
        name: a key of :data:`lisa_micro_finetune.benchmark.models.SPECS`.
        dataset: training and held-out images.
        settings: settings of the benchmark.
        device: device to train on.
        folder: folder of this model's run.
        data_key: entries that identify the training images.
        log: receives lines of text.

    Raises:
        InputError: a package is not installed, a checkpoint does not match, or the folder contains another run.
    """
    spec = SPECS[name]
    resolution, batch = sizes(spec, settings, device)
    maker = TileMaker(dataset.train, settings.tile, batch, settings.seed)
    bf16 = use_bf16(settings.precision, device)

    def fresh_model() -> nn.Module:
        return build_model(name, resolution, settings.checkpoint, settings.seed).to(device)

    if settings.fresh and folder.is_dir():
        shutil.rmtree(folder)
    wanted = settings.training(data_key)
    plan = read_plan(folder, wanted)
    if plan is None:
        steps = settings.steps
        if steps is None:
            log(f"{spec.title}: measuring the duration of a step")
            trial = fresh_model()
            pace = measure_pace(trial, make_step(trial, spec, resolution, device, bf16), maker)
            del trial
            steps = max(1, round(settings.minutes * 60 / pace))
            log(f"{spec.title}: {pace:.2f} s a step of {batch}, {steps} steps in {settings.minutes:g} min")
        plan = {"settings": wanted, "steps": steps}
        write_files(folder, {PLAN: lambda path: write_json(path, plan)})
    steps, weights = int(plan["steps"]), folder / WEIGHTS
    model = fresh_model()
    if not weights.is_file():
        run = Run(spec, dataset, settings, device, folder, steps, resolution, bf16)
        run.train(model, maker, log)
    load_strict(model, read_state(weights), spec.title)
    seconds = json.loads((folder / CLOCK).read_text())["seconds"]
    return Trained(model.eval(), resolution, batch, steps, seconds, read_curve(folder / "log.jsonl"), weights)


def read_plan(folder: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Read the plan of an earlier run, None if there is none.

    Raises:
        InputError: the plan is unreadable or belongs to a run with other settings.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan = json.loads(path.read_text())
        settings, _ = plan["settings"], int(plan["steps"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read; use --fresh to start again.") from error
    differing = sorted(k for k in wanted.keys() | settings.keys() if wanted.get(k) != settings.get(k))
    if differing:
        raise InputError(
            f"{folder} contains a run with other settings ({', '.join(differing)}); choose another folder with --work, "
            "or use --fresh to start again."
        )
    return plan


def measure_pace(model: nn.Module, step: Callable[[TileBatch], Tensor], maker: TileMaker) -> float:
    """Measure the seconds per step, including the tiles: the median of up to five steps after a warm-up.

    The weights of the model change.
    """
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    model.train()
    times: list[float] = []
    began = time.monotonic()
    for number in range(6):
        start = time.monotonic()
        step(maker(number)).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.monotonic() - start)
        if len(times) > 1 and time.monotonic() - began > TRIAL_S:
            break
    return float(np.median(times[1:]))


@dataclass(frozen=True)
class Run:
    """The training of one model.

    Attributes:
        spec: the model.
        dataset, settings: those of the benchmark.
        device: device to train on.
        folder: folder of the run.
        steps, resolution: those of the training.
        bf16: whether to compute in bfloat16.
    """

    spec: ModelSpec
    dataset: Dataset
    settings: Settings
    device: torch.device
    folder: Path
    steps: int
    resolution: int
    bf16: bool

    def train(self, model: nn.Module, maker: TileMaker, log: Callable[[str], None]) -> None:
        """Train ``model``, from a checkpoint if there is one, and write its weights."""
        spec, settings, device, folder, steps = self.spec, self.settings, self.device, self.folder, self.steps
        loss_of = make_step(model, spec, self.resolution, device, self.bf16)
        every = max(1, steps // HELD_OUT_POINTS)
        shown = self.dataset.test[:HELD_OUT_TILES]

        def step(batch: TileBatch) -> tuple[Tensor, dict[str, float]]:
            loss = loss_of(batch)
            if (batch.step + 1) % every:
                return loss, {}
            model.eval()
            masks = [predict(model, item.pixels, settings.tile, self.resolution, device, self.bf16) for item in shown]
            model.train()
            return loss, {"held_out_iou": float(np.mean([iou(m, i.mask) for m, i in zip(masks, shown, strict=True)]))}

        clock = folder / CLOCK
        # an interruption loses the steps since the last checkpoint, and their time
        before = json.loads(clock.read_text())["seconds"] if clock.is_file() and (folder / "last.pt").is_file() else 0.0
        began = time.monotonic()

        def on_save(_: int, __: dict[str, Tensor]) -> None:
            seconds = before + time.monotonic() - began
            write_files(folder, {CLOCK: lambda path: write_json(path, {"seconds": seconds})})

        schedule = Schedule(
            steps=steps,
            batch_size=maker.batch,
            lr=spec.lr,
            warmup=min(50, max(1, steps // 10)),
            seed=settings.seed,
            log_every=max(1, steps // POINTS),
            workers=0 if device.type == "cpu" else 4,
            betas=(0.9, 0.99),
        )
        # the pretrained encoder of EfficientSAM gets a lower learning rate
        groups = [(["sam.image_encoder."], 0.2)] if settings.checkpoint is not None else []
        values = run_loop(
            model, maker, step, schedule, folder, groups, on_save, log=lambda line: log(f"{spec.title}: {line}")
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in values:
                    parameter.copy_(values[name])
        settle_norms(model, maker, self.resolution, device)
        # the checkpoint is not needed any more
        save_module(model.state_dict(), folder / WEIGHTS, torch.float32)
        (folder / "last.pt").unlink(missing_ok=True)


@torch.no_grad()
def settle_norms(model: nn.Module, maker: TileMaker, resolution: int, device: torch.device) -> None:
    """Estimate the statistics of batch norm for averaged weights, as plain means over a few training batches.

    See Izmailov et al. 2018, "Averaging weights leads to wider optima". Models without batch norm do not change.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
        norm.train()
    for number in range(NORM_BATCHES):
        model(resize_images(maker(number).images.to(device), resolution))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read the rows of a log, one per step. A resumed run may have logged a step twice; the last row counts."""
    rows: dict[int, dict[str, float]] = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:  # an incomplete line of an interrupted run
            continue
        rows[row["step"]] = {k: row[k] for k in ("step", "loss", "held_out_iou") if k in row}
    return [rows[step] for step in sorted(rows)]
