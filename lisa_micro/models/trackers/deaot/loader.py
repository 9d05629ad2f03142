"""Load DeAOT weights: official checkpoints and those trained with this package."""

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
"""Folder with ``NAME/deaot.safetensors`` of the trackers whose weights are included in the package."""
WEIGHTS = "deaot.safetensors"
_PARALLEL = "module."
"""Prefix of all names in a checkpoint written by data-parallel training."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dictionary of a weights file.

    The file is safetensors, or a PyTorch checkpoint that is a state dictionary or has one under ``state_dict`` or
    ``model``. Only tensors and plain values are unpickled; no code is executed. The prefix ``module.`` is removed.

    Raises:
        InputError: if the file is missing, unreadable, or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        state = read_state(path)
    else:
        state = _read_pickle(path)
    return {name.removeprefix(_PARALLEL): value for name, value in state.items()}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"There is no weights file {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not a readable PyTorch checkpoint; unpack it first if it is an archive."
        ) from error
    state = None
    if isinstance(content, Mapping):
        state = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"{path} has no state dictionary; expected a mapping of names to tensors, or one under 'state_dict'."
        )
    return dict(state)


def deaot_tracker(name: str, checkpoint: Path | None, device: torch.device, **options: object) -> DeaotTracker:
    """Build a DeAOT tracker with its weights.

    Args:
        name: one of :data:`lisa_micro.models.trackers.deaot.config.CONFIGS`.
        checkpoint: weights file; ``None`` uses the weights included in the package.
        device: device to run on.
        options: fields of :class:`lisa_micro.models.trackers.deaot.config.TrackingSettings`.

    Raises:
        InputError: if no weights are given and none are included, if they do not fit (missing and unexpected names are
            listed), or if an option is unknown.
    """
    if checkpoint is None and (SHIPPED / name / WEIGHTS).is_file():
        checkpoint = SHIPPED / name / WEIGHTS
    if checkpoint is None:
        raise InputError(
            f"Tracker '{name}' needs a weights file, such as checkpoint='{name}.pth'; download one that is listed in "
            "MODEL_ZOO.md of github.com/yoxu515/aot-benchmark."
        )
    try:
        settings = TrackingSettings(**options)
    except TypeError as error:
        known = ", ".join(TrackingSettings.__dataclass_fields__)
        raise InputError(f"Tracker '{name}' has the options {known}, not {', '.join(options)}.") from error
    state = read_weights(checkpoint)
    network = build_deaot(CONFIGS[name])
    load_strict(network, state, name)
    return DeaotTracker(name, network, CONFIGS[name], device, sha256(checkpoint), settings)
