"""Instances of a plane from its maps, block by block; what lies in several blocks is joined.

Blocks overlap. Each is labelled by itself and keeps the pixels of its core; two instances of neighbouring blocks are
one if they agree in the pixels that both blocks see. What is smaller than the overlap comes out as in the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lisa_micro.geometry import tiles
from lisa_micro.io.lazy import CompactLabels
from lisa_micro.io.lazy.compact import RunCollector
from lisa_micro.large_images.stitching import Steps

CORE = 2048
"""px: side of what a block keeps."""
AGREEMENT = 0.5
"""Two instances of neighbouring blocks are one where their pixels in the overlap have a larger IoU than this."""

Columns = dict[str, np.ndarray]
LabelWindow = Callable[[int, int, int, int], tuple[np.ndarray, Columns]]
"""y0, y1, x0, x1 of a window -> labels ``(h, w)`` int32, 1..n, and further columns ``(n,)``."""


@dataclass
class _Joined:
    """What is known of the instances of all blocks so far, numbered 1..n over all of them."""

    parents: list[int] = field(default_factory=lambda: [0])
    areas: list[np.ndarray] = field(default_factory=lambda: [np.zeros(1, np.int64)])
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def root(self, k: int) -> int:
        """The number that stands for an instance and all that are joined to it."""
        while self.parents[k] != k:
            self.parents[k] = self.parents[self.parents[k]]
            k = self.parents[k]
        return k

    def join(self, pairs: np.ndarray) -> None:
        """Join pairs ``(n, 2)`` of numbers."""
        for a, b in pairs.tolist():
            one, other = self.root(a), self.root(b)
            self.parents[max(one, other)] = min(one, other)


def label_blocks(
    shape: tuple[int, int],
    label_window: LabelWindow,
    size: tuple[int, int],
    smallest: int = 1,
    one_region: bool = False,
    step: Steps | None = None,
) -> tuple[CompactLabels, Columns]:
    """Label a plane block by block.

    Args:
        shape: ``(H, W)`` px.
        label_window: labels one window.
        size: px: side of the core of a block, and by how much the block sees beyond it.
        smallest: px; smaller instances are left out.
        one_region: whether all that is labelled is one instance.
        step: called after each block.

    Returns:
        the labels, 1..n, and the further columns ``(n,)``; an instance in several blocks has those of the block that
        holds most of it.
    """
    core, reach = size
    blocks = list(tiles(shape, core + 2 * reach, reach))
    known, runs = _Joined(), RunCollector(shape)
    left: tuple[tuple[int, int, int, int], np.ndarray] | None = None
    above: dict[int, tuple[tuple[int, int, int, int], np.ndarray]] = {}  # first column -> window, labels
    starts = sorted({block.outer[0] for block in blocks})
    for number, block in enumerate(blocks):
        y0, y1, x0, x1 = block.outer
        labels, columns = label_window(y0, y1, x0, x1)
        offset = len(known.parents) - 1
        count = int(labels.max(initial=0))
        labels = np.where(labels > 0, labels + offset, 0).astype(np.int32)
        known.parents.extend(range(offset + 1, offset + count + 1))
        c0, c1, d0, d1 = block.core
        inner = labels[c0 - y0 : c1 - y0, d0 - x0 : d1 - x0]
        known.areas.append(np.bincount(inner.ravel(), minlength=offset + count + 1)[offset + 1 :])
        for name, values in columns.items():
            known.columns.setdefault(name, []).append(values)
        if not one_region:
            if left is not None and left[0][0] == y0 and left[0][3] > x0:
                known.join(_same(left[1], left[0], labels, block.outer))
            if x0 in above and above[x0][0][1] > y0:
                known.join(_same(above[x0][1], above[x0][0], labels, block.outer))
        runs.add(inner, c0, d0)
        left = (block.outer, labels)
        below = [start for start in starts if y0 < start < y1]
        if below:  # only the rows that the next row of blocks sees as well
            above[x0] = ((below[0], y1, x0, x1), labels[below[0] - y0 :].copy())
        if step:
            step(number + 1, len(blocks))
    return _finished(known, runs, smallest, one_region)


def _same(
    one: np.ndarray, window: tuple[int, int, int, int], other: np.ndarray, place: tuple[int, int, int, int]
) -> np.ndarray:
    """Pairs ``(n, 2)`` of instances that agree in the pixels of both windows."""
    y0, y1 = max(window[0], place[0]), min(window[1], place[1])
    x0, x1 = max(window[2], place[2]), min(window[3], place[3])
    a = one[y0 - window[0] : y1 - window[0], x0 - window[2] : x1 - window[2]]
    b = other[y0 - place[0] : y1 - place[0], x0 - place[2] : x1 - place[2]]
    return agreeing(a, b, AGREEMENT)


def agreeing(a: np.ndarray, b: np.ndarray, least: float) -> np.ndarray:
    """Pairs ``(n, 2)`` of labels of two images ``(h, w)`` of the same place whose IoU is above ``least``."""
    both = (a > 0) & (b > 0)
    first, second = a[both].astype(np.int64), b[both].astype(np.int64)
    if not len(first):
        return np.zeros((0, 2), np.int64)
    top = int(second.max()) + 1
    keys, shared = np.unique(first * top + second, return_counts=True)
    first, second = keys // top, keys % top
    numbers_a, sizes_a = np.unique(a[a > 0], return_counts=True)
    numbers_b, sizes_b = np.unique(b[b > 0], return_counts=True)
    area_a = sizes_a[np.searchsorted(numbers_a, first)]
    area_b = sizes_b[np.searchsorted(numbers_b, second)]
    alike = shared > least * (area_a + area_b - shared)
    return np.stack([first[alike], second[alike]], axis=1)


def _finished(known: _Joined, runs: RunCollector, smallest: int, one_region: bool) -> tuple[CompactLabels, Columns]:
    total = len(known.parents)
    areas = np.concatenate(known.areas)
    if one_region:
        numbers = np.ones(total, np.int64)
        numbers[0] = 0
        return runs.finish(numbers if areas.sum() else np.zeros(total, np.int64)), {}
    roots = np.array([known.root(k) for k in range(total)])
    whole = np.bincount(roots, areas, total)
    kept = np.flatnonzero(whole >= max(smallest, 1))
    kept = kept[kept > 0]
    final = np.zeros(total, np.int64)
    final[kept] = np.arange(1, len(kept) + 1)
    columns: Columns = {}
    if known.columns:
        order = np.lexsort((areas, roots))  # of each root the member with the largest area comes last
        last = np.append(roots[order][1:] != roots[order][:-1], True)
        chosen = order[last]  # ascending by root
        best = chosen[np.searchsorted(roots[chosen], kept)]
        columns = {name: np.concatenate([np.zeros(1), *values])[best] for name, values in known.columns.items()}
    return runs.finish(final[roots]), columns
