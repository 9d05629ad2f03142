"""Run stage 1, ``vision``: data, model, training loop, export."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch
from torch import nn

from lisa_micro.models.checkpoints import load_strict, read_state
from lisa_micro.models.device import pick_device
from lisa_micro.models.towers.sam import load_imagenet_encoder
from lisa_micro.types import InputError
from lisa_micro_finetune.config import VisionStage
from lisa_micro_finetune.data.crops import CropConfig, CropMaker
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.stages.common import training_sources, write_record
from lisa_micro_finetune.stages.vision import VisionModel, VisionWeights, export, make_step


def run_vision(stage: VisionStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train the SAM tower and the mask decoder; write them to ``folder/weights``.

    Raises:
        InputError: weights to start from, or settings of crops or losses, that cannot be used.
    """
    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    model = VisionModel(stage.embed_dim, stage.depth)
    if stage.start is None:
        load_imagenet_encoder(model.sam_tower.encoder)
    else:
        parts: dict[str, nn.Module] = {"sam_tower": model.sam_tower, "mask_head": model.mask_head}
        for part, module in parts.items():
            load_strict(module, read_state(Path(stage.start) / f"{part}.safetensors"), part)
        # the language model was trained to produce these class embeddings
        model.mask_head.code_book.requires_grad_(False)
    model.to(device).to(memory_format=torch.channels_last)
    try:
        crop, weights = CropConfig(**stage.crop), VisionWeights(**stage.loss)
    except TypeError as error:
        raise InputError(f"crop or loss of the configuration: {error}.") from error
    schedule = stage.schedule
    began = time.monotonic()
    values = run_loop(
        model,
        CropMaker(training_sources(stage, cache), crop, schedule.batch_size, schedule.seed),
        make_step(model, weights, device, use_bf16(stage.precision, device)),
        schedule,
        folder,
        groups=[(["sam_tower.encoder."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights"),
    )
    export(model, values, folder / "weights")
    write_record(folder, stage, {"seconds": time.monotonic() - began, "crop": dataclasses.asdict(crop)})
