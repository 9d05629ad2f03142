"""One training loop for all stages: killed at any point, it goes on to the same result.

Every batch is a function of the seed and the step's number alone, so a run that starts again at step k sees what the
uninterrupted run would have seen. A checkpoint holds weights, optimiser, averaged weights and the state of torch's
random generator (the CPU's); it is written to a temporary file and renamed, so a kill while writing leaves the one
before.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class LoopConfig:
    """Schedule of a run.

    steps, batch_size: as named. lr: peak learning rate; warm-up over ``warmup`` steps, then cosine to ``lr * final``.
    decay: AdamW's weight decay. clip: largest gradient norm. average: decay of the moving average of the weights that
    is evaluated and exported (0 = none). save_every: seconds between checkpoints. log_every: steps.
    """

    steps: int
    batch_size: int
    lr: float = 1e-3
    warmup: int = 50
    final: float = 0.01
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    save_every: float = 180.0
    log_every: int = 20
    workers: int = 1
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.98)


class StepDataset(Dataset):
    """``make(step) -> batch`` as a dataset of the steps that are left."""

    def __init__(self, make: Callable[[int], Any], start: int, stop: int):
        self.make, self.start, self.stop = make, start, stop

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __getitem__(self, index: int) -> Any:
        return self.make(self.start + index)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then cosine."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def parameter_groups(
    parameters: Mapping[str, nn.Parameter],
    factors: Iterable[tuple[Iterable[str], float]],
    decay: float,
    plain: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Groups for the optimiser, by factor on the learning rate (``"factor"``) and by weight decay, which vectors and
    what ``plain`` names have none of.

    Args:
        factors: (name prefixes, factor); the first that fits counts, else 1. plain: name prefixes.
    """
    sets: dict[tuple[float, bool], list[nn.Parameter]] = {}
    known = [(tuple(prefixes), factor) for prefixes, factor in factors]
    for name, p in parameters.items():
        factor = next((f for prefixes, f in known if name.startswith(prefixes)), 1.0)
        sets.setdefault((factor, p.ndim > 1 and not name.startswith(plain)), []).append(p)
    return [
        {"params": ps, "factor": factor, "weight_decay": decay if decays else 0.0}
        for (factor, decays), ps in sets.items()
    ]


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """Sums, each with its count under ``"#" + name`` -> means."""
    return {name: sums[name] / sums["#" + name] for name in sums if not name.startswith("#") and sums.get("#" + name)}


def save_atomic(state: Any, path: Path) -> None:
    """``torch.save`` through a temporary file in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


class Averaged:
    """Moving average of the trainable parameters. The decay grows with the steps so that the first ones do not weigh
    on the average: min(decay, (1 + step) / (10 + step))."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, nn.Parameter], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, p in parameters.items():
            self.values[name].lerp_(p.detach(), 1 - decay)


def run_loop(
    module: nn.Module,
    make_batch: Callable[[int], Any],
    step_loss: Callable[[Any], tuple[Tensor, dict[str, float]]],
    config: LoopConfig,
    folder: Path,
    groups: Iterable[tuple[list[str], float]] = (),
    on_save: Callable[[int, dict[str, Tensor]], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Tensor]:
    """Train ``module``'s parameters that require gradients; return their averaged values by name.

    Args:
        make_batch: step -> batch, deterministic; run in worker processes.
        step_loss: batch -> (loss, figures to log).
        folder: checkpoint ``last.pt`` and ``log.jsonl`` go here; an existing checkpoint is continued.
        groups: (name prefixes, factor on the learning rate) for parameters that learn slower or faster.
        on_save: called with step and averaged values after each checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(parameter_groups(parameters, groups, config.decay), lr=config.lr, betas=config.betas)
    average = Averaged(parameters, config.average)
    torch.manual_seed(config.seed)
    start, checkpoint = 0, folder / "last.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=False)
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(state["parameters"][name])
        factors = [group["factor"] for group in optimiser.param_groups]
        optimiser.load_state_dict(state["optimiser"])
        for group, factor in zip(optimiser.param_groups, factors, strict=True):
            group["factor"] = factor  # the configuration's, which may have been changed
        average.values = {n: v.to(parameters[n].device) for n, v in state["average"].items()}
        torch.set_rng_state(state["rng"])
        start = state["step"]
        log(f"continuing from step {start}")

    def save(step: int) -> None:
        save_atomic(
            {
                "step": step,
                "parameters": {n: p.detach().cpu() for n, p in parameters.items()},
                "optimiser": optimiser.state_dict(),
                "average": {n: v.cpu() for n, v in average.values.items()},
                "rng": torch.get_rng_state(),
            },
            checkpoint,
        )
        if on_save is not None:
            on_save(step, average.values)

    loader = DataLoader(
        StepDataset(make_batch, start, config.steps),
        batch_size=None,
        # one of its own: the loader draws a seed, which must not move torch's random state
        generator=torch.Generator().manual_seed(config.seed),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    saved = began = time.monotonic()
    sums: dict[str, float] = {}
    module.train()
    for offset, batch in enumerate(loader):
        step = start + offset
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config) * group["factor"]
        loss, figures = step_loss(batch)
        if not torch.isfinite(loss):
            log(f"step {step}: loss is not finite, step left out")
            optimiser.zero_grad(set_to_none=True)
            continue
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(parameters, step)
        for name, value in {"loss": float(loss.detach()), "norm": float(norm), **figures}.items():
            sums[name] = sums.get(name, 0.0) + value
            sums["#" + name] = sums.get("#" + name, 0) + 1
        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            told = {n: round(v, 4) for n, v in means(sums).items()}
            pace = (time.monotonic() - began) / (offset + 1)
            left = pace * (config.steps - done) / 60
            log(f"step {done}/{config.steps} {pace:.2f} s/step, {left:.0f} min left: {told}")
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": done, "seconds_per_step": round(pace, 3), **told}) + "\n")
            sums = {}
        if time.monotonic() - saved > config.save_every and done < config.steps:
            save(done)
            saved = time.monotonic()
    save(config.steps)
    return average.values
