"""Which instance of a frame is which particle of the frame before: one assignment over overlap and distance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from lisa_micro.measure.contacts import compact
from lisa_micro.models.trackers.base import Frame
from lisa_micro.types import InputError, Micrograph

REACH = 1.5  # radii that a particle may move without overlapping where it was expected
ALIKE = 2.5  # largest ratio of areas of two regions that do not overlap but may be one particle
_NEVER = 1e3


@dataclass(frozen=True)
class Regions:
    """Labels as a table: ``ids`` ``(n,)`` ascending, ``area`` ``(n,)`` px, ``centre`` ``(n, 2)`` x, y px."""

    ids: np.ndarray
    area: np.ndarray
    centre: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> Regions:
        """The regions of ``(H, W)`` labels, 0 = background."""
        rows, columns = np.nonzero(labels)
        which, ids = compact(labels[rows, columns][None])  # (1, K) numbered 1..n
        area = np.bincount(which[0], minlength=len(ids) + 1)[1:].astype(float)
        x, y = (np.bincount(which[0], place, minlength=len(ids) + 1)[1:] / area for place in (columns, rows))
        return cls(ids.astype(np.int64), area, np.stack([x, y], axis=1))


@dataclass(frozen=True)
class Links:
    """What belongs together.

    Attributes:
        expected, found: the regions compared, n and m of them.
        common: ``(n, m)`` px that both have.
        pairs: ``(p, 2)`` indices into ``expected`` and ``found``, each at most once.
    """

    expected: Regions
    found: Regions
    common: np.ndarray
    pairs: np.ndarray

    @property
    def shift(self) -> np.ndarray:
        """``(2,)`` x, y px: the median step of what was linked; 0 for fewer than three."""
        if len(self.pairs) < 3:
            return np.zeros(2)
        return np.median(self.found.centre[self.pairs[:, 1]] - self.expected.centre[self.pairs[:, 0]], axis=0)

    def pieces(self, least: float) -> dict[int, list[int]]:
        """Index of an expected region -> indices of found ones that lie in it, by ``least`` of their area or more,
        beside the one assigned to it."""
        pieces: dict[int, list[int]] = defaultdict(list)
        linked_from, linked_to = set(self.pairs[:, 0].tolist()), set(self.pairs[:, 1].tolist())
        for j in range(len(self.found.ids) if len(self.expected.ids) else 0):
            i = int(self.common[:, j].argmax())
            if j not in linked_to and i in linked_from and self.common[i, j] >= least * self.found.area[j]:
                pieces[i].append(j)
        return pieces


def link(expected: np.ndarray, found: np.ndarray) -> Links:
    """Assign regions to one another, each at most once, at the least total cost.

    The cost of a pair is 1 minus the intersection over the union, plus its distance as a share of the farthest that is
    allowed (:data:`REACH` radii). Pairs without overlap count only within that reach, and where their areas are alike.

    Args:
        expected: ``(H, W)`` labels, where identities should be.
        found: ``(H, W)`` labels of the frame.
    """
    one, other = Regions.of(expected), Regions.of(found)
    n, m = len(one.ids), len(other.ids)
    both = (expected > 0) & (found > 0)
    rows, columns = _position(one.ids, expected[both]), _position(other.ids, found[both])
    common = np.bincount(rows * m + columns, minlength=n * m).reshape(n, m).astype(float)
    if not n or not m:
        return Links(one, other, common, np.zeros((0, 2), np.int64))
    union = one.area[:, None] + other.area[None] - common
    step = one.centre[:, None] - other.centre[None]
    distance = np.hypot(step[..., 0], step[..., 1])
    reach = REACH * np.sqrt(one.area / np.pi)[:, None] + 2
    ratio = one.area[:, None] / other.area[None]
    possible = (common > 0) | ((distance < reach) & (ratio < ALIKE) & (ratio > 1 / ALIKE))
    cost = np.where(possible, 1 - common / union + np.minimum(distance / reach, 1), _NEVER)
    pairs = np.stack(linear_sum_assignment(cost), axis=1)
    return Links(one, other, common, pairs[possible[pairs[:, 0], pairs[:, 1]]])


def identities(labels: np.ndarray) -> list[int]:
    """The numbers in ``(H, W)`` labels, ascending, without 0."""
    return compact(labels)[1].tolist()


def _position(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where each value stands in ``ids`` (all of them do)."""
    if len(ids) and ids[-1] < 2**20:
        table = np.zeros(ids[-1] + 1, np.int64)
        table[ids] = np.arange(len(ids))
        return table[values]
    return np.searchsorted(ids, values)


def moved(labels: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` labels moved by x, y whole px; what leaves the image is lost, what comes in is 0."""
    x, y = shift
    if not (x or y):
        return labels
    out = np.zeros_like(labels)
    height, width = labels.shape
    if abs(x) < width and abs(y) < height:
        to = (slice(max(y, 0), height + min(y, 0)), slice(max(x, 0), width + min(x, 0)))
        source = (slice(max(-y, 0), height + min(-y, 0)), slice(max(-x, 0), width + min(-x, 0)))
        out[to] = labels[source]
    return out


@dataclass(frozen=True)
class Revision:
    """A decision about frames that were given out already: from ``first_frame`` on, ``names`` says what each old
    identity is called (0 = it was none)."""

    first_frame: int
    names: dict[int, int]


@dataclass(frozen=True)
class Birth:
    """How an identity began: ``frame``; ``parents``, two or more that became one, one that split, or none;
    ``uncertainty`` in frames, 1 where it lies between two neighbouring frames."""

    frame: int
    parents: tuple[int, ...] = ()
    uncertainty: int = 1


class Lost(dict[int, tuple[np.ndarray, int]]):
    """Particles that are missing: identity -> (rows and columns ``(2, n)`` where it should be, last frame seen)."""

    def move(self, step: np.ndarray) -> None:
        """All have moved by x, y px."""
        for identity, (place, seen) in self.items():
            self[identity] = (place + np.array([[step[1]], [step[0]]]), seen)

    def paint(self, labels: np.ndarray) -> None:
        """Put them into ``(H, W)`` labels where nothing else is."""
        for identity, ((rows, columns), _) in self.items():
            inside = (rows >= 0) & (columns >= 0) & (rows < labels.shape[0]) & (columns < labels.shape[1])
            rows, columns = rows[inside], columns[inside]
            free = labels[rows, columns] == 0
            labels[rows[free], columns[free]] = identity


def around(windows: Iterable[tuple[slice, slice]], shape: tuple[int, int]) -> tuple[slice, slice]:
    """The window that holds all of them and a pixel around."""
    rows, columns = zip(*windows, strict=True)
    return tuple(
        slice(max(min(s.start for s in axis) - 1, 0), min(max(s.stop for s in axis) + 1, length))
        for axis, length in zip((rows, columns), shape, strict=True)
    )


def frame_shape(frame: Frame) -> tuple[int, int]:
    """``(H, W)`` of a frame.

    Raises:
        InputError: it has other than two axes.
    """
    shape = np.shape(frame.pixels if isinstance(frame, Micrograph) else frame)
    if len(shape) != 2:
        raise InputError(f"a frame must be (H, W), not of shape {shape}")
    return int(shape[0]), int(shape[1])
