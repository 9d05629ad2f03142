"""Losses, apart from the model. Maps are ``(N, h, w)``; each loss gives one value per prompt, ``(N,)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from lisa_micro.models.lisa.mask_head import MaskOutputs
    from lisa_micro_finetune.data.crops import Maps


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - Dice of sigmoid(logits) with a soft target, over valid pixels (V-Net, Milletari et al. 2016; one is added
    to numerator and denominator so that empty against empty is no loss)."""
    probability = logits.sigmoid() * valid
    target = target * valid
    inter = (probability * target).sum((1, 2))
    return 1 - (2 * inter + 1) / (probability.sum((1, 2)) + target.sum((1, 2)) + 1)


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy (mean over valid pixels, weighted) plus Dice."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    w = valid if weight is None else valid * weight
    return (bce * w).sum((1, 2)) / w.sum((1, 2)).clamp_min(1.0) + dice_loss(logits, target, valid)


def rare_weight(target: Tensor, valid: Tensor, share: float = 0.12, most: float = 10.0) -> Tensor:
    """Pixel weights that bring small targets up to ``share`` of the pixels, so that cross-entropy does not answer
    "nothing" for necks; 1 everywhere for targets that are larger or empty."""
    area = (target * valid).sum((1, 2))
    factor = (share * valid.sum((1, 2)) / area.clamp_min(1.0)).clamp(1.0, most)
    factor = torch.where(area > 0, factor, torch.ones_like(factor))
    return 1 + (factor[:, None, None] - 1) * target


def distance_loss(logits: Tensor, target: Tensor, inside: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute error of sigmoid(logits) against the normalised distance: inside instances, and at a quarter of
    the weight outside, where the distance is 0."""
    error = (logits.sigmoid() - target).abs()
    outside = (1 - inside) * valid
    inside = inside * valid
    return (error * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1.0) + 0.25 * (error * outside).sum(
        (1, 2)
    ) / outside.sum((1, 2)).clamp_min(1.0)


def border_loss(logits: Tensor, target: Tensor, inside: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy and Dice of the lines where instances meet; only on and around instances, where alone the
    map is used."""
    return mask_loss(logits, target, valid * torch.clamp(inside + target, 0, 1))


@torch.no_grad()
def soft_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of the thresholded mask with the thresholded target; empty against empty is 1."""
    predicted, truth = (logits > 0) & (valid > 0), (target > 0.5) & (valid > 0)
    union = (predicted | truth).sum((1, 2))
    inter = (predicted & truth).sum((1, 2))
    return torch.where(union > 0, inter / union.clamp_min(1), torch.ones_like(union, dtype=torch.float))


class OutlineTerms(NamedTuple):
    """Terms of N prompts, ``(N,)`` each. iou: of mask and target, not a loss. quality: how far the predicted IoU is
    from it. presence: cross-entropy; means something where the target's presence is known (>= 0)."""

    mask: Tensor
    distance: Tensor
    border: Tensor
    iou: Tensor
    quality: Tensor
    presence: Tensor


def outline_terms(out: MaskOutputs, target: Maps, notch: float = 1.0) -> OutlineTerms:
    """What the decoder's outputs are judged by. ``notch``: weight of a pixel at the end of a neck in the masks'
    cross-entropy."""
    valid, inside = target.valid, (target.mask > 0.5).float()
    weight = rare_weight(target.mask, valid) * (1 + (notch - 1) * target.notch)
    iou = soft_iou(out.mask, target.mask, valid)
    return OutlineTerms(
        mask_loss(out.mask, target.mask, valid, weight),
        distance_loss(out.distance, target.distance, inside, valid),
        border_loss(out.border, target.border, inside, valid),
        iou,
        (out.iou.sigmoid() - iou).abs(),
        F.binary_cross_entropy_with_logits(out.presence, target.presence.clamp_min(0), reduction="none"),
    )


OTHERS = 0.2
"""Weight of being nearer to the right code than to others, beside the distance to it."""


def prompt_terms(prompts: Tensor, code: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How prompt embeddings ``(N, D)`` lie to the codes ``(C, D)`` of concepts.

    Args:
        code: ``(N,)``, the concept that each is to mean.

    Returns:
        ``(N,)`` each: squared distance to its code over the spread of the code book; cross-entropy over the concepts;
        and whether the nearest code is the right one.
    """
    spread = codes.var().clamp_min(1e-6)
    far = ((prompts - codes[code]) ** 2).mean(1) / spread
    gaps = torch.cdist(prompts, codes) ** 2 / (spread * codes.shape[1])
    return far, F.cross_entropy(-8 * gaps, code, reduction="none"), gaps.argmin(1) == code
