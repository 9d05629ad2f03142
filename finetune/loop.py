"""One training loop for all stages, in one process or many, with checkpoints from which it resumes to the same result.

The batch and the random numbers of a step (dropout) depend on the seed, the step and the process alone. A checkpoint
holds weights, optimiser, averaged weights and the state of the run, so a run that is killed at any point and started
again ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lisa_micro_finetune.checkpoints import (
    BEST,
    LAST,
    copy_into,
    gather_tensor,
    read_checkpoint,
    read_values,
    save_checkpoint,
)
from lisa_micro_finetune.interruption import INTERRUPTION
from lisa_micro_finetune.processes import OneProcess, Processes
from lisa_micro_finetune.schedule import Schedule

Metrics = dict[str, float]
"""Sums of metrics by name, each with its count under ``"#" + name``."""
RateFactors = Sequence[tuple[Sequence[str], float]]
"""(prefixes of parameter names, factor on the learning rate); the first that fits counts, otherwise the factor is 1."""


class StepDataset(Dataset):
    """``make(step)`` as a dataset of the steps ``start ... stop - 1``."""

    def __init__(self, make: Callable[[int], Any], start: int, stop: int):
        self.make, self.start, self.stop = make, start, stop

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __getitem__(self, index: int) -> Any:
        return self.make(self.start + index)


def parameter_groups(
    parameters: Mapping[str, nn.Parameter],
    factors: RateFactors,
    weight_decay: float,
    without_decay: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Parameter groups for the optimiser, by learning-rate factor (key ``"factor"``) and by weight decay.

    Vectors and parameters whose names begin with one of ``without_decay`` have no weight decay.
    """
    sets: dict[tuple[float, bool], list[nn.Parameter]] = {}
    known = [(tuple(prefixes), factor) for prefixes, factor in factors]
    for name, p in parameters.items():
        factor = next((f for prefixes, f in known if name.startswith(prefixes)), 1.0)
        sets.setdefault((factor, p.ndim > 1 and not name.startswith(without_decay)), []).append(p)
    return [
        {"params": ps, "factor": factor, "weight_decay": weight_decay if decays else 0.0}
        for (factor, decays), ps in sets.items()
    ]


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """Means of metrics; names without a count are left out."""
    return {name: sums[name] / sums["#" + name] for name in sums if not name.startswith("#") and sums.get("#" + name)}


def add(total: Metrics, part: Mapping[str, float]) -> None:
    """Add metrics to a total, in place."""
    for name, value in part.items():
        total[name] = total.get(name, 0.0) + value


class MovingAverage:
    """Exponential moving average of the trainable parameters.

    The decay is min(decay, (1 + step) / (10 + step)), so that the initial weights are soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float):
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Include the weights after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, p in parameters.items():
            self.values[name].lerp_(p.detach(), 1 - decay)


@dataclass
class State:
    """State of a run.

    Attributes:
        step: number of finished steps.
        best: lowest validation loss.
        waited: number of validations since then.
        stopped: whether the run stopped early.
        history: (step, metrics) of every validation.
    """

    step: int = 0
    best: float = float("inf")
    waited: int = 0
    stopped: bool = False
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)


def _nothing(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Job:
    """What a run trains on.

    Attributes:
        make: step -> pieces of this process's part of the batch; deterministic, run in worker processes.
        loss: (module, piece) -> (its part of the step's loss, metrics).
        validate: module -> metrics with ``"loss"`` among them; ``None`` without validation.
        settings: what must be the same when a run resumes; ``None`` skips this check.
        factors: learning-rate factors by parameter name.
        without_decay: prefixes of the names of parameters without weight decay.
        on_save: called with step and averaged weights by name after each checkpoint.
        track: called with ``"training"`` or ``"validation"``, step and metrics, in the main process.
    """

    make: Callable[[int], Sequence[Any]]
    loss: Callable[[nn.Module, Any], tuple[Tensor, Metrics]]
    validate: Callable[[nn.Module], Metrics] | None = None
    settings: dict[str, Any] | None = None
    factors: RateFactors = ()
    without_decay: tuple[str, ...] = ()
    on_save: Callable[[int, dict[str, Tensor]], None] = _nothing
    track: Callable[[str, int, dict[str, float]], None] = _nothing


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed the random numbers of one step of one process."""
    torch.manual_seed((seed * 1_000_003 + step) * 1009 + process)


class Trainer:
    """One training run.

    Args:
        module: its parameters that require gradients are trained.
        job: batches, loss, validation.
        schedule: see :class:`Schedule`.
        folder: receives checkpoints and ``log.jsonl``; an existing checkpoint is resumed.
        processes: the processes that share the run.
        log: receives lines of text, in the main process.
    """

    def __init__(
        self,
        module: nn.Module,
        job: Job,
        schedule: Schedule,
        folder: Path,
        processes: Processes | None = None,
        log: Callable[[str], None] = print,
    ):
        self.job, self.schedule, self.folder = job, schedule, folder
        self.processes: Processes = processes or OneProcess()
        self.log = log if self.processes.main else _nothing
        self.state = State()
        trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
        groups = parameter_groups(trainable, job.factors, schedule.weight_decay, job.without_decay)
        optimiser = torch.optim.AdamW(groups, lr=schedule.lr, betas=schedule.betas)
        self.module, self.optimiser = self.processes.prepare(module, optimiser)
        inner = self.processes.unwrap(self.module)
        self.parameters = {n: p for n, p in inner.named_parameters() if p.requires_grad}
        self.average = MovingAverage(self.parameters, schedule.ema_decay)

    # checkpoints

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint; every process calls this, the main one writes."""
        moments = self.processes.unwrap_optimiser(self.optimiser).state
        state = {
            "settings": self.job.settings or {},
            "state": vars(self.state),
            "parameters": {n: gather_tensor(p) for n, p in self.parameters.items()},
            "average": {n: gather_tensor(v) for n, v in self.average.values.items()},
            "moments": {
                n: {k: gather_tensor(v) if isinstance(v, Tensor) else v for k, v in moments[p].items()}
                for n, p in self.parameters.items()
                if p in moments
            },
        }
        if self.processes.main:
            save_checkpoint(state, self.folder / name)
            self.job.on_save(self.state.step, self.average.values)
        self.processes.wait()

    def save_best(self) -> None:
        """Save the averaged weights as the best so far."""
        values = {n: gather_tensor(v) for n, v in self.average.values.items()}
        if self.processes.main:
            save_checkpoint({"step": self.state.step, "values": values}, self.folder / BEST)
        self.processes.wait()

    def resume(self) -> None:
        """Continue from the last checkpoint if there is one.

        Raises:
            InputError: it cannot be read, or it belongs to a run with other settings.
        """
        saved = read_checkpoint(self.folder / LAST, self.job.settings)
        if saved is None:
            return
        moments = self.processes.unwrap_optimiser(self.optimiser).state
        for name, p in self.parameters.items():
            copy_into(p, saved["parameters"][name])
            copy_into(self.average.values[name], saved["average"][name])
            loaded: dict[str, Any] = {}
            for key, value in saved["moments"].get(name, {}).items():
                if isinstance(value, Tensor) and value.shape == p.shape and key != "step":
                    loaded[key] = torch.zeros_like(p)
                    copy_into(loaded[key], value)
                else:
                    loaded[key] = value
            if loaded:
                moments[p] = loaded
        self.state = State(**saved["state"])
        self.log(f"resuming from step {self.state.step}")

    # the loop

    def run(self) -> dict[str, Tensor]:
        """Train, from the last checkpoint if there is one.

        Returns:
            the averaged weights by name: those of the best validation, on the CPU, or without validation the last ones.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        schedule, start = self.schedule, self.state.step
        loader = DataLoader(
            StepDataset(self.job.make, start, schedule.steps),
            batch_size=None,
            # a separate generator: the loader draws a seed, which must not change torch's random state
            generator=torch.Generator().manual_seed(schedule.seed),
            num_workers=schedule.workers,
            prefetch_factor=4 if schedule.workers else None,
        )
        if start == 0 and self.job.validate is not None:
            # if nothing improves on the initial weights, they are the best ones
            self.validate()
        saved = began = time.monotonic()
        sums: Metrics = {}
        for offset, pieces in enumerate(loader if not self.state.stopped else ()):
            add(sums, self.step(start + offset, pieces))
            done = self.state.step = start + offset + 1
            if done % schedule.log_every == 0 or done == schedule.steps:
                self._report(done, (time.monotonic() - began) / (offset + 1), sums)
                sums = {}
            validated = self.job.validate is not None and (
                done % schedule.validate_every == 0 or done == schedule.steps
            )
            if validated:
                self.validate()
            # all processes must decide the same, by the clock and the signals of the main one
            waited = time.monotonic() - saved > schedule.save_every
            due, interrupted = self.processes.broadcast((waited, INTERRUPTION.pending))
            if validated or due or interrupted or done == schedule.steps or self.state.stopped:
                self.save()
                saved = time.monotonic()
            if interrupted:
                self.log(f"interrupted after step {done}; the checkpoint is written")
                INTERRUPTION.deliver()
            if self.state.stopped:
                break
        return self.best_values()

    def step(self, step: int, pieces: Sequence[Any]) -> Metrics:
        """Take one optimiser step; return its metrics."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate(step) * group["factor"]
        self.module.train()
        seed_step(self.schedule.seed, step, self.processes.index)
        metrics: Metrics = {}
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            with contextlib.nullcontext() if last else self.processes.no_sync(self.module):
                loss, sums = self.job.loss(self.module, piece)
                self.processes.backward(loss)
            add(metrics, {"loss": float(loss.detach()), **sums})
        norm = float(gather_tensor(self.processes.clip(list(self.parameters.values()), self.schedule.clip_norm)))
        if norm == norm and norm != float("inf"):
            self.optimiser.step()
            self.average.update(self.parameters, step)
        else:
            self.log(f"step {step}: gradients are not finite, step skipped")
        self.optimiser.zero_grad(set_to_none=True)
        return {**metrics, "#loss": 1}

    def validate(self) -> None:
        """Validate the averaged weights, save the best, and stop after ``patience`` validations without improvement."""
        assert self.job.validate is not None
        current = {n: p.detach().clone() for n, p in self.parameters.items()}
        self._load(self.average.values)
        self.module.eval()
        with torch.no_grad():
            # every process validates on all data; the main one's metrics count, so that all decide the same
            metrics = self.processes.broadcast(means(self.job.validate(self.module)))
        self._load(current)
        self.state.history.append((self.state.step, metrics))
        if metrics["loss"] < self.state.best:
            self.state.best, self.state.waited = metrics["loss"], 0
            self.save_best()
        else:
            self.state.waited += 1
            self.state.stopped = self.state.waited >= self.schedule.patience
        text = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        note = f"; no improvement in {self.state.waited} validations, stopping" if self.state.stopped else ""
        self.log(f"validation at step {self.state.step}: {text}{note}")
        if self.processes.main:
            self._write("validation", self.state.step, metrics)

    def best_values(self) -> dict[str, Tensor]:
        """Averaged weights of the best validation; without validation, of the last step."""
        path = self.folder / BEST
        if self.job.validate is not None and path.is_file():
            return read_values(path)
        return {n: gather_tensor(v) for n, v in self.average.values.items()}

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    def _report(self, done: int, pace: float, sums: Metrics) -> None:
        total: Metrics = {}
        for part in self.processes.gather(sums):
            add(total, part)
        # all processes count the same steps
        total["#loss"] = total["#loss"] / self.processes.count
        metrics = means(total)
        left = _duration(pace * (self.schedule.steps - done))
        text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.log(f"step {done}/{self.schedule.steps}, {pace:.2f} s a step, {left} left: {text}")
        if self.processes.main:
            self._write("training", done, {**metrics, "seconds_per_step": pace})

    def _write(self, part: str, step: int, metrics: Mapping[str, float]) -> None:
        line = {"step": step, "part": part, **{n: round(v, 5) for n, v in metrics.items()}}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.job.track(part, step, dict(metrics))


def run_loop(
    module: nn.Module,
    make: Callable[[int], Any],
    step_loss: Callable[[Any], tuple[Tensor, dict[str, float]]],
    schedule: Schedule,
    folder: Path,
    groups: Iterable[tuple[Sequence[str], float]] = (),
    on_save: Callable[[int, dict[str, Tensor]], None] = _nothing,
    log: Callable[[str], None] = print,
) -> dict[str, Tensor]:
    """Train a module in one process, without validation.

    Args:
        make: step -> batch.
        step_loss: batch -> (loss, metrics of the batch, which are averaged over steps).
        folder: receives checkpoints and the log; an existing checkpoint is resumed.
        groups: learning-rate factors by parameter name.
        on_save: called with step and averaged weights by name after each checkpoint.

    Returns:
        the averaged weights by name.
    """

    def loss(_: nn.Module, batch: Any) -> tuple[Tensor, Metrics]:
        value, metrics = step_loss(batch)
        return value, {**metrics, **{f"#{name}": 1.0 for name in metrics}}

    job = Job(_OnePiece(make), loss, factors=tuple(groups), on_save=on_save)
    return Trainer(module, job, schedule, folder, log=log).run()


@dataclass(frozen=True)
class _OnePiece:
    """A batch as a single piece."""

    make: Callable[[int], Any]

    def __call__(self, step: int) -> list[Any]:
        return [self.make(step)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
