"""Promptable segmenters by name, with weights from a file."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lisa_micro.models.checkpoints import load_strict, sha256
from lisa_micro.models.device import pick_device
from lisa_micro.models.segmenters.base import Segmenter
from lisa_micro.models.segmenters.efficient_sam import (
    SMALL,
    TINY,
    EfficientSamConfig,
    EfficientSamSegmenter,
    build_efficient_sam,
)
from lisa_micro.types import InputError

Builder = Callable[[Path | None, torch.device], Segmenter]
"""Weights' file (``None`` where none was given) and device -> segmenter."""


def efficient_sam_segmenter(
    name: str, config: EfficientSamConfig, checkpoint: Path | None, device: torch.device
) -> EfficientSamSegmenter:
    """EfficientSAM with the weights of an official checkpoint, ``{"model": state dictionary}``.

    Raises:
        InputError: no checkpoint, or one that does not fit.
    """
    if checkpoint is None:
        raise InputError(
            f"{name} needs its weights by path, as in checkpoint='{name}.pt'; nothing is downloaded here (the official "
            "ones are in the folder weights of github.com/yformer/EfficientSAM)"
        )
    state = read_checkpoint(checkpoint)
    model = build_efficient_sam(config)
    load_strict(model, state, name)
    return EfficientSamSegmenter(name, model, device, sha256(checkpoint))


_TINY = partial(efficient_sam_segmenter, "efficient_sam_vitt", TINY)
_SMALL = partial(efficient_sam_segmenter, "efficient_sam_vits", SMALL)

BUILDERS: dict[str, Builder] = {
    "efficient_sam_vitt": _TINY,
    "efficient-sam-ti": _TINY,
    "efficient_sam_vits": _SMALL,
    "efficient-sam-s": _SMALL,
}
"""What :func:`build_segmenter` knows; more can be added."""


def build_segmenter(name: str, checkpoint: str | Path | None = None, device: str = "auto") -> Segmenter:
    """Build a promptable segmenter.

    Args:
        name: one of :data:`BUILDERS`.
        checkpoint: file with the weights. device: ``"auto"`` (a GPU where there is one, else the CPU), ``"cpu"``,
            ``"cuda"``, ...

    Raises:
        InputError: no such segmenter or device; no weights, or weights that do not fit.
    """
    if name not in BUILDERS:
        raise InputError(f"no segmenter called {name!r}; there are: {', '.join(sorted(BUILDERS))}")
    weights = None if checkpoint is None else Path(checkpoint).expanduser()
    return BUILDERS[name](weights, pick_device(device))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dictionary of a PyTorch checkpoint, which holds it under ``model`` or is one itself. Only tensors are read,
    no code is run.

    Raises:
        InputError: the file is missing, not a PyTorch checkpoint, or holds other things than tensors.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a readable PyTorch checkpoint (a .zip archive must be unpacked)") from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dictionary; a checkpoint is {{'model': names and tensors}}")
    return dict(state)
