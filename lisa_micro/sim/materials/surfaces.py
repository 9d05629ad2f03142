"""Grounds of dense materials: polished, scratched, streaky, rough and fractured surfaces."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.painted import Draw, chance, log_uniform
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

STYLES = ("flat", "cloudy", "grainy", "streaky", "scratched", "fractured")
STYLE_SHARES = (0.28, 0.2, 0.18, 0.1, 0.12, 0.12)


def ground(draw: Draw, strength: float = 1.0, style: str | None = None) -> np.ndarray:
    """``(H, W)`` float32 relative brightness of a matrix, around 1.

    Args:
        draw: its ``look`` gives the texture.
        strength: factor on the contrast of the texture.
        style: one of :data:`STYLES`; drawn where ``None``.
    """
    look, shape = draw.look, draw.shape
    style = style or str(look.choice(STYLES, p=STYLE_SHARES))
    image = 1 + np.float32(look.uniform(0, 0.05)) * smooth_noise(look, shape, look.uniform(60, 200))
    amount = np.float32(strength * look.uniform(0.03, 0.2))
    if style == "cloudy":
        image = image + amount * rough_noise(look, shape, look.uniform(10, 80), 4)
    elif style == "grainy":
        image = image + amount * rough_noise(look, shape, look.uniform(2, 8), 2)
    elif style == "streaky":
        image = image + amount * streaks(look, shape, look.uniform(0, np.pi), log_uniform(look, 1.5, 5), 8)
    elif style == "scratched":
        image = image + amount * scratches(look, shape)
    elif style == "fractured":
        image = image + amount * lit(look, 8 * rough_noise(look, shape, look.uniform(15, 90), 5))
    if chance(look, 0.3):
        image = image + np.float32(0.3) * amount * rough_noise(look, shape, look.uniform(2, 5), 2)
    return np.maximum(image, 0.05).astype(np.float32)


def streaks(look: np.random.Generator, shape: tuple[int, int], angle: float, scale: float, aspect: float) -> np.ndarray:
    """Noise of unit deviation stretched ``aspect`` times along ``angle`` and bent by smooth noise."""
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    x = x + 6 * smooth_noise(look, shape, 50)
    y = y + 6 * smooth_noise(look, shape, 50)
    along = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / np.float32(scale * aspect)
    across = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))) / np.float32(scale)
    size = int(np.hypot(*shape) / scale) + 40
    coarse = blur(look.standard_normal((size, int(size / aspect) + 20), dtype=np.float32), 0.7)
    rows = np.clip(across - across.min() + 1, 0, size - 2)
    columns = np.clip(along - along.min() + 1, 0, coarse.shape[1] - 2)
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = rows - r, columns - c
    top = coarse[r, c] * (1 - fc) + coarse[r, c + 1] * fc
    low = coarse[r + 1, c] * (1 - fc) + coarse[r + 1, c + 1] * fc
    field = top * (1 - fr) + low * fr
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def scratches(look: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Polishing marks: fine lines in one or two directions, and a few deep single ones."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    out = np.zeros(shape, np.float32)
    for _ in range(int(look.integers(1, 3))):
        angle = look.uniform(0, np.pi)
        across = np.cos(angle) * row + np.sin(angle) * column
        across = (across - across.min()).astype(int)
        line = look.standard_normal(int(across.max()) + 1).astype(np.float32)
        line = line * (look.random(len(line)) < look.uniform(0.02, 0.5))
        out += blur(line[None], 0.6)[0][across] * (0.5 + 0.5 * np.tanh(2 * smooth_noise(look, shape, 120)))
    return out / max(float(out.std()), 1e-6)


def lit(look: np.random.Generator, height: np.ndarray) -> np.ndarray:
    """Relief lit from one side plus the brightening of steep slopes, unit deviation, zero mean.

    Args:
        look: gives the direction of the light.
        height: ``(H, W)`` px.
    """
    gy, gx = np.gradient(height)
    angle = look.uniform(0, 2 * np.pi)
    cosine = 1 / np.sqrt(1 + gx * gx + gy * gy)
    side = (np.float32(np.cos(angle)) * gx + np.float32(np.sin(angle)) * gy) * cosine
    image = side + np.float32(look.uniform(0, 2)) * (1 - cosine)
    image -= image.mean()
    return (image / max(float(image.std()), 1e-6)).astype(np.float32)
