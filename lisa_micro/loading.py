"""Load an assistant by the name of a preset, from a folder or from the hub.

The parts are put together here: the model, the assistant, and the segmenters for large micrographs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lisa_micro.assistant.assistant import Assistant, LanguageAssistant
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.official import load_official_assistant
from lisa_micro.cache import cache_folder
from lisa_micro.large_images import find_in_tiles, tiled_segmenter
from lisa_micro.models.checkpoints import sha256
from lisa_micro.models.device import fast_bf16, pick_device
from lisa_micro.models.lisa.adapter import find_preset, load_folder
from lisa_micro.models.lisa.int8 import HAS_KERNEL, int8_pays, to_int8
from lisa_micro.models.lisa.measuring_errors import read_measuring_errors
from lisa_micro.models.lisa.presets import BASE_MODELS, BETWEEN, SEEING, build_preset
from lisa_micro.models.memory import keep_memory
from lisa_micro.models.official_lisa.settings import looks_official
from lisa_micro.types import InputError


def load_assistant(
    preset: str = "micro", device: str = "auto", precision: str = "auto", projectors: str | Path | None = None
) -> LanguageAssistant:
    """Load a preset.

    Args:
        preset: ``"micro"`` (shipped, works offline); ``"smollm2-360m"`` or ``"smollm2-1.7b"`` (larger language models,
            with untrained projectors unless ``projectors`` brings trained ones); a folder written by ``finetune`` (a
            full preset, or an adapter, which is applied to the preset that it names); an official LISA checkpoint as a
            folder or by its name (``"xinlai/LISA-7B-v1"``); or another name on the hub.
        device: ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"``, ...
        precision: of the language model. ``"auto"`` is the fastest that reads requests as well: bfloat16 where that is
            fast, else 8-bit weights on a CPU where these are (measured once and kept in the cache folder), else
            float32. ``"fp32"``, ``"bf16"``, ``"8bit"`` (its weights alone; of ``micro`` and the like on a CPU); of an
            official checkpoint also ``"fp16"`` and ``"4bit"``.
        projectors: for the larger presets, folder with the parts between towers and language model.

    Raises:
        InputError: an unknown preset or device, parts that are missing or do not fit, or a ``precision`` or
            ``projectors`` for a preset to which they do not apply.
    """
    larger = preset in BASE_MODELS
    folder = find_preset("micro" if larger else preset)
    place = pick_device(device)
    if projectors is not None and not larger:
        raise InputError(
            f"Preset {preset!r} includes its projectors; --projectors applies only to {' and '.join(BASE_MODELS)}."
        )
    if looks_official(folder):
        return load_official_assistant(folder, preset, place, precision)
    chosen = _choose_precision(precision, preset, place)
    bf16 = chosen == "bf16"
    dtype = torch.float32 if chosen == "fp32" else torch.bfloat16
    keep_memory()
    if larger:
        given = None if projectors is None else Path(projectors)
        model, tokenizer = build_preset(preset, folder, dtype, given)
        files = [folder / f"{name}.safetensors" for name in SEEING]
        if given is not None:
            files += [given / f"{name}.safetensors" for name in (*BETWEEN, "lora")]
    else:
        model, tokenizer, files = load_folder(folder, dtype)
    model = model.to(place).eval()
    if chosen == "8bit":
        to_int8(model.language, keep=model.language.get_output_embeddings())
    if place.type == "cpu":
        for part in (model.sam_tower, model.own_top, model.concept_top):
            if part is not None:
                _use_channels_last(part)
    # a larger language model prompts the mask decoder otherwise
    errors = {} if larger else read_measuring_errors(folder)
    engine = Engine(model, tokenizer, place, bf16, errors)
    return Assistant(engine, preset, _fingerprint(files), tiled_segmenter, find_in_tiles)


def _choose_precision(name: str, preset: str, place: torch.device) -> str:
    """Precision of the language model of a preset that is no official checkpoint.

    Raises:
        InputError: one that it does not have here.
    """
    if name == "auto":
        if fast_bf16(place):
            return "bf16"
        return "8bit" if place.type == "cpu" and int8_pays(cache_folder()) else "fp32"
    if name not in ("fp32", "bf16", "8bit"):
        raise InputError(f"Preset {preset!r} has no precision {name!r}; choose auto, fp32, bf16 or 8bit.")
    if name == "8bit" and (place.type != "cpu" or not HAS_KERNEL):
        raise InputError(f"8-bit weights of preset {preset!r} need a CPU and a torch that has them; choose auto.")
    return name


def _use_channels_last(module: nn.Module) -> None:
    """Convolutions on a CPU are faster with this layout."""
    module.to(memory_format=torch.channels_last)


def _fingerprint(files: Sequence[Path]) -> str:
    """sha256 over the sha256 of the files that exist."""
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(sha256(path).encode())
    return digest.hexdigest()
