"""How a view of an image lies, and windows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.adapt_data import Item
from lisa_micro.models.lisa.mask_head import STRIDE


@dataclass(frozen=True)
class Orientation:
    """How a view lies: quarter turns, then mirrored left to right."""

    turns: int = 0
    mirrored: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)


def orientation(item: Item, view: int) -> Orientation:
    """The first view is as the image is; others are turned and mirrored, but for images whose conversation speaks of
    directions."""
    if view == 0 or item.fixed:
        return Orientation()
    rng = np.random.default_rng([view, *item.name.encode()])
    return Orientation(int(rng.integers(4)), bool(rng.random() < 0.5))


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
