"""Dense ceramics and metals: pores seen directly, cracks, inclusions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.sim.materials.cells import warped_grid
from lisa_micro.sim.materials.cracks import FAR, crack_field, crack_tree, open_cracks
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.surfaces import ground
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

PORE_STYLES = ("round", "lens", "irregular", "sponge")
PORE_SHARES = (0.38, 0.2, 0.27, 0.15)
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


def _cracks(draw: Draw) -> tuple[np.ndarray, np.ndarray, float]:
    """Distance and labels of the cracks, and the half width of the main one in px."""
    rng, (height, width) = draw.place, draw.shape
    wide = log_uniform(rng, 6, 0.05 * min(draw.shape) + 6) if chance(rng, 0.15) else log_uniform(rng, 0.8, 4)
    trees = []
    for _ in range(1 if wide > 6 else int(rng.integers(1, 5))):
        heading = rng.uniform(0, 2 * np.pi)
        # it enters at an edge, or begins within
        away = rng.uniform(0.1, 1.1) * 0.6 * max(draw.shape)
        start = (width / 2 - away * np.cos(heading), height / 2 - away * np.sin(heading))
        start = (start[0] + rng.normal(0, 0.2 * width), start[1] + rng.normal(0, 0.2 * height))
        length = rng.uniform(0.3, 1.6) * max(draw.shape)
        trees.append(crack_tree(rng, start, heading, length, wide * rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.25)))
    distance, labels = crack_field(rng, trees, draw.shape, rng.uniform(0.1, 0.6))
    return distance, labels, wide


def paint_dense_matrix(draw: Draw) -> Painted:
    """A dense matrix with pores, cracks, or both, and sometimes inclusions."""
    place, shape = draw.place, draw.shape
    content = str(place.choice(["pores", "cracks", "both", "none"], p=[0.5, 0.2, 0.25, 0.05]))
    radius = log_uniform(place, 2.5, 0.07 * min(shape))
    style = str(place.choice(PORE_STYLES, p=PORE_SHARES))
    distance = np.full(shape, -FAR)
    if content in ("pores", "both"):
        porosity = log_uniform(place, 0.01, 0.3)
        distance = pore_field(place, shape, radius, porosity, style, place.uniform(0, np.pi))
    pore, distance = as_pores(distance)
    opening, crack, half_width = np.full(shape, FAR), np.zeros(shape, np.int32), 2.0
    if content in ("cracks", "both"):
        opening, crack, half_width = _cracks(draw)
    inclusion = np.full(shape, -FAR)
    if chance(place, 0.2):
        inclusion = pore_field(place, shape, radius * place.uniform(0.5, 1.5), log_uniform(place, 0.005, 0.05), "round")
        inclusion = np.minimum(inclusion, -np.maximum(distance, -opening) - 2)
    second, inclusion = as_pores(inclusion)
    pore = np.where(crack > 0, 0, pore)
    image = _render(draw, distance, opening, inclusion, radius)
    shown = pore if pore.any() else crack
    return Painted(
        image=image,
        labels={"pore": pore, "crack": crack, "precipitate": second},
        absent=all_but("pore", "crack", "precipitate", "substrate"),
        signal=shown,
        ground=(pore == 0) & (crack == 0) & (second == 0),
        detail=2 * min(radius, 2.5 * half_width)
        if content == "both"
        else (2 * radius if pore.any() else 5 * half_width),
        size=2 * radius,
        faintest=max(0.8 if crack.any() else 0.3, faintest_for(3 * radius**2)),
        params={"content": content, "style": style, "radius_px": radius},
    )


def _render(draw: Draw, distance: np.ndarray, opening: np.ndarray, inclusion: np.ndarray, radius: float) -> np.ndarray:
    look, shape = draw.look, draw.shape
    other = np.clip(0.5 + inclusion, 0, 1)
    if draw.transmitted:
        share = np.clip(0.5 + distance, 0, 1)
        bowl = np.sqrt(np.clip(distance / np.float32(max(radius, 2)), 0, 1))
        missing = np.float32(look.uniform(0.25, 0.95)) * np.where(distance > 0, 0.4 + 0.6 * bowl, share * 0.4)
        mass = np.float32(look.uniform(0.3, 1.2)) * ground(draw, 1.5) * (1 - missing)
        mass = mass * (1 + other * np.float32(look.uniform(0.3, 1.0)))
        image = transmit(draw, mass.astype(np.float32), 0.0, 0.3)
    else:
        image = np.float32(look.uniform(0.35, 0.7)) * ground(draw)
        tone = look.uniform(1.3, 2.0) if chance(look, 0.6) else look.uniform(0.4, 0.75)
        image = image * (1 + other * np.float32(tone - 1))
        image = sink_pores(image, distance, radius, look)
    if (opening < FAR).any():
        image = open_cracks(image, opening, look, draw.modality == "BF-TEM")
    return image + np.float32(0.02) * smooth_noise(look, shape, 100)
