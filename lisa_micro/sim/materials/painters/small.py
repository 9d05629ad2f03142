"""Dense arrays of small particles: ordered rafts, disordered carpets, double layers, several hundred a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lisa_micro.sim.materials.discs import apart, paint_discs
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, draw_maps, faintest_for, log_uniform
from lisa_micro.sim.materials.transmission import per_object, transmit
from lisa_micro.sim.texture import rough_noise

ORDERS = ("hexagonal", "square", "disordered", "sparse")
ORDER_SHARES = (0.4, 0.1, 0.3, 0.2)
MOST_PARTICLES = 6000


def _places(draw: Draw, diameter: float) -> tuple[np.ndarray, str]:
    """``(n, 2)`` x, y px and their order."""
    rng, (height, width) = draw.place, draw.shape
    order = str(rng.choice(ORDERS, p=ORDER_SHARES))
    pitch = diameter * rng.uniform(1.12, 1.7)
    if order == "sparse":
        pitch = diameter * rng.uniform(1.8, 3.5)
    reach = int(np.hypot(height, width) / pitch / 2) + 3
    i, j = (a.ravel().astype(float) for a in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    if order == "hexagonal":
        points = np.stack([i + 0.5 * (j % 2), j * np.sqrt(0.75)], axis=1)
    else:
        points = np.stack([i, j], axis=1)
    jitter = {"hexagonal": rng.uniform(0, 0.07), "square": rng.uniform(0, 0.07)}.get(order, rng.uniform(0.15, 0.32))
    points = (points + rng.normal(0, jitter, points.shape)) * pitch
    turn = rng.uniform(0, np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = points + (width / 2, height / 2)
    if chance(rng, 0.5):  # lattices bend, and slip from domain to domain
        field = [rough_noise(rng, draw.shape, rng.uniform(60, 200), 2) for _ in range(2)]
        inside = np.clip(points, 0, (width - 1, height - 1)).astype(int)
        points = points + np.stack([f[inside[:, 1], inside[:, 0]] for f in field], axis=1) * pitch * rng.uniform(
            0.2, 0.6
        )
    keep = (points > -diameter).all(1) & (points[:, 0] < width + diameter) & (points[:, 1] < height + diameter)
    points = points[keep]
    if chance(rng, 0.55):  # rafts with edges, and voids
        level = rough_noise(rng, draw.shape, rng.uniform(50, 250), 3)
        inside = np.clip(points, 0, (width - 1, height - 1)).astype(int)
        points = points[level[inside[:, 1], inside[:, 0]] > rng.uniform(-1.2, 0.4)]
    points = points[rng.random(len(points)) > rng.choice([0.0, rng.uniform(0, 0.25)])]
    if len(points) > MOST_PARTICLES:  # a round raft
        away = np.hypot(*(points - (rng.uniform(0, width), rng.uniform(0, height))).T)
        points = points[np.argsort(away, kind="stable")[:MOST_PARTICLES]]
    return points, order


def paint_small_dense(draw: Draw) -> Painted:
    """Several hundred particles 5 to 14 px across."""
    rng, look = draw.place, draw.look
    diameter = log_uniform(rng, 5.0, 14.0)
    points, order = _places(draw, diameter)
    spread = rng.uniform(0.01, 0.12) if order in ("hexagonal", "square") else rng.uniform(0.03, 0.25)
    radii = np.maximum(0.5 * diameter * np.exp(rng.normal(0, spread, len(points))), 2.0)
    ratios = rng.uniform(rng.uniform(0.65, 0.98), 1, len(points))
    if not chance(rng, 0.12):  # else a second layer lies on the first
        keep = apart(points, radii, rng.choice([-0.3, 0.6, 1.2]))
        points, radii, ratios = points[keep], radii[keep], ratios[keep]
    maps = paint_discs(points, radii, ratios, rng.uniform(0, np.pi, len(points)), draw.shape)
    if draw.transmitted and chance(look, 0.6):
        mass = (maps.projected / np.float32(0.5 * diameter)) ** np.float32(look.uniform(0.6, 1.0))
        mass = mass * per_object(look, maps.labels, look.uniform(0.03, 0.3)) * np.float32(log_uniform(look, 0.25, 1.8))
        image = transmit(draw, mass)
    else:
        # the renderers expect particles of 3 px radius at least
        image = draw_maps(replace(maps, projected=maps.projected * max(1.0, 6.0 / diameter)), 0.5 * diameter, draw)
    particle = maps.labels
    return Painted(
        image=image,
        labels={"particle": particle, "substrate": (particle == 0).astype(np.int32)},
        absent=all_but("particle", "substrate", "agglomerate", "pore", "neck"),
        signal=particle,
        ground=particle == 0,
        detail=0.8 * diameter,
        size=diameter,
        faintest=faintest_for(np.pi * diameter**2 / 4, 0.5),
        params={"order": order, "particles": len(points), "diameter_px": diameter},
    )
