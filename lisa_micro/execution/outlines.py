"""Outlines of the instances of one concept: their border pixels, boxes and areas, collected window by window.

Labels may be an array or the runs of a plane of any size; neither is copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from lisa_micro.execution.scene import Instances
from lisa_micro.measure.contacts import border_pixels

WINDOW = 2048
"""px: side of the windows in which labels are looked at."""
MOST_TREES = 20_000
"""Search trees that are kept at a time."""
_FAR = 1e9

Window = tuple[int, int, int, int]
"""First row, row behind the last, first column, column behind the last."""


def windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Windows of at most :data:`WINDOW` px a side that tile an image ``(H, W)``."""
    for y in range(0, shape[0], WINDOW):
        for x in range(0, shape[1], WINDOW):
            yield y, min(y + WINDOW, shape[0]), x, min(x + WINDOW, shape[1])


class Outlines:
    """Border pixels of the instances of one concept.

    Args:
        instances: with labels.

    Attributes:
        count: number of instances n.
        areas: ``(n,)`` px.
        parts: of each window its place, its border pixels ``(k, 2)`` int32 (row, column), and the instance of each.
    """

    def __init__(self, instances: Instances):
        self.instances, self.count = instances, len(instances)
        self.areas = np.zeros(self.count, np.int64)
        self.parts: list[tuple[Window, np.ndarray, np.ndarray]] = []
        for y0, y1, x0, x1 in windows(instances.shape):
            top, left = max(y0 - 1, 0), max(x0 - 1, 0)  # whether a pixel is a border pixel, its neighbours tell
            around = instances.window(top, y1 + 1, left, x1 + 1)
            core = around[y0 - top : y1 - top, x0 - left : x1 - left]
            if not core.any():
                continue
            self.areas += np.bincount(core.ravel(), minlength=self.count + 1)[1:]
            pixels = border_pixels(around) + [top, left]
            here = (pixels >= [y0, x0]).all(axis=1) & (pixels < [y1, x1]).all(axis=1)
            pixels = pixels[here].astype(np.int32)
            owner = around[pixels[:, 0] - top, pixels[:, 1] - left] - 1
            self.parts.append(((y0, y1, x0, x1), pixels, owner))
        owner = np.concatenate([owner for *_, owner in self.parts] or [np.zeros(0, np.int32)])
        pixels = np.concatenate([pixels for _, pixels, _ in self.parts] or [np.zeros((0, 2), np.int32)])
        order = np.argsort(owner, kind="stable")
        self._pixels = pixels[order]
        self._edges = np.searchsorted(owner[order], np.arange(self.count + 1))
        self._trees: dict[int, cKDTree] = {}

    def points(self, k: int) -> np.ndarray:
        """``(m, 2)`` row, column: the border pixels of instance k."""
        return self._pixels[self._edges[k] : self._edges[k + 1]]

    @cached_property
    def boxes(self) -> np.ndarray:
        """``(n, 4)`` first and last row, first and last column; far away for an instance without pixels."""
        out = np.full((self.count, 4), _FAR)
        there = np.flatnonzero(np.diff(self._edges))
        if len(there):
            first = self._edges[there]
            low, high = (edge.reduceat(self._pixels, first, axis=0) for edge in (np.minimum, np.maximum))
            out[there] = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
        return out

    def place(self, k: int) -> Window:
        """The window that holds instance k, which must have pixels."""
        y0, y1, x0, x1 = (int(edge) for edge in self.boxes[k])
        return y0, y1 + 1, x0, x1 + 1

    def tree(self, k: int) -> cKDTree:
        """A search tree of the border pixels of instance k."""
        if k not in self._trees:
            if len(self._trees) >= MOST_TREES:
                self._trees.clear()
            self._trees[k] = cKDTree(self.points(k))
        return self._trees[k]
