"""What there is to outline: visible particles, necks by their chords, pores, agglomerates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from lisa_micro.sim.contacts import Bond, chord, components
from lisa_micro.sim.raster import Maps, Warp
from lisa_micro.sim.shapes import Body, equivalent_radius, field, outline

MIN_PARTICLE_PX = 6
"""Particles that show fewer pixels than this (slivers at the border, almost hidden ones) are not labelled."""
MIN_PORE_PX = 4
MIN_HALF_CHORD_PX = 1.0


@dataclass(frozen=True)
class Truth:
    """Truth of one scene; labels are ``(H, W)`` int32, numbered 1..n without gaps, 0 = none.

    Attributes:
        particles: visible part of each particle.
        necks: part of the two particles within x/2 of the chord, measured along its normal.
        pores: background enclosed by particles.
        agglomerates: clusters of three or more particles in contact, each cluster with all its particles.
        neck_table: one dict a neck, see :class:`lisa_micro.sim.scene.Scene`.
        centres: ``(n, 2)`` float64 x, y of particle k in row k - 1, image px (may lie outside the image).
        radii: ``(n,)`` float64 radius of the disc of the same area, px, hidden parts included.
        contacts: pairs of particle labels in contact, ``(m, 2)`` int64.
        source: ``(n,)`` int64, index of the body that particle k shows.
    """

    particles: np.ndarray
    necks: np.ndarray
    pores: np.ndarray
    agglomerates: np.ndarray
    neck_table: list[dict[str, Any]]
    centres: np.ndarray
    radii: np.ndarray
    contacts: np.ndarray
    source: np.ndarray


def derive_truth(
    bodies: list[Body], bonds: list[Bond], maps: Maps, warp: Warp, hidden: np.ndarray | None = None
) -> Truth:
    """Truth from geometry.

    Args:
        bodies, bonds, warp: the geometry.
        maps: the same, rasterised.
        hidden: ``(H, W)`` bool, where something opaque (a banner) lies on the image.
    """
    shape = maps.labels.shape
    labels = maps.labels if hidden is None else np.where(hidden, 0, maps.labels)
    counts = np.bincount(labels.ravel(), minlength=len(bodies) + 1)
    kept = np.flatnonzero(counts[1:] >= MIN_PARTICLE_PX)
    lookup = np.zeros(len(bodies) + 1, np.int32)
    lookup[kept + 1] = np.arange(1, len(kept) + 1)
    particles = lookup[labels]
    centres = np.array([(bodies[k].x, bodies[k].y) for k in kept], dtype=np.float64).reshape(-1, 2)
    centres = warp.to_image(centres)
    radii = np.array([equivalent_radius(bodies[k]) for k in kept], dtype=np.float64)

    candidates: list[tuple[int, int, np.ndarray | None, bool]] = []
    for bond in bonds:
        a, b = lookup[bond.i + 1], lookup[bond.j + 1]
        if a and b:
            candidates.append((a, b, _visible_chord(warp.to_image(chord(bodies, bond)), particles, a, b), True))
    bonded = {(bond.i, bond.j) for bond in bonds}
    for i, j in _overlaps(bodies, kept, bonded):
        touching, ends = _interface(bodies, i, j, warp, shape, hidden)
        if touching:
            candidates.append((lookup[i + 1], lookup[j + 1], ends, False))

    contacts, table = [], []
    for a, b, ends, fused in candidates:
        if fused and ends is None:
            continue  # the neck is outside the image or hidden
        contacts.append((min(a, b), max(a, b)))
        if ends is not None and np.hypot(*(ends[1] - ends[0])) >= 2 * MIN_HALF_CHORD_PX:
            table.append(_neck_row(a, b, ends, 0.5 * (radii[a - 1] + radii[b - 1]), fused, shape))
    table.sort(key=lambda row: (row["a"], row["b"]))
    necks, table = paint_necks(table, particles)
    group = components(len(kept), [(a - 1, b - 1) for a, b in contacts])
    return Truth(
        particles,
        necks,
        find_pores(particles, hidden),
        _agglomerates(particles, group),
        table,
        centres,
        radii,
        np.array(sorted(set(contacts)), dtype=np.int64).reshape(-1, 2),
        kept.astype(np.int64),
    )


def _neck_row(a: int, b: int, ends: np.ndarray, radius: float, fused: bool, shape) -> dict[str, Any]:
    (x0, y0), (x1, y1) = ends
    x = 0.5 * float(np.hypot(x1 - x0, y1 - y0))
    at_border = min(x0, y0, x1, y1) < 0.5 or max(x0, x1) > shape[1] - 1.5 or max(y0, y1) > shape[0] - 1.5
    return {
        "label": 0,
        "a": int(a),
        "b": int(b),
        "x0": float(x0),
        "y0": float(y0),
        "x1": float(x1),
        "y1": float(y1),
        "x_px": x,
        "R_px": float(radius),
        "x_over_R": x / float(radius),
        "cx": 0.5 * float(x0 + x1),
        "cy": 0.5 * float(y0 + y1),
        "fused": bool(fused),
        "at_border": bool(at_border),
    }


def _visible_chord(ends: np.ndarray, particles: np.ndarray, a: int, b: int) -> np.ndarray | None:
    """The part of a chord that lies in the image and is not taken by a third particle; ``None`` where none
    is."""
    steps = max(8, int(4 * np.hypot(*(ends[1] - ends[0]))))
    t = (np.arange(steps) + 0.5) / steps
    points = ends[0] + t[:, None] * (ends[1] - ends[0])
    column, row = np.rint(points).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < particles.shape[1]) & (row < particles.shape[0])
    seen = particles[np.where(inside, row, 0), np.where(inside, column, 0)]
    ours = inside & ((seen == a) | (seen == b))
    # a pixel of background at the very end is rounding; a third particle, or the border, is an end of the
    # interface
    blocked = ~inside | ((seen > 0) & ~ours)
    if not ours.any():
        return None
    start, stop = _longest_run(~blocked)
    if not ours[start:stop].any():
        return None
    first = 0.0 if start == 0 else t[start]
    last = 1.0 if stop == steps else t[stop - 1]
    return ends[0] + np.array([[first], [last]]) * (ends[1] - ends[0])


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Start and stop of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


def _overlaps(bodies: list[Body], kept: np.ndarray, bonded: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs (back, front) of visible bodies that may overlap without being fused."""
    if len(kept) < 2:
        return []
    xy = np.array([(bodies[k].x, bodies[k].y) for k in kept])
    reach = np.array([bodies[k].reach for k in kept])
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    near = np.argwhere(np.triu(distance < reach[:, None] + reach[None], 1))
    pairs = [(int(kept[i]), int(kept[j])) for i, j in near]
    return [pair for pair in pairs if pair not in bonded]


def _interface(
    bodies: list[Body], back: int, front: int, warp: Warp, shape, hidden: np.ndarray | None
) -> tuple[bool, np.ndarray | None]:
    """Whether a front body shows against a back one, and the two ends of that edge in image px.

    The common interface is the front outline where it lies inside the back body and neither is covered by a
    third one. A front body that lies wholly inside the back one is in contact, but its interface has no ends.
    """
    edge = outline(bodies[front], 288)
    x, y = edge.T
    on = field(bodies[back], x, y)[0] < 0
    if not on.any():
        return False, None
    for k in range(back + 1, len(bodies)):
        other = bodies[k]
        if k == front or np.hypot(other.x - bodies[front].x, other.y - bodies[front].y) > (
            other.reach + bodies[front].reach
        ):
            continue
        on &= field(other, x, y)[0] >= 0
    image = warp.to_image(edge)
    column, row = np.rint(image).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
    on &= inside
    if hidden is not None:
        on &= ~hidden[np.where(inside, row, 0), np.where(inside, column, 0)]
    if not on.any():
        return False, None
    if on.all():
        return True, None
    shift = int(np.flatnonzero(~on)[0])
    start, stop = _longest_run(np.roll(on, -shift))
    points = np.roll(image, -shift, axis=0)
    return True, points[[start, stop - 1]]


def paint_necks(table: list[dict[str, Any]], particles: np.ndarray) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Neck labels and the rows that are visible, numbered 1..n.

    A neck is the part of its two particles' union whose distance from the chord, along the chord's normal, is
    at most x/2 (at least 1 px, so that the thinnest neck can be seen), between the two ends of the chord: a
    band of thickness x and length 2x. Where two bands meet, a pixel goes to the nearer chord.

    Args:
        table: rows with ``a``, ``b`` and the chord's ends.
        particles: ``(H, W)`` int32.
    """
    necks = np.zeros(particles.shape, np.int32)
    nearest = np.full(particles.shape, np.inf, np.float32) if table else None
    for number, row in enumerate(table, start=1):
        x, tx, ty = row["x_px"], row["x1"] - row["x0"], row["y1"] - row["y0"]
        tx, ty = tx / (2 * x), ty / (2 * x)
        reach = 1.2 * x + 2
        top, left = max(0, int(row["cy"] - reach)), max(0, int(row["cx"] - reach))
        window = np.s_[top : int(row["cy"] + reach) + 2, left : int(row["cx"] + reach) + 2]
        seen = particles[window]
        dy = np.arange(top, top + seen.shape[0])[:, None] - row["cy"]
        dx = np.arange(left, left + seen.shape[1])[None] - row["cx"]
        across = np.abs(dx * ty - dy * tx)
        band = (across <= max(0.5 * x, 1.0)) & (np.abs(dx * tx + dy * ty) <= x)
        band &= ((seen == row["a"]) | (seen == row["b"])) & (across < nearest[window])
        necks[window][band] = number
        nearest[window][band] = across[band]
    shown = np.bincount(necks.ravel(), minlength=len(table) + 1)[1:] > 0
    lookup = np.concatenate([[0], np.cumsum(shown) * shown]).astype(np.int32)
    rows = [dict(row, label=int(lookup[k + 1])) for k, row in enumerate(table) if shown[k]]
    return lookup[necks], rows


def find_pores(particles: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """``(H, W)`` int32 labels of background that particles enclose: 4-connected, not open to the image's
    border or to a banner, at least :data:`MIN_PORE_PX` px."""
    background, n = ndimage.label(particles == 0)
    if n < 2:
        return np.zeros(particles.shape, np.int32)
    open_ones = [background[0], background[-1], background[:, 0], background[:, -1]]
    if hidden is not None:
        open_ones.append(background[hidden])
    closed = np.bincount(background.ravel(), minlength=n + 1) >= MIN_PORE_PX
    closed[np.unique(np.concatenate([o.ravel() for o in open_ones]))] = False
    closed[0] = False
    return (np.cumsum(closed) * closed).astype(np.int32)[background]


def _agglomerates(particles: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Labels of the clusters of three or more particles."""
    lookup = np.zeros(len(group) + 1, np.int32)
    number = 0
    for root in np.unique(group):
        members = np.flatnonzero(group == root)
        if len(members) >= 3:
            number += 1
            lookup[members + 1] = number
    return lookup[particles]
