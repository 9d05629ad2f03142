"""Runs a stage: data, model, loop, export."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import torch

from finetune.config import ClipStage, LanguageStage, VisionStage
from finetune.device import pick_device, use_bf16
from finetune.loop import LoopConfig, run_loop
from finetune.sources import load_all, prepare_real, prepare_simulated
from lisa_micro.models.checkpoints import load_strict, read_state


def loop_config(stage: VisionStage | ClipStage | LanguageStage) -> LoopConfig:
    return LoopConfig(**stage.schedule.model_dump())


def training_sources(stage, cache: Path) -> list:
    """Real training images and simulated scenes, prepared into ``cache`` where they are not there yet."""
    paths = prepare_real(cache, "train")
    if stage.simulated.count:
        sim = cache / f"sim_{stage.simulated.shape[0]}x{stage.simulated.shape[1]}"
        paths += prepare_simulated(sim, stage.simulated.count, stage.simulated.seed, stage.simulated.shape)
    return load_all(paths)


def write_record(folder: Path, stage, extra: dict) -> None:
    """What was run, for the model card."""
    record = {"config": stage.model_dump(), "torch": torch.__version__, **extra}
    (folder / "record.json").write_text(json.dumps(record, indent=2))


def run_vision(stage: VisionStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``vision``."""
    from finetune.vision import VisionModel, VisionWeights, export, make_step
    from finetune.vision_data import CropConfig, CropMaker
    from lisa_micro.models.towers.sam import load_imagenet_encoder

    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    model = VisionModel(stage.embed_dim, stage.depth)
    if stage.start is None:
        load_imagenet_encoder(model.sam_tower.encoder)
    else:
        for part in ("sam_tower", "mask_head"):
            load_strict(getattr(model, part), read_state(Path(stage.start) / f"{part}.safetensors"), part)
    model.to(device).to(memory_format=torch.channels_last)
    crop = CropConfig(**stage.crop)
    config = loop_config(stage)
    maker = CropMaker(training_sources(stage, cache), crop, config.batch_size, config.seed)
    step = make_step(model, VisionWeights(**stage.loss), device, use_bf16(stage.precision, device))
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        step,
        config,
        folder,
        groups=[(["sam_tower.encoder."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights"),
    )
    export(model, values, folder / "weights")
    write_record(folder, stage, {"seconds": time.monotonic() - began, "crop": dataclasses.asdict(crop)})


RUNNERS = {"vision": run_vision}
