"""What the stage ``adapt`` minimises, apart from the model.

Every term is a sum over this process's part of a step, divided by the count of the whole step: the parts of all
processes and pieces add up to the same loss as one process would have.
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


def outline_loss(out: MaskOutputs, target: Maps, weights: Loss) -> tuple[Tensor, Tensor]:
    """Loss ``(N,)`` and IoU ``(N,)`` of N prompts of one window, as in the stage ``vision``."""
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
        far, others, nearest = prompt_terms(out.prompts[coded].float(), batch.code[coded], codes)
        loss = loss + weights.prompt * (far + OTHERS * others).sum() / totals["codes"]
        figures |= {"concept": float(nearest.sum()), "#concept": len(nearest)}
    for look, outputs in zip(batch.looks, out.masks, strict=True):
        each, iou = outline_loss(outputs, look.maps, weights)
        loss = loss + (each * look.maps.weight).sum() / totals["prompts"]
        words_end, boxes = len(look.seg), len(look.boxes)
        there = look.maps.presence[:words_end] == 1
        _add(figures, "iou", float(iou[:words_end][there].sum()), int(there.sum()))
        prompted = slice(words_end, words_end + len(look.codes))
        there = look.maps.presence[prompted] == 1
        _add(figures, "code iou", float(iou[prompted][there].sum()), int(there.sum()))
        _add(figures, "box iou", float(iou[len(iou) - boxes :].sum()), boxes)
        _add(figures, "masks", float(each.detach().sum()), len(each))
    return loss, figures


def _add(figures: dict[str, float], name: str, value: float, count: int) -> None:
    if count:
        figures[name] = figures.get(name, 0.0) + value
        figures["#" + name] = figures.get("#" + name, 0) + count
