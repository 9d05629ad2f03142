"""Descendants of tracks, and necks that persist while one of their particles coalesces with a third."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.video.events import LineageEntry

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[int, int]


def descendants(lineage: Mapping[int, LineageEntry], identities: Iterable[int]) -> set[int]:
    """Return tracks together with all tracks that result from them by coalescence or splitting.

    Args:
        lineage: as in :class:`lisa_micro.video.track_data.TrackData`.
        identities: track IDs to start from.
    """
    found, waiting = set(), list(identities)
    while waiting:
        k = waiting.pop()
        if k not in found:
            found.add(k)
            waiting += lineage[k]["children"] if k in lineage else []
    return found


def neck_lines(necks: pd.DataFrame, lineage: Mapping[int, LineageEntry]) -> np.ndarray:
    """Group the rows of a table of necks into necks over time.

    A neck between a and b continues as the neck between c and b when a coalesces with a third particle to c. If c has
    two such predecessors, because the third particle touched b as well, the one that was wider in its last frame
    continues and the other ends. A neck ends when its two particles coalesce.

    Args:
        necks: as in :class:`lisa_micro.video.track_data.TrackData`.
        lineage: lineage of the particles.

    Returns:
        ``(rows,)`` int64 neck numbers, from 0 in order of the first frames.
    """
    if not len(necks):
        return np.zeros(0, np.int64)
    frames, width = necks["frame"].to_numpy(np.int64), necks["x_px"].to_numpy(float)
    pairs: list[Pair] = list(zip(necks["particle_a"].tolist(), necks["particle_b"].tolist(), strict=True))
    rows_of: dict[Pair, list[int]] = {}
    for k in np.argsort(frames, kind="stable").tolist():
        rows_of.setdefault(pairs[k], []).append(k)
    line: dict[Pair, int] = {}
    number = 0
    ended: set[Pair] = set()  # pairs that continue as another pair
    for pair in sorted(rows_of, key=lambda p: (frames[rows_of[p][0]], -width[rows_of[p][0]], p)):
        start = frames[rows_of[pair][0]]
        before = [
            other
            for other in _predecessors(pair, lineage)
            if other in line and other not in ended and frames[rows_of[other][-1]] < start
        ]
        if before:
            widest = max(before, key=lambda p: (width[rows_of[p][-1]], p))
            line[pair] = line[widest]
            ended.add(widest)
        else:
            line[pair], number = number, number + 1
    return np.array([line[pair] for pair in pairs], np.int64)


def _predecessors(pair: Pair, lineage: Mapping[int, LineageEntry]) -> set[Pair]:
    """Return the pairs that may continue as this one: either particle, or both, replaced by a parent."""
    first, second = ([k, *(lineage[k]["parents"] if k in lineage else [])] for k in pair)
    pairs = {(min(a, b), max(a, b)) for a in first for b in second if a != b}
    return pairs - {pair}
