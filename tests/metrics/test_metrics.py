"""Scores, against hand-computed cases and independent implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance
from skimage.morphology import disk

from lisa_micro.measure import find_necks
from lisa_micro.metrics import (
    Counts,
    average_precision,
    boundary_f1,
    ciou,
    coco_average_precision,
    counts,
    dice,
    emps_average_precision,
    giou,
    hausdorff95,
    iou,
    iou_outside_band,
    label_centres,
    match,
    match_points,
    neck_centre_counts,
    neck_counts_from_particles,
    panoptic_quality,
    point_counts,
    pooled_counts,
    seg,
)
from lisa_micro.metrics.masks import boundary
from lisa_micro.types import InputError

EMPTY = np.zeros((20, 20), bool)


def box(y0, y1, x0, x1, shape=(20, 20)):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def boxes(*corners, shape=(20, 40)):
    labels = np.zeros(shape, np.int32)
    for k, (y0, y1, x0, x1) in enumerate(corners):
        labels[y0:y1, x0:x1] = k + 1
    return labels


def test_overlap_by_hand():
    p, t = box(0, 4, 0, 4), box(0, 4, 2, 6)  # 16 and 16 px, 8 shared
    assert iou(p, t) == 8 / 24 and dice(p, t) == 16 / 32
    assert giou([(p, t), (EMPTY, EMPTY), (p, EMPTY)]) == pytest.approx((8 / (24 + 1e-5) + 1 + 0) / 3, abs=1e-12)
    assert ciou([(p, t), (EMPTY, EMPTY), (p, EMPTY)]) == 8 / (24 + 16)
    assert giou([(t, t)]) == 16 / (16 + 1e-5)


def test_empty_masks():
    full = box(3, 9, 3, 9)
    for score in (iou, dice, boundary_f1, iou_outside_band):
        assert score(EMPTY, EMPTY) == 1
        assert score(full, EMPTY) == score(EMPTY, full) == 0
        assert score(full, full) == 1
    assert hausdorff95(EMPTY, EMPTY) == 0 == hausdorff95(full, full)
    assert hausdorff95(full, EMPTY) == hausdorff95(EMPTY, full) == np.inf
    assert ciou([(EMPTY, EMPTY)]) == 1
    everything = ~EMPTY
    assert boundary_f1(everything, everything) == 1 and hausdorff95(everything, everything) == 0
    assert boundary_f1(everything, full) == 0 and hausdorff95(full, everything) == np.inf


def test_outside_band_by_hand():
    t = box(5, 15, 5, 15)
    # a band of 2 px leaves the inner 6 x 6; the prediction lacks one row of it and has one far pixel too many
    p = box(8, 15, 5, 15)
    p[0, 0] = True
    assert iou_outside_band(p, t, 2) == 30 / 37
    assert iou_outside_band(p, t, 0) == iou(p, t)
    assert iou_outside_band(binary_dilation(t, iterations=2), t, 2) == 1


def test_boundary_by_hand():
    t = box(5, 10, 5, 10)
    assert boundary(t).sum() == 16
    assert boundary(box(0, 5, 0, 5)).sum() == 9  # the image's border is no edge
    p = box(5, 10, 7, 12)  # two px to the right
    assert boundary_f1(p, t, 2) == 1
    edge_p, edge_t = np.argwhere(boundary(p)), np.argwhere(boundary(t))
    near = cdist(edge_p, edge_t) <= 1
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    assert boundary_f1(p, t, 1) == pytest.approx(2 * precision * recall / (precision + recall))


@settings(max_examples=50, deadline=None)
@given(arrays(bool, (14, 17)), arrays(bool, (14, 17)), st.integers(0, 3))
def test_boundary_scores_against_brute_force(p, t, tolerance):
    edge_p, edge_t = boundary(p), boundary(t)
    if edge_p.any() and edge_t.any():
        precision = (edge_p & binary_dilation(edge_t, disk(tolerance))).sum() / edge_p.sum()
        recall = (edge_t & binary_dilation(edge_p, disk(tolerance))).sum() / edge_t.sum()
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert boundary_f1(p, t, tolerance) == pytest.approx(expected)
        distance = cdist(np.argwhere(edge_p), np.argwhere(edge_t))
        directed = [np.percentile(distance.min(axis=k), 95) for k in (0, 1)]
        assert hausdorff95(p, t) == pytest.approx(max(directed))
        assert hausdorff95(p, t) <= hausdorff_distance(edge_p, edge_t) + 1e-9
    inter, union = (p & t).sum(), (p | t).sum()
    assert iou(p, t) == (inter / union if union else 1)
    assert dice(p, t) == pytest.approx(2 * iou(p, t) / (1 + iou(p, t)))


def test_instances_by_hand():
    truth = boxes((0, 10, 0, 10), (0, 10, 20, 30), (12, 20, 0, 8))
    # IoU 0.6 with the first, 1 with the second, the third missed, one false alarm
    predicted = boxes((0, 6, 0, 10), (0, 10, 20, 30), (12, 20, 32, 40))
    assert match(predicted, truth) == [(1, 1, pytest.approx(0.6)), (2, 2, 1.0)]
    assert counts(predicted, truth, 0.5) == Counts(2, 1, 1)
    assert counts(predicted, truth, 0.6) == Counts(2, 1, 1)  # >=
    assert counts(predicted, truth, 0.6, strict=True) == Counts(1, 2, 2)
    assert average_precision(predicted, truth, (0.5, 0.75)).tolist() == [2 / 4, 1 / 5]
    total = pooled_counts([(predicted, truth), (truth, truth)])
    assert total == Counts(5, 1, 1) and total.ap == 5 / 7 and total.f1 == 10 / 12
    # IoU > t for t = 0 ... 0.55 gives 2 of 3; from 0.6 to 0.95 one of 3
    assert emps_average_precision(predicted, truth) == pytest.approx((12 * 2 / 3 + 8 * 1 / 3) / 20)
    pq = panoptic_quality([(predicted, truth)])
    assert pq["sq"] == pytest.approx(0.8) and pq["rq"] == pytest.approx(2 / 3)
    assert pq["pq"] == pytest.approx(1.6 / 3)
    assert seg([(predicted, truth)]) == pytest.approx((0.6 + 1 + 0) / 3)


def test_duplicates_and_merges():
    truth = boxes((0, 10, 0, 10), (0, 10, 10, 20))
    halves = boxes((0, 10, 0, 6), (0, 10, 6, 10), (0, 10, 10, 20))
    assert counts(halves, truth, 0.3) == Counts(2, 1, 0)  # the second half is a false positive
    merged = boxes((0, 10, 0, 20))
    assert counts(merged, truth, 0.5) == Counts(1, 0, 1)  # IoU 0.5 with both, one match
    assert panoptic_quality([(merged, truth)])["rq"] == 0  # PQ needs more than 0.5
    assert seg([(merged, truth)]) == 0.5  # it covers both
    # greedy matching would take the 0.6 first and leave one particle over
    truth = boxes((0, 1, 0, 10), (0, 1, 10, 16))
    predicted = boxes((0, 1, 4, 14), (0, 1, 0, 4))
    assert counts(predicted, truth, 0.3).tp == 2


def test_nothing_to_find():
    none, one = boxes(), boxes((0, 5, 0, 5))
    assert average_precision(none, none).tolist() == [1, 1, 1]
    assert average_precision(none, one).tolist() == average_precision(one, none).tolist() == [0, 0, 0]
    assert emps_average_precision(none, none) == 1 and emps_average_precision(none, one) == 0
    assert panoptic_quality([(none, none)])["pq"] == 1 and panoptic_quality([(one, none)])["pq"] == 0
    assert seg([(none, one)]) == 0
    assert Counts().precision == Counts().recall == Counts().f1 == 1
    with pytest.raises(InputError):
        seg([(none, none)])


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int32, (9, 9), elements=st.integers(0, 4)),
    arrays(np.int32, (9, 9), elements=st.integers(0, 4)),
    st.sampled_from([0.1, 0.3, 0.5]),
)
def test_matching_is_the_largest(predicted, truth, threshold):
    """Against augmenting paths on IoUs computed pair by pair."""
    ps, ts = [np.unique(a[a > 0]).tolist() for a in (predicted, truth)]
    edges = {
        p: [t for t in ts if iou(predicted == p, truth == t) >= threshold and ((predicted == p) & (truth == t)).any()]
        for p in ps
    }
    owner = {}

    def augment(p, seen):
        for t in edges[p]:
            if t not in seen:
                seen.add(t)
                if t not in owner or augment(owner[t], seen):
                    owner[t] = p
                    return True
        return False

    tp = sum(augment(p, set()) for p in ps)
    assert counts(predicted, truth, threshold) == Counts(tp, len(ps) - tp, len(ts) - tp)


def test_coco_by_hand():
    truth = boxes((0, 10, 0, 10), (0, 10, 20, 30))
    predicted = boxes((0, 10, 0, 10), (12, 20, 0, 8), (0, 10, 20, 26))  # right, false alarm, IoU 0.6
    scores = [np.array([0.9, 0.8, 0.7])]
    result = coco_average_precision([(predicted, truth)], scores)
    # at IoU 0.5: precision 1 up to recall 0.5 (51 of 101 points), then 2/3 up to recall 1
    assert result["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result["ap75"] == pytest.approx(51 / 101)
    low, high = result["ap50"], result["ap75"]
    assert result["ap"] == pytest.approx((3 * low + 7 * high) / 10)  # 0.5, 0.55, 0.6 and seven above
    assert coco_average_precision([(truth, truth)])["ap"] == pytest.approx(1)
    assert coco_average_precision([(truth * 0, truth)])["ap"] == 0
    assert np.isnan(coco_average_precision([(truth, truth * 0)])["ap"])


def test_coco_has_no_limit_of_100():
    labels = np.arange(1, 145).reshape(12, 12).repeat(3, 0).repeat(3, 1).astype(np.int32)
    labels[::3], labels[:, ::3] = 0, 0
    assert coco_average_precision([(labels, labels)])["ap"] == pytest.approx(1)


def test_points_by_hand():
    truth = np.array([[10.0, 10], [20, 10]])
    predicted = np.array([[12.0, 10], [14, 10], [40, 40]])
    assert match_points(predicted, truth, 6.0).tolist() == [[0, 0], [1, 1]]  # one to one, as many as possible
    assert point_counts(predicted, truth, np.array([6.0, 1.0])) == Counts(1, 2, 1)
    assert point_counts(predicted, truth, np.array([3.0, 6.0])).f1 == 4 / 5
    assert point_counts(np.zeros((0, 2)), truth, 5.0) == Counts(0, 0, 2)
    assert point_counts([], [], 5.0).f1 == 1
    for bad in (np.zeros((2, 3)), np.array([[np.nan, 0]])):
        with pytest.raises(InputError):
            point_counts(bad, truth, 1.0)
    with pytest.raises(InputError):
        point_counts(predicted, truth, np.array([1.0]))


def test_neck_centres():
    truth = boxes((0, 10, 0, 10), (0, 10, 10, 20))
    (neck,) = find_necks(truth)
    x, y = neck.centre
    width = 2 * neck.x_px
    assert width == pytest.approx(10)
    assert neck_centre_counts(np.array([[x + 9.9, y]]), [neck]) == Counts(1, 0, 0)
    assert neck_centre_counts(np.array([[x + 10.2, y]]), [neck]) == Counts(0, 1, 1)
    assert neck_centre_counts([neck], [neck]) == Counts(1, 0, 0)
    assert neck_centre_counts([], [neck]) == Counts(0, 0, 1)
    assert neck_counts_from_particles(truth, truth) == Counts(1, 0, 0)
    assert label_centres(boxes((0, 3, 0, 5), (10, 11, 10, 11))).tolist() == [[2, 1], [10, 10]]


def test_bad_input():
    a, b = np.zeros((4, 4), np.int32), np.zeros((4, 5), np.int32)
    for score in (iou, dice, boundary_f1, hausdorff95, iou_outside_band, counts, average_precision):
        with pytest.raises(InputError):
            score(a, b)
    for score in (giou, ciou, pooled_counts, panoptic_quality, coco_average_precision):
        with pytest.raises(InputError):
            score([])
        with pytest.raises(InputError):
            score([(a, b)])
    with pytest.raises(InputError):
        counts(a, a, 1.5)
    with pytest.raises(InputError):
        boundary_f1(a, a, -1)
    with pytest.raises(InputError):
        iou_outside_band(a, a, np.nan)
    with pytest.raises(InputError, match="scores"):
        coco_average_precision([(a + 1, a + 1)], [np.ones(3)])
