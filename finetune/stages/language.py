"""Stage 3: the language model (LoRA), the new tokens and the projectors."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.checkpoints import read_state, save_module, sha256
from lisa_micro.models.device import pick_device
from lisa_micro.models.lisa.build import build_lisa, load_parts
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig, LoraSettings
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError
from lisa_micro_finetune.config import LanguageStage
from lisa_micro_finetune.data.conversations import (
    IGNORE,
    ConversationMaker,
    Images,
    LanguageBatch,
    TextMix,
    pooled_features,
)
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.losses import OTHERS, prompt_terms
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.stages.common import (
    save_part,
    training_facts,
    training_sources,
    without_prefix,
    write_record,
)

FROZEN = ("sam_tower", "clip_tower", "mask_head")
FAST = ("clip_projector.", "sam_projector.", "seg_projector.", "new_tokens.")
"""Parameters that are trained at the learning rate times ``fast_lr``."""
SOURCE_WEIGHTS = {"emps": 3.0, "tem": 4.0, "sim": 1.0}
"""How often an image of each kind is drawn, relative to the others: real images more often than simulated ones."""
FEATURE_SEED = 5
"""Seed of the augmented views whose pooled features are cached."""


def freeze(model: LisaModel) -> None:
    """Freeze the towers and the mask decoder; the base language model is frozen by its LoRA adapter already."""
    for module in (model.sam_tower, model.clip_tower, model.mask_head):
        if module is not None:
            module.requires_grad_(False)


def pooler(model: LisaModel, bf16: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Make the function from an image ``(1, 1, H, W)`` to the pooled features of the CLIP and the SAM tower.

    The function raises InputError if the model lacks one of the projectors.
    """
    clip_projector, sam_projector = model.clip_projector, model.sam_projector
    if clip_projector is None or sam_projector is None:

        def missing(_: Tensor) -> tuple[Tensor, Tensor]:
            raise InputError(
                "The pooled features of both towers are not in the cache; run a stage with towers: both first."
            )

        return missing

    @torch.no_grad()
    def pool(image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            sam, clip, _ = model.see(image)
        return clip_projector.pool(clip)[0], sam_projector.pool(sam.embedding)[0]

    return pool


def image_slots(embeddings: Tensor, tokens: Tensor, start: int) -> Tensor:
    """Insert image tokens ``(B, K, h)`` at positions ``start ... start + K - 1`` of embeddings ``(B, T, h)``."""
    end = start + tokens.shape[1]
    return torch.cat([embeddings[:, :start], tokens.to(embeddings.dtype), embeddings[:, end:]], 1)


def make_step(
    model: LisaModel,
    features: dict[str, Tensor],
    image_start: int,
    prompt_weight: float,
    device: torch.device,
    bf16: bool,
) -> Callable[[LanguageBatch], tuple[Tensor, dict[str, float]]]:
    """Make the function from a batch to its loss and metrics.

    The loss is the cross-entropy of the reply plus ``prompt_weight`` times the distance of the projected state of each
    [SEG] to the class embedding of its concept.

    Args:
        model: the model to train.
        features: ``clip`` and ``sam``, pooled features of all images.
        image_start: position of the first image token.
        prompt_weight: weight of the distance.
        device: device to compute on.
        bf16: whether to compute in bfloat16.
    """
    class_embeddings = model.mask_head.code_book.weight.detach().to(device)

    def step(batch: LanguageBatch) -> tuple[Tensor, dict[str, float]]:
        ids, labels = batch.ids.to(device), batch.labels.to(device)
        rows = batch.image
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            tokens = model.image_tokens(
                features["clip"][rows].to(device).float(),
                features["sam"][rows].to(device).float(),
                pooled=True,
            )
            states = model.states(image_slots(model.embed(ids), tokens, image_start), use_cache=False)
            wanted = labels != IGNORE
            logits = model.logits(states[wanted])
            prompts = None
            if len(batch.seg):
                seg = batch.seg.to(device)
                shift = 0 if model.config.seg_state == "at" else 1
                prompts = model.seg_projector(states[seg[:, 0], seg[:, 1] - shift])
        truth = labels[wanted]
        language = F.cross_entropy(logits.float(), truth)
        metrics = {"words": float(language.detach())}
        with torch.no_grad():
            metrics["token"] = float((logits.argmax(-1) == truth).float().mean())
        loss = language
        if prompts is not None:
            concept = batch.concept.to(device)
            far, others, nearest = prompt_terms(prompts.float(), concept, class_embeddings)
            loss = loss + prompt_weight * (far + OTHERS * others).mean()
            metrics["far"] = float(far.detach().mean())
            metrics["concept"] = float(nearest.float().mean())
        return loss, metrics

    return step


def trained_parts(config: LisaConfig) -> tuple[str, ...]:
    """Names of the modules that this stage trains besides the LoRA adapter."""
    clip = ("clip_projector",) if config.towers in ("both", "clip") else ()
    sam = ("sam_projector",) if config.towers in ("both", "sam") else ()
    return (*clip, *sam, "seg_projector", "new_tokens")


def load_adapter(language: torch.nn.Module, path: Path) -> None:
    """Load a LoRA adapter into a language model that is wrapped for training.

    Raises:
        InputError: the adapter does not match the language model.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = read_state(path)
    wrong = sorted(get_peft_model_state_dict(language).keys() ^ state.keys())
    if wrong:
        raise InputError(f"{path} does not match the language model: {len(wrong)} keys differ ({wrong[0]}, ...).")
    set_peft_model_state_dict(language, state)


def export(model: LisaModel, values: dict[str, Tensor], folder: Path, start: Path) -> None:
    """Write a complete model folder.

    Args:
        model: the trained model.
        values: averaged weights of the trained parts, written in float16.
        folder: the folder to write.
        start: folder from which the frozen towers and the mask decoder are copied.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    for part in trained_parts(model.config):
        save_part(values, part, folder)
    adapter = without_prefix(values, "language.")
    save_module(get_peft_model_state_dict(model.language, state_dict=adapter), folder / "lora.safetensors")
    for part in FROZEN:
        source = start / f"{part}.safetensors"
        if source.is_file() and source.resolve() != (folder / source.name).resolve():
            shutil.copyfile(source, folder / source.name)
    (folder / "config.json").write_text(model.config.model_dump_json(indent=2))


def build(stage: LanguageStage, start: Path, device: torch.device, bf16: bool) -> tuple[LisaModel, ChatFormat]:
    """Build the model that a configuration describes, on the CPU, with all frozen but the parts to train.

    Args:
        stage: the configuration.
        start: folder with the trained towers and mask decoder.
        device: device on which the model will be trained.
        bf16: whether the language model is in bfloat16.

    Raises:
        InputError: weights that are missing or do not match.
    """
    config = LisaConfig(
        towers=stage.towers,
        embed_dim=stage.embed_dim,
        depth=stage.depth,
        lora=LoraSettings(rank=stage.rank, alpha=stage.alpha, dropout=stage.dropout),
    )
    # torch's fused attention has a slow backward pass on a CPU for short sequences
    attention = {"attn_implementation": "eager"} if device.type == "cpu" else {}
    model, tokenizer = build_lisa(config, torch.bfloat16 if bf16 else torch.float32, **attention)
    clip_tower = () if stage.towers == "sam" else ("clip_tower",)
    load_parts(model, start, ("sam_tower", "mask_head", *clip_tower))
    if stage.adapter is not None:
        load_parts(model, Path(stage.adapter), trained_parts(config))
        load_adapter(model.language, Path(stage.adapter) / "lora.safetensors")
    if stage.projectors is not None:
        image_projectors = tuple(p for p in trained_parts(config) if p in ("clip_projector", "sam_projector"))
        load_parts(model, Path(stage.projectors), image_projectors)
    freeze(model)
    return model.eval(), ChatFormat(tokenizer)


def image_token_count(config: LisaConfig) -> int:
    """Number of image tokens of both towers, or of the one in use."""
    sides = {"both": (config.clip_side, config.sam_side), "clip": (config.clip_side,), "sam": (config.sam_side,)}
    return sum(side * side for side in sides[config.towers])


def run_language(stage: LanguageStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train LoRA adapter, new tokens and projectors; write a complete model to ``folder/weights``.

    Raises:
        InputError: ``start`` is missing, or weights do not match.
    """
    if stage.start is None:
        raise InputError("Stage language needs start: a folder with sam_tower, mask_head and clip_tower.")
    device = pick_device(device_name)
    bf16 = use_bf16(stage.precision, device)
    start, schedule = Path(stage.start), stage.schedule
    torch.manual_seed(schedule.seed)
    model, chat = build(stage, start, device, bf16)
    sources = training_sources(stage, cache)
    facts = training_facts(stage, cache)
    key = "+".join(sha256(start / f"{part}.safetensors")[:12] for part in ("sam_tower", "clip_tower"))
    features = pooled_features(sources, pooler(model, bf16), cache / "pooled.pt", stage.views, FEATURE_SEED, key)
    rows = [list(range(k * stage.views, (k + 1) * stage.views)) for k in range(len(sources))]
    images = Images(facts, rows, np.array([SOURCE_WEIGHTS[f["kind"]] for f in facts]))
    mix = TextMix(stage.categories, stage.follow_ups, stage.dialogues)
    maker = ConversationMaker(images, chat, image_token_count(model.config), schedule.batch_size, schedule.seed, mix)
    model.to(device)
    image_start = len(chat.user_ids("", first=True)[0])
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, features, image_start, stage.prompt_weight, device, bf16),
        schedule,
        folder,
        groups=[(FAST, stage.fast_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights", start),
    )
    export(model, values, folder / "weights", start)
    write_record(folder, stage, {"seconds": time.monotonic() - began})
