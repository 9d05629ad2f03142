"""Augmented views of images, and windows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lisa_micro.geometry import resample_nearest
from lisa_micro.models.lisa.mask_head import STRIDE
from lisa_micro_finetune.adapt.data import Item


@dataclass(frozen=True)
class ViewTransform:
    """The geometry of an augmented view: quarter turns, then a mirror image, then a change of size.

    Attributes:
        turns: number of quarter turns.
        mirrored: whether left and right are exchanged after that.
        shape: ``(h, w)`` px of the view at the SAM tower; ``None``: the size of the image there.
    """

    turns: int = 0
    mirrored: bool = False
    shape: tuple[int, int] | None = None

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Transform labels ``(H, W)`` that have the size of the image at the SAM tower."""
        labels = self._turned(labels)
        return labels if self.shape is None else resample_nearest(labels, self.shape)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """Transform a micrograph ``(H, W)``, float32 in 0..1, of any size."""
        image = self._turned(image)
        if self.shape is None:
            return image
        scaled = F.interpolate(
            torch.from_numpy(image)[None, None], self.shape, mode="bicubic", align_corners=False, antialias=True
        )
        return scaled[0, 0].clamp(0, 1).numpy()

    def _turned(self, image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)


@dataclass(frozen=True)
class Augmentation:
    """Geometry of all augmented views.

    Attributes:
        zoom: largest factor by which a view is larger or smaller than the image.
        sides: smallest and largest length of the longer side in px at the SAM tower, for views as for images.
    """

    zoom: float = 1.0
    sides: tuple[int, int] = (256, 640)

    def __call__(self, item: Item, view: int) -> ViewTransform:
        """The transform of a view; it depends on the name of the image and the number of the view alone.

        View 0 is the image itself, as are all views of an image whose conversation mentions directions.
        """
        if view == 0 or item.fixed:
            return ViewTransform()
        rng = np.random.default_rng([view, *item.name.encode()])
        turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
        if self.zoom == 1 or not item.labels:
            return ViewTransform(turns, mirrored)
        shape = next(iter(item.labels.values())).shape
        least, most = (side / max(shape) for side in self.sides)
        low, high = min(1.0, max(1 / self.zoom, least)), max(1.0, min(self.zoom, most))
        scale = np.exp(rng.uniform(np.log(low), np.log(high)))
        height, width = (max(1, round(side * scale)) for side in shape)
        return ViewTransform(turns, mirrored, (width, height) if turns % 2 else (height, width))


DEFAULT_AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class Window:
    """A window of a view, in cells of 16 px: corner and size."""

    x0: int
    y0: int
    w: int
    h: int


def crop_window(image: np.ndarray, window: Window) -> np.ndarray:
    """Crop a window of an image that has its size at the SAM tower: ``(16 h, 16 w)`` int32, 0 outside the image."""
    y, x = window.y0 * STRIDE, window.x0 * STRIDE
    part = image[y : y + window.h * STRIDE, x : x + window.w * STRIDE]
    out = np.zeros((window.h * STRIDE, window.w * STRIDE), np.int32)
    out[: part.shape[0], : part.shape[1]] = part
    return out
