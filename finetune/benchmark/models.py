"""The models that are compared, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.segmenters.semantic import SEMANTIC, build_semantic
from lisa_micro_finetune.losses import mask_loss

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Model, images ``(B, 1, S, S)``, instances ``(B, S, S)`` int64 of the same tiles at the tiles' size -> ``()``."""


@dataclass(frozen=True)
class ModelSpec:
    """A model that is trained.

    Attributes:
        title: for people. resolution: side of its images in the paper, px; a multiple of ``multiple``.
        paper_parameters: in the paper's table.
        build: resolution in px -> module with random weights.
        loss: see :data:`Loss`.
        lr: peak learning rate. cpu_batch, gpu_batch: tiles a step, where none is given.
    """

    title: str
    resolution: int
    multiple: int
    paper_parameters: int
    build: Callable[[int], nn.Module]
    loss: Loss
    lr: float
    cpu_batch: int
    gpu_batch: int


def resize_images(images: Tensor, side: int) -> Tensor:
    """``(B, 1, T, T)`` -> ``(B, 1, side, side)``."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


def semantic_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy and Dice against the share of each pixel that is inside."""
    target = resize_images((labels > 0).float()[:, None], images.shape[-1])[:, 0]
    logits = model(images)[:, 0].float()
    return mask_loss(logits, target, torch.ones_like(target)).mean()


def yolo_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The loss of YOLOv8-seg, on instances."""
    side = images.shape[-1]
    scaled = F.interpolate(labels[:, None].float(), (side, side), mode="nearest-exact")[:, 0]
    return model.loss(images, scaled.long())


def _build_yolo(_: int) -> nn.Module:
    from lisa_micro_finetune.benchmark.yolo import YoloSemantic

    return YoloSemantic()


def _semantic(name: str, multiple: int, lr: float, cpu_batch: int, gpu_batch: int) -> ModelSpec:
    entry = SEMANTIC[name]

    def build(side: int) -> nn.Module:
        return build_semantic(name, side)

    return ModelSpec(
        entry.title, entry.resolution, multiple, entry.parameters, build, semantic_loss, lr, cpu_batch, gpu_batch
    )


SPECS: dict[str, ModelSpec] = {
    "yolo": ModelSpec("YOLOv8n-seg", 512, 32, 3_409_968, _build_yolo, yolo_loss, 1e-3, 4, 16),
    "swin-unet": _semantic("swin-unet", 32, 1e-3, 2, 16),
    "vmamba": _semantic("vmamba", 32, 1e-3, 2, 16),
    "efficient-sam": _semantic("efficient-sam", 16, 5e-4, 1, 4),
}
"""What can be trained, in the order of the paper's table."""


def build_model(name: str, resolution: int, checkpoint: Path | None, seed: int) -> nn.Module:
    """A model with the weights that its seed gives, or of ``checkpoint`` (EfficientSAM only).

    Raises:
        InputError: a package is missing, or the checkpoint does not fit.
    """
    torch.manual_seed(seed)
    model = SPECS[name].build(resolution)
    if checkpoint is not None and name == "efficient-sam":
        from lisa_micro.models.checkpoints import load_strict
        from lisa_micro.models.segmenters.promptable import read_checkpoint

        load_strict(model.sam, read_checkpoint(checkpoint), "EfficientSAM-Ti")
    return model
