"""The loss of this stage: masks, distances and borders as in stage ``vision``, and centre lines of thin structures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.types import VISION_CONCEPTS
from lisa_micro_finetune.concepts.batches import ConceptBatch, is_thin
from lisa_micro_finetune.data.crops import Maps
from lisa_micro_finetune.losses import outline_terms


@dataclass(frozen=True)
class ConceptWeights:
    """Weights of the terms; ``rival``: of a pixel of a neighbour of the object that a box means, among the others."""

    mask: float = 1.0
    distance: float = 1.0
    border: float = 0.3
    iou: float = 0.2
    presence: float = 0.4
    thin: float = 0.5
    rival: float = 4.0


def soft_skeleton(mask: Tensor, steps: int = 5) -> Tensor:
    """Soft skeleton of masks ``(N, h, w)`` in 0..1 by iterated erosion and opening (Shit et al. 2021, "clDice")."""

    def erode(x: Tensor) -> Tensor:
        across = -F.max_pool2d(-x, (3, 1), 1, (1, 0))
        along = -F.max_pool2d(-x, (1, 3), 1, (0, 1))
        return torch.minimum(across, along)

    def opened(x: Tensor) -> Tensor:
        return F.max_pool2d(erode(x), 3, 1, 1)

    x = mask.unsqueeze(1)
    skeleton = F.relu(x - opened(x))
    for _ in range(steps):
        x = erode(x)
        delta = F.relu(x - opened(x))
        skeleton = skeleton + F.relu(delta - skeleton * delta)
    return skeleton.squeeze(1)


def centre_line_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - clDice of ``(N, h, w)`` maps, with a pixel of tolerance: how much of each centre line lies in the other mask
    (Shit et al. 2021). Returns ``(N,)``."""

    def wider(x: Tensor) -> Tensor:
        return F.max_pool2d(x.unsqueeze(1), 3, 1, 1).squeeze(1)

    predicted, truth = logits.sigmoid() * valid, target * valid
    own, true = soft_skeleton(predicted), soft_skeleton(truth)
    precision = ((own * wider(truth)).sum((1, 2)) + 1) / (own.sum((1, 2)) + 1)
    recall = ((true * wider(predicted)).sum((1, 2)) + 1) / (true.sum((1, 2)) + 1)
    return 1 - 2 * precision * recall / (precision + recall)


def concept_loss(
    out: MaskOutputs, batch: ConceptBatch, target: Maps, weights: ConceptWeights
) -> tuple[Tensor, dict[str, float]]:
    """Weighted mean over all prompts, and metrics to log: IoU by kind of prompt and by concept."""
    w = target.weight
    total = w.sum().clamp_min(1.0)
    mask, distance, border, iou, quality, presence = outline_terms(out, target, weights.rival)
    # Dice of an empty target stays near 1 until all of the mask is gone, whatever its size
    empty = (target.mask.sum((1, 2)) == 0).float()
    plain = F.binary_cross_entropy_with_logits(out.mask, target.mask, reduction="none") * target.valid
    mask = torch.where(empty > 0, 2 * plain.sum((1, 2)) / target.valid.sum((1, 2)).clamp_min(1.0), mask)
    known = (target.presence >= 0).float()
    parts = w * target.parts
    thin = is_thin(batch.concepts.to(w.device)) & (target.mask.sum((1, 2)) > 0)
    loss = (
        weights.mask * (mask * w).sum() / total
        + weights.distance * (distance * parts).sum() / parts.sum().clamp_min(1.0)
        + weights.border * (border * parts).sum() / parts.sum().clamp_min(1.0)
        + weights.iou * (quality * w).sum() / total
        + weights.presence * (presence * known).sum() / known.sum().clamp_min(1.0)
    )
    metrics: dict[str, float] = {}
    if thin.any():
        lines = centre_line_loss(out.mask[thin], target.mask[thin], target.valid[thin])
        loss = loss + weights.thin * lines.sum() / total
        metrics["centre_lines"] = float(lines.detach().mean())
    bounds = [len(batch.words), len(batch.exemplar_rows), len(batch.object_rows), len(batch.point_rows)]
    words, exemplars, objects, points = iou.split(bounds)
    there, gone = target.presence[: bounds[0]] == 1, target.presence[: bounds[0]] == 0
    for row, number in enumerate(batch.words.tolist()):
        if there[row]:
            name = VISION_CONCEPTS[number]
            metrics.setdefault(name, float(words[row]))
    groups = {
        "exemplars": exemplars,
        "boxes": objects[: batch.first_region],
        "regions": objects[batch.first_region :],
        "points": points,
    }
    metrics |= {name: float(values.mean()) for name, values in groups.items() if len(values)}
    sure = out.presence[: bounds[0]] > 0
    if there.any():
        metrics["found"] = float(sure[there].float().mean())
    if gone.any():
        metrics["declined"] = float((~sure[gone]).float().mean())
    return loss, metrics
