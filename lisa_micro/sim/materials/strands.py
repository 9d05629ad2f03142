"""Strands: bodies with an axis, as fibres, rods and cracks are, and their distance fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.raster import Maps


@dataclass(frozen=True)
class Fibre:
    """One fibre.

    Attributes:
        points: ``(n, 2)`` float64 x, y px along its axis, n >= 2.
        radius: half width in px at its thickest.
        flat: whether its ends are cut square, else round.
        taper: 0 = even; 1 = pointed at its end.
        wave: relative amplitude of the change of its radius along the axis.
        bore: radius of the bore of a tube over its own, 0 = solid.
    """

    points: np.ndarray
    radius: float
    flat: bool = False
    taper: float = 0.0
    wave: float = 0.0
    bore: float = 0.0


@dataclass(frozen=True)
class Swath:
    """The pixels of one fibre and around it: flat indices, signed distance to its edge (px, negative inside), local
    radius (px), thickness (px)."""

    index: np.ndarray
    distance: np.ndarray
    radius: np.ndarray


def swath(fibre: Fibre, shape: tuple[int, int], margin: float = 2.0) -> Swath | None:
    """Pixels within ``margin`` px of a fibre's edge; ``None`` where it lies outside the image."""
    points, reach = fibre.points, fibre.radius * (1 + fibre.wave) + margin + 1
    low, high = np.floor(points.min(0) - reach).astype(int), np.ceil(points.max(0) + reach).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high + 1, (shape[1], shape[0]))
    if left >= right or top >= bottom:
        return None
    best = np.full((bottom - top, right - left), np.float32(1e6))
    local = np.full(best.shape, np.float32(fibre.radius))
    steps = np.hypot(*np.diff(points, axis=0).T)
    along, whole = np.r_[0, np.cumsum(steps)], max(float(steps.sum()), 1e-6)
    last = len(steps) - 1
    for k, (a, b) in enumerate(zip(points[:-1], points[1:], strict=True)):
        x0, y0 = np.maximum(np.floor(np.minimum(a, b) - reach).astype(int) - (left, top), 0)
        x1, y1 = np.minimum(np.ceil(np.maximum(a, b) + reach).astype(int) + 1 - (left, top), best.shape[::-1])
        if x0 >= x1 or y0 >= y1:
            continue
        dx = np.arange(x0 + left, x1 + left, dtype=np.float32)[None] - np.float32(a[0])
        dy = np.arange(y0 + top, y1 + top, dtype=np.float32)[:, None] - np.float32(a[1])
        ux, uy = ((b - a) / max(steps[k], 1e-6)).astype(np.float32)
        t, s = dx * ux + dy * uy, dy * ux - dx * uy
        inside = np.clip(t, 0, np.float32(steps[k]))
        over = t - inside
        place = (np.float32(along[k]) + inside) / np.float32(whole)
        radius = np.float32(fibre.radius) * (1 - np.float32(fibre.taper) * place)
        if fibre.wave:
            turns = np.float32(2 * np.pi * whole / (9 * fibre.radius))
            radius = radius * (1 + np.float32(fibre.wave) * np.sin(turns * place))
        distance = np.sqrt(over * over + s * s) - radius
        if fibre.flat and (k == 0 or k == last):
            cut = np.maximum(np.abs(s) - radius, np.abs(over))
            beyond = (over < 0) if k == 0 else (over > 0)
            beyond = over != 0 if last == 0 else beyond
            distance = np.where(beyond, cut, distance)
        window = (slice(y0, y1), slice(x0, x1))
        nearer = distance < best[window]
        best[window][nearer] = distance[nearer]
        local[window][nearer] = np.broadcast_to(radius, nearer.shape)[nearer]
    rows, columns = np.nonzero(best < margin)
    index = (rows + top) * shape[1] + columns + left
    return Swath(index, best[rows, columns], local[rows, columns])


def bent_line(
    rng: np.random.Generator, middle: tuple[float, float], heading: float, length: float, bend: float, step: float
) -> np.ndarray:
    """``(n, 2)`` points of a smooth curve through ``middle``.

    Args:
        rng: source of the bends.
        middle: x, y px.
        heading: direction at the middle, radians.
        length: px along the curve.
        bend: standard deviation of the heading over ``length``, radians.
        step: px between points.
    """
    n = int(np.clip(np.ceil(length / max(step, 1.0)), 1, 120))
    if bend < 1e-3:
        n = 1
    knots = np.cumsum(rng.normal(0, bend / 2.5, 7))
    turn = np.interp(np.linspace(0, 6, n), np.arange(7), knots)
    turn = np.convolve(np.pad(turn, 2, mode="edge"), np.ones(5) / 5, mode="valid") if n > 5 else turn
    headings = heading + turn - turn[n // 2]
    steps = length / n * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    points = np.r_[np.zeros((1, 2)), np.cumsum(steps, axis=0)]
    return points - points[(n + 1) // 2 if n > 1 else 0] - (0 if n > 1 else steps[0] / 2) + np.asarray(middle)


def rasterise_fibres(fibres: list[Fibre], shape: tuple[int, int], lift: float = 0.0, shadow: float = 0.0) -> Maps:
    """Maps of fibres painted in order, later ones above.

    Args:
        fibres: from the lowest to the uppermost.
        shape: ``(H, W)`` px.
        lift: height of the uppermost above the lowest, in radii.
        shadow: 0..1, how much a fibre darkens what lies below it beside it.
    """
    size = shape[0] * shape[1]
    labels, edge = np.zeros(size, np.int32), np.zeros(size, np.float32)
    height, projected, shade = np.zeros(size, np.float32), np.zeros(size, np.float32), np.ones(size, np.float32)
    for k, fibre in enumerate(fibres):
        found = swath(fibre, shape, 2.0 + (2.0 * fibre.radius if shadow else 0))
        if found is None:
            continue
        index, distance, radius = found.index, found.distance, found.radius
        if shadow:
            beside = distance > 0
            fall = np.exp(-distance[beside] / np.maximum(0.6 * radius[beside], 1))
            shade[index[beside]] *= 1 - np.float32(shadow) * fall
        near = distance < 1
        edge[index[near]] = np.maximum(edge[index[near]], np.clip(0.5 - distance[near], 0, 1))
        inside = distance < 0
        index, depth, radius = index[inside], -distance[inside], radius[inside]
        # a pixel that the edge cuts keeps some thickness, so that thin fibres do not vanish
        thick = np.sqrt(np.maximum(depth * (2 * radius - depth), 0))
        if fibre.bore:
            hollow = np.maximum(radius**2 * np.float32(fibre.bore**2) - (radius - depth) ** 2, 0)
            projected[index] += thick - np.sqrt(hollow)
        else:
            projected[index] += thick
        labels[index] = k + 1
        height[index] = thick + np.float32(lift * fibre.radius * (k + 1) / len(fibres))
        shade[index] = 1
    maps = (a.reshape(shape) for a in (labels, edge, height, projected, shade))
    return Maps(*maps)
