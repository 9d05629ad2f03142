"""Sections that hold two particles, divided as in the slice beside them.

A segmenter may see two particles that touch as one in some slices. Where the neighbouring slice shows them apart and a
waist lies between them, the section is divided at the waist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.waists import divide, waist_ratio

HELD = 0.6
"""Share of a section of the slice beside that a section covers to hold it."""
LEAST_PART = 0.15
"""A section is divided only among sections of at least this share of its own area."""
MERGED_WAIST = 0.98
"""Waist ratio from which two parts are one body, see :func:`lisa_micro.measure.waists.waist_ratio`; that of a convex
section is 1. Higher than in videos, since the neighbouring slice shows that there are two."""


def divided(slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Slices in which sections are divided as in the slice before, ``(H, W)`` int32 each.

    Given the slices in reverse order, they are divided as in the slice after.

    Args:
        slices: ``(H, W)`` integers, numbered in any way.
    """
    before: np.ndarray | None = None
    for labels in slices:
        numbered = compact(labels)[0]
        if before is not None and before.shape == numbered.shape:
            numbered = _divided(numbered, before)
        yield numbered
        before = numbered


def _divided(labels: np.ndarray, before: np.ndarray) -> np.ndarray:
    both = (labels > 0) & (before > 0)
    if not both.any():
        return labels
    top = int(before.max()) + 1
    keys, shared = np.unique(labels[both].astype(np.int64) * top + before[both], return_counts=True)
    section, known = keys // top, keys % top
    areas, sizes = np.bincount(labels.ravel()), np.bincount(before.ravel())
    held = (shared >= HELD * sizes[known]) & (sizes[known] >= LEAST_PART * areas[section])
    numbers, counts = np.unique(section[held], return_counts=True)
    several = numbers[counts > 1]
    if not len(several):
        return labels
    out, last = labels.copy(), int(labels.max())
    windows = ndimage.find_objects(labels)
    for number in several.tolist():
        rows, columns = windows[number - 1]
        # one pixel around it, since what is cut by a crop counts as going on beyond it
        window = np.s_[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1]
        region = labels[window] == number
        members = known[held & (section == number)]
        parts = divide(region, np.where(np.isin(before[window], members), before[window], 0))
        there = [int(k) for k in members if (parts == k).any()]
        ratios = [waist_ratio(parts == a, parts == b) for n, a in enumerate(there) for b in there[n + 1 :]]
        if len(there) < 2 or max(ratios) >= MERGED_WAIST:
            continue
        for k in there[1:]:
            last += 1
            out[window][parts == k] = last
    return out
