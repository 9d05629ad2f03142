"""Batches of images as semantic segmenters take them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lisa_micro.types import InputError


def three_channels(images: Tensor) -> Tensor:
    """``(B, 1 or 3, H, W)`` -> ``(B, 3, H, W)``.

    Raises:
        InputError: other than four axes, or another number of channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(f"Images must be (B, 1 or 3, H, W), not {tuple(images.shape)}.")
    return images.expand(-1, 3, -1, -1)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until ``(B, C, H, W)`` has sides that are multiples of ``multiple``."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images
