"""Outlines of instances along the edges of their pixels, so that a polygon covers exactly its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

Ring = np.ndarray
"""``(n, 2)`` corners XY in px, closed without repeating the first; pixel (x, y) covers x..x+1, y..y+1."""


def instance_rings(labels: np.ndarray) -> Iterator[tuple[int, list[list[Ring]]]]:
    """The polygons of each instance.

    Args:
        labels: ``(H, W)`` integers, 0 = background.

    Yields:
        the label, and its polygons: each is a list of rings, the outer one first and then its holes.
    """
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if place is None:
            continue
        rows, columns = place
        offset = np.array([columns.start, rows.start])
        yield number, [[ring + offset for ring in polygon] for polygon in polygons(labels[place] == number)]


def polygons(mask: np.ndarray) -> list[list[Ring]]:
    """The polygons of a mask ``(H, W)`` bool, one for each 4-connected part: outer ring first, then its holes."""
    parts, count = ndimage.label(mask)
    out = []
    for number in range(1, count + 1):
        found = sorted(_rings(parts == number), key=lambda ring: -abs(_area(ring)))
        out.append(found)
    return out


def _area(ring: Ring) -> float:
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _rings(mask: np.ndarray) -> list[Ring]:
    """All closed boundaries of a 4-connected mask; the mask lies to the right of the way, so holes run the other way
    round."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(edges: np.ndarray, start: tuple[int, int], stop: tuple[int, int]) -> None:
        for y, x in np.argwhere(edges).tolist():
            a, b = (x + start[0], y + start[1]), (x + stop[0], y + stop[1])
            following.setdefault(a, []).append(b)

    inside = padded[1:-1, 1:-1]
    add(inside & ~padded[:-2, 1:-1], (0, 0), (1, 0))  # upper edges run to the right
    add(inside & ~padded[1:-1, 2:], (1, 0), (1, 1))  # right edges run down
    add(inside & ~padded[2:, 1:-1], (1, 1), (0, 1))  # lower edges run to the left
    add(inside & ~padded[1:-1, :-2], (0, 1), (0, 0))  # left edges run up
    rings = []
    while following:
        start = next(iter(following))
        ring, place, way = [start], start, (0, 0)
        while True:
            ahead = following[place]
            # where two corners of the part touch, turning right keeps to the same pixel: rings do not cross
            choice = min(range(len(ahead)), key=lambda k: _turn(way, place, ahead[k])) if len(ahead) > 1 else 0
            target = ahead.pop(choice)
            if not ahead:
                del following[place]
            way = (target[0] - place[0], target[1] - place[1])
            place = target
            if place == start:
                break
            ring.append(place)
        rings.append(_without_straight(np.array(ring)))
    return rings


def _turn(way: tuple[int, int], place: tuple[int, int], target: tuple[int, int]) -> int:
    """-1 for a turn to the right (y points down), 0 straight on, 1 to the left."""
    step = (target[0] - place[0], target[1] - place[1])
    return -(way[0] * step[1] - way[1] * step[0])


def _without_straight(ring: Ring) -> Ring:
    """The corners at which the way changes."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[(before != after).any(axis=1)]
