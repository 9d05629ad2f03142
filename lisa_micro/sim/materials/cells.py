"""Laguerre (power) diagrams on the pixel grid: grains, lacey films, closely packed precipitates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lisa_micro.sim.texture import blur, smooth_noise


@dataclass(frozen=True)
class Cells:
    """A Laguerre diagram, all ``(H, W)``.

    Attributes:
        owner: int32, seed + 1 of each pixel's cell.
        other: int32, seed + 1 of the neighbour whose border is nearest.
        border: float32 px, distance to the nearest border (exact where the coordinates are not warped, and the
            nearest piece of a border line belongs to the cell).
        rounded: float32 px, the same with corners rounded by a soft minimum over all borders; at most ``border``.
    """

    owner: np.ndarray
    other: np.ndarray
    border: np.ndarray
    rounded: np.ndarray


def power_cells(
    x: np.ndarray, y: np.ndarray, seeds: np.ndarray, weights: np.ndarray, rounding: float | None = None
) -> Cells:
    """The cell of each pixel: the seed of least squared distance minus weight.

    Args:
        x, y: ``(H, W)`` float32 coordinates, px; warped ones give curved borders.
        seeds: ``(n, 2)`` x, y px, n >= 2.
        weights: ``(n,)`` px^2, squared radii; all equal for a Voronoi diagram.
        rounding: px, softness of the soft minimum; ``None``: ``rounded`` is ``border``.
    """
    shape = x.shape
    owner, other = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    border, rounded = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    soft = None if rounding is None else np.float32(rounding)
    seeds, weights = seeds.astype(np.float32), weights.astype(np.float32)
    # tiles of about two cells: larger ones try too many seeds a pixel, smaller ones are too many
    pitch = np.sqrt(np.ptp(x) * np.ptp(y) / len(seeds)) if len(seeds) else 32
    tile = 16 if pitch < 18 else 32
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            window = (slice(top, top + tile), slice(left, left + tile))
            parts = _tile(x[window], y[window], seeds, weights, soft)
            owner[window], other[window], border[window], rounded[window] = parts
    return Cells(owner, other, border, rounded)


def _tile(x: np.ndarray, y: np.ndarray, seeds: np.ndarray, weights: np.ndarray, rounding: np.float32 | None) -> tuple:
    """The four maps of one tile; only seeds that can own one of its pixels, or border on such a one, are tried."""
    mx, my = 0.5 * (x.min() + x.max()), 0.5 * (y.min() + y.max())
    reach = np.hypot(x.max() - mx, y.max() - my)
    far = np.hypot(seeds[:, 0] - mx, seeds[:, 1] - my)
    least = np.maximum(far - reach, 0) ** 2 - weights
    most = (far + reach) ** 2 - weights
    near = np.flatnonzero(least <= np.partition(most, min(2, len(most) - 1))[min(2, len(most) - 1)])
    px, py, w = seeds[near, 0], seeds[near, 1], weights[near]
    dx, dy = x.ravel() - px[:, None], y.ravel() - py[:, None]
    power = dx * dx + dy * dy - w[:, None]  # (candidates, pixels)
    first = power.argmin(axis=0)
    pixels = np.arange(power.shape[1])
    # half the difference of powers over the seeds' distance is the distance to the border line
    gap = np.hypot(px[:, None] - px, py[:, None] - py)
    scale = np.where(gap > 0, 0.5 / np.maximum(gap, 1e-6), np.inf).astype(np.float32)
    power -= power[first, pixels]
    with np.errstate(invalid="ignore"):
        power *= scale[:, first]
    power[first, pixels] = np.inf
    second = power.argmin(axis=0)
    border = power[second, pixels]
    soft = border
    if rounding is not None:
        soft = border - rounding * np.log(np.exp((border - power) * (1 / rounding)).sum(axis=0))
    shape = x.shape
    return tuple(a.reshape(shape) for a in (near[first] + 1, near[second] + 1, border, soft))


def merge_cells(cells: Cells, group: np.ndarray) -> Cells:
    """Unite cells, which gives concave ones; ``border`` is then the distance between pixel centres to the nearest edge
    between two groups.

    Args:
        cells: a diagram.
        group: ``(n,)`` int, group of each seed, any numbers from 0.
    """
    owner = np.r_[0, group + 1][cells.owner].astype(np.int32)
    edge = np.zeros(owner.shape, bool)
    edge[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    edge[1:] |= owner[1:] != owner[:-1]
    edge[:, :-1] |= owner[:, 1:] != owner[:, :-1]
    edge[:-1] |= owner[1:] != owner[:-1]
    if not edge.any():
        return Cells(owner, owner, np.full(owner.shape, np.float32(1e3)), np.full(owner.shape, np.float32(1e3)))
    border, (rows, columns) = ndimage.distance_transform_edt(~edge, return_indices=True)
    # pixels at an edge lie half a pixel from it
    border = (border + 0.5).astype(np.float32)
    around = ndimage.maximum_filter(owner, 3), ndimage.minimum_filter(owner, 3)
    there = np.where(around[0] == owner, around[1], around[0])[rows, columns]
    return Cells(owner, there, border, blur(border, 1.0))


def random_groups(rng: np.random.Generator, seeds: np.ndarray, share: float) -> np.ndarray:
    """``(n,)`` int, group of each seed: a share of them joins its nearest neighbour."""
    group = np.arange(len(seeds))
    if len(seeds) < 2:
        return group
    nearest = cKDTree(seeds).query(seeds, 3)[1]
    for k in np.flatnonzero(rng.random(len(seeds)) < share):
        group[k] = group[nearest[k, 1 + int(rng.integers(2))] if len(seeds) > 2 else nearest[k, 1]]
    return group


def spread_seeds(
    rng: np.random.Generator, shape: tuple[int, int], pitch: float, order: float, margin: float = 1.5
) -> np.ndarray:
    """``(n, 2)`` seeds about ``pitch`` px apart, beyond the image's edges by ``margin`` pitches.

    Args:
        rng: source of the places.
        shape: ``(H, W)`` px.
        pitch: mean distance in px.
        order: 1 = a square lattice, 0 = at random within its cells and beyond.
        margin: in pitches.
    """
    rows = np.arange(-margin, shape[0] / pitch + margin)
    columns = np.arange(-margin, shape[1] / pitch + margin)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    jitter = rng.uniform(-0.75, 0.75, grid.shape) * (1 - order)
    return (grid + rng.uniform(0, 1, 2) + jitter) * pitch


def warped_grid(
    rng: np.random.Generator, shape: tuple[int, int], waves: list[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of each pixel moved by smooth noise.

    Args:
        rng: source of the noise.
        shape: ``(H, W)`` px.
        waves: pairs (scale px, amplitude px).
    """
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    for scale, amplitude in waves:
        x = x + np.float32(amplitude) * smooth_noise(rng, shape, scale)
        y = y + np.float32(amplitude) * smooth_noise(rng, shape, scale)
    return x, y
