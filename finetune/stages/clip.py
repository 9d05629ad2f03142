"""Stage 2: the CLIP tower, trained contrastively against captions derived from the label maps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.towers.clip import MICRO_CLIP, ConvClipTower, build_clip, to_square
from lisa_micro.models.towers.sam import Float32DepthwiseConv, load_imagenet_encoder
from lisa_micro_finetune.data.crops import photometric
from lisa_micro_finetune.data.facts import caption
from lisa_micro_finetune.data.sources import Source


class ClipBatch(NamedTuple):
    """``images`` ``(B, 1, S, S)``, ``tokens`` ``(B, L)``, ``same`` ``(B, B)``: 1 where two captions say the same."""

    images: Tensor
    tokens: Tensor
    same: Tensor


def build_for_training() -> nn.Module:
    """The contrastive model with ImageNet weights in its image side and frozen batch norms."""
    model = build_clip()
    trunk = model.visual.trunk
    load_imagenet_encoder(trunk)
    for module in trunk.modules():
        conv = getattr(module, "conv_dw", None)
        if isinstance(conv, nn.Conv2d) and conv.kernel_size[0] == 5:
            module.conv_dw = Float32DepthwiseConv(conv)
    return model


class ClipStageModel(nn.Module):
    """The contrastive model; its batch norms keep the ImageNet statistics."""

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
    """step -> :class:`ClipBatch`. Whole images only: a crop's caption would not be true of it. Flips, quarter turns and
    contrast change nothing that a caption says."""

    def __init__(self, sources: list[Source], facts: list[dict], batch_size: int, seed: int):
        import open_clip

        self.sources, self.facts, self.batch_size, self.seed = sources, facts, batch_size, seed
        self.tokenizer = open_clip.SimpleTokenizer(context_length=MICRO_CLIP["text_cfg"]["context_length"])
        self.size = MICRO_CLIP["vision_cfg"]["image_size"]
        weights = np.array([{"emps": 2.0, "tem": 1.0, "sim": 1.0}[s.kind] for s in sources])
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
    """Symmetric contrastive loss (Radford et al. 2021); captions that read the same share the target."""
    logits = scale * image @ text.T
    target = same / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def make_step(model: ClipStageModel, device: torch.device, bf16: bool):
    """The function that the loop calls with each batch."""

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
    """Write the averaged image tower as ``clip_tower.safetensors`` (float16)."""
    from lisa_micro.models.checkpoints import save_module

    state = {n: values.get(n, v) for n, v in model.state_dict().items()}
    prefix = "clip.visual.trunk."
    trunk = {
        n[len(prefix) :].replace(".conv_dw.conv.", ".conv_dw."): v for n, v in state.items() if n.startswith(prefix)
    }
    save_module({f"trunk.{n}": v for n, v in trunk.items()}, folder / "clip_tower.safetensors")
