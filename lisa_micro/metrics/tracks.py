"""Agreement of tracks: HOTA, IDF1, identity switches, and SEG of a video.

Truth and result are label images for each frame (``(H, W)`` integers, 0 = background, k = track ID), as lists,
``(T, H, W)`` arrays or streams. Each frame is read once, and only its table of overlaps is kept. Metrics that need
parents (TRA, events) are in :mod:`lisa_micro.metrics.lineage`.

If neither truth nor result has a particle, they agree, and metrics are 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from lisa_micro.metrics.instances import overlap
from lisa_micro.types import InputError

HOTA_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Localisation thresholds of HOTA: 0.05, 0.1 ... 0.95."""
_EPS = np.finfo(float).eps


@dataclass(frozen=True)
class FrameOverlap:
    """Overlaps in one frame.

    Attributes
    ----------
    true, found
        ``(m,)`` and ``(n,)`` track IDs, ascending.
    iou
        ``(m, n)`` 0..1.
    covered
        ``(m, n)`` fraction of each true particle that each found one covers, 0..1.
    """

    true: np.ndarray
    found: np.ndarray
    iou: np.ndarray
    covered: np.ndarray


@dataclass
class TrackOverlaps:
    """Overlaps in all frames, from which all metrics of a video are computed.

    Attributes
    ----------
    frames
        One entry per frame, in order.
    """

    frames: list[FrameOverlap] = field(default_factory=list)

    def add(self, truth: np.ndarray, result: np.ndarray) -> None:
        """Add the next frame, ``(H, W)`` integer labels each.

        Raises
        ------
        InputError
            Unusable labels, or shapes that differ.
        """
        table = overlap(result, truth)
        covered = table.intersection / np.maximum(table.true_area, 1)
        self.frames.append(FrameOverlap(table.true, table.predicted, table.iou.T, covered.T))

    def true_lengths(self) -> dict[int, int]:
        """True track ID -> number of frames in which it occurs, ascending by ID."""
        return _lengths(frame.true for frame in self.frames)

    def found_lengths(self) -> dict[int, int]:
        """Found track ID -> number of frames in which it occurs, ascending by ID."""
        return _lengths(frame.found for frame in self.frames)


def track_overlaps(truth: Iterable[np.ndarray], result: Iterable[np.ndarray]) -> TrackOverlaps:
    """Overlaps of all frames of two streams.

    Parameters
    ----------
    truth, result
        Label images of the frames.

    Returns
    -------
    TrackOverlaps

    Raises
    ------
    InputError
        Unusable labels, shapes that differ, or different numbers of frames.

    Examples
    --------
    >>> frame = np.array([[1, 1, 0, 2]])
    >>> len(track_overlaps([frame, frame], [frame, frame]).frames)
    2
    """
    table = TrackOverlaps()
    for number, (true, found) in enumerate(zip_longest(truth, result)):
        if true is None or found is None:
            which = "truth" if true is None else "result"
            raise InputError(f"The {which} ends after {number} frames, before the other; compare the same frames.")
        table.add(np.asarray(true), np.asarray(found))
    return table


def _lengths(frames: Iterable[np.ndarray]) -> dict[int, int]:
    every = [frame for frame in frames if len(frame)]
    if not every:
        return {}
    names, counts = np.unique(np.concatenate(every), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def hota(overlaps: TrackOverlaps) -> dict[str, float]:
    """Higher order tracking accuracy (Luiten et al., Int. J. Comput. Vis. 129 (2021) 548), for masks.

    For each threshold alpha in 0.05, 0.1 ... 0.95, true and found particles of a frame are assigned one to one so that
    the product of IoU and overlap of the two whole tracks is largest; pairs with IoU >= alpha are true positives. DetA
    = TP / (TP + FN + FP). For a true positive c of true track i and found track j, A(c) = TPA / (TPA + FNA + FPA),
    where TPA counts the true positives of the same i and j, FNA the other detections of i, and FPA those of j. AssA is
    the mean of A over the true positives. HOTA is the mean over alpha of sqrt(DetA * AssA).

    Parameters
    ----------
    overlaps
        From :func:`track_overlaps`.

    Returns
    -------
    dict of str to float
        ``hota``, ``deta``, ``assa``: means over alpha; ``loca``: mean IoU of the true positives, mean over alpha;
        ``hota0``: HOTA at alpha = 0.05. All 0..1.

    Examples
    --------
    >>> frame, swapped = np.array([[1, 1, 0, 2, 2]]), np.array([[2, 2, 0, 1, 1]])
    >>> scores = hota(track_overlaps([frame] * 4, [frame, frame, swapped, swapped]))
    >>> scores["deta"], round(scores["assa"], 3)
    (1.0, 0.333)
    """
    true, found = overlaps.true_lengths(), overlaps.found_lengths()
    if not true or not found:
        value = float(not true and not found)
        return {"hota": value, "deta": value, "assa": value, "loca": 1.0, "hota0": value}
    row, column = _positions(true), _positions(found)
    of_true, of_found = np.array(list(true.values()))[:, None], np.array(list(found.values()))[None]
    common = np.zeros((len(true), len(found)))
    places = [(_at(row, frame.true), _at(column, frame.found)) for frame in overlaps.frames]
    for frame, (i, j) in zip(overlaps.frames, places, strict=True):
        total = frame.iou.sum(axis=1, keepdims=True) + frame.iou.sum(axis=0, keepdims=True) - frame.iou
        common[np.ix_(i, j)] += np.where(total > _EPS, frame.iou / np.maximum(total, _EPS), 0)
    alignment = common / (of_true + of_found - common)
    alphas = np.array(HOTA_THRESHOLDS)
    together = np.zeros((len(alphas), len(true), len(found)))
    hits, quality = np.zeros(len(alphas)), np.zeros(len(alphas))
    for frame, (i, j) in zip(overlaps.frames, places, strict=True):
        rows, columns = _assigned(alignment[np.ix_(i, j)] * frame.iou)
        iou = frame.iou[rows, columns]
        good = iou[None] >= alphas[:, None] - _EPS
        hits += good.sum(axis=1)
        quality += (good * iou).sum(axis=1)
        for k in range(len(alphas)):
            together[k, i[rows[good[k]]], j[columns[good[k]]]] += 1
    deta = hits / (of_true.sum() + of_found.sum() - hits)
    each = together / (of_true + of_found - together)
    assa = (together * each).sum(axis=(1, 2)) / np.maximum(hits, 1)
    loca = np.where(hits > 0, quality / np.maximum(hits, 1), 1.0)
    scores = np.sqrt(deta * assa)
    return {
        "hota": float(scores.mean()),
        "deta": float(deta.mean()),
        "assa": float(assa.mean()),
        "loca": float(loca.mean()),
        "hota0": float(scores[0]),
    }


def idf1(overlaps: TrackOverlaps, threshold: float = 0.5) -> dict[str, float]:
    """Identity F1 (Ristani et al., ECCV Workshops 2016).

    True and found tracks are assigned one to one for the whole video so that the number of frames in which an assigned
    pair overlaps with an IoU of at least ``threshold`` is largest: IDTP. IDF1 = 2 IDTP / (all true + all found
    detections), IDP = IDTP / found, IDR = IDTP / true.

    Parameters
    ----------
    overlaps
        From :func:`track_overlaps`.
    threshold
        IoU, above 0 and at most 1.

    Returns
    -------
    dict of str to float
        ``idf1``, ``idp``, ``idr``: 0..1.

    Raises
    ------
    InputError
        A threshold out of range.

    Examples
    --------
    >>> frame, swapped = np.array([[1, 1, 0, 2, 2]]), np.array([[2, 2, 0, 1, 1]])
    >>> idf1(track_overlaps([frame] * 4, [frame, frame, frame, swapped]))["idf1"]
    0.75
    """
    _check(threshold)
    true, found = overlaps.true_lengths(), overlaps.found_lengths()
    if not true or not found:
        return dict.fromkeys(("idf1", "idp", "idr"), float(not true and not found))
    row, column = _positions(true), _positions(found)
    common = np.zeros((len(true), len(found)))
    for frame in overlaps.frames:
        common[np.ix_(_at(row, frame.true), _at(column, frame.found))] += frame.iou >= threshold
    rows, columns = _assigned(common)
    hits = float(common[rows, columns].sum())
    of_true, of_found = sum(true.values()), sum(found.values())
    return {"idf1": 2 * hits / (of_true + of_found), "idp": hits / of_found, "idr": hits / of_true}


def matches(overlaps: TrackOverlaps, threshold: float = 0.5) -> list[dict[int, int]]:
    """Match track IDs in each frame: true ID -> found ID, one to one, IoU of at least ``threshold``.

    A pair of the previous frame is kept as long as possible; the others are assigned for the most pairs, then the
    largest sum of IoUs. This is the matching of the CLEAR MOT metrics (Bernardin and Stiefelhagen, EURASIP J. Image
    Video Process. 2008, 246309).

    Raises
    ------
    InputError
        A threshold that is not above 0 and at most 1.
    """
    _check(threshold)
    result: list[dict[int, int]] = []
    for frame in overlaps.frames:
        last = result[-1] if result else {}
        good = frame.iou >= threshold
        bonus = np.array([[last.get(i) == j for j in frame.found.tolist()] for i in frame.true.tolist()], bool)
        weight = good * (1 + frame.iou / (2 * max(min(frame.iou.shape), 1)))
        # keeping a pair outweighs any number of new ones
        rows, columns = _assigned(weight + (good & bonus.reshape(good.shape)) * (2.0 + min(good.shape)))
        pairs = {int(frame.true[i]): int(frame.found[j]) for i, j in zip(rows, columns, strict=True) if good[i, j]}
        result.append(pairs)
    return result


def switches(overlaps: TrackOverlaps, threshold: float = 0.5) -> int:
    """Number of identity switches (CLEAR MOT): a true particle is matched with another track ID than before.

    Gaps are skipped; see :func:`matches`.

    Parameters
    ----------
    overlaps
        From :func:`track_overlaps`.
    threshold
        IoU, above 0 and at most 1.

    Raises
    ------
    InputError
        A threshold out of range.

    Examples
    --------
    >>> frame, swapped = np.array([[1, 1, 0, 2, 2]]), np.array([[2, 2, 0, 1, 1]])
    >>> switches(track_overlaps([frame] * 3, [frame, swapped, swapped]))
    2
    """
    last: dict[int, int] = {}
    count = 0
    for pairs in matches(overlaps, threshold):
        count += sum(last.get(true, found) != found for true, found in pairs.items())
        last |= pairs
    return count


def track_seg(overlaps: TrackOverlaps) -> float:
    """SEG of the Cell Tracking Challenge over all frames (Ulman et al., Nature Methods 14 (2017) 1141).

    The mean over all true particles of all frames of the IoU with the found one that covers more than half of it; 0 if
    none does.

    Parameters
    ----------
    overlaps
        From :func:`track_overlaps`.

    Returns
    -------
    float
        0..1; NaN without true particles.

    Examples
    --------
    >>> track_seg(track_overlaps([np.array([[1, 1, 1, 2]])], [np.array([[1, 1, 0, 0]])]))
    0.3333333333333333
    """
    values = [
        (frame.iou * (frame.covered > 0.5)).sum(axis=1) if len(frame.found) else np.zeros(len(frame.true))
        for frame in overlaps.frames
    ]
    together = np.concatenate(values) if values else np.zeros(0)
    return float(together.mean()) if len(together) else float("nan")


def _positions(lengths: dict[int, int]) -> dict[int, int]:
    return {name: k for k, name in enumerate(lengths)}


def _at(positions: dict[int, int], names: np.ndarray) -> np.ndarray:
    return np.array([positions[name] for name in names.tolist()], int)


def _assigned(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the one-to-one assignment with the largest sum."""
    from scipy.optimize import linear_sum_assignment

    if score.size == 0:
        return np.zeros(0, int), np.zeros(0, int)
    return linear_sum_assignment(-score)


def _check(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise InputError(f"An IoU threshold must be above 0 and at most 1, not {threshold}.")
