"""The files of an official LISA checkpoint: one or several shards, read without loading them, split by part."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from lisa_micro.models.checkpoints import sha256
from lisa_micro.types import InputError

_NAMES = ("model.safetensors", "pytorch_model.bin")

PARTS = {
    "sam": "model.visual_model.",
    "projector": "model.mm_projector.",
    "seg": "model.text_hidden_fcs.0.",
}
"""Prefixes of the parts beside the language model, whose keys are all others."""

DERIVED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
"""Written by transformers of 2023, computed from the configuration ever since."""


def shards(folder: Path) -> tuple[list[Path], set[str] | None]:
    """Files with weights in ``folder``, and the keys that its index names (``None`` without an index).

    Raises:
        InputError: there are none, or one that the index names is missing.
    """
    for name in _NAMES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                places = dict(json.loads(index.read_text())["weight_map"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{index} is not a readable index of shards; fetch it again") from error
            files = sorted(set(places.values()))
            missing = [file for file in files if not (folder / file).is_file()]
            if missing:
                raise InputError(
                    f"{folder} lacks {', '.join(missing)}, which its index names; fetch the whole checkpoint"
                )
            return [folder / file for file in files], set(places)
        if (folder / name).is_file():
            return [folder / name], None
    raise InputError(
        f"{folder} has no weights: neither pytorch_model.bin nor model.safetensors, nor an index of shards"
    )


def read_shard(path: Path) -> dict[str, Tensor]:
    """Tensors of one file, mapped into memory rather than read where the format allows. No code in it is run.

    Raises:
        InputError: unreadable, or not a dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written in the format before PyTorch 1.6, which cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        what = "holds other things than tensors" if isinstance(error, pickle.UnpicklingError) else "is not readable"
        raise InputError(f"{path} {what}; fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} is not a dictionary of tensors; fetch it again")
    return state


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by their keys, those left out that are computed from the configuration.

    Raises:
        InputError: see :func:`shards` and :func:`read_shard`; or a shard holds other keys than the index says.
    """
    files, named = shards(folder)
    state: dict[str, Tensor] = {}
    for file in files:
        state.update(read_shard(file))
    if named is not None and named != state.keys():
        wrong = sorted(named ^ state.keys())
        raise InputError(
            f"the shards in {folder} do not hold what their index says ({', '.join(wrong[:4])}); fetch both"
        )
    return {name: value for name, value in state.items() if not DERIVED.fullmatch(name)}


def split(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Keys of a checkpoint -> keys of its parts: ``"sam"``, ``"projector"``, ``"seg"`` without their prefixes, and
    ``"language"``."""
    out: dict[str, dict[str, Tensor]] = {part: {} for part in (*PARTS, "language")}
    for name, value in state.items():
        part = next((part for part, prefix in PARTS.items() if name.startswith(prefix)), "language")
        out[part][name[len(PARTS.get(part, "")) :]] = value
    return out


def fingerprint(folder: Path) -> str:
    """sha256 over the sha256 of every file with weights. Reads all of them: a minute for the larger models."""
    digest = hashlib.sha256()
    for file in shards(folder)[0]:
        digest.update(sha256(file).encode())
    return digest.hexdigest()
