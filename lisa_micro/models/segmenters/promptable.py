"""Promptable segmenters by name, with weights from a file, a folder or the hub."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lisa_micro.models.checkpoints import check_fit, load_strict, read_state, sha256
from lisa_micro.models.device import fast_bf16, pick_device
from lisa_micro.models.lisa.adapter import WEIGHTS, load_states, read_parts
from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.segmenters.efficient_sam.network import (
    SMALL,
    TINY,
    EfficientSamConfig,
    EfficientSamSegmenter,
    build_efficient_sam,
)
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.models.segmenters.sam import SamSegmenter, empty_sam, sam_builder
from lisa_micro.models.segmenters.sam_hub import hub_segmenter
from lisa_micro.protocols import Segmenter
from lisa_micro.types import InputError

Builder = Callable[[Path | None, torch.device], Segmenter]
"""File, folder or hub name of the weights (``None``: not given) and device -> segmenter."""

VISION_PARTS = ("sam_tower", "mask_head")
CONCEPT_PARTS = ("concept_head", "concept_top")


def efficient_sam_segmenter(
    name: str, config: EfficientSamConfig, checkpoint: Path | None, device: torch.device
) -> EfficientSamSegmenter:
    """Load EfficientSAM from an official checkpoint, ``{"model": state dictionary}``.

    Raises:
        InputError: no checkpoint, or one that does not fit.
    """
    if checkpoint is None:
        raise InputError(
            f"{name} needs the path of its weights, for example checkpoint='{name}.pt'; download the official ones "
            "from the folder weights of github.com/yformer/EfficientSAM."
        )
    state = read_checkpoint(checkpoint)
    model = build_efficient_sam(config)
    load_strict(model, state, name)
    return EfficientSamSegmenter(name, model, device, sha256(checkpoint))


def sam_segmenter(
    name: str, build: Callable[[], nn.Module], checkpoint: Path | None, device: torch.device
) -> SamSegmenter:
    """Load SAM from an official checkpoint, which is a state dictionary.

    Raises:
        InputError: no checkpoint, or one that does not fit.
    """
    if checkpoint is None:
        raise InputError(
            f"{name} needs the path of its weights, for example checkpoint='{name}.pth'; the README of "
            "github.com/facebookresearch/segment-anything links the official ones."
        )
    state = read_checkpoint(checkpoint)
    model = empty_sam(build)
    check_fit(model.state_dict(), state, name)
    model.load_state_dict(state, strict=True, assign=True)
    return SamSegmenter(name, model.float(), device, sha256(checkpoint))


def micro_segmenter(checkpoint: Path | None, device: torch.device) -> MicroSegmenter:
    """Load tower and mask decoder of the preset ``micro``, of a model folder, or of the folder of an adapter.

    Raises:
        InputError: the folder holds no model, or its parts do not fit.
    """
    folder = Path(__file__).resolve().parents[2] / "weights" / "micro" if checkpoint is None else checkpoint
    if not folder.is_dir():
        raise InputError(
            f"No model folder at {folder}; give a folder with config.json, or none for the shipped weights."
        )
    parts = read_parts(folder)
    model = build_vision(parts.config.model_copy(update={"exemplars": False}))
    load_states(model, parts, folder, (*VISION_PARTS, *CONCEPT_PARTS))
    if device.type == "cpu":
        model.sam_tower.to(memory_format=torch.channels_last)
    names = (*(f"{part}.safetensors" for part in (*VISION_PARTS, *CONCEPT_PARTS)), WEIGHTS)
    digests = [sha256(path) for path in parts.files if path.name in names]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return MicroSegmenter("micro", model, device, digest, fast_bf16(device))


_TINY = partial(efficient_sam_segmenter, "efficient_sam_vitt", TINY)
_SMALL = partial(efficient_sam_segmenter, "efficient_sam_vits", SMALL)

BUILDERS: dict[str, Builder] = {
    "micro": micro_segmenter,
    "efficient_sam_vitt": _TINY,
    "efficient-sam-ti": _TINY,
    "efficient_sam_vits": _SMALL,
    "efficient-sam-s": _SMALL,
    **{f"sam_{size}": partial(sam_segmenter, f"sam_{size}", sam_builder(size)) for size in ("vit_b", "vit_l", "vit_h")},
    "sam2": partial(hub_segmenter, "sam2"),
    "sam3": partial(hub_segmenter, "sam3"),
}
"""Names that :func:`build_segmenter` knows; more can be added."""


def build_segmenter(
    name: str, checkpoint: str | Path | None = None, device: str = "auto", expected_sha256: str | None = None
) -> Segmenter:
    """Build a promptable segmenter.

    Args:
        name: one of :data:`BUILDERS`.
        checkpoint: the weights: a file for EfficientSAM and SAM, a folder or hub name for SAM 2 and SAM 3, a model
            folder for ``micro`` (``None``: the shipped one).
        device: ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"``, ...
        expected_sha256: expected ``weights_sha256`` of the segmenter, hexadecimal; ``None``: not checked.

    Raises:
        InputError: an unknown segmenter or device; weights that are missing, do not fit, or are not the expected ones.
    """
    if name not in BUILDERS:
        raise InputError(f"Unknown segmenter {name!r}; choose one of {', '.join(sorted(BUILDERS))}.")
    weights = None if checkpoint is None else Path(checkpoint).expanduser()
    segmenter = BUILDERS[name](weights, pick_device(device))
    if expected_sha256 is not None and segmenter.weights_sha256 != expected_sha256.strip().lower():
        raise InputError(
            f"The weights of {name} have sha256 {segmenter.weights_sha256}, not {expected_sha256}; download them again."
        )
    return segmenter


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the state dictionary of a PyTorch checkpoint (under the key ``model``, or at the top) or of a safetensors
    file. Only tensors are read; no code is run.

    Raises:
        InputError: the file is missing, is not a PyTorch checkpoint, or holds anything other than tensors.
    """
    if not path.is_file():
        raise InputError(f"No weights at {path}; give the path of a checkpoint.")
    if path.suffix == ".safetensors":
        return read_state(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a readable PyTorch checkpoint; unpack it if it is a .zip archive.") from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dictionary; a checkpoint is {{'model': names and tensors}}.")
    return dict(state)
