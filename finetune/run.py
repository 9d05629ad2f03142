"""Runs a stage: data, model, loop, export."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import torch

from lisa_micro.models.checkpoints import load_strict, read_state
from lisa_micro.models.device import pick_device
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.concepts.run import run_concepts
from lisa_micro_finetune.config import ClipStage, LanguageStage, TrackingStage, VisionStage
from lisa_micro_finetune.data.facts import collect_facts
from lisa_micro_finetune.data.sources import load_all, prepare_frames, prepare_real, prepare_simulated
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.precision import use_bf16


def training_paths(stage, cache: Path) -> list[Path]:
    """Real training images and simulated scenes, prepared into ``cache`` where they are not there yet."""
    paths = prepare_real(cache, "train")
    if stage.simulated.count:
        scenes = stage.simulated
        sim = cache / f"sim{'_agglomerates' * scenes.agglomerates}_{scenes.shape[0]}x{scenes.shape[1]}"
        paths += prepare_simulated(sim, scenes.count, scenes.seed, scenes.shape, scenes.agglomerates)
        sizes = f"{scenes.shape[0]}x{scenes.shape[1]}"
        paths += prepare_frames(cache / f"video_{sizes}", scenes.videos, scenes.seed, scenes.shape)
    return paths


def training_sources(stage, cache: Path) -> list:
    """The same, in memory."""
    return load_all(training_paths(stage, cache))


def write_record(folder: Path, stage, extra: dict) -> None:
    """What was run, for the model card."""
    record = {"config": stage.model_dump(), "torch": torch.__version__, **extra}
    (folder / "record.json").write_text(json.dumps(record, indent=2))


def run_vision(stage: VisionStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``vision``."""
    from lisa_micro.models.towers.sam import load_imagenet_encoder
    from lisa_micro_finetune.data.crops import CropConfig, CropMaker
    from lisa_micro_finetune.stages.vision import VisionModel, VisionWeights, export, make_step

    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    model = VisionModel(stage.embed_dim, stage.depth)
    if stage.start is None:
        load_imagenet_encoder(model.sam_tower.encoder)
    else:
        for part in ("sam_tower", "mask_head"):
            load_strict(getattr(model, part), read_state(Path(stage.start) / f"{part}.safetensors"), part)
        # the language model has learnt to aim at these codes: they stay where they are
        model.mask_head.code_book.requires_grad_(False)
    model.to(device).to(memory_format=torch.channels_last)
    try:
        crop, weights = CropConfig(**stage.crop), VisionWeights(**stage.loss)
    except TypeError as error:
        raise InputError(f"crop or loss of the configuration: {error}") from error
    config = stage.schedule
    maker = CropMaker(training_sources(stage, cache), crop, config.batch_size, config.seed)
    step = make_step(model, weights, device, use_bf16(stage.precision, device))
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


def training_facts(stage, cache: Path) -> list[dict]:
    """Facts of the training sources, in their order."""
    return list(collect_facts(training_paths(stage, cache), cache / "facts.json").values())


def run_clip(stage: ClipStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``clip``."""
    from lisa_micro_finetune.stages.clip import ClipMaker, ClipStageModel, export, make_step

    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    model = ClipStageModel().to(device).to(memory_format=torch.channels_last)
    config = stage.schedule
    sources = training_sources(stage, cache)
    maker = ClipMaker(sources, training_facts(stage, cache), config.batch_size, config.seed)
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, device, use_bf16(stage.precision, device)),
        config,
        folder,
        groups=[(["clip.visual.trunk."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights"),
    )
    export(model, values, folder / "weights")
    write_record(folder, stage, {"seconds": time.monotonic() - began})


def run_language(stage: LanguageStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``language``. ``stage.start`` is a folder with the trained towers and mask decoder, ``stage.adapter`` one
    to go on from, ``stage.projectors`` one to take the projectors of the image tokens from instead."""
    from lisa_micro.models.checkpoints import sha256
    from lisa_micro.models.lisa.build import build_lisa, load_parts
    from lisa_micro.models.lisa.chat import ChatFormat
    from lisa_micro.models.lisa.config import LisaConfig, LoraSettings
    from lisa_micro_finetune.data.conversations import ConversationMaker, Images, TextMix, pooled_features
    from lisa_micro_finetune.stages.language import (
        export,
        freeze,
        load_adapter,
        make_step,
        pooler,
        source_weights,
        trained_parts,
    )

    if stage.start is None:
        raise InputError("stage language needs start: a folder with sam_tower, mask_head and clip_tower")
    device = pick_device(device_name)
    bf16 = use_bf16(stage.precision, device)
    start = Path(stage.start)
    torch.manual_seed(stage.schedule.seed)
    config = LisaConfig(
        towers=stage.towers,
        embed_dim=stage.embed_dim,
        depth=stage.depth,
        lora=LoraSettings(rank=stage.rank, alpha=stage.alpha, dropout=stage.dropout),
    )
    # torch's fused attention has a slow backward pass on CPU for short sequences
    attention = {"attn_implementation": "eager"} if device.type == "cpu" else {}
    model, tokenizer = build_lisa(config, torch.bfloat16 if bf16 else torch.float32, **attention)
    towers = {"both": ("clip_tower",), "clip": ("clip_tower",), "sam": ()}[stage.towers]
    load_parts(model, start, ("sam_tower", "mask_head", *towers))
    if stage.adapter is not None:
        load_parts(model, Path(stage.adapter), trained_parts(config))
        load_adapter(model.language, Path(stage.adapter) / "lora.safetensors")
    if stage.projectors is not None:
        of_towers = {
            "both": ("clip_projector", "sam_projector"),
            "clip": ("clip_projector",),
            "sam": ("sam_projector",),
        }
        load_parts(model, Path(stage.projectors), of_towers[stage.towers])
    freeze(model)
    model.eval()
    chat = ChatFormat(tokenizer)
    sources = training_sources(stage, cache)
    facts = training_facts(stage, cache)
    key = "+".join(sha256(start / f"{part}.safetensors")[:12] for part in ("sam_tower", "clip_tower"))
    features = pooled_features(sources, pooler(model, bf16), cache / "pooled.pt", stage.views, 5, key)
    rows = [list(range(k * stage.views, (k + 1) * stage.views)) for k in range(len(sources))]
    sides = (config.clip_side, config.sam_side)
    used = {"both": sides, "clip": sides[:1], "sam": sides[1:]}[stage.towers]
    loop = stage.schedule
    images = Images(facts, rows, source_weights([f["kind"] for f in facts]))
    mix = TextMix(stage.categories, stage.follow_ups, stage.dialogues)
    tokens = sum(side * side for side in used)
    maker = ConversationMaker(images, chat, tokens, loop.batch_size, loop.seed, mix)
    model.to(device)
    began = time.monotonic()
    opening = len(chat.user_ids("", first=True)[0])
    values = run_loop(
        model,
        maker,
        make_step(model, features, opening, stage.prompt_weight, device, bf16),
        loop,
        folder,
        groups=[(["clip_projector.", "sam_projector.", "seg_projector.", "new_tokens."], stage.fast_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights", start),
    )
    export(model, values, folder / "weights", start)
    write_record(folder, stage, {"seconds": time.monotonic() - began})


def run_tracking(stage: TrackingStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``tracking``. Its videos are simulated as they are needed, so ``cache`` is not used."""
    from lisa_micro.models.trackers.deaot import CONFIGS, read_weights
    from lisa_micro.models.trackers.deaot.encoders import FrozenBatchNorm
    from lisa_micro_finetune.data.clips import ClipConfig, ClipMaker
    from lisa_micro_finetune.stages.tracking import TrackingModel, export, load_encoder, make_step

    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    config = CONFIGS[stage.tracker]
    fresh = stage.encoder_weights is None and stage.start is None
    model = TrackingModel(config, torch.nn.BatchNorm2d if fresh else FrozenBatchNorm, stage.encoder_frozen)
    if stage.start is not None:
        load_strict(model.network, read_weights(Path(stage.start)), stage.tracker)
    if stage.encoder_weights is not None:
        load_encoder(model.network.encoder, Path(stage.encoder_weights))
    model.to(device).to(memory_format=torch.channels_last)
    try:
        clip = ClipConfig(**stage.clip)
    except TypeError as error:
        raise InputError(f"clip of the configuration: {error}") from error
    loop = stage.schedule
    maker = ClipMaker(clip, loop.batch_size, loop.steps, config.objects, loop.seed)
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, device, use_bf16(stage.precision, device)),
        loop,
        folder,
        groups=[(["network.encoder."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights", maker, loop.steps),
    )
    export(model, values, folder / "weights", maker, loop.steps)
    write_record(folder, stage, {"seconds": time.monotonic() - began, "clip": dataclasses.asdict(clip)})


def run_adaptation(stage: AdaptStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Stage ``adapt``; see :func:`lisa_micro_finetune.adapt.run.run_adapt`."""
    from lisa_micro_finetune.adapt.run import run_adapt

    run_adapt(stage, folder, cache, device_name)


RUNNERS = {
    "vision": run_vision,
    "concepts": run_concepts,
    "clip": run_clip,
    "language": run_language,
    "tracking": run_tracking,
    "adapt": run_adaptation,
}
