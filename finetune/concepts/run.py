"""Runs stage ``concepts``: data, model, loop, export."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from lisa_micro.models.device import pick_device
from lisa_micro.sim.materials import MATERIAL_KINDS
from lisa_micro_finetune.concepts.batches import ConceptCrops, ConceptMaker
from lisa_micro_finetune.concepts.losses import ConceptWeights
from lisa_micro_finetune.concepts.network import ConceptModel, export, make_step
from lisa_micro_finetune.concepts.sources import (
    load_labelled,
    prepare_material_scenes,
    prepare_materials,
    prepare_scenes,
)
from lisa_micro_finetune.data.sources import prepare_frames, prepare_real
from lisa_micro_finetune.loop import means, run_loop
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.schedule import Schedule

VALIDATION_SEED = 5_100_000
"""Seed of the first simulated validation scene of each kind."""
VALIDATION_SCENES = 6
"""Simulated validation scenes of each kind."""


class ConceptScenes(BaseModel):
    """Simulated scenes to train on.

    particles: scenes of particles, from seed ``seed`` on; videos: sintering videos, six frames each. materials: scenes
    of each kind of :data:`lisa_micro.sim.materials.MATERIAL_KINDS`.
    """

    model_config = ConfigDict(extra="forbid")
    particles: int = Field(160, ge=0)
    videos: int = Field(12, ge=0)
    seed: int = 3_000_000
    materials: int = Field(100, ge=0)


class ConceptStage(BaseModel):
    """SAM tower, mask decoder and exemplar encoder on seventeen concepts.

    encoder_lr, tower_lr, fast_lr, codes_lr: factors on the learning rate of the encoder, of the rest of tower and
    decoder, of the exemplar encoder, and of the new class embeddings. encoder_frozen: number of leading encoder blocks
    to freeze.
    """

    model_config = ConfigDict(extra="forbid")
    stage: Literal["concepts"]
    schedule: Schedule
    scenes: ConceptScenes = ConceptScenes()
    crops: ConceptCrops = ConceptCrops()
    loss: ConceptWeights = ConceptWeights()
    embed_dim: int = 192
    depth: int = 2
    encoder_lr: float = 0.2
    encoder_frozen: int = Field(2, ge=0)
    tower_lr: float = 0.6
    fast_lr: float = 3.0
    codes_lr: float = 10.0
    start: str
    validation_batches: int = Field(40, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"


def concept_paths(stage: ConceptStage, cache: Path) -> list[Path]:
    """All prepared training micrographs; what is missing is prepared into ``cache``."""
    paths = prepare_real(cache, "train") + prepare_materials(cache, "train")
    scenes = stage.scenes
    paths += prepare_scenes(cache / "scenes_512x512", scenes.particles, scenes.seed)
    paths += prepare_frames(cache / "video_512x512", scenes.videos, 2_500_000, (512, 512))
    for kind in MATERIAL_KINDS:
        paths += prepare_material_scenes(cache / "material_scenes", kind, scenes.materials, scenes.seed)
    return paths


def run_concepts(stage: ConceptStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train, with a checkpoint every ``schedule.save_every`` seconds; a run that was stopped is resumed."""
    device = pick_device(device_name)
    torch.manual_seed(stage.schedule.seed)
    model = ConceptModel(stage.embed_dim, stage.depth)
    model.start_from(Path(stage.start))
    model.freeze_encoder(stage.encoder_frozen)
    model.to(device).to(memory_format=torch.channels_last)
    config = stage.schedule
    sources = load_labelled(concept_paths(stage, cache))
    kinds = Counter(source.kind for source in sources)
    print(f"{len(sources)} micrographs: {dict(kinds)}", flush=True)
    maker = ConceptMaker(sources, stage.crops, config.batch_size, config.seed)
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, stage.loss, device, use_bf16(stage.precision, device)),
        config,
        folder,
        groups=[
            (["sam_tower.encoder."], stage.encoder_lr),
            (["sam_tower.", "mask_head."], stage.tower_lr),
            (["exemplar_encoder."], stage.fast_lr),
            (["new_codes"], stage.codes_lr),
        ],
        on_save=lambda _, v: export(model, v, folder / "weights"),
    )
    export(model, values, folder / "weights")
    validation = validate(model, values, stage, cache)
    record = {
        "config": stage.model_dump(exclude={"crops", "loss"}),
        "crops": dataclasses.asdict(stage.crops),
        "loss": dataclasses.asdict(stage.loss),
        "torch": torch.__version__,
        "seconds": time.monotonic() - began,
        "micrographs": dict(kinds),
        "validation": validation,
    }
    (folder / "record.json").write_text(json.dumps(record, indent=2))


@torch.no_grad()
def validate(
    model: ConceptModel, values: dict[str, torch.Tensor], stage: ConceptStage, cache: Path
) -> dict[str, float]:
    """Mean loss and IoU, by concept and by kind of prompt, of the averaged weights ``values`` on crops of validation
    micrographs: real ones, and simulated ones with seeds from :data:`VALIDATION_SEED` on."""
    if not stage.validation_batches:
        return {}
    paths = prepare_real(cache, "validation") + prepare_materials(cache, "validation")
    for kind in MATERIAL_KINDS:
        paths += prepare_material_scenes(cache / "validation_scenes", kind, VALIDATION_SCENES, VALIDATION_SEED)
    for name, parameter in model.named_parameters():
        if name in values:
            parameter.copy_(values[name])
    model.eval()
    device = next(model.parameters()).device
    step = make_step(model, stage.loss, device, use_bf16(stage.precision, device))
    maker = ConceptMaker(load_labelled(paths), stage.crops, stage.schedule.batch_size, VALIDATION_SEED)
    sums: dict[str, float] = {}
    for number in range(stage.validation_batches):
        loss, metrics = step(maker(number))
        for name, value in {"loss": float(loss), **metrics}.items():
            sums[name] = sums.get(name, 0.0) + value
            sums["#" + name] = sums.get("#" + name, 0) + 1
    result = {name: round(value, 4) for name, value in sorted(means(sums).items())}
    print(f"validation: {result}", flush=True)
    return result
