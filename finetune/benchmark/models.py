"""The models to compare, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.checkpoints import load_strict
from lisa_micro.models.segmenters.promptable import read_checkpoint
from lisa_micro.models.segmenters.semantic import SEMANTIC, build_semantic
from lisa_micro_finetune.benchmark.yolo import YoloSemantic
from lisa_micro_finetune.losses import mask_loss

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Loss ``()`` of a model, images ``(B, 1, S, S)`` and instances ``(B, T, T)`` int64 of the same tiles."""


@dataclass(frozen=True)
class ModelSpec:
    """A model to train.

    Attributes:
        title: name for reports.
        resolution: side of its images in the paper, px; a multiple of ``multiple``.
        multiple: the resolution must be a multiple of this.
        paper_parameters: number of parameters in the paper's table.
        build: resolution in px -> module with random weights.
        loss: see :data:`Loss`.
        lr: peak learning rate.
        cpu_batch, gpu_batch: default numbers of tiles per step.
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
    """Resize images ``(B, 1, T, T)`` to ``(B, 1, side, side)``."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


def semantic_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy and Dice against the covered fraction of each pixel."""
    target = resize_images((labels > 0).float()[:, None], images.shape[-1])[:, 0]
    logits = model(images)[:, 0].float()
    return mask_loss(logits, target, torch.ones_like(target)).mean()


def yolo_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Loss of YOLOv8-seg on instances.

    Raises:
        TypeError: the model is another one.
    """
    if not isinstance(model, YoloSemantic):
        raise TypeError(f"yolo_loss needs a YoloSemantic, not a {type(model).__name__}")
    side = images.shape[-1]
    scaled = F.interpolate(labels[:, None].float(), (side, side), mode="nearest-exact")[:, 0]
    return model.loss(images, scaled.long())


def _build_yolo(_: int) -> nn.Module:
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
"""The models that can be trained, in the order of the paper's table."""


def build_model(name: str, resolution: int, checkpoint: Path | None, seed: int) -> nn.Module:
    """Build a model with random weights.

    Args:
        name: a key of :data:`SPECS`.
        resolution: side of its images in px.
        checkpoint: file with weights to start from, for EfficientSAM only.
        seed: seed of the weights.

    Raises:
        InputError: a package is not installed, or the checkpoint does not match.
    """
    torch.manual_seed(seed)
    model = SPECS[name].build(resolution)
    if checkpoint is not None and name == "efficient-sam":
        load_strict(model.sam, read_checkpoint(checkpoint), "EfficientSAM-Ti")
    return model
