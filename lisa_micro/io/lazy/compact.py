"""Instance labels of large images as runs: their memory follows the contours, not the area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class CompactLabels:
    """Instance labels ``(H, W)`` as runs of equal labels along rows.

    ``labels[y0:y1, x0:x1]`` gives that part as int32.

    Attributes:
        shape: ``(H, W)`` px.
        count: number of instances, 1..count.
        rows: ``(n,)`` int32 row of each run, ascending.
        starts, stops: ``(n,)`` int32 first column of each run, and the column behind its last.
        values: ``(n,)`` int32 label of each run, 1..count.
    """

    shape: tuple[int, int]
    count: int
    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    values: np.ndarray

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """int32."""
        return np.dtype(np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes of the runs."""
        return int(self.rows.nbytes + self.starts.nbytes + self.stops.nbytes + self.values.nbytes)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Part of the labels, clipped to the image: ``(h, w)`` int32."""
        (y0, y1), (x0, x1) = (
            (max(low, 0), max(min(high, side), max(low, 0)))
            for low, high, side in ((y0, y1, self.shape[0]), (x0, x1, self.shape[1]))
        )
        height, width = y1 - y0, x1 - x0
        first, last = np.searchsorted(self.rows, [y0, y1])
        here = slice(int(first), int(last))
        begin, end = np.maximum(self.starts[here], x0), np.minimum(self.stops[here], x1)
        seen = begin < end
        row = self.rows[here][seen].astype(np.int64) - y0
        value = self.values[here][seen]
        # each run adds its label where it begins and takes it away where it ends
        change = np.zeros(height * width + 1, np.int32)
        np.add.at(change, row * width + (begin[seen] - x0), value)
        np.subtract.at(change, row * width + (end[seen] - x0), value)
        return np.cumsum(change[:-1], dtype=np.int32).reshape(height, width)

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        (y0, y1, down), (x0, x1, across) = (one.indices(side) for one, side in zip(part, self.shape, strict=True))
        return self.read(y0, y1, x0, x1)[::down, ::across]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        labels = self.read(0, self.shape[0], 0, self.shape[1])
        return labels if dtype is None else labels.astype(dtype)  # type: ignore[call-overload]

    def sampled(self, step: int) -> np.ndarray:
        """Every ``step``-th pixel of every ``step``-th row, from the middle of the first block of that size."""
        height, width = (-(-side // step) for side in self.shape)
        out = np.zeros((height, width), np.int32)
        for k in range(height):
            y = min(k * step + step // 2, self.shape[0] - 1)
            row = self.read(y, y + 1, 0, self.shape[1])[0]
            out[k] = row[np.minimum(np.arange(width) * step + step // 2, self.shape[1] - 1)]
        return out

    def areas(self) -> np.ndarray:
        """``(count,)`` int64 px of each instance."""
        lengths = (self.stops - self.starts).astype(np.float64)
        return np.bincount(self.values, lengths, self.count + 1)[1:].astype(np.int64)

    def boxes(self) -> np.ndarray:
        """``(count, 4)`` int64 XYXY px, far edge exclusive; zeros for a number without pixels."""
        low = np.full((self.count + 1, 2), np.iinfo(np.int64).max)
        high = np.zeros((self.count + 1, 2), np.int64)
        for column, edges in ((0, self.starts), (1, self.rows)):
            np.minimum.at(low[:, column], self.values, edges)
        for column, edges in ((0, self.stops), (1, self.rows + 1)):
            np.maximum.at(high[:, column], self.values, edges)
        low[high[:, 0] == 0] = 0
        return np.concatenate([low, high], axis=1)[1:]

    def centroids(self) -> np.ndarray:
        """``(count, 2)`` XY px of each instance, pixel centres at whole numbers; NaN for a number without pixels."""
        lengths = (self.stops - self.starts).astype(np.float64)
        area = np.bincount(self.values, lengths, self.count + 1)[1:]
        middle = (self.starts.astype(np.float64) + self.stops - 1) / 2
        x = np.bincount(self.values, lengths * middle, self.count + 1)[1:]
        y = np.bincount(self.values, lengths * self.rows, self.count + 1)[1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([x / area, y / area], axis=1)

    def kept(self, keep: np.ndarray) -> CompactLabels:
        """The instances k with ``keep[k - 1]``, numbered 1..n without gaps."""
        numbers = np.zeros(self.count + 1, np.int32)
        numbers[1:][keep] = np.arange(1, int(np.count_nonzero(keep)) + 1)
        return self.renumbered(numbers)

    def renumbered(self, numbers: np.ndarray) -> CompactLabels:
        """Labels k become ``numbers[k]``; runs that become 0 are left out.

        Args:
            numbers: ``(count + 1,)`` integers.
        """
        values = numbers[self.values].astype(np.int32)
        there = values > 0
        return CompactLabels(
            self.shape,
            int(numbers.max(initial=0)),
            self.rows[there],
            self.starts[there],
            self.stops[there],
            values[there],
        )


class RunCollector:
    """Collects the runs of label images that tile a large image, in any order."""

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        self._parts: list[np.ndarray] = []

    def add(self, labels: np.ndarray, top: int, left: int) -> None:
        """Add a part.

        Args:
            labels: ``(h, w)`` integers; a number means the same instance in all parts.
            top, left: row and column of its first pixel in the large image.
        """
        self._parts.append(runs_of(labels, top, left))

    def finish(self, numbers: np.ndarray) -> CompactLabels:
        """All runs together.

        Args:
            numbers: ``(n + 1,)`` final label of each number that was added; 0 leaves it out.
        """
        runs = np.concatenate(self._parts or [np.zeros((4, 0), np.int32)], axis=1)
        self._parts.clear()
        runs[3] = numbers[runs[3]]
        runs = runs[:, runs[3] > 0]
        runs = runs[:, np.lexsort((runs[1], runs[0]))]
        if runs.shape[1]:  # runs of one instance that were cut between parts become one
            joined = (runs[0, 1:] == runs[0, :-1]) & (runs[1, 1:] == runs[2, :-1]) & (runs[3, 1:] == runs[3, :-1])
            first = np.flatnonzero(np.concatenate([[True], ~joined]))
            last = np.append(first[1:], runs.shape[1]) - 1
            stops = runs[2, last]
            runs = runs[:, first]
            runs[2] = stops
        rows, starts, stops, values = (np.ascontiguousarray(one) for one in runs)
        return CompactLabels(self.shape, int(numbers.max(initial=0)), rows, starts, stops, values)


def runs_of(labels: np.ndarray, top: int = 0, left: int = 0) -> np.ndarray:
    """Runs of labels ``(h, w)``: ``(4, n)`` int32 rows, first columns, columns behind the last, labels."""
    height, width = labels.shape
    if not height or not width:
        return np.zeros((4, 0), np.int32)
    edge = np.ones((height, width + 1), bool)
    edge[:, 1:-1] = labels[:, 1:] != labels[:, :-1]
    row, column = np.nonzero(edge)
    # the edges of a row are the starts of its runs and, shifted by one, their ends; the last edge of a row starts none
    starts = column < width
    begin, where = column[starts], row[starts]
    end = column[np.flatnonzero(starts) + 1]
    value = labels[where, begin]
    there = value > 0
    return np.stack([where[there] + top, begin[there] + left, end[there] + left, value[there]]).astype(np.int32)


def compact_labels(labels: np.ndarray | Sequence[Sequence[int]]) -> CompactLabels:
    """Labels ``(H, W)`` in memory as runs."""
    array = np.asarray(labels)
    rows, starts, stops, values = runs_of(array)
    return CompactLabels(
        (int(array.shape[0]), int(array.shape[1])), int(array.max(initial=0)), rows, starts, stops, values
    )
