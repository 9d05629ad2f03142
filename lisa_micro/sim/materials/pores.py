"""Pores seen directly: their distance field, their labels, their look."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.sim.materials.cells import warped_grid
from lisa_micro.sim.materials.cracks import FAR
from lisa_micro.sim.materials.painted import chance
from lisa_micro.sim.texture import blur, rough_noise

PORE_STYLES = ("round", "lens", "irregular", "sponge")
LEAST_AREA_PX = 9


def pore_field(
    rng: np.random.Generator, shape: tuple[int, int], radius: float, porosity: float, style: str, angle: float = 0.0
) -> np.ndarray:
    """``(H, W)`` float32 px, signed distance into the nearest pore, positive inside.

    Args:
        rng: source of the geometry.
        shape: ``(H, W)`` px.
        radius: typical radius in px.
        porosity: share of the area.
        style: one of :data:`PORE_STYLES`.
        angle: direction of lenses, radians.
    """
    if style == "sponge":
        level = rough_noise(rng, shape, 3.2 * radius, 3)
        level = level - np.float32(np.quantile(level[::3, ::3], 1 - porosity))
        gy, gx = np.gradient(level)
        return level / np.maximum(blur(np.hypot(gx, gy), 2.0), 1e-3)
    rough = {"round": rng.uniform(0, 0.04), "lens": rng.uniform(0.02, 0.12), "irregular": rng.uniform(0.15, 0.4)}[style]
    x, y = warped_grid(rng, shape, [(1.1 * radius, rough * radius), (0.4 * radius, 0.3 * rough * radius)])
    out = np.full(shape, -FAR)
    spread = rng.uniform(0.15, 0.9)
    count = int(np.clip(porosity * shape[0] * shape[1] / (np.pi * radius**2 * np.exp(2 * spread**2)), 1, 900))
    gather = rough_noise(rng, shape, 80, 2) if rng.random() < 0.35 else None
    for _ in range(count):
        a = float(np.clip(radius * np.exp(rng.normal(0, spread)), 1.6, 0.3 * min(shape)))
        ratio = rng.uniform(0.75, 1) if style != "lens" else rng.uniform(0.25, 0.6)
        turn = rng.uniform(0, np.pi) if style != "lens" else rng.normal(angle, 0.2)
        px, py = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        if gather is not None and gather[int(py), int(px)] < rng.uniform(-0.5, 1.5):
            continue
        reach = a * (1.6 + 2 * rough) + 8
        top, left = max(0, int(py - reach)), max(0, int(px - reach))
        window = (slice(top, int(py + reach) + 1), slice(left, int(px + reach) + 1))
        dx, dy = x[window] - np.float32(px), y[window] - np.float32(py)
        u = (dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))) / np.float32(a)
        v = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(a * ratio)
        k = np.sqrt(u * u + v * v)
        slope = np.sqrt(u * u / np.float32(a * a) + v * v / np.float32((a * ratio) ** 2))
        np.maximum(out[window], k * (1 - k) / np.maximum(slope, 1e-6), out=out[window])
    return out


def as_pores(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Instance labels of connected pores, and the field without the ones that are too small to be seen."""
    labels, count = ndimage.label(distance > 0)
    area = np.bincount(labels.ravel())
    small = area < LEAST_AREA_PX
    small[0] = False
    if small.any():
        gone = ndimage.binary_dilation(small[labels], iterations=2) & ((labels == 0) | small[labels])
        distance = np.where(gone, np.float32(-2), distance)
        keep = ~small
        keep[0] = False
        labels = (np.cumsum(keep) * keep)[labels]
    return labels.astype(np.int32), distance


def sink_pores(image: np.ndarray, distance: np.ndarray, radius: float, look: np.random.Generator) -> np.ndarray:
    """Draw pores into an image made by secondary or backscattered electrons.

    Args:
        image: ``(H, W)`` float32.
        distance: px, positive inside.
        radius: typical radius in px.
        look: source of the contrast.
    """
    level = blur(image, 2.0)
    bottom, slope = look.uniform(0.02, 0.55), look.uniform(0.0, 0.35)
    fade = np.exp(-np.maximum(distance, 0) / np.float32(max(1.0, slope * radius)))
    inside = level * (bottom + (0.8 - bottom) * fade * look.uniform(0.1, 1.0))
    if chance(look, 0.5):  # what lies in a pore is seen dimly
        inside = inside * (
            1 + np.float32(look.uniform(0.05, 0.4)) * rough_noise(look, image.shape, 0.6 * radius + 2, 3)
        )
    share = np.clip(0.5 + distance, 0, 1)
    rim = np.float32(look.uniform(0.1, 0.8) if chance(look, 0.4) else 0.0)
    edge = rim * np.exp(-np.abs(distance) / np.float32(look.uniform(0.8, 2.5)))
    if chance(look, 0.5):  # lit from one side
        gy, gx = np.gradient(np.clip(distance, -3, 3))
        turn = look.uniform(0, 2 * np.pi)
        edge = edge * np.clip(1 + 1.2 * (np.cos(turn) * gx + np.sin(turn) * gy), 0, 2)
    return (image * (1 + edge * (1 - 0.5 * share)) * (1 - share) + share * inside).astype(np.float32)
