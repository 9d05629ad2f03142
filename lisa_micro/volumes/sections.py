"""Sections of objects in slices, linked from slice to slice by their overlap.

A section is one instance in one slice. Two sections of neighbouring slices are candidates for the same object if they
share at least half of the smaller one. Every section has at most one successor and one predecessor: of several
candidates those with the largest IoU are linked. A chain of sections whose radius has a waist is two objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.measure.contacts import compact
from lisa_micro.types import InputError

SHARE = 0.5
"""Share of the smaller section that two sections of one object have in common at least."""
WAIST = 0.85
"""A chain of sections is divided where its radius falls to this share of the maxima on both sides."""
WAIST_DEPTH_PX = 1.0
"""px by which the radius falls there at least, so that noise in the contour divides nothing."""


@dataclass(frozen=True, eq=False)
class Links:
    """What the sections of all slices belong to.

    Attributes:
        count: number of 3-D objects.
        objects: for each slice ``(n + 1,)`` int32: 3-D object of each of its labels, 0 = none.
        bridges: slices in which an object was not found, though before and after: ``(k, 4)`` object, slice before,
            slice after, slice itself.
    """

    count: int
    objects: list[np.ndarray]
    bridges: np.ndarray


class SliceLinker:
    """Links slices that are given one after the other; only one label image is held.

    Args:
        gap: number of slices in which an object may be missed.

    Raises:
        InputError: a negative gap.
    """

    def __init__(self, gap: int = 1):
        if gap < 0:
            raise InputError(f"The gap must be 0 slices or more, not {gap}.")
        self.gap = gap
        self._labels: list[np.ndarray] = []  # of each slice, the labels of its sections
        self._offsets = [0]
        self._areas: list[np.ndarray] = []
        self._places: list[np.ndarray] = []  # (n, 2) y, x of the first pixel
        self._before: list[np.ndarray] = []  # section before each section, -1: none
        self._front = np.zeros((0, 0), np.int32)  # section + 1
        self._loose: dict[int, int] = {}  # sections without a successor -> slice

    def add(self, labels: np.ndarray) -> None:
        """Link the next slice.

        Args:
            labels: ``(H, W)`` integers, numbered in any way.

        Raises:
            InputError: no labels, or another size than the first slice.
        """
        numbered, originals = compact(labels)
        if self._labels and numbered.shape != self._front.shape:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (numbered.shape, self._front.shape)]
            raise InputError(f"Slice {len(self._labels)} is {sizes[0]} px but the first slice is {sizes[1]} px.")
        k, offset, count = len(self._labels), self._offsets[-1], len(originals)
        areas = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        _, first = np.unique(numbered, return_index=True)
        first = first[-count:] if count else np.zeros(0, np.int64)
        before = np.full(count, -1)
        if self._labels and count and self._front.any():
            before = self._successors(numbered, areas)
        self._labels.append(originals)
        self._areas.append(areas)
        self._places.append(np.stack(np.unravel_index(first, numbered.shape), axis=1))
        self._before.append(before)
        self._offsets.append(offset + count)
        for section in before[before >= 0].tolist():
            del self._loose[section]
        front = np.where(numbered > 0, numbered + offset, 0).astype(np.int32)
        self._loose = {section: seen for section, seen in self._loose.items() if k - seen <= self.gap}
        if self._loose:  # what was missed here may come back in a later slice
            waiting = np.isin(self._front, np.array(list(self._loose)) + 1) & (front == 0)
            front[waiting] = self._front[waiting]
        self._loose |= dict.fromkeys(range(offset, offset + count), k)
        self._front = front

    def _successors(self, numbered: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """``(n,)`` section before each of the sections of a slice, -1: none."""
        both = (self._front > 0) & (numbered > 0)
        one, other = self._front[both].astype(np.int64), numbered[both].astype(np.int64)
        top = len(areas) + 1
        keys, shared = np.unique(one * top + other, return_counts=True)
        one, other = keys // top, keys % top
        there, sizes = np.unique(self._front, return_counts=True)
        first, second = sizes[np.searchsorted(there, one)], areas[other - 1]
        iou = shared / (first + second - shared)
        good = np.flatnonzero(shared >= SHARE * np.minimum(first, second))
        before, used = np.full(len(areas), -1), set()
        for pair in good[np.argsort(-iou[good], kind="stable")].tolist():
            section, target = int(one[pair]) - 1, int(other[pair]) - 1
            if before[target] < 0 and section not in used:
                before[target] = section
                used.add(section)
        return before

    def finish(self, waist: float | None = WAIST, least_slices: int = 1) -> Links:
        """The objects of all slices.

        Args:
            waist: see :data:`WAIST`; ``None``: chains are not divided.
            least_slices: objects in fewer slices are left out.

        Raises:
            InputError: a waist beyond 0 to 1, or a number of slices below 1.
        """
        if waist is not None and not 0 < waist < 1:
            raise InputError(f"The waist must lie between 0 and 1, not {waist:g}.")
        if least_slices < 1:
            raise InputError(f"The least number of slices must be 1 or more, not {least_slices}.")
        total = self._offsets[-1]
        slices = np.repeat(np.arange(len(self._labels)), np.diff(self._offsets))
        areas = np.concatenate([*self._areas, np.zeros(0, np.int64)])
        places = np.concatenate([*self._places, np.zeros((0, 2), np.int64)])
        chains = _chains(np.concatenate([*self._before, np.zeros(0, np.int64)]).astype(int))
        radii = np.sqrt(areas / np.pi)
        pieces = [piece for chain in chains for piece in _divided(chain, radii, waist)]
        pieces = [piece for piece in pieces if slices[piece[-1]] - slices[piece[0]] + 1 >= least_slices]
        pieces.sort(key=lambda piece: (slices[piece[0]], *places[piece[0]].tolist()))
        of = np.zeros(total, np.int32)
        bridges = []
        for number, piece in enumerate(pieces, 1):
            of[piece] = number
            for low, high in zip(slices[piece][:-1], slices[piece][1:], strict=True):
                bridges += [(number, low, high, between) for between in range(low + 1, high)]
        objects = []
        for k, originals in enumerate(self._labels):
            numbers = np.zeros(int(originals.max(initial=0)) + 1, np.int32)
            numbers[originals] = of[self._offsets[k] : self._offsets[k + 1]]
            objects.append(numbers)
        return Links(len(pieces), objects, np.array(bridges, int).reshape(-1, 4))


def _chains(before: np.ndarray) -> list[list[int]]:
    """Sections in order, one list for each chain."""
    after = np.full(len(before), -1)
    linked = before >= 0
    after[before[linked]] = np.flatnonzero(linked)
    chains = []
    for start in np.flatnonzero(~linked).tolist():
        chain = [start]
        while after[chain[-1]] >= 0:
            chain.append(int(after[chain[-1]]))
        chains.append(chain)
    return chains


def _divided(chain: list[int], radii: np.ndarray, waist: float | None) -> list[list[int]]:
    """A chain divided at its waists, the deepest first."""
    if waist is None or len(chain) < 2:
        return [chain]
    r = radii[chain]
    left = np.maximum.accumulate(r)[:-1]
    right = np.maximum.accumulate(r[::-1])[::-1][1:]
    narrow, wide = (r[:-1] + r[1:]) / 2, np.minimum(left, right)
    depth = np.where(wide - narrow >= WAIST_DEPTH_PX, narrow / wide, 1.0)
    cut = int(depth.argmin())
    if depth[cut] > waist:
        return [chain]
    return [
        *_divided(chain[: cut + 1], radii, waist),
        *_divided(chain[cut + 1 :], radii, waist),
    ]
