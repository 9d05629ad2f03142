"""Second phases in a matrix: gamma prime of two sizes, carbides, plates; in either polarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lisa_micro.sim.layouts import make_body, scatter
from lisa_micro.sim.materials.cells import Cells, merge_cells, power_cells, random_groups, spread_seeds, warped_grid
from lisa_micro.sim.materials.discs import paint_discs
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.pores import as_pores, pore_field, sink_pores
from lisa_micro.sim.materials.surfaces import ground, lit, streaks
from lisa_micro.sim.materials.transmission import per_object, transmit
from lisa_micro.sim.raster import no_warp, rasterise
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

STYLES = ("cuboids", "lobed", "carbides", "plates", "spheres")
STYLE_SHARES = (0.27, 0.2, 0.3, 0.08, 0.15)
FAR = np.float32(1e3)


@dataclass(frozen=True)
class Phase:
    """A second phase.

    Attributes:
        labels: ``(H, W)`` int32 instances; touching ones keep their own labels where they were placed one by one.
        distance: ``(H, W)`` float32 px into the phase, positive inside, good near the edge.
        size: typical diameter in px.
        finest: diameter in px of the smallest population.
        height: ``(H, W)`` float32 px, how far each stands out of an etched surface.
    """

    labels: np.ndarray
    distance: np.ndarray
    size: float
    finest: float
    height: np.ndarray


def _packed(draw: Draw, lobed: bool) -> Phase:
    """Closely packed blocks with channels between them: cells shrunk and rounded; lobed ones are notched by noise."""
    rng, shape = draw.place, draw.shape
    size = log_uniform(rng, 12, 0.25 * min(shape)) * (0.7 if lobed else 1)
    bend = rng.uniform(0.0, 0.05) if not lobed else rng.uniform(0.05, 0.16)
    x, y = warped_grid(rng, shape, [(0.8 * size, bend * size), (0.35 * size, 0.4 * bend * size)])
    turn = rng.uniform(0, np.pi / 2)
    u = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
    v = y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))
    reach = int(np.hypot(*shape)) + 1
    seeds = spread_seeds(rng, (reach, reach), size, rng.uniform(0.55, 0.95) if not lobed else rng.uniform(0, 0.5))
    low = (float(u.min()), float(v.min()))
    seeds = seeds + low
    seeds = seeds[(seeds[:, 0] < u.max() + 2 * size) & (seeds[:, 1] < v.max() + 2 * size)]
    weights = (size * rng.uniform(0, rng.uniform(0.1, 0.7), len(seeds))) ** 2
    cells = power_cells(u, v, seeds, weights, rounding=size * rng.uniform(0.02, 0.1))
    gap = size * (log_uniform(rng, 0.08, 0.3) if lobed else log_uniform(rng, 0.03, 0.22))
    uneven = 1 + np.float32(rng.uniform(0, 0.5)) * smooth_noise(rng, shape, size)
    if lobed:
        cells = merge_cells(cells, random_groups(rng, seeds, rng.uniform(0.3, 0.75)))
        cells = Cells(cells.owner, cells.other, cells.border, blur(cells.border, 0.07 * size))
    distance = cells.rounded - np.float32(gap) * uneven
    if lobed:
        notch = smooth_noise(rng, shape, size * rng.uniform(0.14, 0.35))
        distance = distance - np.float32(size * rng.uniform(0.04, 0.16)) * np.maximum(notch - 0.1, 0)
    missing = np.r_[0, rng.random(len(seeds)) < rng.uniform(0, 0.3)][cells.owner] > 0
    distance = np.where(missing, -np.maximum(cells.border, 0) - np.float32(gap), distance)
    labels, distance = as_pores(distance.astype(np.float32))
    return Phase(labels, distance, size, size, np.sqrt(np.clip(distance, 0, 0.5 * size) * np.float32(0.5 * size)))


def _placed(draw: Draw, style: str) -> Phase:
    """Bodies placed one by one: carbides of a wide range of sizes, some in touch; plates; spheres."""
    rng, shape = draw.place, draw.shape
    radius = (
        log_uniform(rng, 2.0, 0.018 * min(shape)) if style == "carbides" else log_uniform(rng, 4, 0.05 * min(shape))
    )
    spread = rng.uniform(0.4, 1.0) if style == "carbides" else rng.uniform(0.05, 0.35)
    share = log_uniform(rng, 0.04, 0.3) if style != "carbides" else log_uniform(rng, 0.08, 0.3)
    count = int(np.clip(share * shape[0] * shape[1] / (np.pi * radius**2 * np.exp(2 * spread**2) * 0.7), 5, 1300))
    radii = np.clip(radius * np.exp(rng.normal(0, spread, count)), 1.7, 0.09 * min(shape))
    small = radii < 5
    bodies, touching = [], chance(rng, 0.7)
    turn, off = rng.uniform(0, np.pi), rng.uniform(0.05, 1.5)
    big = np.sort(radii[~small])[::-1]

    def family() -> str:
        if style == "plates":
            return "bar"
        if style == "spheres":
            return "disc"
        return str(rng.choice(["ellipse", "faceted", "disc"], p=[0.7, 0.18, 0.12]))

    if style == "plates":
        for r in big:
            body = make_body(rng, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), float(2 * r), "bar")
            angle = turn + rng.integers(0, 3) * np.pi / 3
            bodies.append(type(body)(**{**vars(body), "angle": float(angle), "b": max(1.3, body.b * 0.5)}))
    else:
        bodies = scatter(rng, shape, big, family, overlap=touching)
    waves = [(max(4.0, 1.5 * radius), rng.uniform(0.05, 0.35) * radius)]
    x, y = warped_grid(rng, shape, waves)
    maps = rasterise(bodies, [], shape, no_warp(), (x, y))
    # the small ones at once
    n = int(small.sum())
    points = rng.uniform(0, 1, (n, 2)) * (shape[1], shape[0])
    inside = np.clip(points, 0, (shape[1] - 1, shape[0] - 1)).astype(int)
    free = maps.labels[inside[:, 1], inside[:, 0]] == 0
    ratios = rng.uniform(0.4, 1, n) if style != "spheres" else np.ones(n)
    turns = rng.normal(turn, off, n)
    tiny = paint_discs(points[free], radii[small][free], ratios[free], turns[free], shape)
    labels = np.where(tiny.labels > 0, tiny.labels + len(bodies), maps.labels)
    edge = np.maximum(tiny.edge, maps.edge)
    height = np.where(tiny.labels > 0, tiny.height, maps.height)
    return Phase(
        labels.astype(np.int32), _near_edge(labels > 0, edge), 2 * radius, 2 * max(1.7, float(radii.min())), height
    )


def _near_edge(inside: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32 px into the phase within a few px of its edge, from soft coverage."""
    near = blur(inside.astype(np.float32), 1.5)
    return np.where((edge > 0) & (edge < 1), edge - 0.5, (near - 0.5) * 4).astype(np.float32)


def _fine(draw: Draw, phase: Phase) -> Phase:
    """Add a population of fine round precipitates in the channels."""
    rng, shape = draw.place, draw.shape
    diameter = float(np.clip(log_uniform(rng, 4.0, 9.0), 4, 0.3 * phase.size))
    pitch = diameter * rng.uniform(1.4, 3.0)
    points = spread_seeds(rng, shape, pitch, rng.uniform(0.1, 0.6), 0.5)
    radii = 0.5 * diameter * np.exp(rng.normal(0, 0.15, len(points)))
    away = ndimage.distance_transform_edt(phase.labels == 0).astype(np.float32)
    at = np.clip(np.rint(points), 0, (shape[1] - 1, shape[0] - 1)).astype(int)
    gap = diameter * rng.uniform(0.9, 2.0)
    gather = smooth_noise(rng, shape, 60)[at[:, 1], at[:, 0]] > rng.uniform(-2, 0.3)
    keep = (away[at[:, 1], at[:, 0]] > gap) & gather & (radii >= 1.8)
    n = int(keep.sum())
    if not n:
        return phase
    tiny = paint_discs(points[keep], radii[keep], rng.uniform(0.75, 1, n), rng.uniform(0, np.pi, n), shape)
    top = int(phase.labels.max())
    labels = np.where(tiny.labels > 0, tiny.labels + top, phase.labels).astype(np.int32)
    distance = np.where(tiny.edge > 0, np.maximum(tiny.edge - 0.5, phase.distance), phase.distance)
    height = np.maximum(phase.height, tiny.height)
    return Phase(labels, distance.astype(np.float32), phase.size, diameter, height)


def paint_precipitates(draw: Draw) -> Painted:
    """A matrix with a second phase; no particles."""
    rng = draw.place
    style = str(rng.choice(STYLES, p=STYLE_SHARES))
    packed = style in ("cuboids", "lobed")
    phase = _packed(draw, style == "lobed") if packed else _placed(draw, style)
    fine = packed and chance(rng, 0.55)
    if fine:
        phase = _fine(draw, phase)
    pores = np.full(draw.shape, -FAR)
    if chance(rng, 0.15):
        pores = pore_field(rng, draw.shape, log_uniform(rng, 3, 20), log_uniform(rng, 0.003, 0.02), "irregular")
    pore, pores = as_pores(pores)
    image = _transmitted(draw, phase) if draw.transmitted else _surface(draw, phase, style)
    if (pores > 0).any():
        image = sink_pores(image, pores, 8.0, draw.look) if not draw.transmitted else image
        pore = pore if not draw.transmitted else np.zeros_like(pore)
    labels = np.where(pore > 0, 0, phase.labels)
    return Painted(
        image=image,
        labels={"precipitate": labels, "pore": pore},
        absent=all_but("precipitate", "pore", "substrate", "grain", "grain_boundary"),
        signal=labels,
        ground=labels == 0,
        detail=phase.finest,
        size=phase.size,
        faintest=faintest_for(0.7 * phase.finest**2, 0.4),
        params={"style": style, "fine": fine, "size_px": phase.size},
    )


def _surface(draw: Draw, phase: Phase, style: str) -> np.ndarray:
    look, shape = draw.look, draw.shape
    share = np.clip(0.5 + phase.distance, 0, 1)
    bright = chance(look, 0.85 if style == "carbides" else 0.4)
    matrix = look.uniform(0.15, 0.4) if bright else look.uniform(0.45, 0.7)
    tone = matrix * (log_uniform(look, 1.4, 4.5 if style == "carbides" else 3.0) if bright else look.uniform(0.1, 0.93))
    base = ground(draw, look.uniform(0.5, 2.5) if style == "carbides" else 0.5)
    if style == "carbides" and chance(look, 0.7):  # etched ferrite: relief of fine flakes
        flakes = lit(look, 3 * rough_noise(look, shape, look.uniform(6, 25), 4))
        if chance(look, 0.5):
            flakes = 0.5 * flakes + streaks(look, shape, look.uniform(0, np.pi), look.uniform(2, 4), look.uniform(2, 6))
        base = np.maximum(base + np.float32(look.uniform(0.1, 0.5)) * flakes, 0.05)
    inside = tone * per_object(look, phase.labels, look.uniform(0, 0.15))
    inside = inside * (
        1 + np.float32(look.uniform(0.01, 0.12)) * rough_noise(look, shape, max(4.0, 0.3 * phase.size), 4)
    )
    if chance(look, 0.5):  # brighter or darker towards the middle, as domes and etch pits are
        middle = 1 - np.exp(-np.maximum(phase.height, 0) / np.float32(0.25 * phase.size + 1))
        inside = inside * (1 + np.float32(look.uniform(-0.35, 0.35)) * middle)
    image = matrix * base + share * (inside - matrix * base)
    if chance(look, 0.7):  # etched edges are bright
        wide = look.uniform(0.8, max(1.0, min(6.0, 0.09 * phase.size)))
        shift = look.uniform(-1.0, 1.0) * wide
        rim = np.exp(-0.5 * ((phase.distance - np.float32(shift)) / np.float32(wide)) ** 2)
        image = image + np.float32(look.uniform(0.05, 0.6) * abs(tone - matrix) + 0.03) * rim
    if chance(look, 0.35):  # what stands out is lit from one side
        image = image * (1 + np.float32(look.uniform(0.03, 0.15)) * lit(look, blur(0.5 * phase.height, 0.8)))
    return np.maximum(image, 0.0).astype(np.float32)


def _transmitted(draw: Draw, phase: Phase) -> np.ndarray:
    look, shape = draw.look, draw.shape
    share = np.clip(0.5 + phase.distance, 0, 1)
    contrast = log_uniform(look, 0.15, 1.2) * (1 if chance(look, 0.65) else -0.6)
    strength = per_object(look, phase.labels, look.uniform(0, 0.35))
    cloud = 1 + np.float32(look.uniform(0.02, 0.2)) * rough_noise(look, shape, look.uniform(20, 150), 4)
    mass = np.float32(look.uniform(0.3, 0.8)) * cloud * (1 + np.float32(contrast) * share * strength)
    if chance(look, 0.3):  # strain around coherent precipitates
        strain = np.exp(-np.abs(phase.distance) / np.float32(look.uniform(1.5, 4)))
        mass = mass * (1 + np.float32(look.uniform(0.05, 0.4)) * strain)
    return transmit(draw, np.maximum(mass, 0.02).astype(np.float32), 0.0, 0.6)
