"""How the views of an image lie, and windows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lisa_micro.geometry import resample_nearest
from lisa_micro.models.lisa.mask_head import STRIDE
from lisa_micro_finetune.adapt.data import Item


@dataclass(frozen=True)
class Orientation:
    """How a view lies: quarter turns, then mirrored left to right, then brought to another size.

    shape: ``(h, w)`` px of the view as the SAM tower sees it; ``None``: as the image itself is seen.
    """

    turns: int = 0
    mirrored: bool = False
    shape: tuple[int, int] | None = None

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Label images ``(H, W)`` at the size at which the SAM tower sees the image."""
        labels = self._turned(labels)
        return labels if self.shape is None else resample_nearest(labels, self.shape)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """A micrograph ``(H, W)`` float32 in 0..1 at its own size."""
        image = self._turned(image)
        if self.shape is None:
            return image
        given = torch.from_numpy(image)[None, None]
        scaled = F.interpolate(given, self.shape, mode="bicubic", align_corners=False, antialias=True)
        return scaled[0, 0].clamp(0, 1).numpy()

    def _turned(self, image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)


@dataclass(frozen=True)
class Views:
    """How all views of all images lie.

    zoom: the largest factor by which one is larger or smaller than the image. sides: least and longest of the longer
    side, px, as the SAM tower sees images; views keep to them too.
    """

    zoom: float = 1.0
    sides: tuple[int, int] = (256, 640)

    def __call__(self, item: Item, view: int) -> Orientation:
        """The first view is as the image is; others are turned and mirrored, but for images whose conversation speaks
        of directions, and larger or smaller."""
        if view == 0 or item.fixed:
            return Orientation()
        rng = np.random.default_rng([view, *item.name.encode()])
        turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
        if self.zoom == 1 or not item.labels:
            return Orientation(turns, mirrored)
        shape = next(iter(item.labels.values())).shape
        least, most = (side / max(shape) for side in self.sides)
        low, high = min(1.0, max(1 / self.zoom, least)), max(1.0, min(self.zoom, most))
        scale = np.exp(rng.uniform(np.log(low), np.log(high)))
        height, width = (max(1, round(side * scale)) for side in shape)
        return Orientation(turns, mirrored, (width, height) if turns % 2 else (height, width))


DEFAULT_VIEWS = Views()


@dataclass(frozen=True)
class Window:
    """Part of a view's embedding, cells of 16 px: corner and size."""

    x0: int
    y0: int
    w: int
    h: int


def piece(image: np.ndarray, window: Window) -> np.ndarray:
    """The window of an image at the tower's scale, ``(16 h, 16 w)`` int32, 0 beyond the image's edges."""
    y, x = window.y0 * STRIDE, window.x0 * STRIDE
    part = image[y : y + window.h * STRIDE, x : x + window.w * STRIDE]
    out = np.zeros((window.h * STRIDE, window.w * STRIDE), np.int32)
    out[: part.shape[0], : part.shape[1]] = part
    return out
