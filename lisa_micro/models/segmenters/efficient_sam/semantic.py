"""EfficientSAM as a semantic segmenter: one fixed prompt, whose meaning is learned by fine-tuning.

The prompt is the box around the whole image, as two points with the labels of its corners, and the result is the one
mask that EfficientSAM gives for an unambiguous prompt. The model knows such prompts ("everything here"), so fine-tuning
starts near what it can do. The embeddings of the two corners are trained with the rest, so the prompt is learned
without a parameter that the official model lacks. Neither a user nor the truth has to say where the particles are:
points on the particles would give the model part of the answer that the other networks have to find.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lisa_micro.models.segmenters.efficient_sam.decoder import BOX_FAR, BOX_NEAR
from lisa_micro.models.segmenters.efficient_sam.network import TINY, EfficientSam, build_efficient_sam, enlarge
from lisa_micro.models.segmenters.images import three_channels
from lisa_micro.types import InputError


class EfficientSamSemantic(nn.Module):
    """Images -> one logit per pixel, prompted by the box around the whole image.

    Args:
        sam: EfficientSAM, of any size and side.
    """

    def __init__(self, sam: EfficientSam):
        super().__init__()
        self.sam = sam

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in 0..1 -> logits ``(B, 1, H, W)``. Images are stretched to the encoder's square.

        Raises:
            InputError: images of another shape.
        """
        images = three_channels(images)
        batch, _, height, width = images.shape
        embeddings = self.sam.get_image_embeddings(images)
        corners = torch.tensor([[0.0, 0.0], [width, height]], device=images.device)
        labels = torch.tensor([BOX_NEAR, BOX_FAR], device=images.device)
        logits, _ = self.sam.predict_masks(
            embeddings, corners.expand(batch, 1, 2, 2), labels.expand(batch, 1, 2), False, height, width
        )
        return enlarge(logits[:, 0].float(), (height, width))


def build_efficient_sam_semantic(side: int) -> EfficientSamSemantic:
    """Build EfficientSAM-Ti with random weights, for images of ``side`` px.

    Raises:
        InputError: the side is not a multiple of the patch.
    """
    if side % TINY.patch or side < TINY.patch:
        raise InputError(f"EfficientSAM needs images whose side is a multiple of {TINY.patch} px, not {side} px.")
    sam = build_efficient_sam(replace(TINY, image_size=side))
    # the official module initialises its position table with zeros, because weights are loaded; training from scratch
    # needs positions that differ
    nn.init.trunc_normal_(sam.image_encoder.pos_embed, std=0.02)
    return EfficientSamSemantic(sam)
