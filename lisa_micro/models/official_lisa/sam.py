"""The SAM of an official LISA checkpoint as a promptable segmenter for one encoded image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.official_lisa.model import OfficialLisa
from lisa_micro.models.segmenters.base import Prompts
from lisa_micro.models.segmenters.loop import EncodedImage, PromptedSegmenter
from lisa_micro.types import InputError


class OfficialSam(PromptedSegmenter):
    """Answers points and boxes with SAM's decoder for one image, which is encoded already.

    Args:
        lisa: the model.
        features: of the image.
        device: where the model is.
        flat: whether all pixels of the image are equal.
    """

    takes_masks = False

    def __init__(self, lisa: OfficialLisa, features: ImageFeatures, device: torch.device, flat: bool = False):
        super().__init__("sam", lisa.mask_head, device, "")
        self.lisa = lisa
        side, rows = lisa.sam_tower.multiple, 4 * features.sam.embedding.shape[-2]
        window = tuple(math.ceil(length * rows / side) for length in features.work)
        self._image = EncodedImage(features, features.shape, (window[0], window[1]), flat)

    def extract(self, pixels: Tensor) -> tuple[Any, tuple[int, int]]:
        """Refuse another image.

        Raises:
            InputError: always.
        """
        raise InputError("This segmenter is for one image only; make another one for another image.")

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """See :meth:`PromptedSegmenter.answer`."""
        features = self.image.features
        scale = np.array(features.scale)
        tokens = []
        if prompts.points.shape[1]:
            points = torch.as_tensor(prompts.points * scale, dtype=torch.float32, device=self.device)
            labels = torch.as_tensor(prompts.labels, device=self.device)
            # without a box, SAM was trained with an additional padding point
            pad = prompts.boxes is None
            tokens.append(self.model.point_tokens(points, labels)[:, : None if pad else -1])
        if prompts.boxes is not None:
            boxes = torch.as_tensor(prompts.boxes * np.tile(scale, 2), dtype=torch.float32, device=self.device)
            tokens.append(self.model.box_tokens(boxes))
        out = self.model(features.sam, torch.cat(tokens, 1))
        return out.mask, out.iou.sigmoid()

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`PromptedSegmenter.enlarge`."""
        return self.lisa.to_micrograph(logits, self.image.features, shape)
