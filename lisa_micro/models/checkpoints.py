"""Weights on disk: safetensors files, written atomically, loaded strictly, identified by sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lisa_micro.types import InputError


def save_module(state: Mapping[str, Tensor], path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a state dictionary, floating-point tensors as ``dtype``.

    Raises:
        ValueError: a value lies outside the range of ``dtype``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    out = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.is_floating_point():
            cast = value.to(dtype)
            if not torch.isfinite(cast).all():
                raise ValueError(f"{name} does not fit into {dtype}")
            value = cast
        out[name] = value.contiguous().clone()
    temporary = path.with_name(path.name + ".part")
    save_file(out, temporary, metadata={"format": "pt"})
    os.replace(temporary, path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, floating-point tensors as float32.

    Raises:
        InputError: the file is missing, not a safetensors file, or has values that are not finite.
    """
    if not path.is_file():
        raise InputError(f"No weights at {path}.")
    try:
        state = load_file(path)
    except Exception as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}.") from error
    read = {n: v.float() if v.is_floating_point() else v for n, v in state.items()}
    for name, value in read.items():
        if value.is_floating_point() and not torch.isfinite(value.sum()):
            raise InputError(f"{path}: the tensor {name} has values that are not finite; the file is damaged.")
    return read


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """Check that ``state`` holds exactly the tensors of ``expected`` (which can be on the meta device), in the same
    shapes.

    Args:
        what: name of the model, for the message.

    Raises:
        InputError: keys are missing, unexpected, or of another shape; the message names the first few of each.
    """
    shapes = (n for n in expected.keys() & state.keys() if expected[n].shape != state[n].shape)
    wrong = misfit(expected.keys() - state.keys(), state.keys() - expected.keys(), shapes)
    if wrong:
        raise InputError(f"The checkpoint does not fit {what}: {wrong}.")


def misfit(missing: Iterable[str], unexpected: Iterable[str], shapes: Iterable[str]) -> str:
    """Describe keys that do not fit, naming the first four of each kind; empty if there are none."""
    kinds = (("missing", sorted(missing)), ("unexpected", sorted(unexpected)), ("of another shape", sorted(shapes)))
    return "; ".join(
        f"{len(names)} {word} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
        for word, names in kinds
        if names
    )


def load_strict(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dictionary that must hold exactly the tensors of ``module``.

    Raises:
        InputError: see :func:`check_fit`.
    """
    check_fit(module.state_dict(), state, what)
    module.load_state_dict(state, strict=True)


def sha256(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
