"""Nanocomposites: fluffy agglomerates of small grains in a polymer matrix."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.sim.materials.discs import paint_discs
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.surfaces import ground, lit, streaks
from lisa_micro.sim.materials.transmission import per_object, transmit
from lisa_micro.sim.raster import Maps
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

MOST_GRAINS = 5000
LEAST_AREA_PX = 12


def _clusters(draw: Draw) -> tuple[Maps, np.ndarray, float]:
    """Maps of the grains, ``(n, 3)`` x, y, radius px of the clusters, and the typical radius of a grain."""
    rng, (height, width) = draw.place, draw.shape
    grain = log_uniform(rng, 2.2, 7.0)
    cluster, spread = log_uniform(rng, 0.02, 0.14) * min(draw.shape), rng.uniform(0.2, 0.8)
    coverage = log_uniform(rng, 0.03, 0.35)
    count = int(np.clip(coverage * height * width / (np.pi * cluster**2 * np.exp(spread**2)), 1, 120))
    if chance(rng, 0.05):
        count = 0
    points, clusters = [], []
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        reach = float(np.clip(cluster * np.exp(rng.normal(0, spread)), 1.5 * grain, 0.25 * min(draw.shape)))
        clusters.append((x, y, reach))
        # sub-clusters along a short walk give a fluffy outline
        knots = max(1, int(rng.poisson(3)))
        walk = np.cumsum(rng.normal(0, 0.35, (knots, 2)), axis=0) * reach
        walk = walk - walk.mean(0)
        n = int(np.clip(rng.uniform(1.5, 3.0) * (reach / grain) ** 2, 3, 2000))
        which = rng.integers(0, knots, n)
        own = rng.uniform(0.25, 0.6, knots)[which, None] * reach
        way, away = rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.uniform(0, 1, n)) * (1 + 0.12 * rng.normal(0, 1, n))
        points.append((x, y) + walk[which] + own * (away * (np.cos(way), np.sin(way))).T)
    at = np.concatenate(points)[:MOST_GRAINS] if points else np.zeros((0, 2))
    radii = np.maximum(grain * np.exp(rng.normal(0, rng.uniform(0.1, 0.35), len(at))), 1.6)
    ratios = rng.uniform(0.6, 1, len(at))
    maps = paint_discs(at, radii, ratios, rng.uniform(0, np.pi, len(at)), draw.shape)
    return maps, np.array(clusters).reshape(-1, 3), grain


def paint_agglomerates(draw: Draw) -> Painted:
    """Clusters in a matrix; what touches is one agglomerate."""
    maps, clusters, grain = _clusters(draw)
    labels, _ = ndimage.label(maps.labels > 0, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel())
    lone = area < LEAST_AREA_PX
    lone[0] = False
    if lone.any():  # a single grain is no agglomerate, so it is not drawn either
        gone = ndimage.binary_dilation(lone[labels], iterations=2) & (lone[labels] | (labels == 0))
        maps = Maps(
            *(np.where(gone, 0, a).astype(a.dtype) for a in (maps.labels, maps.edge, maps.height, maps.projected))
        )
        labels = np.where(gone, 0, labels)
    labels = labels.astype(np.int32)
    image = _transmitted(draw, maps, grain) if draw.transmitted else _surface(draw, maps, clusters, grain)
    return Painted(
        image=image,
        labels={"agglomerate": labels},
        absent=all_but("agglomerate", "particle", "neck", "pore", "substrate"),
        signal=labels,
        ground=labels == 0,
        detail=2 * grain,
        size=2 * grain,
        faintest=faintest_for(3 * grain**2, 0.5),
        params={"clusters": len(clusters), "grain_px": grain},
    )


def _surface(draw: Draw, maps: Maps, clusters: np.ndarray, grain: float) -> np.ndarray:
    look, shape = draw.look, draw.shape
    base = np.float32(look.uniform(0.15, 0.45))
    matrix = base * ground(draw, look.uniform(0.5, 1.5))
    if chance(look, 0.35):  # tear ridges of a fracture surface
        ridge = streaks(look, shape, look.uniform(0, np.pi), look.uniform(2, 5), look.uniform(3, 8))
        matrix = matrix * (1 + np.float32(look.uniform(0.1, 0.6)) * np.maximum(ridge - look.uniform(0.5, 1.8), 0))
    matrix = _pits(look, matrix, clusters) if chance(look, 0.5) else matrix
    # grains pile up: the middle of a cluster is higher than its edge
    heap = blur((maps.labels > 0).astype(np.float32), 2.5 * grain)
    height = maps.height * np.float32(0.8) + np.float32(3 * grain) * heap
    tone = base * np.float32(log_uniform(look, 1.5, 4.5))
    value = tone * per_object(look, maps.labels, look.uniform(0.02, 0.15))
    value = value * np.clip(1 + np.float32(look.uniform(0.08, 0.25)) * lit(look, blur(height, 0.7)), 0.5, 1.6)
    crevice = np.clip(blur(maps.height, 1.5 * grain) - maps.height, 0, None) / np.float32(grain)
    value = value * (1 - np.float32(look.uniform(0.1, 0.6)) * np.minimum(crevice, 1))
    near = blur(maps.edge, 2 * grain)
    glow = np.float32(look.uniform(-0.35, 0.25))
    matrix = matrix * (1 + glow * near)
    return (matrix + blur(maps.edge, 0.5) * (value - matrix)).astype(np.float32)


def _pits(look: np.random.Generator, matrix: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Some clusters lie in a smooth pit with a bright rim."""
    y, x = (a.astype(np.float32) for a in np.mgrid[: matrix.shape[0], : matrix.shape[1]])
    wave = smooth_noise(look, matrix.shape, 25)
    for px, py, reach in clusters[look.random(len(clusters)) < 0.1]:
        r = np.float32(reach * look.uniform(1.4, 2.6))
        ratio = np.float32(look.uniform(0.6, 1.0))
        dx, dy = look.normal(0, 0.3 * reach, 2)
        away = np.hypot(x - np.float32(px + dx), (y - np.float32(py + dy)) / ratio) + wave * 0.1 * r - r
        inside = np.clip(0.5 - away / 2, 0, 1)
        rim = np.exp(-0.5 * (away / np.float32(look.uniform(1.5, 0.1 * r + 3))) ** 2)
        matrix = (
            matrix * (1 + np.float32(look.uniform(-0.4, 0.3)) * inside) * (1 + np.float32(look.uniform(0, 0.6)) * rim)
        )
    return matrix


def _transmitted(draw: Draw, maps: Maps, grain: float) -> np.ndarray:
    look, shape = draw.look, draw.shape
    mass = np.tanh(maps.projected / np.float32(grain) * np.float32(look.uniform(0.3, 1.0)))
    mass = mass * per_object(look, maps.labels, look.uniform(0.02, 0.25)) * np.float32(log_uniform(look, 0.3, 1.6))
    matrix = np.float32(look.uniform(0.05, 0.3)) * (1 + 0.25 * rough_noise(look, shape, look.uniform(30, 200), 4))
    return transmit(draw, np.maximum(mass + matrix, 0).astype(np.float32))
