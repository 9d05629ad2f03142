"""Weights of DeAOT from a file: an official checkpoint, or one that was trained here."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lisa_micro.models.checkpoints import load_strict, read_state, sha256
from lisa_micro.models.trackers.deaot.config import CONFIGS, TrackingSettings
from lisa_micro.models.trackers.deaot.engine import DeaotTracker
from lisa_micro.models.trackers.deaot.network import build_deaot
from lisa_micro.types import InputError

SHIPPED = Path(__file__).resolve().parents[3] / "weights"
"""Where ``NAME/deaot.safetensors`` lies of a tracker whose weights come with the package."""
WEIGHTS = "deaot.safetensors"
_PARALLEL = "module."
"""Before every name where a checkpoint was written from several GPUs."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """State dictionary of a file: safetensors, or a PyTorch checkpoint that holds it under ``state_dict`` or ``model``
    or is one itself. Only tensors and plain values are read, no code is run; a leading ``module.`` is taken off.

    Raises:
        InputError: the file is missing, cannot be read, or holds other things than tensors.
    """
    if path.suffix == ".safetensors":
        state = read_state(path)
    else:
        state = _read_pickle(path)
    return {name.removeprefix(_PARALLEL): value for name, value in state.items()}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"no weights at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a readable PyTorch checkpoint (a .zip archive must be unpacked)") from error
    state = None
    if isinstance(content, Mapping):
        state = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dictionary; a checkpoint is {{'state_dict': names and tensors}}")
    return dict(state)


def deaot_tracker(name: str, checkpoint: Path | None, device: torch.device, **options: object) -> DeaotTracker:
    """A DeAOT of :data:`lisa_micro.models.trackers.deaot.config.CONFIGS` with its weights.

    Args:
        name: which one. checkpoint: file with the weights; ``None``: those that come with the package. device: where to
            run.
        options: of :class:`lisa_micro.models.trackers.deaot.config.TrackingSettings`.

    Raises:
        InputError: no checkpoint where none comes with the package, or one that does not fit, with the names that are
            missing or too many; no such option.
    """
    if checkpoint is None and (SHIPPED / name / WEIGHTS).is_file():
        checkpoint = SHIPPED / name / WEIGHTS
    if checkpoint is None:
        raise InputError(
            f"{name} needs its weights by path, as in checkpoint='{name}.pth'; nothing is downloaded here (the "
            "official ones are listed in MODEL_ZOO.md of github.com/yoxu515/aot-benchmark)"
        )
    try:
        settings = TrackingSettings(**options)
    except TypeError as error:
        known = ", ".join(TrackingSettings.__dataclass_fields__)
        raise InputError(f"{name} has the options {known}, not {', '.join(options)}") from error
    state = read_weights(checkpoint)
    network = build_deaot(CONFIGS[name])
    load_strict(network, state, name)
    return DeaotTracker(name, network, CONFIGS[name], device, sha256(checkpoint), settings)
