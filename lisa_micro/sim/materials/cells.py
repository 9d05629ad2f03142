"""Laguerre (power) diagrams on the pixel grid: grains, lacey films, closely packed precipitates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.texture import smooth_noise

TILE = 32


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
    x: np.ndarray, y: np.ndarray, seeds: np.ndarray, weights: np.ndarray, rounding: float = 1.0
) -> Cells:
    """The cell of each pixel: the seed of least squared distance minus weight.

    Args:
        x, y: ``(H, W)`` float32 coordinates, px; warped ones give curved borders.
        seeds: ``(n, 2)`` x, y px, n >= 2.
        weights: ``(n,)`` px^2, squared radii; all equal for a Voronoi diagram.
        rounding: px, softness of the soft minimum.
    """
    shape = x.shape
    owner, other = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    border, rounded = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    seeds, weights = seeds.astype(np.float32), weights.astype(np.float32)
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            window = (slice(top, top + TILE), slice(left, left + TILE))
            parts = _tile(x[window], y[window], seeds, weights, np.float32(rounding))
            owner[window], other[window], border[window], rounded[window] = parts
    return Cells(owner, other, border, rounded)


def _tile(x: np.ndarray, y: np.ndarray, seeds: np.ndarray, weights: np.ndarray, rounding: np.float32) -> tuple:
    """The four maps of one tile; only seeds that can own one of its pixels, or border on such a one, are tried."""
    mx, my = 0.5 * (x.min() + x.max()), 0.5 * (y.min() + y.max())
    reach = np.hypot(x.max() - mx, y.max() - my)
    far = np.hypot(seeds[:, 0] - mx, seeds[:, 1] - my)
    least = np.maximum(far - reach, 0) ** 2 - weights
    most = (far + reach) ** 2 - weights
    near = np.flatnonzero(least <= np.partition(most, min(2, len(most) - 1))[min(2, len(most) - 1)])
    px, py, w = seeds[near, 0], seeds[near, 1], weights[near]
    dx, dy = x[..., None] - px, y[..., None] - py
    power = dx * dx + dy * dy - w  # (h, w, candidates)
    first = power.argmin(axis=-1)
    lowest = np.take_along_axis(power, first[..., None], -1)
    gap = np.hypot(px[first][..., None] - px, py[first][..., None] - py)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_line = np.where(gap > 0, (power - lowest) / (2 * gap), np.float32(1e6))
    second = to_line.argmin(axis=-1)
    border = np.take_along_axis(to_line, second[..., None], -1)[..., 0]
    soft = border - rounding * np.log(np.exp((border[..., None] - to_line) / rounding).sum(axis=-1))
    return near[first] + 1, near[second] + 1, border, soft


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
