"""Losses of the stage ``adapt``.

Every term is a sum over this process's part of a step, divided by the count of the whole step, so that the losses of
all processes and pieces add up to the loss of a single process.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro_finetune.adapt.model import AdaptOutputs
from lisa_micro_finetune.adapt.plans import AdaptBatch
from lisa_micro_finetune.adapt.settings import Loss
from lisa_micro_finetune.data.crops import Maps
from lisa_micro_finetune.losses import OTHERS, outline_terms, prompt_terms


def segmentation_loss(out: MaskOutputs, target: Maps, weights: Loss) -> tuple[Tensor, Tensor]:
    """Loss ``(N,)`` and IoU ``(N,)`` of the N prompts of one window, as in the stage ``vision``."""
    terms = outline_terms(out, target)
    known = (target.presence >= 0).float()
    loss = (
        weights.mask * terms.mask
        + weights.distance * target.parts * terms.distance
        + weights.border * target.parts * terms.border
        + weights.iou * terms.quality
        + weights.presence * known * terms.presence
    )
    return loss, terms.iou


def adapt_loss(
    out: AdaptOutputs, batch: AdaptBatch, class_embeddings: Tensor, weights: Loss
) -> tuple[Tensor, dict[str, float]]:
    """Loss and metrics of one piece of a step.

    Args:
        out: outputs of the model.
        batch: the piece.
        class_embeddings: ``(concepts, D)``, without gradient.
        weights: weights of the terms.

    Returns:
        the part of the loss; metrics as sums, each with its count under ``"#" + name``.
    """
    totals = batch.totals
    words = F.cross_entropy(out.logits.float(), out.truth, reduction="sum")
    loss = weights.words * words / totals["tokens"]
    right = int((out.logits.detach().argmax(-1) == out.truth).sum())
    metrics = {"words": float(words.detach()), "#words": len(out.truth), "token": right, "#token": len(out.truth)}
    known = batch.concept >= 0
    if bool(known.any()):
        far, others, nearest = prompt_terms(out.prompts[known].float(), batch.concept[known], class_embeddings)
        loss = loss + weights.prompt * (far + OTHERS * others).sum() / totals["concepts"]
        metrics |= {"concept": float(nearest.sum()), "#concept": len(nearest)}
    for window, outputs in zip(batch.windows, out.masks, strict=True):
        each, iou = segmentation_loss(outputs, window.maps, weights)
        loss = loss + (each * window.maps.weight).sum() / totals["prompts"]
        n_seg, n_boxes = len(window.seg), len(window.boxes)
        present = window.maps.presence[:n_seg] == 1
        _add(metrics, "iou", float(iou[:n_seg][present].sum()), int(present.sum()))
        by_embedding = slice(n_seg, n_seg + len(window.concepts))
        present = window.maps.presence[by_embedding] == 1
        _add(metrics, "code iou", float(iou[by_embedding][present].sum()), int(present.sum()))
        _add(metrics, "box iou", float(iou[len(iou) - n_boxes :].sum()), n_boxes)
        _add(metrics, "masks", float(each.detach().sum()), len(each))
    return loss, metrics


def _add(metrics: dict[str, float], name: str, value: float, count: int) -> None:
    if count:
        metrics[name] = metrics.get(name, 0.0) + value
        metrics["#" + name] = metrics.get("#" + name, 0) + count
