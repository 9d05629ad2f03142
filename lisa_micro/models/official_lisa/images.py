"""Preprocessing of images for the two towers of official LISA.

Both start from 8-bit RGB and are resized by Pillow, as in the official code: another resampling changes the features
more than rounding does.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation per channel (R, G, B): of CLIP in 0..1, of SAM in 0..255."""


def photo_range(pixels: np.ndarray) -> np.ndarray | None:
    """``(H, W)`` intensities of an 8-bit image -> float32 in 0..1, unchanged, so that the official numbers result;
    ``None`` for all other images, whose contrast has to be chosen."""
    array = np.asarray(pixels)
    if not array.size or not np.isfinite(array).all() or array.min() < 0 or not 128 <= array.max() <= 255:
        return None
    return array.astype(np.float32) / 255


def to_rgb(image: Tensor) -> np.ndarray:
    """``(1, 1 or 3, H, W)`` in 0..1 -> uint8 ``(H, W, 3)``."""
    pixels = image[0].float().mul(255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy())


def longest_side(height: int, width: int, side: int) -> tuple[int, int]:
    """``(h, w)`` of an image scaled so that its longest side is ``side`` px, halves rounded up; at least 1."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def sam_input(rgb: np.ndarray, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Input of the SAM tower: longest side scaled to ``side`` px (bilinear), normalised, zero-padded at the bottom and
    the right.

    Args:
        rgb: uint8 ``(H, W, 3)``.

    Returns:
        float32 ``(1, 3, side, side)``; the size ``(h, w)`` of the image in it.
    """
    shape = longest_side(*rgb.shape[:2], side)
    scaled = np.asarray(Image.fromarray(rgb).resize(shape[::-1], Image.Resampling.BILINEAR), np.float32)
    normal = (torch.from_numpy(scaled) - torch.tensor(SAM_MEAN)) / torch.tensor(SAM_STD)  # (h, w, 3)
    padded = torch.zeros(1, 3, side, side)
    padded[0, :, : shape[0], : shape[1]] = normal.permute(2, 0, 1)
    return padded, shape


def clip_input(rgb: np.ndarray, side: int) -> Tensor:
    """Input of the CLIP tower: shortest side scaled to ``side`` px (bicubic), cropped to the central square,
    normalised.

    Args:
        rgb: uint8 ``(H, W, 3)``.

    Returns:
        float32 ``(1, 3, side, side)``. The language model does not see what lies outside the square.
    """
    height, width = rgb.shape[:2]
    short, long = min(height, width), max(height, width)
    # of a very long image only the middle is used, and all of it might not fit into memory when enlarged
    keep = max(short, min(long, 16 * short))
    top, left = ((height - keep) // 2, 0) if height > width else (0, (width - keep) // 2)
    rgb = rgb[top : top + keep, :] if height > width else rgb[:, left : left + keep]
    other = int(side * keep / short)
    size = (side, other) if height > width else (other, side)  # (w, h)
    scaled = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    square = torch.from_numpy(scaled[top : top + side, left : left + side])  # (side, side, 3)
    normal = (square - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return normal.permute(2, 0, 1)[None].contiguous()
