"""The loop of the stage ``adapt``: one process or many by accelerate, judged on the way, stopped early, killed at any
point without a trace in the result.

A step's batch and its random numbers (dropout) are functions of the seed, the step and the process alone; a checkpoint
holds weights, optimiser, averaged weights, the best ones so far, and how long they have been the best. So a run that
goes on from its last checkpoint ends with the weights of one that was never interrupted. Checkpoints are written beside
and renamed: a kill, or a disk that fills up, leaves the last good one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.settings import AdaptSchedule
from lisa_micro_finetune.loop import Averaged, StepDataset, learning_rate, means, parameter_groups, save_atomic

LAST, BEST = "last.pt", "best.pt"


@dataclass
class State:
    """Where a run is. best: lowest validation loss; waited: validations since; history: (step, figures) each."""

    step: int = 0
    best: float = float("inf")
    waited: int = 0
    stopped: bool = False
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What the loop is handed.

    make: step -> pieces of this process's batch. loss: (module, piece) -> (its part of the step's loss, sums of
    figures). judge: (module) -> sums of validation figures with ``"loss"`` among them, or ``None`` without validation.
    settings: what must be the same when a run goes on, as plain data.
    """

    make: Callable[[int], list[Any]]
    loss: Callable[[nn.Module, Any], tuple[Tensor, dict[str, float]]]
    judge: Callable[[nn.Module], dict[str, float]] | None
    settings: dict[str, Any]


def seed_step(seed: int, step: int, process: int) -> None:
    """Random numbers of one step of one process."""
    torch.manual_seed((seed * 1_000_003 + step) * 1009 + process)


def whole(value: Tensor) -> Tensor:
    """A tensor that may be spread over processes (FSDP 2), as one on the CPU."""
    full = getattr(value, "full_tensor", None)
    return (full() if full else value).detach().cpu().clone()


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into one that may be spread over processes."""
    if hasattr(target, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(target.device, target.dtype), target.device_mesh, target.placements)
    target.copy_(value)


def save_checkpoint(state: Any, path: Path) -> None:
    """:func:`lisa_micro_finetune.loop.save_atomic`, with a full disk told in a sentence.

    Raises:
        InputError: it cannot be written; the file that was there is as it was.
    """
    try:
        save_atomic(state, path)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        path.with_suffix(path.suffix + ".part").unlink(missing_ok=True)
        left = (
            "the one before it is intact; make room and run the same command again" if path.is_file() else "make room"
        )
        raise InputError(f"the checkpoint {path} could not be written ({_first_line(error)}); {left}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """A checkpoint, ``None`` where there is none.

    Raises:
        InputError: it belongs to a run with other settings.
    """
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    kept = state["settings"]
    changed = sorted(k for k in kept.keys() | settings.keys() if kept.get(k) != settings.get(k))
    if changed:
        raise InputError(
            f"{path.parent} holds a run with other settings ({', '.join(changed)}); give another folder by --out, or "
            "the settings that it began with"
        )
    return state


class Trainer:
    """One run; see the module's docstring.

    Args:
        accelerator: of the run. module: only its parameters that require gradients learn.
        config: schedule. folder: checkpoints and ``log.jsonl`` go here.
        factors: (name prefixes, factor on the learning rate). plain: prefixes of what has no weight decay.
        log: for lines of text. track: for figures by step, called in the main process.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        config: AdaptSchedule,
        folder: Path,
        job: Job,
        factors: Iterable[tuple[tuple[str, ...], float]] = (),
        plain: tuple[str, ...] = (),
        log: Callable[[str], None] = print,
        track: Callable[[str, int, dict[str, float]], None] = lambda *_: None,
    ):
        self.accelerator, self.config, self.folder, self.job = accelerator, config, folder, job
        self.log = log if accelerator.is_main_process else lambda _: None
        self.track = track
        self.state = State()
        optimiser = self._optimiser(module, tuple(factors), plain)
        self.module, self.optimiser = accelerator.prepare(module, optimiser)
        inner = accelerator.unwrap_model(self.module)
        self.parameters = {n: p for n, p in inner.named_parameters() if p.requires_grad}
        self.average = Averaged(self.parameters, config.average)

    def _optimiser(self, module: nn.Module, factors: tuple, plain: tuple[str, ...]) -> torch.optim.Optimizer:
        learn = {n: p for n, p in module.named_parameters() if p.requires_grad}
        groups = parameter_groups(learn, factors, self.config.decay, plain)
        return torch.optim.AdamW(groups, lr=self.config.lr, betas=(0.9, 0.98))

    # checkpoints

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint; all processes call it, the main one writes."""
        inner = getattr(self.optimiser, "optimizer", self.optimiser)
        moments = {
            n: {k: whole(v) if isinstance(v, Tensor) else v for k, v in inner.state[p].items()}
            for n, p in self.parameters.items()
            if p in inner.state
        }
        state = {
            "settings": self.job.settings,
            "state": vars(self.state),
            "parameters": {n: whole(p) for n, p in self.parameters.items()},
            "average": {n: whole(v) for n, v in self.average.values.items()},
            "moments": moments,
        }
        if self.accelerator.is_main_process:
            save_checkpoint(state, self.folder / name)
        self.accelerator.wait_for_everyone()

    def save_best(self) -> None:
        """Keep the averaged weights as the best so far."""
        values = {n: whole(v) for n, v in self.average.values.items()}
        if self.accelerator.is_main_process:
            save_checkpoint({"step": self.state.step, "values": values}, self.folder / BEST)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Go on from the last checkpoint, where there is one.

        Raises:
            InputError: it belongs to a run with other settings.
        """
        kept = read_checkpoint(self.folder / LAST, self.job.settings)
        if kept is None:
            return
        inner = getattr(self.optimiser, "optimizer", self.optimiser)
        for name, p in self.parameters.items():
            put(p, kept["parameters"][name])
            put(self.average.values[name], kept["average"][name])
            moments = {}
            for key, value in kept["moments"].get(name, {}).items():
                if isinstance(value, Tensor) and value.shape == p.shape and key != "step":
                    moments[key] = torch.zeros_like(p)
                    put(moments[key], value)
                else:
                    moments[key] = value
            if moments:
                inner.state[p] = moments
        self.state = State(**kept["state"])
        self.log(f"going on from step {self.state.step}")

    # the loop

    def run(self) -> dict[str, Tensor]:
        """Train, from the last checkpoint where there is one; the best weights by name, averaged, on the CPU."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        config, start = self.config, self.state.step
        loader = DataLoader(
            StepDataset(self.job.make, start, config.steps),
            batch_size=None,
            generator=torch.Generator().manual_seed(config.seed),
            num_workers=config.workers,
        )
        if start == 0 and self.job.judge is not None:
            # what nothing improves on stays as it is
            self.validate()
        saved = began = time.monotonic()
        sums: dict[str, float] = {}
        if not self.state.stopped:
            for offset, pieces in enumerate(loader):
                self._add(sums, self.step(start + offset, pieces))
                done = self.state.step = start + offset + 1
                pace = (time.monotonic() - began) / (offset + 1)
                if done % config.log_every == 0 or done == config.steps:
                    self._report(done, pace, sums)
                    sums = {}
                judged = self.job.judge is not None and (done % config.validate_every == 0 or done == config.steps)
                if judged:
                    self.validate()
                # every process must come to the same decision: the main one's clock counts
                due = self._agree(time.monotonic() - saved > config.save_every)
                if judged or due or done == config.steps or self.state.stopped:
                    self.save()
                    saved = time.monotonic()
                if self.state.stopped:
                    break
        return self.best_values()

    def step(self, step: int, pieces: list[Any]) -> dict[str, float]:
        """One step of the optimiser."""
        config, accelerator = self.config, self.accelerator
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, config) * group["factor"]
        self.module.train()
        seed_step(config.seed, step, accelerator.process_index)
        figures: dict[str, float] = {}
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.module):
                loss, sums = self.job.loss(self.module, piece)
                # gradients are averaged over processes, the parts of the loss are to be added
                accelerator.backward(loss * accelerator.num_processes)
            self._add(figures, {"loss": float(loss.detach()), **sums})
        norm = accelerator.clip_grad_norm_(list(self.parameters.values()), config.clip)
        norm = float(whole(norm)) if isinstance(norm, Tensor) else float(norm)
        if norm == norm and norm != float("inf"):
            self.optimiser.step()
            self.average.update(self.parameters, step)
        else:
            self.log(f"step {step}: gradients are not finite, step left out")
        self.optimiser.zero_grad(set_to_none=True)
        return {**figures, "#loss": 1}

    def validate(self) -> None:
        """Judge the averaged weights (before the first step those of the beginning), keep them where they are the best,
        and stop after ``patience`` that are not."""
        current = {n: p.detach().clone() for n, p in self.parameters.items()}
        self._load(self.average.values)
        self.module.eval()
        with torch.no_grad():
            # every process judges all of it; the main one's figures count, so that all decide alike
            figures = self._agree(means(self.job.judge(self.module)))
        self._load(current)
        self.state.history.append((self.state.step, figures))
        if figures["loss"] < self.state.best:
            self.state.best, self.state.waited = figures["loss"], 0
            self.save_best()
        else:
            self.state.waited += 1
            self.state.stopped = self.state.waited >= self.config.patience
        text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        note = f"; no better for {self.state.waited}, stopping" if self.state.stopped else ""
        self.log(f"validation at step {self.state.step}: {text}{note}")
        if self.accelerator.is_main_process:
            self._write("validation", self.state.step, figures)

    def best_values(self) -> dict[str, Tensor]:
        """The averaged weights of the best validation; without one, of the last step."""
        path = self.folder / BEST
        if self.job.judge is not None and path.is_file():
            return torch.load(path, map_location="cpu", weights_only=True)["values"]
        return {n: whole(v) for n, v in self.average.values.items()}

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    def _agree(self, value: Any) -> Any:
        """The main process's value, in all."""
        if self.accelerator.num_processes == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def _reduce(self, sums: dict[str, float]) -> dict[str, float]:
        """Sums over all processes."""
        if self.accelerator.num_processes == 1:
            return sums
        from accelerate.utils import gather_object

        total: dict[str, float] = {}
        for part in gather_object([sums]):
            self._add(total, part)
        # each process has the same count of steps
        return {n: v / self.accelerator.num_processes if n == "#loss" else v for n, v in total.items()}

    @staticmethod
    def _add(total: dict[str, float], part: dict[str, float]) -> None:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value

    def _report(self, done: int, pace: float, sums: dict[str, float]) -> None:
        figures = means(self._reduce(sums))
        left = pace * (self.config.steps - done)
        text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.log(f"step {done}/{self.config.steps}, {pace:.2f} s a step, {_duration(left)} left: {text}")
        if self.accelerator.is_main_process:
            self._write("training", done, {**figures, "seconds_per_step": pace})

    def _write(self, what: str, step: int, figures: dict[str, float]) -> None:
        line = {"step": step, "part": what, **{n: round(v, 5) for n, v in figures.items()}}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.track(what, step, figures)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
