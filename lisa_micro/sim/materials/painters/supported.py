"""Supported catalysts: small bright (or dark) particles on lumps of a strongly textured support."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.layouts import make_body
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.surfaces import lit
from lisa_micro.sim.materials.transmission import bright_field, dark_field, per_object
from lisa_micro.sim.raster import Maps, no_warp, rasterise, window_of
from lisa_micro.sim.shapes import field
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise


def support_mass(draw: Draw) -> tuple[np.ndarray, str]:
    """``(H, W)`` float32 thickness of the support, 0 in vacuum, about 1 where it is thick; its style."""
    rng, shape = draw.place, draw.shape
    side = min(shape)
    style = str(rng.choice(["lumps", "plates", "cloud", "whole"], p=[0.4, 0.2, 0.2, 0.2]))
    if style == "cloud":
        level = rough_noise(rng, shape, rng.uniform(0.15, 0.5) * side, 5)
        return np.maximum(0.45 + 0.5 * level, 0).astype(np.float32), style
    if style == "whole":
        return np.maximum(1 + 0.25 * rough_noise(rng, shape, rng.uniform(0.05, 0.4) * side, 5), 0.2), style
    mass = np.zeros(shape, np.float32)
    size = log_uniform(rng, 0.05, 0.25) * side
    count = int(np.clip(rng.uniform(0.6, 2.2) * shape[0] * shape[1] / (np.pi * size**2), 2, 140))
    middle = np.array([rng.uniform(0.2, 0.8) * shape[1], rng.uniform(0.2, 0.8) * shape[0]])
    family = "faceted" if style == "plates" else "ellipse"
    for _ in range(count):
        x, y = middle + rng.normal(0, 0.33 * side, 2)
        body = make_body(rng, x, y, max(4.0, size * float(np.exp(rng.normal(0, 0.3)))), family)
        window = window_of(body.x, body.y, body.reach + 2, shape)
        if window is None:
            continue
        x, y = np.meshgrid(*(np.arange(s.start, s.stop, dtype=np.float32) for s in window[::-1]))
        distance, thick = field(body, x, y)
        mass[window] += np.where(distance < 0, thick, 0) * np.float32(rng.uniform(0.3, 1.0) / size)
    return np.tanh(0.8 * mass) * (1 + 0.12 * rough_noise(rng, shape, max(4.0, 0.5 * size), 4)), style


def _specks(draw: Draw, mass: np.ndarray) -> tuple[Maps, float]:
    """Particles on the support and their typical radius in px."""
    rng, shape = draw.place, draw.shape
    radius = log_uniform(rng, 2.0, 9.0)
    spread = rng.uniform(0.05, 0.45)
    there = np.flatnonzero(mass > 0.15)
    count = int(np.clip(log_uniform(rng, 0.004, 0.12) * len(there) / (np.pi * radius**2), 3, 600))
    if not len(there):
        return rasterise([], [], shape, no_warp()), radius
    weight = np.cumsum(np.sqrt(mass.ravel()[there])) if chance(rng, 0.5) else np.arange(1, len(there) + 1)
    at = there[np.searchsorted(weight, rng.uniform(0, weight[-1], count * 3)).clip(0, len(there) - 1)]
    family = str(rng.choice(["disc", "ellipse", "faceted"], p=[0.5, 0.35, 0.15]))
    touching = rng.uniform(0, 0.1)
    bodies, places = [], np.zeros((0, 3))
    for index in at:
        if len(bodies) == count:
            break
        x, y = index % shape[1] + rng.uniform(-0.5, 0.5), index // shape[1] + rng.uniform(-0.5, 0.5)
        r = float(np.clip(radius * np.exp(rng.normal(0, spread)), 1.8, 14))
        gap = np.hypot(places[:, 0] - x, places[:, 1] - y) - places[:, 2] - r
        if (gap < 1.5).any() and rng.random() > touching:
            continue
        bodies.append(make_body(rng, x, y, r, family))
        places = np.r_[places, [[x, y, r]]]
    return rasterise(bodies, [], shape, no_warp()), radius


def paint_supported(draw: Draw) -> Painted:
    """Specks of 4 to 20 px on a textured support, which may end at vacuum."""
    mass, style = support_mass(draw)
    maps, radius = _specks(draw, mass)
    particle = maps.labels
    return Painted(
        image=_render(draw, mass.astype(np.float32), maps, radius),
        labels={"particle": particle, "substrate": (particle == 0).astype(np.int32)},
        absent=all_but("particle", "substrate", "agglomerate", "pore", "neck", "hole", "grain"),
        signal=particle,
        ground=(particle == 0) & (blur(maps.edge, 2 * radius) > 0.02),
        detail=2 * radius,
        size=2 * radius,
        faintest=faintest_for(np.pi * radius**2),
        params={"style": style, "particles": int(particle.max(initial=0)), "radius_px": radius},
    )


def _render(draw: Draw, mass: np.ndarray, maps: Maps, radius: float) -> np.ndarray:
    look, shape = draw.look, draw.shape
    fine = 1 + np.float32(look.uniform(0.02, 0.25)) * rough_noise(look, shape, look.uniform(3, 25), 4)
    support = np.maximum(mass * fine, 0)
    speck = blur((maps.projected / np.float32(radius)) ** np.float32(look.uniform(0.5, 1.0)), 0.4)
    speck = speck * per_object(look, maps.labels, look.uniform(0.05, 0.35))
    # how far the specks stand out from the texture decides how hard they are to see
    texture = max(float(support.std()), 0.1)
    speck = speck * np.float32(log_uniform(look, 0.9, 5.0) * texture)
    if draw.modality == "BF-TEM":
        return bright_field(draw, np.float32(look.uniform(0.2, 0.8)) * (support + speck), 0.0, 0.5)
    if draw.modality == "HAADF-STEM":
        return dark_field(draw, support + speck, 0.0)
    surface = 0.5 + 0.13 * lit(look, support * np.float32(look.uniform(15, 60))) + 0.3 * support
    surface = surface + 0.1 * smooth_noise(look, shape, 60)
    return (surface + np.float32(look.uniform(0.4, 1.2)) * np.minimum(speck, 2)).astype(np.float32)
