"""Larger language models for the shipped towers and mask decoder, by name.

The base models come from the hub. What lies between them and the towers has another size than in ``micro``, and is
untrained until a folder that ``finetune`` wrote brings it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from lisa_micro.models.hub import fetch
from lisa_micro.models.lisa.build import build_lisa, load_parts, merge_adapter
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError

BASE_MODELS = {
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "smollm2-1.7b": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
}
"""Presets and the hub names of their language models (Apache-2.0). Both have SmolLM2's tokenizer and chat format."""

SEEING = ("sam_tower", "mask_head", "clip_tower")
BETWEEN = ("clip_projector", "sam_projector", "seg_projector", "new_tokens")


def preset_config(name: str, shipped: Path) -> LisaConfig:
    """The shipped configuration with another language model.

    Args:
        name: one of :data:`BASE_MODELS`. shipped: folder of ``micro``.

    Raises:
        InputError: no such preset.
    """
    if name not in BASE_MODELS:
        raise InputError(f"no preset called {name!r}; there are: {', '.join(BASE_MODELS)}")
    config = LisaConfig.read(shipped)
    return config.model_copy(update={"name": name, "base_lm": BASE_MODELS[name], "trained": {}})


def build_preset(
    name: str, shipped: Path, dtype: torch.dtype = torch.float32, projectors: Path | None = None
) -> tuple[LisaModel, object]:
    """The model of a preset and its tokenizer.

    Args:
        name: one of :data:`BASE_MODELS`. shipped: folder of ``micro``, whose towers and mask decoder it shares.
        dtype: precision of the language model.
        projectors: folder with what lies between them, and with the adapter where it has one; left out, all that is
            untrained, and a warning says so.

    Raises:
        InputError: no such preset, the language model is not to be had, or a part does not fit it.
    """
    config = preset_config(name, shipped)
    if projectors is not None and not projectors.is_dir():
        raise InputError(f"there is no folder {projectors} with projectors; give one that finetune wrote")
    if not Path(config.base_lm).is_dir():
        fetch(config.base_lm, ("*.json", "*.safetensors", "*.txt"))
    model, tokenizer = build_lisa(config, dtype, lora=False)
    load_parts(model, shipped, SEEING)
    if projectors is None:
        warnings.warn(
            f"the projectors of {name} are untrained: its replies mean nothing yet; "
            "train them (lisa-micro finetune) or give projectors=FOLDER",
            stacklevel=2,
        )
        return model, tokenizer
    load_parts(model, projectors, BETWEEN)
    adapter = projectors / "lora.safetensors"
    if adapter.is_file():
        settings = LisaConfig.read(projectors).lora if (projectors / "config.json").is_file() else config.lora
        merge_adapter(model.language, adapter, settings)
    return model, tokenizer
