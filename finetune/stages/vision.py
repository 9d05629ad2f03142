"""Stage 1: the SAM tower and the mask decoder, prompted by concept codes, boxes and points."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lisa_micro.models.lisa.mask_head import MaskHead, MaskHeadConfig, MaskOutputs, box_areas, point_areas
from lisa_micro.models.towers.sam import ConvSamTower, SamFeatures
from lisa_micro_finetune.data.crops import Batch, Maps
from lisa_micro_finetune.losses import outline_terms


@dataclass(frozen=True)
class VisionWeights:
    """Weights of the terms of the loss; ``notch``: of a pixel at the end of a neck, among the others of a mask."""

    mask: float = 1.0
    distance: float = 1.0
    border: float = 0.3
    iou: float = 0.2
    presence: float = 0.2
    notch: float = 1.0


class VisionModel(nn.Module):
    """Tower and decoder together, as trained in this stage."""

    def __init__(self, embed_dim: int = 192, depth: int = 2):
        super().__init__()
        self.sam_tower = ConvSamTower(embed_dim)
        self.mask_head = MaskHead(MaskHeadConfig(dim=embed_dim, depth=depth))

    def forward(self, batch: Batch) -> MaskOutputs:
        """Outputs for words (B*W), boxes (B), points (B) and outlines (B or none), in this order."""
        features = self.sam_tower(self.sam_tower.normalise(batch.images))
        head, b = self.mask_head, len(batch.images)
        words = head.code_book(batch.concepts.reshape(-1, 1))
        rows = torch.arange(b).repeat_interleave(batch.concepts.shape[1])
        repeated = SamFeatures(features.embedding[rows], tuple(s[rows] for s in features.skips))
        size = features.embedding.shape[-2:]
        boxes = box_areas(batch.boxes, *size, batch.origin)
        points = point_areas(batch.points, batch.point_labels, *size, batch.origin)
        point_tokens = head.point_tokens(batch.points, batch.point_labels)
        parts = [
            head(repeated, words, batch.origin),
            head(features, head.box_tokens(batch.boxes), batch.origin, boxes),
            head(features, point_tokens, batch.origin, points),
        ]
        if len(batch.regions):
            parts.append(head(features, head.box_tokens(batch.region_boxes), batch.origin, batch.regions))
        return MaskOutputs(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def vision_loss(out: MaskOutputs, target: Maps, weights: VisionWeights, words: int) -> tuple[Tensor, dict[str, float]]:
    """Weighted mean over prompts, and figures to log. ``words``: how many of the prompts are words."""
    w = target.weight
    total = w.sum().clamp_min(1.0)
    mask, distance, border, iou, quality, presence = outline_terms(out, target, weights.notch)
    known = (target.presence >= 0).float() * (w > 0)
    parts = w * target.parts
    loss = (
        weights.mask * (mask * w).sum() / total
        + weights.distance * (distance * parts).sum() / parts.sum().clamp_min(1.0)
        + weights.border * (border * parts).sum() / parts.sum().clamp_min(1.0)
        + weights.iou * (quality * w).sum() / total
        + weights.presence * (presence * known).sum() / known.sum().clamp_min(1.0)
    )
    is_particle = torch.zeros_like(w)
    is_particle[:words:2] = 1
    prompted = torch.zeros_like(w)
    prompted[words:] = 1

    def mean(x: Tensor, select: Tensor) -> float:
        select = select * (w > 0)
        return float((x * select).sum() / select.sum().clamp_min(1))

    present = (target.presence == 1).float()
    absent = (target.presence == 0).float()
    return loss, {
        "iou_particle": mean(iou, is_particle * present),
        "iou_other": mean(iou, (1 - is_particle) * present),
        "iou_prompted": mean(iou, prompted),
        "distance": float((distance.detach() * parts).sum() / parts.sum().clamp_min(1.0)),
        "found": mean((out.presence > 0).float(), present),
        "declined": mean((out.presence < 0).float(), absent),
    }


def make_step(model: VisionModel, weights: VisionWeights, device: torch.device, bf16: bool):
    """The function that the loop calls with each batch."""

    def step(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        moved = Batch(*(x.to(device) if isinstance(x, Tensor) else x for x in batch[:-2]), *batch[-2:])
        target = Maps(*(x.to(device) for x in batch.targets))
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            out = model(moved)
        return vision_loss(out, target, weights, batch.concepts.numel())

    return step


def export(model: VisionModel, values: dict[str, Tensor], folder: Path) -> None:
    """Write averaged weights as ``sam_tower.safetensors`` and ``mask_head.safetensors`` (float16) into ``folder``."""
    from lisa_micro.models.checkpoints import save_module

    state = {n: values.get(n, v) for n, v in model.state_dict().items()}
    for part in ("sam_tower", "mask_head"):
        prefix = part + "."
        save_module(
            {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)},
            folder / f"{part}.safetensors",
        )
