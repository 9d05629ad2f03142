"""From bodies and necks to maps: labels, soft edge, thickness. The geometry may be warped to look less
ideal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.contacts import Bond
from lisa_micro.sim.shapes import Body, field


@dataclass(frozen=True)
class Warp:
    """A smooth displacement of the plane that makes ideal outlines irregular and keeps the truth exact.

    A pixel at image point p shows the ideal geometry at p + w(p), w a sum of plane sine waves. Waves:
    ``(n, 5)`` rows kx, ky (radians per px), phase, and amplitude along x and along y (px).
    """

    waves: np.ndarray

    @property
    def reach(self) -> float:
        """Largest displacement in px."""
        return float(np.hypot(self.waves[:, 3], self.waves[:, 4]).sum()) if len(self.waves) else 0.0

    def grid(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Ideal coordinates x and y of each pixel, two ``(H, W)`` float32 arrays."""
        row = np.arange(shape[0], dtype=np.float32)[:, None]
        column = np.arange(shape[1], dtype=np.float32)[None]
        x, y = np.repeat(column, shape[0], 0), np.repeat(row, shape[1], 1)
        for kx, ky, phase, ax, ay in self.waves.astype(np.float32):
            # sin(a + b) from outer products: trigonometry on H + W values instead of H x W
            s = np.sin(ky * row + phase) * np.cos(kx * column) + np.cos(ky * row + phase) * np.sin(kx * column)
            x += ax * s
            y += ay * s
        return x, y

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Image points ``(n, 2)`` that show the ideal points ``(n, 2)`` (fixed point iteration; w
        contracts)."""
        points = np.asarray(points, dtype=np.float64)
        found = points
        for _ in range(30 if len(self.waves) else 0):
            phase = found @ self.waves[:, :2].T + self.waves[:, 2]
            found = points - np.sin(phase) @ self.waves[:, 3:5]
        return found


def no_warp() -> Warp:
    """The identity."""
    return Warp(np.zeros((0, 5)))


def random_warp(rng: np.random.Generator, radius: float) -> Warp:
    """A warp for particles of about ``radius`` px: out-of-round shapes, and sometimes rough edges.

    The gradient of the displacement stays below 0.3, so that the fixed point iteration converges and gaps and
    necks keep their meaning.
    """
    waves = []
    strength = rng.uniform(0.05, 0.2)
    scales = [(rng.uniform(1.8, 5.0), strength) for _ in range(3)]
    if rng.random() < 0.4:
        scales += [(rng.uniform(0.35, 0.9), rng.uniform(0.03, 0.1)) for _ in range(2)]
    for wavelengths, gradient in scales:
        k = 2 * np.pi / max(wavelengths * radius, 9.0)
        direction, along = rng.uniform(0, 2 * np.pi, 2)
        amplitude = gradient / (k * 3.0)
        waves.append(
            [
                k * np.cos(direction),
                k * np.sin(direction),
                rng.uniform(0, 2 * np.pi),
                amplitude * np.cos(along),
                amplitude * np.sin(along),
            ]
        )
    return Warp(np.array(waves))


@dataclass(frozen=True)
class Maps:
    """Geometry on the pixel grid, all ``(H, W)``.

    Attributes:
        labels: int32, body index + 1 of the particle in front, 0 = background.
        edge: float32 0..1, coverage with a soft edge of 1 px.
        height: float32 px, height of the visible surface above its particle's equator (0 = background).
        projected: float32 px, material passed by a beam (overlapping particles add up; fused ones do not).
        shade: float32, factor on the brightness of a surface (SEM); ``None``: 1 everywhere.
    """

    labels: np.ndarray
    edge: np.ndarray
    height: np.ndarray
    projected: np.ndarray
    shade: np.ndarray | None = None


def window_of(x0: float, y0: float, reach: float, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns within ``reach`` px of a point, None where they lie outside the image."""
    top, bottom = max(0, int(y0 - reach)), min(shape[0], int(y0 + reach) + 2)
    left, right = max(0, int(x0 - reach)), min(shape[1], int(x0 + reach) + 2)
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def rasterise(
    bodies: list[Body], bonds: list[Bond], shape: tuple[int, int], warp: Warp, grid: tuple | None = None
) -> Maps:
    """Paint bodies in order (later ones in front) and the necks between bonded discs.

    Bonded discs are one filleted surface, divided at the chord: a pixel of the neck belongs to the particle
    on whose side of the chord it lies.

    Args:
        bodies: in ideal coordinates, px.
        bonds: necks between discs.
        shape: ``(H, W)`` in px.
        warp: from ideal coordinates to the image.
        grid: ``warp.grid(shape)`` if it is already there.
    """
    x, y = warp.grid(shape) if grid is None else grid
    labels = np.zeros(shape, np.int32)
    edge, height, projected = (np.zeros(shape, np.float32) for _ in range(3))
    fused = {k for bond in bonds for k in (bond.i, bond.j)}
    pad = warp.reach + 2
    for k, body in enumerate(bodies):
        window = window_of(body.x, body.y, body.reach + pad, shape)
        if window is None:
            continue
        distance, thick = field(body, x[window], y[window])
        inside = distance < 0
        np.maximum(edge[window], np.clip(0.5 - distance, 0, 1), out=edge[window])
        if k in fused:
            np.maximum(projected[window], thick, out=projected[window])
            np.maximum(height[window], thick, out=height[window])
        else:
            projected[window] += thick
            np.copyto(height[window], thick, where=inside)
        np.copyto(labels[window], k + 1, where=inside)
    for bond in bonds:
        _paint_neck(bodies, bond, (x, y), pad, labels, edge, height, projected)
    return Maps(labels, edge, height, projected)


def _paint_neck(bodies, bond: Bond, grid, pad: float, labels, edge, height, projected) -> None:
    """Add the fillet of one neck to the maps and divide the labels at its chord."""
    one, other = bodies[bond.i], bodies[bond.j]
    ax, ay = other.x - one.x, other.y - one.y
    d = float(np.hypot(ax, ay))
    ax, ay = ax / d, ay / d
    r1, r2, u, rho = one.a, other.a, bond.u, bond.rho
    v = bond.x + rho
    # the fillet runs between its points of contact with the two circles
    s1, s2 = u * r1 / (r1 + rho), d - (d - u) * r2 / (r2 + rho)
    w1, w2 = v * r1 / (r1 + rho), v * r2 / (r2 + rho)
    lens = (max(u - (d - r2), 0.0), max(r1 - u, 0.0)) if d < r1 + r2 else (0.0, 0.0)
    reach = float(np.hypot(max(u - s1, s2 - u, *lens), max(w1, w2, bond.x))) + pad
    window = window_of(one.x + u * ax, one.y + u * ay, reach, labels.shape)
    if window is None:
        return
    dx, dy = grid[0][window] - np.float32(one.x), grid[1][window] - np.float32(one.y)
    s, t = np.float32(ax) * dx + np.float32(ay) * dy, np.abs(np.float32(ax) * dy - np.float32(ay) * dx)
    first = s < u
    seen = labels[window]
    ours = (seen == bond.i + 1) | (seen == bond.j + 1)
    overlap = (s * s + t * t < r1 * r1) & ((s - d) ** 2 + t * t < r2 * r2)
    region = overlap & ours
    if rho > 0:
        span = (s >= s1) & (s <= s2)
        half = v - np.sqrt(np.maximum(rho * rho - (s - u) ** 2, 0))  # half-width of the neck along the axis
        patch = span & (t < half)
        region |= patch & (ours | (seen == 0))
        soft = np.where(span, np.clip(half - t + 0.5, 0, 1), 0)
        np.maximum(edge[window], soft, out=edge[window])
        # the neck is a body of revolution about the line of centres
        thick = np.where(patch, np.sqrt(np.maximum(half * half - t * t, 0)), 0)
        np.maximum(height[window], thick, out=height[window])
        np.maximum(projected[window], thick, out=projected[window])
    seen[region & first] = bond.i + 1
    seen[region & ~first] = bond.j + 1
