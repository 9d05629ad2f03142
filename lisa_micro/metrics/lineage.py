"""Agreement of lineages: TRA, and events of two particles (coalescence, contact) with a tolerance in frames.

Parents are given as mappings track ID -> parents (none, one, or the two that coalesced); missing track IDs have none.
The lineage of a simulated or tracked video may be given as it is (track ID -> dictionary with ``parents``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lisa_micro.metrics.instances import Counts
from lisa_micro.metrics.tracks import FrameOverlap, TrackOverlaps, hota, idf1, matches, switches, track_seg
from lisa_micro.types import InputError

AOGM_WEIGHTS: dict[str, float] = {"ns": 5, "fn": 10, "fp": 1, "ed": 1, "ea": 1.5, "ec": 1}
"""Costs of the Cell Tracking Challenge: to split, add or delete a vertex; to delete, add or change an edge."""

Lineage = Mapping[int, "Iterable[int] | Mapping[str, Any]"]
_Vertex = tuple[int, int]  # frame, identity
_Edges = dict[tuple[_Vertex, _Vertex], bool]  # whether it leads from a parent
_NEAR = 5  # frames around an event in which its particles must overlap


def parents_of(lineage: Lineage | None) -> dict[int, tuple[int, ...]]:
    """Track ID -> parents, from any of the forms described above.

    Raises
    ------
    InputError
        Parents that are not integers.
    """
    result = {}
    for identity, entry in (lineage or {}).items():
        names = entry.get("parents", ()) if isinstance(entry, Mapping) else entry
        try:
            result[int(identity)] = tuple(int(name) for name in names)
        except (TypeError, ValueError) as error:
            raise InputError(f"The parents of {identity} must be a list of track IDs, not {names!r}.") from error
    return result


def tra(overlaps: TrackOverlaps, truth: Lineage | None = None, result: Lineage | None = None) -> dict[str, float]:
    """TRA of the Cell Tracking Challenge: 1 - min(AOGM, AOGM0) / AOGM0 (Matula et al., PLoS ONE 10 (2015) e0144959).

    Particles in frames are vertices. Edges lead from a particle to itself in the next frame, and from the last frame of
    a parent to the first frame of its child. A found vertex matches every true one of which it covers more than half.
    AOGM is the cost of turning the found graph into the true one: 5 for each further true vertex matched by the same
    found one (``ns``), 10 for each true vertex without match (``fn``), 1 for each found vertex without match (``fp``);
    1 for each edge between vertices with exactly one match that is not in the truth (``ed``), 1.5 for each missing true
    edge (``ea``), 1 for each edge that leads from a parent in only one of the two (``ec``). AOGM0 is the cost of
    building the truth from nothing. The challenge's files allow one parent; here a coalesced particle has an edge from
    each of two, in truth and result alike.

    Parameters
    ----------
    overlaps
        Of truth and result, from :func:`lisa_micro.metrics.track_overlaps`.
    truth, result
        Parents in each.

    Returns
    -------
    dict of str to float
        ``tra`` 0..1 (1 if there is no truth and nothing was found, 0 if there is only no truth), ``aogm``, ``aogm0``,
        and the numbers ``ns, fn, fp, ed, ea, ec``.
    """
    stands: dict[_Vertex, list[int]] = {}
    vertices = missed = 0
    for t, frame in enumerate(overlaps.frames):
        vertices += len(frame.true)
        for j in frame.found.tolist():
            stands[t, j] = []
        for i, j in zip(*_covering(frame), strict=True):
            stands[t, int(frame.found[j])].append(int(frame.true[i]))
        missed += len(frame.true) - int((frame.covered > 0.5).any(axis=1).sum() if len(frame.found) else 0)
    true_edges = _edges([frame.true for frame in overlaps.frames], parents_of(truth))
    found_edges = _edges([frame.found for frame in overlaps.frames], parents_of(result))
    same: _Edges = {}
    for (start, end), parental in found_edges.items():
        if len(stands[start]) == len(stands[end]) == 1:
            same[(start[0], stands[start][0]), (end[0], stands[end][0])] = parental
    shared = same.keys() & true_edges.keys()
    numbers = {
        "ns": sum(max(len(names) - 1, 0) for names in stands.values()),
        "fn": missed,
        "fp": sum(not names for names in stands.values()),
        "ed": len(same) - len(shared),
        "ea": len(true_edges) - len(shared),
        "ec": sum(same[edge] != true_edges[edge] for edge in shared),
    }
    aogm = sum(AOGM_WEIGHTS[name] * number for name, number in numbers.items())
    aogm0 = AOGM_WEIGHTS["fn"] * vertices + AOGM_WEIGHTS["ea"] * len(true_edges)
    score = 1 - min(aogm, aogm0) / aogm0 if aogm0 else float(aogm == 0)
    return {"tra": float(score), "aogm": float(aogm), "aogm0": float(aogm0)} | {k: float(v) for k, v in numbers.items()}


def _covering(frame: FrameOverlap) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(frame.covered > 0.5)
    return rows, columns


def _edges(frames: Sequence[np.ndarray], parents: Mapping[int, tuple[int, ...]]) -> _Edges:
    edges: _Edges = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for t, seen in enumerate(frames):
        for name in seen.tolist():
            first.setdefault(name, t)
            if last.get(name) == t - 1:
                edges[(t - 1, name), (t, name)] = False
            last[name] = t
    for child, names in parents.items():
        for parent in names:
            # a parent that continues beyond its child's birth cannot have an edge to it
            if child in first and parent in last and last[parent] < first[child]:
                edges[(last[parent], parent), (first[child], child)] = True
    return edges


@dataclass(frozen=True)
class PairEvent:
    """An event of particles.

    Attributes
    ----------
    frame
        When it happens.
    identities
        Track IDs to which it happens; of a coalescence, the parents.
    """

    frame: int
    identities: tuple[int, ...]


@dataclass(frozen=True)
class EventMatch:
    """Events of truth and result compared.

    Attributes
    ----------
    counts
        Matched, false and missed events; ``.precision``, ``.recall``, ``.f1``.
    pairs
        Matched events, truth first.
    errors
        ``(matched,)`` frames, result - truth.
    """

    counts: Counts
    pairs: tuple[tuple[PairEvent, PairEvent], ...]
    errors: np.ndarray


def merge_events(overlaps: TrackOverlaps, lineage: Lineage, found: bool) -> list[PairEvent]:
    """The coalescences of a lineage: every track ID with two or more parents, at its first frame.

    Parameters
    ----------
    overlaps
        Where the track IDs occur.
    lineage
        Parents.
    found
        Whether it is the lineage of the result or of the truth.

    Returns
    -------
    list of PairEvent
        Ordered by frame.
    """
    first: dict[int, int] = {}
    for t, frame in enumerate(overlaps.frames):
        for name in (frame.found if found else frame.true).tolist():
            first.setdefault(name, t)
    events = [PairEvent(first[k], names) for k, names in parents_of(lineage).items() if len(names) > 1 and k in first]
    return sorted(events, key=lambda event: (event.frame, event.identities))


def match_events(
    overlaps: TrackOverlaps,
    truth: Sequence[PairEvent],
    result: Sequence[PairEvent],
    tolerance: int | None = 3,
    threshold: float = 0.5,
) -> EventMatch:
    """Compare events with a tolerance in time.

    An event of the result matches one of the truth if it is at most ``tolerance`` frames away and happens to the same
    particles: each true one has a found one of its own among those of the event, with an IoU of at least ``threshold``
    in some frame at most 5 frames from either event. Events are assigned one to one: as many as possible, then those
    closest in time. Precision, recall and F1 follow from the counts. (The metrics of the Cell Tracking Challenge count
    divisions within a tolerance in the same way, but its format has no merging.)

    Parameters
    ----------
    overlaps
        Of truth and result.
    truth, result
        Events.
    tolerance
        Frames; ``None`` for any distance in time (for the errors of onsets).
    threshold
        IoU, above 0 and at most 1.

    Returns
    -------
    EventMatch

    Raises
    ------
    InputError
        A negative tolerance.
    """
    from scipy.optimize import linear_sum_assignment

    if tolerance is not None and tolerance < 0:
        raise InputError(f"The tolerance must be at least 0 frames, not {tolerance}.")
    limit = np.inf if tolerance is None else tolerance
    apart = np.full((len(truth), len(result)), np.inf)
    for i, event in enumerate(truth):
        for j, other in enumerate(result):
            gap = abs(event.frame - other.frame)
            if gap <= limit and len(other.identities) >= len(event.identities):
                same = _same_particles(overlaps, event, other, threshold)
                apart[i, j] = gap if same else np.inf
    possible = np.isfinite(apart)
    pairs: list[tuple[PairEvent, PairEvent]] = []
    if possible.any():
        most = float(apart[possible].max()) + 1
        score = np.where(possible, 1 + (1 - np.where(possible, apart, 0) / most) / (2 * min(apart.shape)), 0)
        rows, columns = linear_sum_assignment(-score)
        pairs = [(truth[i], result[j]) for i, j in zip(rows, columns, strict=True) if possible[i, j]]
    errors = np.array([found.frame - true.frame for true, found in pairs], int)
    return EventMatch(Counts(len(pairs), len(result) - len(pairs), len(truth) - len(pairs)), tuple(pairs), errors)


def _same_particles(overlaps: TrackOverlaps, event: PairEvent, other: PairEvent, threshold: float) -> bool:
    """Whether each particle of ``event`` is a different one of ``other``."""
    from scipy.optimize import linear_sum_assignment

    near = np.zeros((len(event.identities), len(other.identities)), bool)
    frames = {t for centre in (event.frame, other.frame) for t in range(centre - _NEAR, centre + _NEAR + 1)}
    for t in frames & set(range(len(overlaps.frames))):
        frame = overlaps.frames[t]
        for a, true in enumerate(event.identities):
            for b, found in enumerate(other.identities):
                i, j = np.flatnonzero(frame.true == true), np.flatnonzero(frame.found == found)
                near[a, b] |= bool(len(i) and len(j) and frame.iou[i[0], j[0]] >= threshold)
    rows, columns = linear_sum_assignment(-near.astype(float))
    return bool(near[rows, columns].sum() == len(event.identities))


def kept_identities(overlaps: TrackOverlaps, truth: Lineage, tolerance: int = 3, threshold: float = 0.5) -> int:
    """Number of true coalescences at which the result does not assign a new track ID.

    The track ID found for a parent continues as that of the child, more than ``tolerance`` frames after the event.

    Parameters
    ----------
    overlaps
        Of truth and result.
    truth
        Parents.
    tolerance
        Frames.
    threshold
        IoU, above 0 and at most 1.

    Raises
    ------
    InputError
        A negative tolerance.
    """
    if tolerance < 0:
        raise InputError(f"The tolerance must be at least 0 frames, not {tolerance}.")
    pairs = matches(overlaps, threshold)
    children = {child: names for child, names in parents_of(truth).items() if len(names) > 1}
    before: dict[int, set[int]] = {child: set() for child in children}
    after: dict[int, set[int]] = {child: set() for child in children}
    first: dict[int, int] = {}
    for t, now in enumerate(pairs):
        for name in overlaps.frames[t].true.tolist():
            first.setdefault(name, t)
        for child, names in children.items():
            if child not in first:
                before[child] |= {now[name] for name in names if name in now}
            elif t > first[child] + tolerance and child in now:
                after[child].add(now[child])
    return sum(bool(before[child] & after[child]) for child in children)


def track_scores(
    overlaps: TrackOverlaps, truth: Lineage | None = None, result: Lineage | None = None, tolerance: int = 3
) -> dict[str, float]:
    """All metrics of a video in one dictionary.

    Parameters
    ----------
    overlaps
        From :func:`lisa_micro.metrics.track_overlaps`.
    truth, result
        Parents in each.
    tolerance
        Frames, for events.

    Returns
    -------
    dict of str to float
        ``hota, deta, assa, loca, idf1, idp, idr, tra, seg``; ``switches``; ``merge_precision, merge_recall, merge_f1``
        and ``merges`` (true coalescences); ``kept_identities``.

    Examples
    --------
    >>> from lisa_micro.metrics import track_overlaps
    >>> two, one = np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]])
    >>> scores = track_scores(track_overlaps([two, one], [two, one]), {3: (1, 2)}, {3: (1, 2)})
    >>> scores["tra"], scores["merge_f1"], scores["switches"]
    (1.0, 1.0, 0.0)
    """
    found = match_events(
        overlaps, merge_events(overlaps, truth or {}, False), merge_events(overlaps, result or {}, True), tolerance
    ).counts
    scores = {name: value for name, value in hota(overlaps).items() if name != "hota0"} | idf1(overlaps)
    scores |= {"tra": tra(overlaps, truth, result)["tra"], "seg": track_seg(overlaps)}
    scores |= {"switches": float(switches(overlaps))}
    scores |= {"merge_precision": found.precision, "merge_recall": found.recall, "merge_f1": found.f1}
    return scores | {
        "merges": float(found.tp + found.fn),
        "kept_identities": float(kept_identities(overlaps, truth or {}, tolerance)),
    }
