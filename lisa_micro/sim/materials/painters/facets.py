"""Facetted crystals that overlap, like titania or zeolites: each has its own diffraction contrast."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.layouts import make_body
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, draw_maps, faintest_for, log_uniform
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.raster import Maps, Warp, no_warp, random_warp, window_of
from lisa_micro.sim.shapes import Body, field
from lisa_micro.sim.texture import smooth_noise


def _lay(draw: Draw) -> tuple[list[Body], float, str]:
    """Crystals from back to front, their typical radius in px, their habit."""
    rng, (height, width) = draw.place, draw.shape
    side = min(draw.shape)
    radius = log_uniform(rng, 7, 0.12 * side)
    habit = str(rng.choice(["faceted", "cube", "bar", "mixed", "ellipse"], p=[0.45, 0.2, 0.1, 0.15, 0.1]))
    coverage = log_uniform(rng, 0.15, 0.9)
    count = int(np.clip(coverage * height * width / (np.pi * radius**2), 3, 260))
    spread, clusters = rng.uniform(0.05, 0.35), int(rng.integers(1, 6))
    centres = rng.uniform(0.05, 0.95, (clusters, 2)) * (width, height)
    reach = rng.uniform(0.8, 2.2) * radius * np.sqrt(count / clusters)
    even = chance(rng, 0.3)
    least = rng.uniform(0.45, 0.95)  # how close two centres may come, in sums of radii
    bodies: list[Body] = []
    places = np.zeros((0, 3))
    for _ in range(count * 4):
        if len(bodies) == count:
            break
        if even:
            x, y = rng.uniform(-0.05, 1.05, 2) * (width, height)
        else:
            x, y = centres[int(rng.integers(clusters))] + rng.normal(0, 0.5 * reach, 2)
        r = radius * float(np.exp(rng.normal(0, spread)))
        if (np.hypot(places[:, 0] - x, places[:, 1] - y) < least * 0.8 * (places[:, 2] + r)).any():
            continue
        family = str(rng.choice(["faceted", "cube", "bar", "ellipse"])) if habit == "mixed" else habit
        bodies.append(make_body(rng, x, y, max(r, 5.0), family))
        places = np.r_[places, [[x, y, r]]]
    return bodies, radius, habit


def _crystals(draw: Draw, bodies: list[Body], warp: Warp, radius: float) -> tuple[Maps, np.ndarray]:
    """Maps, and ``(H, W)`` float32 absorption in which each crystal has its own strength, bend contours and fringes.

    Strength and contours come from ``look``; what a crystal absorbs adds up where they overlap.
    """
    look, shape = draw.look, draw.shape
    x, y = warp.grid(shape)
    labels, edge = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    height, mass = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    projected = np.zeros(shape, np.float32)
    spread, strong = look.uniform(0.1, 0.5), look.uniform(0, 0.25)
    power, contours = np.float32(look.uniform(0.35, 1.0)), look.uniform(0, 0.5)
    rim = np.float32(look.uniform(0, 0.5) if chance(look, 0.5) else 0)
    for k, body in enumerate(bodies):
        strength = np.float32(
            np.exp(look.normal(0, spread)) * (look.uniform(1.3, 2.5) if look.random() < strong else 1)
        )
        angle, phase, wave = look.uniform(0, 2 * np.pi), look.uniform(0, 2 * np.pi), radius * look.uniform(0.25, 1.5)
        bent = look.random() < contours
        window = window_of(body.x, body.y, body.reach + warp.reach + 2, shape)
        if window is None:
            continue
        wx, wy = x[window], y[window]
        distance, thick = field(body, wx, wy)
        inside = distance < 0
        labels[window][inside] = k + 1
        height[window][inside] = thick[inside]
        np.maximum(edge[window], np.clip(0.5 - distance, 0, 1), out=edge[window])
        projected[window] += thick * inside
        soft = np.clip(0.5 - distance, 0, 1)
        own = strength * (0.25 + (thick / np.float32(max(radius, 3))) ** power) * soft
        own = own * (1 + rim * np.exp(-np.abs(distance + 1) / 1.2))
        if bent:
            along = (wx * np.float32(np.cos(angle)) + wy * np.float32(np.sin(angle))) / np.float32(wave)
            curve = along + np.float32(0.5 / radius**2) * (wx - body.x) * (wy - body.y)
            own = own * (1 + np.float32(0.45) * np.cos(2 * np.pi * curve + phase))
        mass[window] += own
    return Maps(labels, edge, height, projected), mass


def paint_overlapping_facets(draw: Draw) -> Painted:
    """Crystals lying on one another; the front one owns the overlap."""
    bodies, radius, habit = _lay(draw)
    warp = random_warp(draw.place, radius) if chance(draw.place, 0.35) else no_warp()
    look = draw.look
    maps, mass = _crystals(draw, bodies, warp, radius)
    if draw.transmitted:
        mottle = 1 + np.float32(look.uniform(0, 0.15)) * smooth_noise(look, draw.shape, max(2.5, 0.3 * radius))
        image = transmit(draw, np.maximum(mass * mottle, 0) * np.float32(log_uniform(look, 0.2, 0.9)))
    else:
        image = draw_maps(maps, radius, draw)
    particle = maps.labels
    return Painted(
        image=image,
        labels={"particle": particle, "substrate": (particle == 0).astype(np.int32)},
        absent=all_but("particle", "substrate", "agglomerate", "pore", "neck", "grain"),
        signal=particle,
        ground=particle == 0,
        detail=1.2 * radius,
        size=2 * radius,
        faintest=faintest_for(np.pi * radius**2, 0.5),
        params={"habit": habit, "particles": len(bodies), "radius_px": radius},
    )
