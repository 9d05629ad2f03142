"""Cracks: jagged, branching, open lines of uneven width."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.strands import Fibre, swath
from lisa_micro.sim.texture import blur, smooth_noise

FAR = np.float32(1e3)


def crack_tree(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading: float,
    length: float,
    half_width: float,
    branching: float = 0.25,
    depth: int = 2,
) -> list[Fibre]:
    """A crack and its branches as tapered polylines.

    Args:
        rng: source of the path.
        start: x, y px where it begins.
        heading: its main direction, radians.
        length: px.
        half_width: px where it begins.
        branching: chance of a branch at each bend.
        depth: how often branches may branch.
    """
    step = max(5.0, 2.5 * half_width)
    n = max(2, int(length / step))
    jag, pull = rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.6)
    points, way, out = [np.asarray(start, float)], heading, []
    for k in range(n):
        way = way + pull * (heading - way) + rng.normal(0, jag)
        points.append(points[-1] + step * rng.uniform(0.5, 1.5) * np.array([np.cos(way), np.sin(way)]))
        if depth and k > 1 and rng.random() < branching * step / 30:
            left = (1 - k / n) * length * rng.uniform(0.2, 0.8)
            aside = way + rng.choice([-1, 1]) * rng.uniform(0.3, 1.3)
            thin = max(half_width * rng.uniform(0.4, 0.9) * (1 - 0.6 * k / n), 0.8)
            if left > 3 * step:
                out += crack_tree(rng, tuple(points[-1]), aside, left, thin, branching, depth - 1)
    taper = float(np.clip(1 - 0.8 / half_width, 0, 0.9)) * rng.uniform(0.3, 1)
    return [Fibre(np.array(points), half_width, taper=taper), *out]


def crack_field(
    rng: np.random.Generator, trees: list[list[Fibre]], shape: tuple[int, int], roughness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the cracks are.

    Args:
        rng: source of the roughness of their flanks.
        trees: cracks, each a list of a trunk and its branches.
        shape: ``(H, W)`` px.
        roughness: amplitude of the flanks' irregularity over the local half width.

    Returns:
        ``(distance, labels)``: ``(H, W)`` float32 signed distance to the flank in px, negative inside, large far away;
        ``(H, W)`` int32 crack k + 1 where one is open (at a crossing, the later one).
    """
    distance, labels = np.full(shape, FAR).ravel(), np.zeros(shape[0] * shape[1], np.int32)
    uneven = smooth_noise(rng, shape, 3.5).ravel()
    for k, tree in enumerate(trees):
        for part in tree:
            found = swath(part, shape, 12.0)
            if found is None:
                continue
            d = found.distance + np.float32(roughness) * np.maximum(found.radius - 0.6, 0) * uneven[found.index]
            inside = d < 0
            labels[found.index[inside]] = k + 1
            distance[found.index] = np.minimum(distance[found.index], d)
    return distance.reshape(shape), labels.reshape(shape)


def open_cracks(
    image: np.ndarray, distance: np.ndarray, look: np.random.Generator, transmitted_bright: bool
) -> np.ndarray:
    """Draw cracks into an image: dark inside (bright where the beam passes), with flanks that charge.

    Args:
        image: ``(H, W)`` float32.
        distance: from :func:`crack_field`.
        look: source of the contrast.
        transmitted_bright: bright-field: what is open is bright.
    """
    share = np.clip(0.5 - distance, 0, 1)
    deep = np.float32(look.uniform(0.0, 0.3)) * float(np.median(image))
    if transmitted_bright:
        deep = np.float32(1 + look.uniform(0.2, 0.5)) * float(np.percentile(image, 90))
    rim = np.float32(look.uniform(0, 0.5) if look.random() < 0.4 else 0.0)
    flank = np.exp(-np.abs(distance) / np.float32(look.uniform(1, 3))) * rim
    image = image * (1 + flank * (1 - share))
    inside = deep * (1 + np.float32(0.06 if transmitted_bright else 0.25) * smooth_noise(look, image.shape, 4))
    return image + blur(share, 0.4) * (inside - image)
