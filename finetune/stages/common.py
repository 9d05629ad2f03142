"""What the stages share: training images, the facts about them, and the record of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from lisa_micro.models.checkpoints import save_module
from lisa_micro_finetune.config import TrainingStage
from lisa_micro_finetune.data.facts import collect_facts
from lisa_micro_finetune.data.sources import Source, load_all, prepare_frames, prepare_real, prepare_simulated


def training_paths(stage: TrainingStage, cache: Path) -> list[Path]:
    """Prepare real training images and simulated scenes in ``cache``, unless they are there; return their files."""
    paths = prepare_real(cache, "train")
    scenes = stage.simulated
    if scenes.count:
        size = f"{scenes.shape[0]}x{scenes.shape[1]}"
        folder = cache / f"sim{'_agglomerates' * scenes.agglomerates}_{size}"
        paths += prepare_simulated(folder, scenes.count, scenes.seed, scenes.shape, scenes.agglomerates)
        paths += prepare_frames(cache / f"video_{size}", scenes.videos, scenes.seed, scenes.shape)
    return paths


def training_sources(stage: TrainingStage, cache: Path) -> list[Source]:
    """Load the images of :func:`training_paths`."""
    return load_all(training_paths(stage, cache))


def training_facts(stage: TrainingStage, cache: Path) -> list[dict]:
    """Collect facts about the training images, in the order of :func:`training_paths`."""
    return list(collect_facts(training_paths(stage, cache), cache / "facts.json").values())


def write_record(folder: Path, stage: BaseModel, extra: dict[str, Any]) -> None:
    """Write ``record.json``: the configuration, the version of torch and ``extra``."""
    record = {"config": stage.model_dump(), "torch": torch.__version__, **extra}
    (folder / "record.json").write_text(json.dumps(record, indent=2))


def trained_state(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a model, with averaged weights where there are any."""
    return {name: values.get(name, value) for name, value in model.state_dict().items()}


def without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def save_part(state: dict[str, Tensor], part: str, folder: Path) -> None:
    """Write the entries of one part of a model as ``part.safetensors`` (float16)."""
    save_module(without_prefix(state, f"{part}."), folder / f"{part}.safetensors")
