"""Checkpoints of training runs, written atomically and read without unpickling code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lisa_micro.types import InputError

LAST, BEST = "last.pt", "best.pt"


def save_atomic(state: Any, path: Path) -> None:
    """Write a state through a temporary file in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def save_checkpoint(state: Any, path: Path) -> None:
    """Write a checkpoint with :func:`save_atomic`.

    Raises:
        InputError: it cannot be written, for example because the disk is full; an earlier checkpoint is intact.
    """
    try:
        save_atomic(state, path)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        path.with_suffix(path.suffix + ".part").unlink(missing_ok=True)
        intact = " The previous checkpoint is intact." if path.is_file() else ""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"The checkpoint {path} could not be written ({reason}).{intact} Free some disk space and run the same "
            "command again."
        ) from error


def read_checkpoint(path: Path, settings: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Read a checkpoint.

    Args:
        path: the file.
        settings: settings that the run must have been started with; ``None`` skips this check.

    Returns:
        the state, or ``None`` if there is no such file.

    Raises:
        InputError: it was written by an earlier version or another program, or the settings differ.
    """
    if not path.is_file():
        return None
    state = _read(path, "settings")
    saved = state["settings"]
    if settings is not None:
        changed = sorted(k for k in saved.keys() | settings.keys() if saved.get(k) != settings.get(k))
        if changed:
            raise InputError(
                f"{path.parent} holds a run with other settings ({', '.join(changed)}); choose another folder with "
                "--out, or use the settings that the run was started with."
            )
    return state


def read_values(path: Path) -> dict[str, Tensor]:
    """Read the ``values`` of a checkpoint: name of a parameter -> weights.

    Raises:
        InputError: the file is damaged, or no checkpoint.
    """
    values: dict[str, Tensor] = _read(path, "values")["values"]
    return values


def _read(path: Path, key: str) -> dict[str, Any]:
    """A checkpoint that has this key; tensors and plain values only, so it cannot run code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state[key]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The checkpoint {path} cannot be read; delete it or choose another folder with --out to start again."
        ) from error
    return state


def full_tensor(value: Tensor) -> Tensor:
    """Gather a tensor that may be sharded over processes (FSDP 2) on the device of this process."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def gather_tensor(value: Tensor) -> Tensor:
    """Gather a tensor, which may be sharded over processes (FSDP 2), on the CPU."""
    return full_tensor(value).detach().cpu().clone()


@torch.no_grad()
def copy_into(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into one that may be sharded over processes."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(target, DTensor):
        value = distribute_tensor(value.to(target.device, target.dtype), target.device_mesh, target.placements)
    target.copy_(value)
