"""What the stage ``adapt`` minimises, apart from the model.

Every term is a sum over this process's part of a step, divided by the count of the whole step: the parts of all
processes and pieces add up to the same loss as one process would have.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.adapt_batches import AdaptBatch
from finetune.adapt_config import Loss
from finetune.adapt_model import AdaptOutputs
from finetune.losses import border_loss, distance_loss, mask_loss, rare_weight, soft_iou
from finetune.vision_data import Maps
from lisa_micro.models.lisa.mask_head import MaskOutputs


def prompt_loss(prompts: Tensor, code: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """How far prompts ``(N, D)`` lie from their concepts' codes, and whether they are nearer to others: squared
    distance over the spread of the code book, plus a fifth of the cross-entropy over the concepts.

    Returns:
        ``(N,)`` loss, ``(N,)`` whether the nearest code is the right one.
    """
    spread = codes.var().clamp_min(1e-6)
    far = ((prompts - codes[code]) ** 2).mean(1) / spread
    gaps = torch.cdist(prompts, codes) ** 2 / (spread * codes.shape[1])
    return far + 0.2 * F.cross_entropy(-8 * gaps, code, reduction="none"), gaps.argmin(1) == code


def outline_loss(out: MaskOutputs, target: Maps, weights: Loss) -> tuple[Tensor, Tensor]:
    """Loss ``(N,)`` and IoU ``(N,)`` of N prompts of one window, as in the stage ``vision``."""
    valid, inside = target.valid, (target.mask > 0.5).float()
    iou = soft_iou(out.mask, target.mask, valid)
    known = (target.presence >= 0).float()
    presence = F.binary_cross_entropy_with_logits(out.presence, target.presence.clamp_min(0), reduction="none")
    loss = (
        weights.mask * mask_loss(out.mask, target.mask, valid, rare_weight(target.mask, valid))
        + weights.distance * target.parts * distance_loss(out.distance, target.distance, inside, valid)
        + weights.border * target.parts * border_loss(out.border, target.border, inside, valid)
        + weights.iou * (out.iou.sigmoid() - iou).abs()
        + weights.presence * known * presence
    )
    return loss, iou


def adapt_loss(out: AdaptOutputs, batch: AdaptBatch, codes: Tensor, weights: Loss) -> tuple[Tensor, dict[str, float]]:
    """This piece's part of a step's loss, and sums and counts of its figures.

    Args:
        codes: ``(concepts, D)``, the code book, without gradient.

    Returns:
        the part of the loss; figures as sums, each with its count under ``"#" + name``.
    """
    totals = batch.totals
    words = F.cross_entropy(out.logits.float(), out.truth, reduction="sum")
    loss = weights.words * words / totals["tokens"]
    right = int((out.logits.detach().argmax(-1) == out.truth).sum())
    figures = {"words": float(words.detach()), "#words": len(out.truth), "token": right, "#token": len(out.truth)}
    coded = batch.code >= 0
    if bool(coded.any()):
        far, nearest = prompt_loss(out.prompts[coded].float(), batch.code[coded], codes)
        loss = loss + weights.prompt * far.sum() / totals["codes"]
        figures |= {"concept": float(nearest.sum()), "#concept": len(nearest)}
    for look, outputs in zip(batch.looks, out.masks, strict=True):
        each, iou = outline_loss(outputs, look.maps, weights)
        loss = loss + (each * look.maps.weight).sum() / totals["prompts"]
        words_end, boxes = len(look.seg), len(look.boxes)
        there = look.maps.presence[:words_end] == 1
        _add(figures, "iou", float(iou[:words_end][there].sum()), int(there.sum()))
        _add(figures, "box iou", float(iou[len(iou) - boxes :].sum()), boxes)
        _add(figures, "masks", float(each.detach().sum()), len(each))
    return loss, figures


def _add(figures: dict[str, float], name: str, value: float, count: int) -> None:
    if count:
        figures[name] = figures.get(name, 0.0) + value
        figures["#" + name] = figures.get("#" + name, 0) + count


def means(sums: dict[str, float]) -> dict[str, float]:
    """Sums and counts -> means."""
    return {name: sums[name] / sums["#" + name] for name in sums if not name.startswith("#") and sums.get("#" + name)}
