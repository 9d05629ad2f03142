"""Frame-to-frame linking: one linear assignment over overlap and distance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from lisa_micro.measure.contacts import compact
from lisa_micro.protocols import Frame
from lisa_micro.types import InputError, Micrograph

REACH = 1.5  # largest displacement without overlap, in radii of the expected region
AREA_RATIO = 2.5  # largest area ratio of two regions that are linked without overlap
_NEVER = 1e3


@dataclass(frozen=True)
class Regions:
    """Regions of a label image: ``ids`` ``(n,)`` ascending, ``area`` ``(n,)`` px², ``centre`` ``(n, 2)`` x, y px."""

    ids: np.ndarray
    area: np.ndarray
    centre: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> Regions:
        """Measure the regions of ``(H, W)`` labels, 0 = background."""
        rows, columns = np.nonzero(labels)
        which, ids = compact(labels[rows, columns][None])  # (1, K) numbered 1..n
        area = np.bincount(which[0], minlength=len(ids) + 1)[1:].astype(float)
        x, y = (np.bincount(which[0], place, minlength=len(ids) + 1)[1:] / area for place in (columns, rows))
        return cls(ids.astype(np.int64), area, np.stack([x, y], axis=1))


@dataclass(frozen=True)
class Links:
    """Links between expected and detected regions.

    Attributes:
        expected, found: the n expected and the m detected regions.
        common: ``(n, m)`` intersection areas in px².
        pairs: ``(p, 2)`` linked pairs as indices into ``expected`` and ``found``; each index occurs at most once.
    """

    expected: Regions
    found: Regions
    common: np.ndarray
    pairs: np.ndarray

    @property
    def shift(self) -> np.ndarray:
        """``(2,)`` x, y px: median displacement of the linked regions; 0 for fewer than three links."""
        if len(self.pairs) < 3:
            return np.zeros(2)
        return np.median(self.found.centre[self.pairs[:, 1]] - self.expected.centre[self.pairs[:, 0]], axis=0)

    def pieces(self, least: float) -> dict[int, list[int]]:
        """Return the unlinked detected regions that lie inside an expected region, beside the one linked to it.

        Args:
            least: share of a detected region's area that the expected region must cover.

        Returns:
            index of the expected region -> indices of the detected regions.
        """
        pieces: dict[int, list[int]] = defaultdict(list)
        linked_from, linked_to = set(self.pairs[:, 0].tolist()), set(self.pairs[:, 1].tolist())
        for j in range(len(self.found.ids) if len(self.expected.ids) else 0):
            i = int(self.common[:, j].argmax())
            if j not in linked_to and i in linked_from and self.common[i, j] >= least * self.found.area[j]:
                pieces[i].append(j)
        return pieces


def link(expected: np.ndarray, found: np.ndarray) -> Links:
    """Link regions one to one at the lowest total cost.

    The cost of a pair is 1 - IoU plus the distance of the centres divided by the largest allowed distance
    (:data:`REACH` radii), capped at 1. Regions without overlap are linked only within that distance, and only if the
    ratio of their areas is below :data:`AREA_RATIO`.

    Args:
        expected: ``(H, W)`` labels, the predicted positions of the tracks.
        found: ``(H, W)`` labels detected in the frame.
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
    possible = (common > 0) | ((distance < reach) & (ratio < AREA_RATIO) & (ratio > 1 / AREA_RATIO))
    cost = np.where(possible, 1 - common / union + np.minimum(distance / reach, 1), _NEVER)
    pairs = np.stack(linear_sum_assignment(cost), axis=1)
    return Links(one, other, common, pairs[possible[pairs[:, 0], pairs[:, 1]]])


def identities(labels: np.ndarray) -> list[int]:
    """Return the track IDs in ``(H, W)`` labels, ascending, without 0."""
    return compact(labels)[1].tolist()


def _position(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the index of each value in the sorted ``ids``, which contain all values."""
    if len(ids) and ids[-1] < 2**20:
        table = np.zeros(ids[-1] + 1, np.int64)
        table[ids] = np.arange(len(ids))
        return table[values]
    return np.searchsorted(ids, values)


def moved(labels: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Shift ``(H, W)`` labels by x, y whole pixels and fill with 0."""
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
    """A change of labels that were returned earlier: from ``first_frame`` on, ``names`` maps old track IDs to new ones
    (0 removes the track)."""

    first_frame: int
    names: dict[int, int]


@dataclass(frozen=True)
class Birth:
    """The start of a track.

    Attributes:
        frame: first frame.
        parents: track IDs of the two or more particles that coalesced, of the one that split, or empty.
        uncertainty: number of frames within which the track started; 1 = between two neighbouring frames.
    """

    frame: int
    parents: tuple[int, ...] = ()
    uncertainty: int = 1


class Lost(dict[int, tuple[np.ndarray, int]]):
    """Missing particles: track ID -> (predicted pixels ``(2, n)`` as rows and columns, frame of the last detection)."""

    def move(self, step: np.ndarray) -> None:
        """Shift all predicted pixels by x, y px."""
        for identity, (place, seen) in self.items():
            self[identity] = (place + np.array([[step[1]], [step[0]]]), seen)

    def paint(self, labels: np.ndarray) -> None:
        """Write the missing particles into the background of ``(H, W)`` labels."""
        for identity, ((rows, columns), _) in self.items():
            inside = (rows >= 0) & (columns >= 0) & (rows < labels.shape[0]) & (columns < labels.shape[1])
            rows, columns = rows[inside], columns[inside]
            free = labels[rows, columns] == 0
            labels[rows[free], columns[free]] = identity


def around(windows: Iterable[tuple[slice, slice]], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the smallest window around several windows, with a margin of one pixel."""
    rows, columns = zip(*windows, strict=True)

    def span(axis: tuple[slice, ...], length: int) -> slice:
        return slice(max(min(s.start for s in axis) - 1, 0), min(max(s.stop for s in axis) + 1, length))

    return span(rows, shape[0]), span(columns, shape[1])


def frame_shape(frame: Frame) -> tuple[int, int]:
    """Return ``(H, W)`` of a frame.

    Raises:
        InputError: if the frame is not 2-D.
    """
    shape = np.shape(frame.pixels if isinstance(frame, Micrograph) else frame)
    if len(shape) != 2:
        raise InputError(f"A frame must have the shape (H, W), not {shape}.")
    return int(shape[0]), int(shape[1])
