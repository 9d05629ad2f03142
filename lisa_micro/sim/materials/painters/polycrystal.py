"""Polycrystals: grains of a Laguerre diagram, told apart by orientation contrast, etched lines or thermal grooves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.materials.cells import Cells, merge_cells, power_cells, random_groups, spread_seeds, warped_grid
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.pores import as_pores, pore_field, sink_pores
from lisa_micro.sim.materials.surfaces import ground, lit, streaks
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise

BOUNDARY_HALF_WIDTH_PX = 1.5
STYLES = ("orientation", "etched", "grooved", "bright lines", "mixed", "relief")
STYLE_SHARES = (0.3, 0.2, 0.14, 0.08, 0.18, 0.1)


@dataclass(frozen=True)
class Structure:
    """Grains and what lies in them.

    Attributes:
        cells: the diagram; grain = owner.
        size: typical diameter of a grain, px.
        twin: ``(H, W)`` float32, -1 or 1 in alternating lamellae of grains that are twinned, 0 elsewhere.
        pores: ``(H, W)`` float32 px, distance into the nearest pore, positive inside.
    """

    cells: Cells
    size: float
    twin: np.ndarray
    pores: np.ndarray


def grow(draw: Draw) -> Structure:
    """Draw the geometry of a polycrystal."""
    rng, shape = draw.place, draw.shape
    size = log_uniform(rng, 14, 0.42 * min(shape))
    wavy = rng.uniform(0, 0.05) if chance(rng, 0.6) else rng.uniform(0.05, 0.16)
    waves = [(0.8 * size, wavy * size), (max(3.0, 0.2 * size), 0.25 * wavy * size)]
    ragged = chance(rng, 0.3)
    if ragged:  # serrated and concave grains, as in cast and martensitic metals
        waves.append((rng.uniform(4, 10), rng.uniform(0.6, 2.0)))
    x, y = warped_grid(rng, shape, waves)
    stretch, turn = (log_uniform(rng, 1.2, 3.5), rng.uniform(0, np.pi)) if chance(rng, 0.2) else (1.0, 0.0)
    u = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
    v = (y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))) * np.float32(stretch)
    low = (float(u.min()), float(v.min()))
    extent = (int(v.max() - low[1]) + 2, int(u.max() - low[0]) + 2)
    seeds = spread_seeds(rng, extent, size * np.sqrt(stretch), rng.uniform(0.0, 0.35)) + low
    near = _near(seeds, u, v, 2.0 * size * stretch)
    seeds = seeds[near]
    radii = size * np.exp(rng.normal(0, rng.uniform(0.1, 0.6), len(seeds))) * 0.5
    cells = power_cells(u, v, seeds, np.minimum(radii, 2.5 * size) ** 2)
    border = cells.border / np.float32(1 if stretch == 1 else np.sqrt(stretch))
    cells = Cells(cells.owner, cells.other, border, border)
    if ragged or chance(rng, 0.1):
        cells = merge_cells(cells, random_groups(rng, seeds, rng.uniform(0.2, 0.7)))
    pores = np.full(shape, np.float32(-1e3))
    if chance(rng, 0.3):  # pores sit on boundaries and triple points more often than inside
        pores = pore_field(rng, shape, max(2.0, 0.12 * size), log_uniform(rng, 0.003, 0.05), "irregular")
        if chance(rng, 0.6):
            pores = np.minimum(pores, np.float32(0.15 * size) - cells.border)
    return Structure(cells, size, _twins(rng, cells, x, y, size), pores)


def _near(seeds: np.ndarray, u: np.ndarray, v: np.ndarray, margin: float) -> np.ndarray:
    """Seeds within ``margin`` of the stretched image (its corners), so that far ones cost no time."""
    corners = np.array([[u[i, j], v[i, j]] for i, j in ((0, 0), (0, -1), (-1, -1), (-1, 0))])
    middle = corners.mean(0)
    keep = np.ones(len(seeds), bool)
    for k in range(4):
        a, b = corners[k], corners[(k + 1) % 4]
        normal = np.array([b[1] - a[1], a[0] - b[0]]) / max(np.hypot(*(b - a)), 1e-6)
        side = np.sign((middle - a) @ normal)
        keep &= ((seeds - a) @ normal) * side > -margin
    return keep


def _twins(rng: np.random.Generator, cells: Cells, x: np.ndarray, y: np.ndarray, size: float) -> np.ndarray:
    n = int(cells.owner.max()) + 1
    share = rng.uniform(0.1, 0.6) if chance(rng, 0.3) else 0.0
    twinned = rng.random(n) < share
    angle, pitch = rng.uniform(0, np.pi, n), size * rng.uniform(0.35, 1.6, n)
    phase, duty = rng.uniform(0, 1, n), rng.uniform(0.15, 0.5, n)
    if not share:
        return np.zeros(x.shape, np.float32)
    owner = cells.owner
    along = x * np.cos(angle)[owner] + y * np.sin(angle)[owner]
    inside = (along / pitch[owner] + phase[owner]) % 1 < duty[owner]
    return np.where(twinned[owner], np.where(inside, 1.0, -1.0), 0.0).astype(np.float32)


def boundary_lines(cells: Cells) -> np.ndarray:
    """``(H, W)`` bool: pixels within 1.5 px of a border between two grains."""
    return cells.border < BOUNDARY_HALF_WIDTH_PX


def paint_polycrystal(draw: Draw) -> Painted:
    """Grains and the network of their boundaries; no particles."""
    structure = grow(draw)
    style = str(draw.look.choice(STYLES, p=STYLE_SHARES))
    pore, distance = as_pores(structure.pores)
    image = _transmitted(draw, structure) if draw.transmitted else _surface(draw, structure, style)
    if (distance > 0).any():
        if draw.transmitted:
            share = np.clip(0.5 + distance, 0, 1)
            image = image + share * (float(np.percentile(image, 97 if draw.modality == "BF-TEM" else 2)) - image)
        else:
            image = sink_pores(image, distance, max(2.0, 0.12 * structure.size), draw.look)
    lines = boundary_lines(structure.cells)
    grain = np.where(pore > 0, 0, structure.cells.owner)
    by_lines = not draw.transmitted and style in ("etched", "grooved", "bright lines", "relief")
    return Painted(
        image=image,
        labels={"grain": grain, "grain_boundary": (lines & (pore == 0)).astype(np.int32), "pore": pore},
        absent=all_but("grain", "grain_boundary", "pore", "substrate"),
        signal=lines.astype(np.int32) if by_lines else grain,
        ground=~lines if by_lines else np.ones(draw.shape, bool),
        detail=7.0 if by_lines else min(0.3 * structure.size, 10.0),
        size=structure.size,
        faintest=1.0 if by_lines else faintest_for(0.2 * structure.size**2, 0.4),
        params={"style": style if not draw.transmitted else "transmitted", "size_px": structure.size},
    )


def _grain_values(look: np.random.Generator, structure: Structure, levels: int = 0) -> np.ndarray:
    """``(H, W)`` float32, one value of unit deviation a grain, of ``levels`` levels where not 0; twins differ."""
    n = int(structure.cells.owner.max()) + 1
    value = look.normal(0, 1, n) if not levels else look.integers(0, levels, n) * (2.5 / levels)
    twin = look.normal(0, 0.8, n)
    owner = structure.cells.owner
    return (value[owner] + (structure.twin > 0) * twin[owner]).astype(np.float32)


def _inner_texture(look: np.random.Generator, structure: Structure, shape: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` float32 of unit strength: gradients, lamellae or mottle that differ from grain to grain."""
    owner, n = structure.cells.owner, int(structure.cells.owner.max()) + 1
    style = str(look.choice(["gradient", "lamellae", "mottle", "none"], p=[0.35, 0.2, 0.25, 0.2]))
    if style == "none":
        return np.zeros(shape, np.float32)
    if style == "mottle":
        return rough_noise(look, shape, max(4.0, 0.25 * structure.size), 4)
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    angle = look.uniform(0, 2 * np.pi, n).astype(np.float32)
    along = x * np.cos(angle)[owner] + y * np.sin(angle)[owner]
    if style == "gradient":
        mean = np.bincount(owner.ravel(), weights=along.ravel(), minlength=n) / np.maximum(
            np.bincount(owner.ravel(), minlength=n), 1
        )
        return ((along - mean[owner]) / np.float32(0.4 * structure.size)).astype(np.float32)
    pitch = look.uniform(4, max(5.0, 0.3 * structure.size), n).astype(np.float32)
    lamella = np.sin(2 * np.pi * (along + 2 * smooth_noise(look, shape, 20)) / pitch[owner])
    return (lamella * (look.random(n) < look.uniform(0.2, 0.9))[owner]).astype(np.float32)


def _surface(draw: Draw, structure: Structure, style: str) -> np.ndarray:
    look, shape, border = draw.look, draw.shape, structure.cells.border
    contrast = {"orientation": look.uniform(0.08, 0.35), "mixed": look.uniform(0.04, 0.25)}.get(
        style, look.uniform(0, 0.05)
    )
    levels = int(look.integers(3, 7)) if chance(look, 0.2) else 0
    value = 1 + np.float32(contrast) * _grain_values(look, structure, levels)
    value = value + np.float32(look.uniform(0, 0.6) * max(contrast, 0.05)) * _inner_texture(look, structure, shape)
    surface = str(look.choice(["flat", "cloudy", "grainy", "scratched"], p=[0.4, 0.2, 0.25, 0.15]))
    value = blur(np.maximum(value, 0.05), 0.5) * ground(draw, 0.6, surface)
    if style == "relief":  # grains stand out as domes, as on sintered surfaces
        dome = np.sqrt(np.minimum(border, 0.35 * structure.size) * np.float32(0.5 * structure.size))
        value = value * (
            1 + np.float32(look.uniform(0.08, 0.3)) * lit(look, dome + 0.3 * rough_noise(look, shape, 6, 3))
        )
    if style != "orientation" or chance(look, 0.15):
        value = _lines(look, value, structure, style)
    if chance(look, 0.3):  # etch pits and dirt
        pits = smooth_noise(look, shape, look.uniform(2, 4)) > look.uniform(2.3, 3.0)
        value = value * (1 - np.float32(look.uniform(0.2, 0.6)) * blur(pits.astype(np.float32), 0.7))
    if chance(look, 0.1):
        value = value + np.float32(0.08) * streaks(look, shape, look.uniform(0, np.pi), 3, 12)
    return (np.float32(look.uniform(0.35, 0.7)) * value).astype(np.float32)


def _lines(look: np.random.Generator, image: np.ndarray, structure: Structure, style: str) -> np.ndarray:
    """Draw boundaries: dark and uneven where etched, dark with bright flanks where grooved, or bright."""
    cells, shape = structure.cells, image.shape
    width = look.uniform(0.6, 1.6) if chance(look, 0.75) else look.uniform(1.6, 3.5)
    # each boundary is attacked in its own way: the pair of grains decides
    low, high = np.minimum(cells.owner, cells.other), np.maximum(cells.owner, cells.other)
    table = look.uniform(0, 1, 4093).astype(np.float32)
    strength = table[(low.astype(np.int64) * 7919 + high) % 4093]
    uneven = look.uniform(0, 0.8)
    strength = 1 - np.float32(uneven) * strength * (strength > look.uniform(0.2, 0.8))
    strength = strength * (1 + np.float32(0.25) * smooth_noise(look, shape, max(6.0, 0.2 * structure.size)))
    line = np.exp(-0.5 * (cells.border / np.float32(width)) ** 2) * np.clip(strength, 0, 1.5)
    depth = np.float32(look.uniform(0.2, 0.75))
    if style == "bright lines":
        return image * (1 + depth * line)
    image = image * (1 - depth * line)
    if style == "grooved":
        flank = np.exp(-0.5 * ((cells.border - np.float32(2.2 * width)) / np.float32(width)) ** 2)
        image = image * (1 + np.float32(look.uniform(0.05, 0.4)) * flank * strength)
    return image


def _transmitted(draw: Draw, structure: Structure) -> np.ndarray:
    """A polycrystalline foil: most grains grey, those near a zone axis dark, with bend contours."""
    look, shape = draw.look, draw.shape
    owner, n = structure.cells.owner, int(structure.cells.owner.max()) + 1
    value = np.exp(look.normal(0, look.uniform(0.15, 0.5), n)) * np.where(
        look.random(n) < look.uniform(0.05, 0.3), look.uniform(1.5, 3.5, n), 1
    )
    mass = value.astype(np.float32)[owner] * (1 + 0.35 * structure.twin)
    inner = np.float32(look.uniform(0.05, 0.4)) * _inner_texture(look, structure, shape)
    mottle = np.float32(look.uniform(0, 0.25)) * rough_noise(look, shape, max(4.0, 0.3 * structure.size), 4)
    mass = np.maximum(mass * (1 + inner + mottle), 0.02)
    if chance(look, 0.4):
        mass = _lines(look, mass, structure, str(look.choice(["etched", "bright lines"])))
    return transmit(draw, blur(mass, 0.5) * np.float32(log_uniform(look, 0.25, 0.9)), 0.0, 0.5)
