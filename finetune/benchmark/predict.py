"""Prediction of a semantic segmenter for a whole image."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lisa_micro.geometry import tiles
from lisa_micro_finetune.benchmark.data import window
from lisa_micro_finetune.benchmark.models import resize_images


@torch.inference_mode()
def predict(
    model: nn.Module, pixels: np.ndarray, tile: int, resolution: int, device: torch.device, bf16: bool = False
) -> np.ndarray:
    """Segment an image in tiles that overlap by a quarter.

    Args:
        model: a segmenter in evaluation mode.
        pixels: ``(H, W)`` uint8.
        tile: side of a tile, px of the image.
        resolution: side of the model's input, px.
        device: device of the model.
        bf16: whether to compute in bfloat16.

    Returns:
        ``(H, W)`` bool.
    """
    mask = np.zeros(pixels.shape, bool)
    for part in tiles(pixels.shape, tile, tile // 8):
        piece = part.read(pixels)
        square = torch.from_numpy(window(piece, 0, 0, tile).astype(np.float32) / 255)[None, None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(resize_images(square, resolution)).float()
        logits = F.interpolate(logits, (tile, tile), mode="bilinear", align_corners=False)
        part.write(mask, (logits[0, 0] > 0).cpu().numpy()[: piece.shape[0], : piece.shape[1]])
    return mask
