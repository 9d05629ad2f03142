"""Stage 2: contrastive training of the CLIP tower on captions derived from the label maps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.checkpoints import save_module
from lisa_micro.models.device import pick_device
from lisa_micro.models.towers.clip import MICRO_CLIP, ConvClipTower, build_clip, to_square
from lisa_micro.models.towers.sam import Float32DepthwiseConv, load_imagenet_encoder
from lisa_micro_finetune.config import ClipStage
from lisa_micro_finetune.data.crops import photometric
from lisa_micro_finetune.data.facts import caption
from lisa_micro_finetune.data.sources import Source
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.stages.common import (
    trained_state,
    training_facts,
    training_sources,
    without_prefix,
    write_record,
)

SOURCE_WEIGHTS = {"emps": 2.0, "tem": 1.0, "sim": 1.0}
"""How often an image of each kind is drawn, relative to the others."""


class ClipBatch(NamedTuple):
    """B images and their captions.

    Attributes:
        images: ``(B, 1, S, S)`` in 0..1.
        tokens: ``(B, L)`` token ids of the captions.
        same: ``(B, B)``, 1 where two captions are equal.
    """

    images: Tensor
    tokens: Tensor
    same: Tensor


def build_for_training() -> nn.Module:
    """Build the contrastive model with ImageNet weights in its image encoder."""
    model = build_clip()
    trunk = model.visual.trunk
    load_imagenet_encoder(trunk)
    depthwise = {
        name: module
        for name, module in trunk.named_modules()
        if name.endswith("conv_dw") and isinstance(module, nn.Conv2d) and module.kernel_size[0] == 5
    }
    for name, conv in depthwise.items():
        trunk.set_submodule(name, Float32DepthwiseConv(conv))
    return model


class ClipStageModel(nn.Module):
    """The contrastive model, with batch norms frozen at the ImageNet statistics."""

    def __init__(self):
        super().__init__()
        self.clip = build_for_training()

    def train(self, mode: bool = True) -> ClipStageModel:
        super().train(mode)
        for module in self.clip.visual.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class ClipMaker:
    """Make the :class:`ClipBatch` of a step.

    Images are augmented by flips, quarter turns and contrast, which leave captions true. They are not cropped, since
    the caption of an image may be false for a crop of it.

    Args:
        sources: images.
        facts: facts about each image.
        batch_size: B.
        seed: seed of the draws.
    """

    def __init__(self, sources: list[Source], facts: list[dict], batch_size: int, seed: int):
        import open_clip

        self.sources, self.facts, self.batch_size, self.seed = sources, facts, batch_size, seed
        self.tokenizer = open_clip.SimpleTokenizer(context_length=MICRO_CLIP["text_cfg"]["context_length"])
        self.size = MICRO_CLIP["vision_cfg"]["image_size"]
        weights = np.array([SOURCE_WEIGHTS[s.kind] for s in sources])
        self.weights = weights / weights.sum()

    def __call__(self, step: int) -> ClipBatch:
        rng = np.random.default_rng((self.seed, 7, step))
        picks = rng.choice(len(self.sources), self.batch_size, replace=False, p=self.weights)
        images, texts = [], []
        for k in picks:
            pixels = self.sources[int(k)].pixels
            factor = max(1.0, max(pixels.shape) / 320)
            if factor > 1:
                size = (round(pixels.shape[1] / factor), round(pixels.shape[0] / factor))
                pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
            image = np.rot90(pixels.astype(np.float32) / 255, int(rng.integers(4)))
            image = image[:, ::-1] if rng.random() < 0.5 else image
            image = photometric(np.ascontiguousarray(image), rng, gentle=True)
            images.append(to_square(torch.as_tensor(image)[None, None], self.size)[0])
            texts.append(caption(self.facts[int(k)], rng))
        same = torch.tensor([[float(a == b) for b in texts] for a in texts])
        return ClipBatch(torch.stack(images), self.tokenizer(texts), same)


def clip_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric contrastive loss (Radford et al. 2021). Images with equal captions are targets of each other.

    Args:
        image, text: ``(B, D)`` normalised embeddings.
        scale: ``()``, inverse temperature.
        same: ``(B, B)``, see :class:`ClipBatch`.
    """
    logits = scale * image @ text.T
    target = same / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def make_step(
    model: ClipStageModel, device: torch.device, bf16: bool
) -> Callable[[ClipBatch], tuple[Tensor, dict[str, float]]]:
    """Make the function from a batch to its loss and metrics."""

    def step(batch: ClipBatch) -> tuple[Tensor, dict[str, float]]:
        images = ConvClipTower.normalise(batch.images.to(device)).contiguous(memory_format=torch.channels_last)
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            image = model.clip.encode_image(images, normalize=True)
            text = model.clip.encode_text(batch.tokens.to(device), normalize=True)
        image, text = image.float(), text.float()
        same = batch.same.to(device)
        loss = clip_loss(image, text, model.clip.logit_scale.exp().clamp(max=100.0), same)
        with torch.no_grad():
            best = (image @ text.T).argmax(1)
            hit = same[torch.arange(len(best), device=device), best].mean()
        return loss, {"hit": float(hit)}

    return step


def export(model: ClipStageModel, values: dict[str, Tensor], folder: Path) -> None:
    """Write the averaged image encoder as ``clip_tower.safetensors`` (float16)."""
    trunk = without_prefix(trained_state(model, values), "clip.visual.trunk.")
    tower = {f"trunk.{name.replace('.conv_dw.conv.', '.conv_dw.')}": value for name, value in trunk.items()}
    save_module(tower, folder / "clip_tower.safetensors")


def run_clip(stage: ClipStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train the CLIP tower; write it to ``folder/weights``."""
    device = pick_device(device_name)
    schedule = stage.schedule
    torch.manual_seed(schedule.seed)
    model = ClipStageModel().to(device).to(memory_format=torch.channels_last)
    sources, facts = training_sources(stage, cache), training_facts(stage, cache)
    began = time.monotonic()
    values = run_loop(
        model,
        ClipMaker(sources, facts, schedule.batch_size, schedule.seed),
        make_step(model, device, use_bf16(stage.precision, device)),
        schedule,
        folder,
        groups=[(["clip.visual.trunk."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights"),
    )
    export(model, values, folder / "weights")
    write_record(folder, stage, {"seconds": time.monotonic() - began})
