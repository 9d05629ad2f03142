"""SAM ViT-B, -L and -H (Kirillov et al., Segment Anything, arXiv 2304.02643) from the package ``segment_anything``,
with the official checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.segmenters.base import MASK_LOGIT, Prompts
from lisa_micro.models.segmenters.everything import Everything
from lisa_micro.models.segmenters.loop import PromptedSegmenter

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation of pixels in 0..255, as in the official builder; the checkpoints do not hold them."""


def sam_builder(size: str) -> Callable[[], nn.Module]:
    """A function that builds the module of ``"vit_b"``, ``"vit_l"`` or ``"vit_h"`` without weights."""

    def build() -> nn.Module:
        import segment_anything

        return segment_anything.sam_model_registry[size]()

    return build


def empty_sam(build: Callable[[], nn.Module]) -> nn.Module:
    """Build the module without memory for its parameters; weights are to be loaded by assignment."""
    with torch.device("meta"):
        model = build()
    # these two are not in a checkpoint, so loading would leave them empty
    for name, values in (("pixel_mean", MEAN), ("pixel_std", STD)):
        model.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
    return model


class SamSegmenter(PromptedSegmenter):
    """SAM as a promptable segmenter, with the numbers of ``SamPredictor``.

    A single point can mean a part, an object or a group: of the three masks for it the one with the highest predicted
    IoU is taken. Every other prompt gives one mask. Images are scaled in floating point, not in 8 bits, so masks can
    differ from the official ones in single pixels.
    """

    settings = Everything(score=0.8, stability=0.9)

    def extract(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        side = self.model.image_encoder.img_size
        self._size = sides = longest(tuple(pixels.shape[-2:]), side)
        scaled = F.interpolate(pixels, sides, mode="bilinear", antialias=True, align_corners=False)
        embedding = self.model.image_encoder(self.model.preprocess(255 * scaled.expand(-1, 3, -1, -1)))
        return embedding, tuple(max(1, round(length / 4)) for length in sides)

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        encoder = self.model.prompt_encoder
        height, width = self.image.shape
        scale = torch.tensor([self._size[1] / width, self._size[0] / height], device=self.device)
        points = boxes = masks = None
        if prompts.labels.shape[1]:
            xy = torch.from_numpy(prompts.points).float().to(self.device) * scale
            points = xy, torch.from_numpy(prompts.labels).to(self.device)
        if prompts.boxes is not None:
            boxes = torch.from_numpy(prompts.boxes).float().to(self.device) * scale.repeat(2)
        if prompts.masks is not None:
            masks = self._low_resolution(torch.from_numpy(prompts.masks).to(self.device), encoder.mask_input_size)
        sparse, dense = encoder(points=points, boxes=boxes, masks=masks)
        logits, quality = self.model.mask_decoder(
            image_embeddings=self.image.features,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=boxes is None and masks is None and prompts.labels.shape[1] == 1,
        )
        best = quality.argmax(dim=1, keepdim=True)  # (n, 1)
        return logits.take_along_dim(best[..., None, None], 1)[:, 0], quality.take_along_dim(best, 1)[:, 0]

    def _low_resolution(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """``(n, h, w)`` logits of the micrograph -> ``(n, 1, *size)`` of the padded square."""
        h, w = self.image.window
        masks = masks[:, None]
        if masks.shape[-2:] != (h, w):
            masks = F.interpolate(masks, (h, w), mode="bilinear", antialias=True, align_corners=False)
        return F.pad(masks, (0, size[1] - w, 0, size[0] - h), value=-MASK_LOGIT)

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        return self.model.postprocess_masks(logits[:, None], self._size, shape)[:, 0]


def longest(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """``(H, W)`` scaled so that the longer side is ``side``, rounded as in SAM's transform, at least 1."""
    scale = side / max(shape)
    return max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))
