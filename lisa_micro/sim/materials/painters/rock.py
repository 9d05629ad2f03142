"""Rocks and sand: grains in cement or lying apart, of different minerals, as in thin sections and mounts."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.layouts import scatter
from lisa_micro.sim.materials.cells import merge_cells, power_cells, random_groups, spread_seeds, warped_grid
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.pores import as_pores
from lisa_micro.sim.materials.surfaces import ground
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.raster import no_warp, rasterise
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

STYLES = ("cemented", "crystals in a fine matrix", "ooids", "sand")
STYLE_SHARES = (0.35, 0.3, 0.12, 0.23)
OPEN = ("grain_boundary", "particle", "precipitate", "neck", "pore", "agglomerate", "substrate")
"""Concepts whose truth is open: nearly every word for a small body has been used for grains of rocks, and their matrix
has pores and crystals of its own."""


def _cemented(draw: Draw) -> tuple[np.ndarray, np.ndarray, float]:
    """Grains that nearly touch: labels, soft coverage, typical diameter in px."""
    rng, shape = draw.place, draw.shape
    size = log_uniform(rng, 18, 0.3 * min(shape))
    bend = rng.uniform(0.02, 0.12)
    x, y = warped_grid(rng, shape, [(0.7 * size, bend * size), (max(4.0, 0.2 * size), 0.25 * bend * size)])
    seeds = spread_seeds(rng, shape, size, rng.uniform(0, 0.3))
    weights = (size * rng.uniform(0, 0.8, len(seeds))) ** 2
    cells = power_cells(x, y, seeds, weights, rounding=size * rng.uniform(0.02, 0.09))
    if chance(rng, 0.3):
        cells = merge_cells(cells, random_groups(rng, seeds, rng.uniform(0.1, 0.5)))
    gap = size * log_uniform(rng, 0.02, 0.18) * (1 + np.float32(0.5) * smooth_noise(rng, shape, size))
    missing = np.r_[0, rng.random(len(seeds)) < rng.uniform(0, 0.4)][cells.owner] > 0
    distance = np.where(missing, np.float32(-2), cells.rounded - np.maximum(gap, 0.8))
    labels, distance = as_pores(distance.astype(np.float32))
    return labels, np.clip(0.5 + distance, 0, 1), size


def _apart(draw: Draw, style: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Grains placed one by one: laths and crystals of a wide range of sizes, ooids, or sand."""
    rng, shape = draw.place, draw.shape
    wide = style == "crystals in a fine matrix"
    radius = log_uniform(rng, 3, 0.05 * min(shape)) if wide else log_uniform(rng, 6, 0.14 * min(shape))
    spread = rng.uniform(0.4, 0.9) if wide else rng.uniform(0.1, 0.35)
    share = log_uniform(rng, 0.08, 0.4 if wide else 0.6)
    count = int(np.clip(share * shape[0] * shape[1] / (np.pi * radius**2 * np.exp(2 * spread**2)), 4, 450))
    radii = np.clip(radius * np.exp(rng.normal(0, spread, count)), 3, 0.25 * min(shape))

    def family() -> str:
        if style == "ooids":
            return str(rng.choice(["disc", "ellipse"]))
        odds = [0.35, 0.4, 0.25] if wide else [0.5, 0.45, 0.05]
        return str(rng.choice(["ellipse", "faceted", "bar"], p=odds))

    bodies = scatter(rng, shape, radii, family, overlap=chance(rng, 0.25))
    rough = rng.uniform(0.02, 0.16)
    x, y = warped_grid(rng, shape, [(1.3 * radius, rough * radius), (max(3.0, 0.4 * radius), 0.35 * rough * radius)])
    maps = rasterise(bodies, [], shape, no_warp(), (x, y))
    return maps.labels, maps.edge, 2 * radius


def paint_rock(draw: Draw) -> Painted:
    """Grains of a rock or of sand; what lies between them is cement, matrix or mount."""
    style = str(draw.place.choice(STYLES, p=STYLE_SHARES))
    labels, cover, size = _cemented(draw) if style == "cemented" else _apart(draw, style)
    image = _render(draw, labels, cover, size, style)
    return Painted(
        image=image,
        labels={"grain": labels},
        absent=all_but("grain", *OPEN),
        signal=labels,
        ground=labels == 0,
        detail=min(0.4 * size, 8.0),
        size=size,
        faintest=faintest_for(0.3 * size**2, 0.8),
        params={"style": style, "size_px": size},
    )


def _render(draw: Draw, labels: np.ndarray, cover: np.ndarray, size: float, style: str) -> np.ndarray:
    look, shape = draw.look, draw.shape
    n = int(labels.max(initial=0)) + 1
    dark_matrix = chance(look, 0.75)
    matrix = np.float32(look.uniform(0.03, 0.3) if dark_matrix else look.uniform(0.6, 0.9))
    if style == "sand":
        matrix = matrix * (1 + np.float32(0.05) * smooth_noise(look, shape, 40))
    else:  # fine grains of the matrix itself
        fine = rough_noise(look, shape, look.uniform(2, 7), 2)
        matrix = matrix * (1 + np.float32(look.uniform(0.1, 0.7)) * np.abs(fine)) * ground(draw, 0.5)
    spread = look.uniform(0.05, 0.3)
    centre = look.uniform(0.4, 0.75) if dark_matrix else look.uniform(0.2, 0.5)
    kinds = np.clip(look.normal(centre, spread, int(look.integers(2, 6))), 0.12, 0.95)  # minerals
    tone = np.clip(kinds[look.integers(0, len(kinds), n)] * np.exp(look.normal(0, 0.12, n)), 0.08, 1.0)
    value = tone.astype(np.float32)[labels] * (1 + _inside(look, labels, size, style))
    if chance(look, 0.4):  # rims, dark or bright
        inner = blur((labels > 0).astype(np.float32), max(1.0, 0.05 * size))
        value = value * (1 + np.float32(look.uniform(-0.5, 0.5)) * np.clip(1 - inner, 0, 1))
    image = (matrix + blur(cover, 0.4) * (np.maximum(value, 0.02) - matrix)).astype(np.float32)
    return transmit(draw, 1.5 * image, 0.0, 0.2) if draw.transmitted else image


def _inside(look: np.random.Generator, labels: np.ndarray, size: float, style: str) -> np.ndarray:
    """``(H, W)`` float32 relative change of brightness within grains: mottle, cleavage, zones, radial fibres."""
    shape, n = labels.shape, int(labels.max(initial=0)) + 1
    out = np.float32(look.uniform(0.03, 0.25)) * rough_noise(look, shape, max(3.0, 0.3 * size), 4)
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    if style != "ooids":
        if chance(look, 0.4):  # cleavage: parallel lines in some grains
            angle, pitch = look.uniform(0, np.pi, n).astype(np.float32), max(4.0, size * look.uniform(0.08, 0.25))
            along = (x * np.cos(angle)[labels] + y * np.sin(angle)[labels]) / np.float32(pitch)
            line = np.cos(2 * np.pi * along + 3 * smooth_noise(look, shape, 3 * pitch)) > 0.93
            out = out - np.float32(look.uniform(0.1, 0.5)) * line * (look.random(n) < 0.4)[labels]
        return out
    count = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)
    cx, cy = (np.bincount(labels.ravel(), weights=a.ravel(), minlength=n) / count for a in (x, y))
    dx, dy = x - cx.astype(np.float32)[labels], y - cy.astype(np.float32)[labels]
    radius = np.sqrt(count / np.pi).astype(np.float32)[labels]
    rho = np.hypot(dx, dy) / radius
    zones = np.cos(2 * np.pi * rho * np.float32(look.uniform(2, 6)) + smooth_noise(look, shape, 12))
    spokes = np.cos(np.arctan2(dy, dx) * np.float32(look.integers(20, 60)) + 2 * smooth_noise(look, shape, 8))
    return (
        out
        + np.float32(look.uniform(0.05, 0.4)) * zones
        + np.float32(look.uniform(0, 0.4)) * spokes * np.minimum(rho, 1)
    )
