"""Relations between instances on label images.

Gaps are edge to edge as everywhere in :mod:`lisa_micro.measure`: pixels side by side have a gap of 0; instances that
share a pixel have a gap of 0 too.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lisa_micro.execution.scene import Instances
from lisa_micro.measure.contacts import border_pixels

INSIDE_SHARE = 0.9
"""An instance lies inside another if at least this share of its pixels lies in it or in the holes that it encloses."""
_SHORT = 4.0  # px: gaps up to here are found by looking around each border pixel


class Outlines:
    """Border pixels of the instances of one label image."""

    def __init__(self, instances: Instances):
        self.indexed = instances.indexed
        self.count = len(instances)
        pixels = border_pixels(self.indexed)
        owner = self.indexed[pixels[:, 0], pixels[:, 1]] - 1
        order = np.argsort(owner, kind="stable")
        self.pixels, self.owner = pixels[order], owner[order]
        edges = np.searchsorted(self.owner, np.arange(self.count + 1))
        self.points = [self.pixels[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        self._trees: dict[int, cKDTree] = {}

    @cached_property
    def boxes(self) -> np.ndarray:
        """``(n, 4)`` first and last row, first and last column; far away for an instance without pixels."""
        far = np.array([1e9, 1e9, 1e9, 1e9])
        return np.array([[*p.min(0), *p.max(0)] if len(p) else far for p in self.points], float).reshape(-1, 4)[
            :, [0, 2, 1, 3]
        ]

    def tree(self, k: int) -> cKDTree:
        """A search tree of the border pixels of instance k."""
        if k not in self._trees:
            self._trees[k] = cKDTree(self.points[k])
        return self._trees[k]


class Pairs:
    """Relations between the instances of one concept and those of another (or of the same one).

    Args:
        one, other: outlines.
        same: whether both are the same instances; none is then related to itself.
    """

    def __init__(self, one: Outlines, other: Outlines, same: bool):
        self.one, self.other, self.same = one, other, same
        self._gaps: dict[tuple[int, int], float] = {}

    @cached_property
    def overlaps(self) -> np.ndarray:
        """``(n, m)`` bool: which share a pixel."""
        out = np.zeros((self.one.count, self.other.count), bool)
        if not self.same:
            both = (self.one.indexed > 0) & (self.other.indexed > 0)
            out[self.one.indexed[both] - 1, self.other.indexed[both] - 1] = True
        return out

    def gap(self, a: int, b: int) -> float:
        """The gap between instance a of one and instance b of the other, px."""
        if self.overlaps[a, b]:
            return 0.0
        if (a, b) not in self._gaps:
            one, other = self.one.points[a], self.other.points[b]
            if len(one) == 0 or len(other) == 0:
                gap = np.inf
            elif len(one) > len(other):
                gap = float(self.one.tree(a).query(other)[0].min()) - 1
            else:
                gap = float(self.other.tree(b).query(one)[0].min()) - 1
            self._gaps[a, b] = gap
            if self.same:
                self._gaps[b, a] = gap
        return self._gaps[a, b]

    def bounds(self, a: int) -> np.ndarray:
        """``(m,)``: a lower bound of the gap of instance a to each of the others, from their boxes."""
        if self.other.count == 0:
            return np.zeros(0)
        top, bottom, left, right = self.one.boxes[a]
        boxes = self.other.boxes
        rows = np.maximum(np.maximum(boxes[:, 0] - bottom, top - boxes[:, 1]), 0)
        columns = np.maximum(np.maximum(boxes[:, 2] - right, left - boxes[:, 3]), 0)
        return np.maximum(np.hypot(rows, columns) - 1, 0)

    def near(self, limit: float) -> np.ndarray:
        """``(n, m)`` bool: which have a gap of at most ``limit`` px."""
        out = self.overlaps.copy()
        if limit <= _SHORT:
            self._look_around(out, limit)
        else:
            for a in range(self.one.count):
                for b in np.flatnonzero((self.bounds(a) <= limit * (1 + 1e-9)) & ~out[a]):
                    if not (self.same and a == b):
                        out[a, b] = self.gap(a, int(b)) <= limit * (1 + 1e-9)
        if self.same:
            np.fill_diagonal(out, False)
        return out

    def _look_around(self, out: np.ndarray, limit: float) -> None:
        reach = int(np.floor(limit)) + 1
        pixels, owner = self.one.pixels, self.one.owner
        padded = np.pad(self.other.indexed, reach)
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if np.hypot(dy, dx) > limit + 1 + 1e-9:
                    continue
                found = padded[pixels[:, 0] + dy + reach, pixels[:, 1] + dx + reach]
                hit = found > 0
                out[owner[hit], found[hit] - 1] = True

    def nearest(self, candidates: np.ndarray, members: np.ndarray, least: float = -1.0) -> np.ndarray:
        """``(n,)`` px: the gap of each candidate to the nearest member that is not itself.

        Args:
            candidates: ``(n,)`` bool; the others get infinity, as those without any member.
            members: ``(m,)`` bool.
            least: px; gaps up to here do not count.
        """
        out = np.full(self.one.count, np.inf)
        for a in np.flatnonzero(candidates):
            bounds = np.where(members, self.bounds(int(a)), np.inf)
            if self.same:
                bounds[a] = np.inf
            for b in np.argsort(bounds, kind="stable"):
                if bounds[b] >= out[a]:
                    break
                gap = self.gap(int(a), int(b))
                if least < gap < out[a]:
                    out[a] = gap
        return out

    @cached_property
    def inside(self) -> np.ndarray:
        """``(n, m)`` bool: which instances of one lie inside which of the other (see :data:`INSIDE_SHARE`)."""
        out = np.zeros((self.one.count, self.other.count), bool)
        sizes = np.bincount(self.one.indexed.ravel(), minlength=self.one.count + 1)[1:]
        for b, place in enumerate(ndimage.find_objects(self.other.indexed, max_label=self.other.count)):
            if place is None:
                continue
            region = ndimage.binary_fill_holes(self.other.indexed[place] == b + 1)
            within = np.bincount(self.one.indexed[place][region], minlength=self.one.count + 1)[1:]
            out[:, b] = (within > 0) & (within >= INSIDE_SHARE * sizes)
        if self.same:
            np.fill_diagonal(out, False)
        return out
