"""The CLIP tower: what an image shows, globally.

All towers have one interface: ``tower(images (B, 3, S, S)) -> (B, C, h, w)`` patch features, with ``tower.size`` (S),
``tower.width`` (C) and ``tower.normalise``. The small one is built by ``open_clip``, published ones by transformers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MICRO_CLIP = {
    "embed_dim": 192,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
"""Configuration of the CLIP of the default preset: EfficientNet-Lite0 with a small text transformer."""


def build_clip(config: dict | None = None) -> nn.Module:
    """Build the whole contrastive model (image and text side), as needed for training."""
    import open_clip

    return open_clip.CLIP(**(config or MICRO_CLIP))


class ConvClipTower(nn.Module):
    """Image side of :data:`MICRO_CLIP`: the last feature map of the convolutional trunk, one vector per 32 px."""

    def __init__(self, visual: nn.Module | None = None, size: int = 224):
        super().__init__()
        visual = build_clip().visual if visual is None else visual
        self.trunk = visual.trunk
        self.size = size
        self.width = int(self.trunk.num_features)

    @staticmethod
    def normalise(images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in 0..1 -> ``(B, 3, H, W)`` in -1..1."""
        return ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk.forward_features(images.contiguous(memory_format=torch.channels_last))


class VitClipTower(nn.Module):
    """A published CLIP vision transformer (``CLIPVisionModel`` of transformers): patch features of layer
    ``select_layer`` without the class token, as in LISA and LLaVA."""

    def __init__(self, vision: nn.Module, select_layer: int = -2):
        super().__init__()
        self.vision = vision
        self.select_layer = select_layer
        self.size = vision.config.image_size
        self.width = vision.config.hidden_size
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        states = self.vision(images, output_hidden_states=True).hidden_states[self.select_layer][:, 1:]
        side = int(round(states.shape[1] ** 0.5))
        return states.transpose(1, 2).reshape(states.shape[0], -1, side, side)


def to_square(image: Tensor, size: int) -> Tensor:
    """``(1, 1, H, W)`` in 0..1 -> ``(1, 1, size, size)``: longest side scaled to ``size`` (antialiased), the rest
    filled with mid-grey."""
    h, w = image.shape[-2:]
    scale = size / max(h, w)
    new = (max(1, round(h * scale)), max(1, round(w * scale)))
    image = F.interpolate(image, new, mode="bilinear", align_corners=False, antialias=True)
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    return F.pad(image, (left, size - new[1] - left, top, size - new[0] - top), value=0.5)
