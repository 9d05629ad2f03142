"""Powder for additive manufacturing: spheres lit in the SEM, with small spheres stuck on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.materials.cells import power_cells, spread_seeds, warped_grid
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.surfaces import lit
from lisa_micro.sim.raster import window_of
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

PATTERN_PX = 192
"""Side of the pattern of solidification cells, which is mirrored to fill the picture."""


@dataclass(frozen=True)
class Ball:
    """One sphere or bumpy grain: centre and radius in px; ``host``: index of the ball it is stuck on, -1 for none;
    ``ratio``: shorter over longer axis; ``bumps``: amplitude of its irregularity over the radius; ``depth``: 0 = in
    front, 1 = deep."""

    x: float
    y: float
    r: float
    host: int = -1
    ratio: float = 1.0
    bumps: float = 0.0
    angle: float = 0.0
    depth: float = 0.0


def _pour(draw: Draw) -> tuple[list[Ball], float]:
    """Balls from the deepest to the uppermost, each followed by its satellites; the typical radius in px."""
    rng, (height, width) = draw.place, draw.shape
    side = min(draw.shape)
    radius, spread = log_uniform(rng, 0.022, 0.1) * side, rng.uniform(0.15, 0.75)
    coverage, overlap = rng.uniform(0.2, 0.95), rng.uniform(0.0, 0.35)
    wanted = coverage * height * width
    # a deep layer first, dim and smaller, then the front one
    deep_share, layers = rng.uniform(0, 0.5) if chance(rng, 0.6) else 0.0, []
    for share, size, most in ((deep_share, 0.7 * radius, 300), (1.0, radius, 500)):
        layers.append(_scatter(rng, draw.shape, size, spread, share * wanted, overlap, most))
    back, front = layers
    depth = np.r_[rng.uniform(0.5, 1, len(back)), np.sort(rng.uniform(0, 0.4, len(front)))[::-1]]
    hosts = [*back, *front]
    stuck, rocky = rng.uniform(0, 0.7) if chance(rng, 0.85) else 0.0, rng.uniform(0, 0.3)
    balls: list[Ball] = []
    for (x, y, r), deep in zip(hosts, depth, strict=True):
        bumps = rng.uniform(0.03, 0.12) if rng.random() < rocky else rng.uniform(0, 0.015)
        bumps *= min(1.0, radius / r)
        ratio = rng.uniform(0.6, 0.95) if rng.random() < 0.2 else 1.0
        host = len(balls)
        balls.append(Ball(x, y, r, -1, ratio, bumps, rng.uniform(0, np.pi), float(deep)))
        if r < 9 or rng.random() > stuck:
            continue
        for _ in range(1 + int(rng.poisson(0.8))):
            small = float(np.clip(r * log_uniform(rng, 0.1, 0.42), 3.0, 0.5 * r))
            way = rng.uniform(0, 2 * np.pi)
            away = (r if chance(rng, 0.6) else r * np.sqrt(rng.uniform(0, 0.9))) * (0.9 if ratio == 1 else 0.75)
            at = (x + away * np.cos(way), y + away * np.sin(way))
            others = balls[host + 1 :]
            if all(np.hypot(b.x - at[0], b.y - at[1]) > b.r + small for b in others):
                balls.append(Ball(float(at[0]), float(at[1]), small, host, 1.0, 0.0, 0.0, float(deep)))
    return balls, radius


def _scatter(
    rng: np.random.Generator,
    shape: tuple[int, int],
    radius: float,
    spread: float,
    wanted: float,
    overlap: float,
    most: int,
) -> list[tuple[float, float, float]]:
    """Discs x, y, r px at random places, large ones first, until they cover ``wanted`` px^2."""
    height, width = shape
    radii = np.clip(radius * np.exp(rng.normal(0, spread, most)), 4, 0.3 * min(shape))
    radii = np.sort(radii[np.cumsum(np.pi * radii**2) < wanted * 1.05])[::-1]
    places = np.zeros((0, 3))
    for r in radii:
        for _ in range(12):
            x, y = rng.uniform(-0.3 * r, width + 0.3 * r), rng.uniform(-0.3 * r, height + 0.3 * r)
            gap = np.hypot(places[:, 0] - x, places[:, 1] - y) - places[:, 2] - r
            if not (gap < -overlap * np.minimum(places[:, 2], r)).any():
                places = np.r_[places, [[x, y, r]]]
                break
    order = rng.permutation(len(places))
    return [(float(x), float(y), float(r)) for x, y, r in places[order]]


def _profile(ball: Ball, x: np.ndarray, y: np.ndarray, bumps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the outline and height above the equator, px."""
    dx, dy = x - np.float32(ball.x), y - np.float32(ball.y)
    cos, sin = np.float32(np.cos(ball.angle)), np.float32(np.sin(ball.angle))
    u, v = cos * dx + sin * dy, (cos * dy - sin * dx) / np.float32(ball.ratio)
    r = np.float32(ball.r) * (1 + np.float32(ball.bumps) * bumps)
    rho = np.sqrt(u * u + v * v)
    distance = (rho - r) * np.float32(np.sqrt(ball.ratio))
    return distance, np.sqrt(np.maximum(r * r - rho * rho, 0)) * np.float32(ball.ratio)


def paint_powder(draw: Draw) -> Painted:
    """Spheres with satellites; a particle includes the satellites that are stuck on it."""
    balls, radius = _pour(draw)
    look, shape = draw.look, draw.shape
    bumps = np.clip(rough_noise(draw.place, shape, max(4.0, 0.5 * radius), 3), -1.5, 1.5)
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    particle, satellite = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    back = look.uniform(0.01, 0.1) if chance(look, 0.7) else look.uniform(0.1, 0.25)
    image = (back * (1 + look.uniform(0, 0.25) * rough_noise(look, shape, look.uniform(5, 60), 4))).astype(np.float32)
    cells = _surface_pattern(draw, radius)
    shine, light, turn = look.uniform(0.3, 2.0), look.uniform(-0.6, 0.6), look.uniform(0, 2 * np.pi)
    base, dim, spread = look.uniform(0.25, 0.55), look.uniform(0.2, 0.7), look.uniform(0, 0.12)
    shadow, bend = look.uniform(0, 0.7), look.uniform(1.2, 3.5)
    for k, ball in enumerate(balls):
        window = window_of(ball.x, ball.y, 1.35 * ball.r + 4, shape)
        if window is None:
            continue
        distance, height = _profile(ball, x[window], y[window], bumps[window])
        inside = distance < 0
        owner = (ball.host if ball.host >= 0 else k) + 1
        particle[window][inside] = owner
        satellite[window][inside] = k + 1 if ball.host >= 0 else 0
        up = np.minimum(height / np.float32(ball.r * ball.ratio), 1)
        side = ((x[window] - ball.x) * np.cos(turn) + (y[window] - ball.y) * np.sin(turn)) / np.float32(ball.r)
        tone = base * (1 - dim * ball.depth) * float(np.exp(look.normal(0, spread)))
        if ball.host >= 0:  # small ones stand up into the beam
            tone *= look.uniform(1.0, 1.5)
        value = tone * (1 + shine * (1 - up) ** bend + light * side)
        value = value * _patch(cells, value.shape, look) ** np.clip(0.3 + up, 0, 1)
        dark = 1 - np.float32(shadow) * np.exp(-np.maximum(distance, 0) / np.float32(0.12 * ball.r + 1))
        share = np.clip(0.5 - distance, 0, 1)
        image[window] = image[window] * dark * (1 - share) + share * value
    if draw.modality == "BF-TEM":
        image = np.float32(1.0) - image
    return Painted(
        image=blur(image, 0.5),
        labels={
            "particle": particle,
            "satellite": satellite,
            "substrate": (particle == 0).astype(np.int32),
        },
        absent=all_but("particle", "satellite", "substrate", "agglomerate", "pore", "neck", "grain"),
        signal=particle,
        ground=particle == 0,
        detail=5.0,
        size=2 * radius,
        faintest=faintest_for(0.1 * radius**2, 1.5),
        params={"balls": len(balls), "radius_px": radius},
    )


def _patch(pattern: np.ndarray, shape: tuple[int, int], look: np.random.Generator) -> np.ndarray:
    """A random part of a pattern; each ball has its own."""
    top = int(look.integers(0, max(1, pattern.shape[0] - shape[0] + 1)))
    left = int(look.integers(0, max(1, pattern.shape[1] - shape[1] + 1)))
    return pattern[top : top + shape[0], left : left + shape[1]]


def _surface_pattern(draw: Draw, radius: float) -> np.ndarray:
    """``(H, W)`` float32 around 1: solidification cells, roughness, or a smooth skin."""
    look, shape = draw.look, draw.shape
    out = np.ones(shape, np.float32)
    if chance(look, 0.6):
        pitch = max(5.0, radius * look.uniform(0.12, 0.3))
        part = (min(shape[0], PATTERN_PX), min(shape[1], PATTERN_PX))
        x, y = warped_grid(look, part, [(pitch, 0.15 * pitch)])
        seeds = spread_seeds(look, part, pitch, 0.2)
        cells = power_cells(x, y, seeds, np.zeros(len(seeds)))
        groove = np.exp(-cells.border / np.float32(look.uniform(0.6, 1.5)))
        tone = look.normal(0, 0.06, len(seeds) + 1).astype(np.float32)[cells.owner]
        pattern = 1 + tone + np.float32(look.choice([-1, 1]) * look.uniform(0.05, 0.35)) * groove
        pad = [(0, n - p) for n, p in zip(shape, part, strict=True)]
        out = out * np.pad(pattern, pad, mode="symmetric")
    if chance(look, 0.5):
        out = out * (1 + np.float32(look.uniform(0.02, 0.12)) * rough_noise(look, shape, max(3.0, 0.3 * radius), 4))
    if chance(look, 0.6):  # fine dendrites, lit from one side
        relief = rough_noise(look, shape, look.uniform(2.5, 0.12 * radius + 3), 2)
        out = out * (1 + np.float32(look.uniform(0.03, 0.14)) * lit(look, 0.7 * relief))
    return np.maximum(out + np.float32(0.02) * smooth_noise(look, shape, 3), 0.2)
