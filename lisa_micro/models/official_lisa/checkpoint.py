"""Files of an official LISA checkpoint: one or several shards, mapped into memory and split by part."""

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
"""Prefixes of the parts other than the language model, which has all other keys."""

DERIVED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
"""Keys that transformers wrote in 2023 and has computed from the configuration since."""


def shards(folder: Path) -> tuple[list[Path], set[str] | None]:
    """Files with weights in ``folder``, and the keys that its index names (``None`` without an index).

    Raises:
        InputError: there are none, or a file that the index names is missing.
    """
    for name in _NAMES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                places = dict(json.loads(index.read_text())["weight_map"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{index} is not a readable index of shards; download it again.") from error
            files = sorted(set(places.values()))
            missing = [file for file in files if not (folder / file).is_file()]
            if missing:
                raise InputError(
                    f"{folder} lacks {', '.join(missing)}, which its index names; download the whole checkpoint."
                )
            return [folder / file for file in files], set(places)
        if (folder / name).is_file():
            return [folder / name], None
    raise InputError(f"{folder} has no weights: pytorch_model.bin, model.safetensors or an index of shards is needed.")


def read_shard(path: Path) -> dict[str, Tensor]:
    """Tensors of one file, mapped into memory where the format allows. No code in it is run.

    Raises:
        InputError: unreadable, or not a dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the format before PyTorch 1.6 cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        what = "holds objects other than tensors" if isinstance(error, pickle.UnpicklingError) else "is not readable"
        raise InputError(f"{path} {what}; download it again.") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} is not a dictionary of tensors; download it again.")
    return state


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by key, without those that are computed from the configuration.

    Raises:
        InputError: see :func:`shards` and :func:`read_shard`; or the keys differ from those in the index.
    """
    files, named = shards(folder)
    state: dict[str, Tensor] = {}
    for file in files:
        state.update(read_shard(file))
    if named is not None and named != state.keys():
        wrong = sorted(named ^ state.keys())
        raise InputError(
            f"The shards in {folder} differ from their index ({', '.join(wrong[:4])}); download both again."
        )
    return {name: value for name, value in state.items() if not DERIVED.fullmatch(name)}


def split(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Split a checkpoint into its parts: ``"sam"``, ``"projector"`` and ``"seg"``, without their prefixes, and
    ``"language"``."""
    out: dict[str, dict[str, Tensor]] = {part: {} for part in (*PARTS, "language")}
    for name, value in state.items():
        part = next((part for part, prefix in PARTS.items() if name.startswith(prefix)), "language")
        out[part][name[len(PARTS.get(part, "")) :]] = value
    return out


def fingerprint(folder: Path) -> str:
    """sha256 over the sha256 of every file with weights. It reads all of them, which takes a minute for large
    models."""
    digest = hashlib.sha256()
    for file in shards(folder)[0]:
        digest.update(sha256(file).encode())
    return digest.hexdigest()
