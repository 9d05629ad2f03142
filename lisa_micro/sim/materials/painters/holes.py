"""Support films with holes: lacey, holey and patterned carbon, torn edges; with and without particles on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from lisa_micro.sim.layouts import scatter
from lisa_micro.sim.materials.cells import power_cells, spread_seeds, warped_grid
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, draw_maps, log_uniform
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.raster import Maps, no_warp, random_warp, rasterise
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

STYLES = ("lacey", "holey", "patterned", "torn")
STYLE_SHARES = (0.45, 0.25, 0.2, 0.1)


def film_distance(draw: Draw) -> tuple[np.ndarray, str, float]:
    """``(H, W)`` float32 px, distance into the nearest hole (negative on the film, good near the edge); the style;
    the typical diameter of a hole in px."""
    rng, shape = draw.place, draw.shape
    style = str(rng.choice(STYLES, p=STYLE_SHARES))
    side = min(shape)
    if style == "lacey":
        pitch = log_uniform(rng, 0.08, 0.5) * side
        x, y = warped_grid(rng, shape, [(pitch * 0.7, pitch * rng.uniform(0.02, 0.1))])
        seeds = spread_seeds(rng, shape, pitch, rng.uniform(0, 0.4))
        weights = (pitch * rng.uniform(0, 0.7, len(seeds))) ** 2
        cells = power_cells(x, y, seeds, weights, rounding=pitch * rng.uniform(0.03, 0.09))
        strut = pitch * rng.uniform(0.04, 0.16)
        # cells that stay closed give broad pieces of film
        closed = np.r_[0, rng.random(len(seeds)) < rng.uniform(0, 0.35)][cells.owner] > 0
        uneven = 1 + np.float32(rng.uniform(0.1, 0.5)) * smooth_noise(rng, shape, pitch * 0.6)
        return np.where(closed, -np.abs(cells.border) - 1, cells.rounded - np.float32(strut) * uneven), style, pitch
    if style == "torn":
        angle = rng.uniform(0, 2 * np.pi)
        x, y = warped_grid(rng, shape, [(0.25 * side, 0.03 * side), (0.06 * side, 0.006 * side)])
        mid = np.float32(rng.uniform(-0.25, 0.25) * side)
        across = (x - shape[1] / 2) * np.float32(np.cos(angle)) + (y - shape[0] / 2) * np.float32(np.sin(angle))
        return across - mid, style, 0.5 * side
    diameter = log_uniform(rng, 0.05, 0.6) * side
    if style == "patterned":
        pitch = diameter * rng.uniform(1.3, 2.4)
        x, y = warped_grid(rng, shape, [(pitch, rng.uniform(0, 0.012) * pitch)])
        turn = rng.uniform(0, np.pi / 2)
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        u, v = u / pitch + rng.uniform(0, 1), v / pitch + rng.uniform(0, 1)
        if chance(rng, 0.3):
            u = u + 0.5 * (np.rint(v) % 2)
        away = np.hypot(u - np.rint(u), v - np.rint(v)) * pitch
        return (0.5 * diameter - away).astype(np.float32), style, diameter
    x, y = warped_grid(rng, shape, [(0.6 * diameter, rng.uniform(0, 0.06) * diameter)])
    out = np.full(shape, np.float32(-1e3))
    count = int(np.clip(rng.uniform(0.08, 0.5) * shape[0] * shape[1] / diameter**2, 1, 150))
    spread = rng.uniform(0.05, 0.6)
    for _ in range(count):
        a = 0.5 * diameter * float(np.exp(rng.normal(0, spread)))
        b, angle = a * rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        dx, dy = x - np.float32(rng.uniform(0, shape[1])), y - np.float32(rng.uniform(0, shape[0]))
        u = dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))
        v = dy * np.float32(np.cos(angle)) - dx * np.float32(np.sin(angle))
        np.maximum(out, (1 - np.hypot(u / np.float32(a), v / np.float32(b))) * np.float32(b), out=out)
    return out, style, diameter


def _film(draw: Draw, distance: np.ndarray, size: float) -> np.ndarray:
    """``(H, W)`` float32 thickness of the film, 1 in its middle, 0 in holes."""
    look = draw.look
    film = np.clip(0.5 - distance, 0, 1)
    rim = np.exp(np.minimum(distance, 0) / np.float32(max(2.0, size * look.uniform(0.02, 0.08))))
    thick = 1 + np.float32(look.uniform(0, 1.2)) * rim  # thicker along its edges
    thick = thick + np.float32(look.uniform(0, 0.25)) * rough_noise(look, draw.shape, max(6.0, 0.3 * size), 4)
    return film * np.maximum(thick, 0.15)


def paint_holes(draw: Draw) -> Painted:
    """A support film with holes, and particles on it in half of the scenes."""
    place, look, shape = draw.place, draw.look, draw.shape
    distance, style, size = film_distance(draw)
    vacuum = distance > 0
    maps, radius, bodies = None, 4.0, []
    if chance(place, 0.5):
        radius = log_uniform(place, 3, min(0.05 * min(shape), 0.4 * size))
        count = int(np.clip(log_uniform(place, 0.01, 0.15) * shape[0] * shape[1] / (np.pi * radius**2), 2, 350))
        radii = np.maximum(radius * np.exp(place.normal(0, place.uniform(0.05, 0.4), count)), 2.5)
        family = str(place.choice(["disc", "ellipse", "faceted"], p=[0.5, 0.25, 0.25]))
        found = scatter(place, shape, radii, lambda: family)
        bodies = [b for b in found if not _over_vacuum(vacuum, b.x, b.y)]
        warp = random_warp(place, radius) if chance(place, 0.5) else no_warp()
        maps = rasterise(bodies, [], shape, warp)
    image = _render(draw, distance, _film(draw, distance, size), size, maps, radius)
    particle = np.zeros(shape, np.int32) if maps is None else maps.labels
    hole, _ = ndimage.label(vacuum & (particle == 0))
    hole = hole.astype(np.int32)
    film = (hole == 0) & (particle == 0)
    open_ = ("substrate", "neck", "agglomerate")
    return Painted(
        image=image,
        labels={"hole": hole, "particle": particle},
        absent=all_but("hole", "particle", *open_),
        signal=hole if hole.any() and film.any() else particle,
        ground=film,
        detail=max(4.0, min(2 * radius if bodies else size, 0.2 * size)),
        size=size,
        faintest=0.3 if not bodies else max(0.3, 4 / radius),
        params={"style": style, "particles": len(bodies), "size_px": size, "look": float(look.random())},
    )


def _over_vacuum(vacuum: np.ndarray, x: float, y: float) -> bool:
    """Whether a particle would have nothing to lie on."""
    row, column = int(np.clip(y, 0, vacuum.shape[0] - 1)), int(np.clip(x, 0, vacuum.shape[1] - 1))
    return bool(vacuum[row, column])


def _render(
    draw: Draw, distance: np.ndarray, film: np.ndarray, size: float, maps: Maps | None, radius: float
) -> np.ndarray:
    look, shape = draw.look, draw.shape
    mass = np.zeros(shape, np.float32) if maps is None else maps.projected / np.float32(max(radius, 3.0))
    if draw.transmitted:
        return transmit(draw, np.float32(look.uniform(0.5, 2.0)) * mass, np.float32(look.uniform(0.6, 1.8)) * film)
    # SEM: the film is grey with bright edges, what is below it dark and out of focus
    edge = np.exp(-np.abs(distance) / np.float32(look.uniform(1.0, 0.03 * size + 2)))
    below = look.uniform(0.02, 0.15) * (1 + 0.3 * smooth_noise(look, shape, 40))
    surface = look.uniform(0.25, 0.5) + look.uniform(0.02, 0.12) * rough_noise(look, shape, look.uniform(5, 40), 4)
    surface = surface + np.float32(look.uniform(0.05, 0.5)) * edge
    whole = np.clip(0.5 - distance, 0, 1)
    image = (below + whole * (surface - below)).astype(np.float32)
    if maps is None:
        return blur(image, 0.6)
    lit = draw_maps(replace(maps), radius, draw)
    share = blur(maps.edge, 0.5)
    return image + share * (lit * np.float32(look.uniform(1.0, 1.6)) - image)
