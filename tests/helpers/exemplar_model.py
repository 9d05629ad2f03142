"""A small model with random weights that finds what is like an exemplar by its ridge regression alone.

Its mask decoder is left out: the probability that the exemplar encoder gives each pixel is the mask, and a box is taken
as full. So what is found follows from the boxes, the encoder and the code around them.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch.nn import functional as F

from lisa_micro.assistant.exemplars import ExemplarFinder
from lisa_micro.assistant.like import LikeAssistant
from lisa_micro.large_images import find_in_tiles
from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.mask_head import MaskOutputs, box_areas
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.protocols import Capabilities
from lisa_micro.types import VISION_CONCEPTS, Micrograph

SIDE = 12
"""px: side of the squares of :func:`squares_image`."""


class RidgeModel(LisaModel):
    """See the module."""

    def decode_learnt(self, features, image, learnt, level=None):
        sam = self._seen_by(1, features.sam)
        prompt = self.exemplar_encoder.prompt(sam, self._as_seen(features, image), learnt, level)
        mask = F.interpolate(prompt.areas, scale_factor=2, mode="bilinear")[:, 0].logit(1e-4)
        even = torch.zeros_like(mask)
        return MaskOutputs(mask, even, even - 9, torch.ones(1), torch.ones(1))

    @staticmethod
    def _box_masks(head, sam, boxes):
        height, width = sam.embedding.shape[-2:]
        return F.interpolate(box_areas(boxes, height, width), scale_factor=2)[:, 0]


def ridge_model(seed: int = 0, work_side: int = 640) -> RidgeModel:
    torch.manual_seed(seed)
    model = build_vision(
        LisaConfig(embed_dim=64, depth=1, built_in=VISION_CONCEPTS, exemplars=True, work_side=work_side)
    )
    model.__class__ = RidgeModel
    return model.eval()


class VisionEngine:
    """An engine without a language model."""

    device = torch.device("cpu")

    def __init__(self, model: LisaModel):
        self.model = model
        self.encoded: list[tuple[int, int]] = []

    def autocast(self):
        return contextlib.nullcontext()

    @torch.inference_mode()
    def encode(self, pixels, tokens=False, side=None):
        self.encoded.append(pixels.shape)
        return self.model.encode_image(torch.as_tensor(np.ascontiguousarray(pixels))[None, None], False, side)

    @torch.inference_mode()
    def on_micrograph(self, maps, features, shape=None):
        return self.model.to_micrograph(maps, features, shape).float().numpy()


class RidgeAssistant(LikeAssistant):
    """An assistant that answers examples; words are answered with ``raw``."""

    preset, device, weights_sha256 = "ridge", "cpu", "34" * 32
    capabilities = Capabilities(exemplars=True, video=True)

    def __init__(self, seed: int = 0, raw: str = "The particles are [SEG].", tiled: bool = True, work_side: int = 640):
        self.engine = VisionEngine(ridge_model(seed, work_side))
        self.finder = ExemplarFinder(self.engine, find_in_tiles if tiled else None)
        self.raw, self.read = raw, []

    def _finder(self):
        return self.finder

    def parse(self, image, prompt, history=()):
        self.read.append(prompt)
        return self.raw


def squares_image(bright, dark=(), shape=(160, 192), nm=None, seed=0, side=SIDE) -> Micrograph:
    """Bright and dark squares at ``(x, y)`` on grey with a little noise."""
    pixels = np.full(shape, 0.5, np.float32)
    for places, value in ((bright, 0.9), (dark, 0.1)):
        for x, y in places:
            pixels[y : y + side, x : x + side] = value
    pixels += np.random.default_rng(seed).normal(0, 0.01, shape).astype(np.float32)
    return Micrograph(pixels, nm, source="folder/squares.tif")


def box(x, y, side=SIDE) -> list[float]:
    return [x, y, x + side, y + side]


def hits(labels: np.ndarray, places, side=SIDE) -> int:
    """How many of the squares at ``(x, y)`` have a label in their middle."""
    half = side // 2
    return sum(int(labels[y + half, x + half] > 0) for x, y in places)
