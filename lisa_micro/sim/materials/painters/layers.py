"""Layers in cross-section: films and scales with rough interfaces between bulk materials, with pores and cracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lisa_micro.sim.materials.cells import power_cells, spread_seeds, warped_grid
from lisa_micro.sim.materials.cracks import FAR, crack_field, crack_tree, open_cracks
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, log_uniform
from lisa_micro.sim.materials.pores import as_pores, pore_field, sink_pores
from lisa_micro.sim.materials.surfaces import ground
from lisa_micro.sim.materials.transmission import transmit
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise


@dataclass(frozen=True)
class Stack:
    """Strata from top to bottom in a frame whose rows run across them.

    Attributes:
        stratum: ``(H, W)`` int32, 0 = above the layers, 1..n = layers, n + 1 = below.
        border: ``(H, W)`` float32 px, distance to the nearest interface, measured across.
        layers: n.
        thickness: mean thickness of the layers in px.
    """

    stratum: np.ndarray
    border: np.ndarray
    layers: int
    thickness: float


def _interface(rng: np.random.Generator, width: int, roughness: float) -> np.ndarray:
    """``(width,)`` float32 px, a rough line of zero mean: waves from 200 px down, and sometimes steps and bumps."""
    line = rough_noise(rng, (4, width), log_uniform(rng, 15, 200), 5)[1]
    line = line + 0.4 * rough_noise(rng, (4, width), rng.uniform(4, 15), 2)[1] * rng.uniform(0, 1)
    return (roughness * (line - line.mean())).astype(np.float32)


def stack(rng: np.random.Generator, shape: tuple[int, int]) -> Stack:
    """Draw the strata.

    Args:
        rng: source of the geometry.
        shape: ``(H, W)`` px; rows run across the layers.
    """
    height, width = shape
    count = int(rng.choice([0, 1, 2, 3], p=[0.05, 0.65, 0.2, 0.1]))
    thick = [log_uniform(rng, 0.06, 0.5 if count == 1 else 0.25) * height for _ in range(count)]
    whole = sum(thick)
    top = rng.uniform(0.08, 0.85) * max(height - whole, 1) if count else rng.uniform(0.2, 0.8) * height
    tilt = np.float32(rng.normal(0, 0.06)) * (np.arange(width, dtype=np.float32) - width / 2)
    row = np.arange(height, dtype=np.float32)[:, None]
    stratum, border = np.zeros(shape, np.int32), np.full(shape, FAR)
    edge, last = top, None
    for k in range(count + 1):
        rough = rng.uniform(0.005, 0.12) * (thick[min(k, count - 1)] if count else 0.1 * height) + rng.uniform(0, 2)
        line = np.float32(edge) + tilt + _interface(rng, width, rough)
        if last is not None:  # interfaces do not cross
            line = np.maximum(line, last + np.float32(max(3.0, 0.3 * thick[k - 1])))
        stratum += row > line
        border = np.minimum(border, np.abs(row - line))
        last = line
        edge += thick[k] if k < count else 0
    return Stack(stratum, border, count, float(np.mean(thick)) if count else 0.2 * height)


def _defects(draw: Draw, shape: tuple[int, int], strata: Stack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pore distance, crack distance and crack labels. Pores lie flat in the layers and round elsewhere; cracks cross
    the layers."""
    rng = draw.place
    inside = (strata.stratum > 0) & (strata.stratum <= strata.layers)
    pores = np.full(shape, -FAR)
    if chance(rng, 0.6):
        size = log_uniform(rng, 2, 0.12 * strata.thickness + 3)
        flat = pore_field(rng, shape, size, log_uniform(rng, 0.01, 0.15), "lens", rng.normal(0, 0.1))
        pores = np.where(inside, flat, pores)
    if chance(rng, 0.65):
        style = str(rng.choice(["irregular", "round", "sponge", "lens"], p=[0.35, 0.25, 0.15, 0.25]))
        other = pore_field(rng, shape, log_uniform(rng, 3, 0.04 * min(shape) + 3), log_uniform(rng, 0.01, 0.2), style)
        which = str(rng.choice(["above", "below", "both"]))
        above, below = strata.stratum == 0, strata.stratum == strata.layers + 1
        where = above if which == "above" else below if which == "below" else above | below
        pores = np.where(where, other, pores)
    pores = np.where(strata.border < 1.5, np.minimum(pores, -1), pores)
    opening, crack = np.full(shape, FAR), np.zeros(shape, np.int32)
    if strata.layers and chance(rng, 0.7):
        trees = []
        columns = rng.uniform(0, shape[1], int(rng.integers(1, 9)))
        half = log_uniform(rng, 0.9, 3.5)
        for x in columns:
            rows = np.flatnonzero(inside[:, int(np.clip(x, 0, shape[1] - 1))])
            if not len(rows):
                continue
            down = chance(rng, 0.75)
            start = (float(x), float(rows[0] if down else rows[-1]))
            length = (rows[-1] - rows[0] + 1) * rng.uniform(0.5, 1.3)
            heading = (np.pi / 2 if down else -np.pi / 2) + rng.normal(0, 0.15)
            trees.append(crack_tree(rng, start, heading, float(length), half * rng.uniform(0.6, 1.3), 0.12, 1))
        if chance(rng, 0.25):  # delamination along the layer
            start = (rng.uniform(0, 0.7) * shape[1], float(np.mean(np.flatnonzero(inside.any(1)))))
            trees.append(crack_tree(rng, start, rng.normal(0, 0.1), rng.uniform(0.15, 0.6) * shape[1], half, 0.1, 1))
        opening, _ = crack_field(rng, trees, shape, rng.uniform(0.1, 0.7))
        # cracks end where the layer does
        opening = np.where(inside, opening, np.maximum(opening, 1.0))
        crack = crack_instances(opening)
    return pores, opening, crack


def crack_instances(opening: np.ndarray) -> np.ndarray:
    """``(H, W)`` int32 labels of what is open and connected, diagonal neighbours included."""
    labels, _ = ndimage.label(opening < 0, structure=np.ones((3, 3)))
    return labels.astype(np.int32)


def paint_layers(draw: Draw) -> Painted:
    """A cross-section; the layers are what lies between the bulk above and the bulk below."""
    rng = draw.place
    upright = chance(rng, 0.15)
    shape = draw.shape[::-1] if upright else draw.shape
    strata = stack(rng, shape)
    pores, opening, crack = _defects(draw, shape, strata)
    pore, pores = as_pores(pores)
    pore = np.where(crack > 0, 0, pore)
    blocks = _blocks(rng, shape)
    turned = (lambda a: a.T.copy()) if upright else (lambda a: a)
    within = (strata.stratum > 0) & (strata.stratum <= strata.layers)
    layer = np.where(within, strata.stratum, 0)
    section = Section(*(turned(a) for a in (strata.stratum, strata.border, pores, opening, blocks)), strata.layers)
    image = _render(draw, section)
    layer, crack, pore, border = turned(layer), turned(crack), turned(pore), section.border
    return Painted(
        image=image,
        labels={"layer": layer, "crack": crack, "pore": pore},
        absent=all_but("layer", "crack", "pore", "substrate", "grain", "grain_boundary", "precipitate"),
        signal=layer if layer.any() else (turned(strata.stratum) > 0).astype(np.int32),
        ground=(layer == 0) & (border < 60) if layer.any() else turned(strata.stratum) == 0,
        detail=6.0 if crack.any() else 10.0,
        size=strata.thickness,
        faintest=1.0 if crack.any() else 0.3,
        params={"layers": strata.layers, "thickness_px": strata.thickness, "upright": upright},
    )


def _blocks(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` float32, a value a grain or splat of unit deviation, flattened along the layers."""
    size = log_uniform(rng, 30, 160)
    x, y = warped_grid(rng, shape, [(size, 0.1 * size), (0.3 * size, 0.04 * size)])
    flat = np.float32(rng.uniform(1, 2.2))
    extent = (int(shape[0] * flat) + 1, shape[1])
    seeds = spread_seeds(rng, extent, size, 0.1)
    cells = power_cells(x, y * flat, seeds, np.zeros(len(seeds)))
    return rng.normal(0, 1, len(seeds) + 1).astype(np.float32)[cells.owner]


def _tones(look: np.random.Generator, n: int) -> np.ndarray:
    """``(n,)`` brightnesses, neighbours at least 0.08 apart."""
    tones = [look.uniform(0.2, 0.95)]
    while len(tones) < n:
        tone = look.uniform(0.2, 0.95)
        if abs(tone - tones[-1]) > 0.08:
            tones.append(tone)
    return np.array(tones, np.float32)


@dataclass(frozen=True)
class Section:
    """What is drawn, as the picture lies, all ``(H, W)``: strata and distance to interfaces as in :class:`Stack`,
    distance into pores (positive inside) and to the flanks of cracks (negative inside) in px, a value a grain of the
    bulk; and the number of layers."""

    stratum: np.ndarray
    border: np.ndarray
    pores: np.ndarray
    opening: np.ndarray
    blocks: np.ndarray
    layers: int


def _render(draw: Draw, section: Section) -> np.ndarray:
    look, shape = draw.look, draw.shape
    stratum, border, pores, layers = section.stratum, section.border, section.pores, section.layers
    opening, blocks = section.opening, section.blocks
    tones = _tones(look, layers + 2)
    if chance(look, 0.4) and not (pores[stratum == 0] > 0).any():  # nothing, or resin, above
        tones[0] = look.uniform(0.02, 0.12)
    texture = np.ones(shape, np.float32)
    for k in range(layers + 2):
        here = stratum == k
        amount = look.uniform(0, 0.05) if chance(look, 0.7) else look.uniform(0.05, 0.18)
        kind = str(look.choice(["blocks", "rough", "surface", "plain"], p=[0.3, 0.25, 0.2, 0.25]))
        if k == 0 and tones[0] < 0.15:
            kind = "plain"
        if kind == "blocks":
            texture = np.where(here, 1 + np.float32(amount) * blocks, texture)
        elif kind == "rough":
            texture = np.where(here, 1 + np.float32(amount) * rough_noise(look, shape, look.uniform(4, 60), 4), texture)
        elif kind == "surface":
            texture = np.where(here, ground(draw, 0.8), texture)
    image = tones[stratum] * np.maximum(texture, 0.1)
    if chance(look, 0.25):  # a thin line of another phase, or relief, along the interfaces
        line = np.exp(-0.5 * (border / np.float32(look.uniform(0.7, 2.5))) ** 2)
        image = image * (1 + np.float32(look.uniform(-0.5, 0.4)) * line)
    image = blur(image, look.uniform(0.4, 1.0))
    if draw.transmitted:
        share = np.clip(0.5 + pores, 0, 1)
        image = transmit(draw, 1.6 * image * (1 - np.float32(look.uniform(0.4, 0.95)) * share), 0.0, 0.3)
    else:
        image = sink_pores(image, pores, 8.0, look)
        if chance(look, 0.3):  # slow shading, as the resin and charged ceramics have
            image = image * (1 + np.float32(look.uniform(0.03, 0.15)) * smooth_noise(look, shape, 150))
    if (opening < 0).any():
        image = open_cracks(image, opening, look, draw.modality == "BF-TEM")
    return image.astype(np.float32)
