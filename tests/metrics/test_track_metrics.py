"""Scores of tracks and lineages: cases worked out by hand, and two independent implementations where installed."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_micro.metrics import (
    PairEvent,
    hota,
    idf1,
    kept_identities,
    match_events,
    merge_events,
    seg,
    switches,
    tra,
    track_overlaps,
    track_scores,
    track_seg,
)
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError


def frame(**squares: int) -> np.ndarray:
    """``s0=7``: identity 7 in the square of 10 x 10 px number 0 of four."""
    labels = np.zeros((10, 48), np.int32)
    for name, identity in squares.items():
        start = 12 * int(name[1:])
        labels[:, start : start + 10] = identity
    return labels


SWAPPED = (
    [frame(s0=1, s1=2)] * 4,
    [frame(s0=5, s1=6)] * 2 + [frame(s0=6, s1=5)] * 2,
)
"""Two particles, four frames; the result exchanges their names half way."""


def test_perfect_result():
    truth = [frame(s0=1, s1=2)] * 3 + [frame(s0=3)] * 2
    result = [np.where(labels > 0, labels + 10, 0) for labels in truth]
    parents = {3: (1, 2)}
    scores = track_scores(track_overlaps(truth, iter(result)), parents, {13: (11, 12)})
    ones = ("hota", "deta", "assa", "loca", "idf1", "idp", "idr", "tra", "seg", "merge_f1")
    assert all(scores[name] == pytest.approx(1.0) for name in ones)
    assert (scores["switches"], scores["merges"], scores["kept_identities"]) == (0, 1, 0)


def test_swap_by_hand():
    overlaps = track_overlaps(*SWAPPED)
    found = hota(overlaps)
    # all detections are right; each true positive has TPA = 2, FNA = 2, FPA = 2
    assert found["deta"] == pytest.approx(1)
    assert found["assa"] == pytest.approx(2 / 6)
    assert found["hota"] == pytest.approx(np.sqrt(1 / 3))
    assert idf1(overlaps)["idf1"] == pytest.approx(0.5)
    assert switches(overlaps) == 2
    # edges in the truth: 2 x 3; the two of the swap lead elsewhere: 2 to delete, 2 to add
    score = tra(overlaps)
    assert (score["ed"], score["ea"], score["fn"], score["fp"], score["ns"]) == (2, 2, 0, 0, 0)
    assert score["tra"] == pytest.approx(1 - (2 * 1 + 2 * 1.5) / (8 * 10 + 6 * 1.5))


def test_missed_false_and_shared():
    truth = [frame(s0=1, s1=2)] * 2
    missing = track_overlaps(truth, [frame(s0=1), frame(s0=1, s2=9)])
    found = hota(missing)
    # TP 2, FN 2, FP 1 at every threshold; A = 1 for the one that is followed
    assert found["deta"] == pytest.approx(2 / 5)
    assert found["assa"] == pytest.approx(1)
    assert idf1(missing) == pytest.approx({"idf1": 4 / 7, "idp": 2 / 3, "idr": 1 / 2})
    score = tra(missing)
    assert (score["fn"], score["fp"], score["ea"]) == (2, 1, 1)
    assert score["tra"] == pytest.approx(1 - (20 + 1 + 1.5) / (40 + 3))
    assert track_seg(missing) == pytest.approx(0.5)
    # one found particle over two true ones: one split, and no edge between such vertices counts
    both = np.where(np.arange(48) < 22, 4, 0)[None].repeat(10, 0).astype(np.int32)
    score = tra(track_overlaps(truth, [both, both]))
    assert (score["ns"], score["fn"], score["fp"], score["ea"], score["ed"]) == (2, 0, 0, 2, 0)


def test_localisation_counts_in_hota_only_from_its_threshold_on():
    half = frame(s0=1)
    half[:4] = 0  # IoU 0.6
    found = hota(track_overlaps([frame(s0=1)], [half]))
    assert found["hota"] == pytest.approx(12 / 19)  # thresholds 0.05 to 0.6
    assert found["hota0"] == 1


def test_seg_is_that_of_single_images():
    rng = np.random.default_rng(0)
    truth = [rng.integers(0, 4, (12, 12)) for _ in range(4)]
    result = [np.where(rng.random((12, 12)) < 0.8, labels, 0) for labels in truth]
    assert track_seg(track_overlaps(truth, result)) == pytest.approx(seg(list(zip(result, truth, strict=True))))


def test_meaning_of_an_edge():
    truth = [frame(s0=1), frame(s0=2)]
    result = [frame(s0=5)] * 2
    score = tra(track_overlaps(truth, result), {2: [1]})
    assert (score["ec"], score["ed"], score["ea"]) == (1, 0, 0)
    assert score["tra"] == pytest.approx(1 - 1 / 21.5)
    # two parents are two edges
    merged = [frame(s0=1, s1=2), frame(s0=3)]
    score = tra(track_overlaps(merged, merged), {3: (1, 2)}, {3: (1,)})
    assert score["ea"] == 1
    assert score["aogm0"] == 33


def merging(at: int, keep: bool, count: int = 12) -> tuple[list[np.ndarray], dict]:
    """Squares 0 and 1 become one, over both, in frame ``at``; it is called 3, or goes on as 1."""
    whole = np.zeros((10, 48), np.int32)
    whole[:, :22] = 1 if keep else 3
    return [frame(s0=1, s1=2) if t < at else whole for t in range(count)], {} if keep else {3: {"parents": [1, 2]}}


@pytest.mark.parametrize(("late", "hit"), [(0, True), (3, True), (4, False), (-3, True)])
def test_merges_within_the_tolerance(late, hit):
    truth, parents = merging(5, False)
    result, found = merging(5 + late, False)
    scores = track_scores(track_overlaps(truth, result), parents, found)
    assert (scores["merge_f1"], scores["merge_recall"], scores["merge_precision"]) == ((1, 1, 1) if hit else (0, 0, 0))


def test_identity_that_goes_on_is_noticed():
    truth, parents = merging(4, False)
    for keep, expected in ((True, 1), (False, 0)):
        result, found = merging(5, keep)
        overlaps = track_overlaps(truth, result)
        assert kept_identities(overlaps, parents) == expected
        assert len(merge_events(overlaps, found, True)) == 1 - expected


def test_events_are_those_of_the_same_particles():
    truth = [frame(s0=1, s1=2, s2=3, s3=4)] * 20
    overlaps = track_overlaps(truth, [np.where(labels > 0, labels + 4, 0) for labels in truth])
    true = [PairEvent(5, (1, 2)), PairEvent(9, (3, 4))]
    found = match_events(overlaps, true, [PairEvent(7, (6, 5)), PairEvent(6, (7, 5))], tolerance=3)
    assert (found.counts.tp, found.counts.fp, found.counts.fn) == (1, 1, 1)
    assert found.errors.tolist() == [2]
    onsets = match_events(overlaps, true, [PairEvent(14, (6, 5)), PairEvent(9, (7, 8))], tolerance=None)
    assert sorted(onsets.errors.tolist()) == [0, 9]
    twice = match_events(overlaps, true[:1], [PairEvent(5, (5, 6)), PairEvent(6, (5, 6))])
    assert (twice.counts.tp, twice.counts.fp) == (1, 1)
    assert match_events(overlaps, [], []).counts.f1 == 1
    with pytest.raises(InputError, match="tolerance"):
        match_events(overlaps, true, true, tolerance=-1)


def test_nothing_and_bad_input():
    nothing, something = frame(), frame(s0=1)
    empty = track_overlaps([nothing] * 2, [nothing] * 2)
    assert hota(empty)["hota"] == idf1(empty)["idf1"] == tra(empty)["tra"] == 1
    assert np.isnan(track_seg(empty))
    for pair in (([something], [nothing]), ([nothing], [something])):
        overlaps = track_overlaps(*pair)
        assert hota(overlaps)["hota"] == idf1(overlaps)["idf1"] == tra(overlaps)["tra"] == 0
        assert switches(overlaps) == 0
    assert hota(track_overlaps([], []))["hota"] == 1
    with pytest.raises(InputError, match="ends after 1 frames"):
        track_overlaps([nothing], [nothing] * 2)
    with pytest.raises(InputError):
        track_overlaps([nothing], [nothing[:5]])
    with pytest.raises(InputError, match="threshold"):
        idf1(empty, 0)
    with pytest.raises(InputError, match="parents"):
        tra(empty, {1: ["x"]})


# ------------------------------------------------------------------------------------ other implementations


def spoiled(seed: int):
    """A simulated video and a poor result: shifted, missing, merged and false particles, exchanged names."""
    rng = np.random.default_rng(seed)
    video = simulate_sintering(seed, frames=16, shape=(160, 160), n_particles=9, mechanism="lattice diffusion")
    truth = [video.labels(t) for t in range(len(video))]
    names: dict[int, int] = {}
    result = []
    for t, labels in enumerate(truth):
        labels = np.roll(labels, rng.integers(-3, 4, 2), (0, 1)).copy()
        identities = np.unique(labels[labels > 0])
        for k in identities:
            draw = rng.random()
            labels[labels == k] = 0 if draw < 0.04 else rng.choice(identities) if draw < 0.07 else k
        if rng.random() < 0.3:
            y, x = rng.integers(0, 140, 2)
            labels[y : y + 15, x : x + 15] = 900 + t
        if rng.random() < 0.3:
            a, b = rng.choice(identities, 2, replace=False).tolist()
            names[a], names[b] = names.get(b, b), names.get(a, a)
        renamed = labels.copy()
        for a, b in names.items():
            renamed[labels == a] = b
        result.append(renamed)
    single = {k: tuple(entry["parents"][:1]) for k, entry in video.lineage.items()}
    return track_overlaps(truth, result), single


@pytest.mark.parametrize("seed", [0, 1])
def test_against_trackeval(seed):
    metrics = pytest.importorskip("trackeval.metrics")
    overlaps, _ = spoiled(seed)
    row = {name: k for k, name in enumerate(overlaps.true_lengths())}
    column = {name: k for k, name in enumerate(overlaps.found_lengths())}
    data = {
        "num_gt_dets": sum(overlaps.true_lengths().values()),
        "num_tracker_dets": sum(overlaps.found_lengths().values()),
        "num_gt_ids": len(row),
        "num_tracker_ids": len(column),
        "num_timesteps": len(overlaps.frames),
        "gt_ids": [np.array([row[k] for k in f.true.tolist()], int) for f in overlaps.frames],
        "tracker_ids": [np.array([column[k] for k in f.found.tolist()], int) for f in overlaps.frames],
        "similarity_scores": [f.iou for f in overlaps.frames],
    }
    theirs, ours = metrics.HOTA().eval_sequence(data), hota(overlaps)
    for name, other in (("hota", "HOTA"), ("deta", "DetA"), ("assa", "AssA"), ("loca", "LocA")):
        assert ours[name] == pytest.approx(float(np.mean(theirs[other])))
    assert idf1(overlaps)["idf1"] == pytest.approx(float(metrics.Identity().eval_sequence(data)["IDF1"]))
    assert switches(overlaps) == metrics.CLEAR().eval_sequence(data)["IDSW"]


@pytest.mark.parametrize("seed", [0, 1])
def test_against_ctcmetrics(seed):
    representations = pytest.importorskip("ctc_metrics.utils.representations")
    from ctc_metrics.metrics import seg as their_seg
    from ctc_metrics.metrics import tra as their_tra

    overlaps, parents = spoiled(seed)

    def rows(frames):
        seen: dict[int, list[int]] = {}
        for t, names in enumerate(frames):
            for name in names.tolist():
                seen.setdefault(name, []).append(t)
        of = {
            k: next((p for p in parents.get(k, ()) if p in seen and seen[p][-1] < ts[0]), 0) for k, ts in seen.items()
        }
        return np.array([[k, ts[0], ts[-1], of[k]] for k, ts in seen.items()])

    true, found = [f.true for f in overlaps.frames], [f.found for f in overlaps.frames]
    where = [np.nonzero(f.covered > 0.5) for f in overlaps.frames]
    counts = representations.count_acyclic_graph_correction_operations(
        rows(true),
        rows(found),
        [names.tolist() for names in true],
        [names.tolist() for names in found],
        [names[i].tolist() for names, (i, _) in zip(true, where, strict=True)],
        [names[j].tolist() for names, (_, j) in zip(found, where, strict=True)],
    )
    ours = tra(overlaps, parents, parents)
    assert {k: ours[k] for k in ("ns", "fn", "fp", "ed", "ea", "ec")} == {
        k: counts[k.upper()] for k in ("ns", "fn", "fp", "ed", "ea", "ec")
    }
    assert ours["tra"] == pytest.approx(their_tra(**counts)[0])
    ious = [f.iou[where_of].tolist() for f, where_of in zip(overlaps.frames, where, strict=True)]
    assert track_seg(overlaps) == pytest.approx(their_seg([names.tolist() for names in true], ious))
