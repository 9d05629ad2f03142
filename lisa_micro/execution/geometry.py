"""Relations between instances on labels, in memory or as the runs of a plane of any size.

Gaps are edge to edge as everywhere in :mod:`lisa_micro.measure`: pixels side by side have a gap of 0; instances that
share a pixel have a gap of 0 too. A relation is a list of pairs: of 100,000 instances a matrix could not be held.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import ndimage

from lisa_micro.execution.outlines import Outlines, windows
from lisa_micro.io.lazy import CompactLabels

INSIDE_SHARE = 0.9
"""An instance lies inside another if at least this share of its pixels lies in it or in the holes that it encloses."""
LARGEST = 8192
"""px: in a plane that is read part by part, what lies inside an instance with a longer side is not told."""
_SHORT = 4.0  # px: gaps up to here are found by looking around each border pixel


class TooLargeError(Exception):
    """An instance with a side above :data:`LARGEST` in a plane that is read part by part."""


class Pairs:
    """Relations between the instances of one concept and those of another (or of the same one).

    Args:
        one, other: outlines of n and of m instances.
        same: whether both are the same instances; none is then related to itself.
    """

    def __init__(self, one: Outlines, other: Outlines, same: bool):
        self.one, self.other, self.same = one, other, same
        self._gaps: dict[tuple[int, int], float] = {}

    @cached_property
    def overlaps(self) -> np.ndarray:
        """``(k, 2)`` pairs that share a pixel."""
        found = [np.zeros((0, 2), np.int64)]
        if not self.same:
            for window in windows(self.one.instances.shape):
                mine, theirs = self.one.instances.window(*window), self.other.instances.window(*window)
                both = (mine > 0) & (theirs > 0)
                found.append(self._unique(mine[both] - 1, theirs[both] - 1))
        return self._unique(*np.concatenate(found).T)

    @cached_property
    def _shared(self) -> frozenset[tuple[int, int]]:
        return frozenset((int(a), int(b)) for a, b in self.overlaps)

    def _unique(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Pairs ``(k, 2)`` without repetition, in order."""
        m = max(self.other.count, 1)
        keys = np.unique(a.astype(np.int64) * m + b)
        return np.stack([keys // m, keys % m], axis=1)

    def gap(self, a: int, b: int) -> float:
        """The gap between instance a of one and instance b of the other, px."""
        if (a, b) in self._shared:
            return 0.0
        if (a, b) not in self._gaps:
            one, other = self.one.points(a), self.other.points(b)
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

    def bounds(self, a: int, others: np.ndarray) -> np.ndarray:
        """``(k,)``: a lower bound of the gap of instance a to each of some others, from their boxes.

        Args:
            others: ``(k,)`` numbers.
        """
        top, bottom, left, right = self.one.boxes[a]
        first, last, start, stop = self.other.boxes[others].T
        rows = np.maximum(np.maximum(first - bottom, top - last), 0)
        columns = np.maximum(np.maximum(start - right, left - stop), 0)
        return np.maximum(np.hypot(rows, columns) - 1, 0)

    def near(self, limit: float, members: np.ndarray) -> np.ndarray:
        """``(k, 2)`` pairs with a member that have a gap of at most ``limit`` px.

        Args:
            members: ``(m,)`` bool of the other instances.
        """
        if limit <= _SHORT:
            found = [self.overlaps, *self._look_around(limit)]
        else:
            found, numbers = [self.overlaps], np.flatnonzero(members)
            limit *= 1 + 1e-9
            for a in range(self.one.count):
                close = numbers[self.bounds(a, numbers) <= limit]
                close = [b for b in close.tolist() if not (self.same and a == b) and self.gap(a, b) <= limit]
                found.append(np.array([(a, b) for b in close], np.int64).reshape(-1, 2))
        pairs = self._unique(*np.concatenate(found).T)
        return pairs[members[pairs[:, 1]] & ~(self.same & (pairs[:, 0] == pairs[:, 1]))]

    def _look_around(self, limit: float) -> list[np.ndarray]:
        """Pairs that face each other across at most ``limit`` px, of each window."""
        found, reach = [], int(np.floor(limit)) + 1
        height, width = self.one.instances.shape
        for (y0, y1, x0, x1), pixels, owner in self.one.parts:
            top, left = max(y0 - reach, 0), max(x0 - reach, 0)
            bottom, right = min(y1 + reach, height), min(x1 + reach, width)
            around = np.pad(
                self.other.instances.window(top, bottom, left, right),
                ((reach - (y0 - top), reach - (bottom - y1)), (reach - (x0 - left), reach - (right - x1))),
            )
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    if np.hypot(dy, dx) > limit + 1 + 1e-9:
                        continue
                    seen = around[pixels[:, 0] - y0 + dy + reach, pixels[:, 1] - x0 + dx + reach]
                    hit = seen > 0
                    found.append(self._unique(owner[hit], seen[hit] - 1))
        return found

    def nearest(self, candidates: np.ndarray, members: np.ndarray, least: float = -1.0) -> np.ndarray:
        """``(n,)`` px: the gap of each candidate to the nearest member that is not itself.

        Args:
            candidates: ``(n,)`` bool; the others get infinity, as those without any member.
            members: ``(m,)`` bool.
            least: px; gaps up to here do not count.
        """
        out = np.full(self.one.count, np.inf)
        numbers = np.flatnonzero(members)
        for a in np.flatnonzero(candidates).tolist():
            others = numbers[numbers != a] if self.same else numbers
            bounds = self.bounds(a, others)
            if len(others) > 1:  # what is farther than the one whose box is nearest need not be sorted
                first = int(bounds.argmin())
                gap = self.gap(a, int(others[first]))
                if gap > least:
                    out[a] = gap
                    others, bounds = others[bounds < gap], bounds[bounds < gap]
            for k in np.argsort(bounds, kind="stable").tolist():
                if bounds[k] >= out[a]:
                    break
                gap = self.gap(a, int(others[k]))
                if least < gap < out[a]:
                    out[a] = gap
        return out

    def inside(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """``(k, 2)`` pairs of which the first lies inside the second (see :data:`INSIDE_SHARE`).

        Args:
            ones, others: ``(n,)`` and ``(m,)`` bool: which instances are looked at.

        Raises:
            TooLargeError: what may hold others is too large in a plane that is read part by part.
        """
        found = [np.zeros((0, 2), np.int64)]
        numbers = np.flatnonzero(ones)
        boxes = self.one.boxes[numbers]
        for b in np.flatnonzero(others).tolist():
            if not len(self.other.points(b)):
                continue
            y0, y1, x0, x1 = place = self.other.place(b)
            beside = (boxes[:, 0] >= y1) | (boxes[:, 1] < y0) | (boxes[:, 2] >= x1) | (boxes[:, 3] < x0)
            if beside.all() or (self.same and (~beside).sum() == 1 and ones[b]):
                continue  # none but itself
            if max(y1 - y0, x1 - x0) > LARGEST and isinstance(self.other.instances.labels, CompactLabels):
                raise TooLargeError
            region = ndimage.binary_fill_holes(self.other.instances.window(*place) == b + 1)
            inner, shared = np.unique(self.one.instances.window(*place)[region], return_counts=True)
            there = inner > 0
            inner, shared = inner[there].astype(np.int64) - 1, shared[there]
            inner = inner[(shared >= INSIDE_SHARE * self.one.areas[inner]) & ones[inner]]
            found.append(np.stack([inner, np.full_like(inner, b)], axis=1))
        pairs = np.concatenate(found)
        return pairs[pairs[:, 0] != pairs[:, 1]] if self.same else pairs
