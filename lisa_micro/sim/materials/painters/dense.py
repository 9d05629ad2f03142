"""Dense ceramics and metals: pores seen directly, cracks, inclusions."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.cracks import FAR, crack_field, crack_tree, open_cracks
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.pores import PORE_STYLES, as_pores, pore_field, sink_pores
from lisa_micro.sim.materials.surfaces import ground
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.texture import smooth_noise

PORE_SHARES = (0.38, 0.2, 0.27, 0.15)


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
