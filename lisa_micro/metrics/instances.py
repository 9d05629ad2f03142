"""Agreement of instance labels. Labels are ``(H, W)`` integers, 0 = background; numbers may be missing.
 Metrics of one image take ``(predicted, truth)``, metrics of a data set a sequence of such pairs. If an image has
neither predicted nor true instances they agree, and its metrics are 1 (Cellpose and the EMPS code divide 0 by 0).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lisa_micro.measure.contacts import compact
from lisa_micro.types import InputError

EMPS_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(20))
"""IoU thresholds of the authors of EMPS: 0, 0.05 ... 0.95."""
COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""IoU thresholds of COCO: 0.5, 0.55 ... 0.95."""

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Counts:
    """Numbers of true positives, false positives and false negatives; they can be added.

    Attributes
    ----------
    tp, fp, fn
        The numbers.

    Examples
    --------
    >>> total = Counts(8, 2, 0) + Counts(0, 0, 4)
    >>> total.precision, round(total.recall, 3), round(total.f1, 3), round(total.ap, 3)
    (0.8, 0.667, 0.727, 0.571)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); without predictions 1 if there was nothing to find, otherwise 0."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else float(self.fn == 0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); 1 if there was nothing to find."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 1.0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 if there is nothing at all."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 1.0

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN), the "average precision" of Cellpose; 1 if there is nothing at all."""
        total = self.tp + self.fp + self.fn
        return self.tp / total if total else 1.0


@dataclass(frozen=True)
class Overlap:
    """Overlap of all instances of two label images.

    Attributes
    ----------
    intersection
        ``(n, m)`` px, predicted by true.
    iou
        ``(n, m)`` 0..1.
    predicted, true
        ``(n,)``, ``(m,)`` label numbers.
    true_area
        ``(m,)`` px.
    """

    intersection: np.ndarray
    iou: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    true_area: np.ndarray


def overlap(predicted: np.ndarray, truth: np.ndarray) -> Overlap:
    """Intersections and IoUs of each predicted with each true instance.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` labels.

    Returns
    -------
    Overlap

    Raises
    ------
    InputError
        Unusable labels, or shapes that differ.

    Examples
    --------
    >>> overlap(np.array([[1, 1, 0, 2]]), np.array([[0, 5, 5, 5]])).iou.tolist()
    [[0.25], [0.3333333333333333]]
    """
    p, p_numbers = compact(predicted)
    t, t_numbers = compact(truth)
    if p.shape != t.shape:
        raise InputError(f"Predicted labels of shape {p.shape} cannot be compared with true labels of shape {t.shape}.")
    n, m = len(p_numbers), len(t_numbers)
    table = np.bincount(p.ravel().astype(np.int64) * (m + 1) + t.ravel(), minlength=(n + 1) * (m + 1))
    table = table.reshape(n + 1, m + 1)
    p_area, t_area = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    intersection = table[1:, 1:]
    union = p_area[:, None] + t_area[None, :] - intersection
    return Overlap(intersection, intersection / np.maximum(union, 1), p_numbers, t_numbers, t_area)


def _match(iou: np.ndarray, threshold: float, strict: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the one-to-one pairs above the threshold: as many as possible, then with the highest sum of IoUs."""
    from scipy.optimize import linear_sum_assignment

    if iou.size == 0:
        return np.zeros(0, int), np.zeros(0, int)
    good = iou > threshold if strict else (iou >= threshold) & (iou > 0)
    rows, columns = linear_sum_assignment(-(good + iou * good / (2 * min(iou.shape))))
    hit = good[rows, columns]
    return rows[hit], columns[hit]


def match(predicted: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int, float]]:
    """Match predicted and true instances one to one, with an IoU of at least ``threshold``.

    As many pairs as possible are matched, and among those with the highest sum of IoUs (Hungarian algorithm, as in
    StarDist and Cellpose).

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` labels.
    threshold
        0..1.

    Returns
    -------
    list of tuple
        (predicted label, true label, IoU), ascending by true label.

    Raises
    ------
    InputError
        Unusable labels, shapes that differ, or a threshold out of range.

    Examples
    --------
    >>> match(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 7, 9]]))
    [(1, 7, 0.6666666666666666), (2, 9, 1.0)]
    """
    table = overlap(predicted, truth)
    rows, columns = _match(table.iou, _check(threshold), strict=False)
    pairs = [
        (int(table.predicted[r]), int(table.true[c]), float(table.iou[r, c]))
        for r, c in zip(rows, columns, strict=True)
    ]
    return sorted(pairs, key=lambda pair: pair[1])


def _check(threshold: float) -> float:
    if not 0 <= threshold <= 1:
        raise InputError(f"An IoU threshold must be between 0 and 1, not {threshold}.")
    return threshold


def counts(predicted: np.ndarray, truth: np.ndarray, threshold: float = 0.5, strict: bool = False) -> Counts:
    """Numbers of matched and unmatched instances of one image.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` labels.
    threshold
        0..1.
    strict
        Whether a match needs IoU > threshold instead of >=.

    Returns
    -------
    Counts

    Raises
    ------
    InputError
        As :func:`match`.

    Examples
    --------
    >>> counts(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 7, 0]]))
    Counts(tp=1, fp=1, fn=0)
    """
    table = overlap(predicted, truth)
    return _count(table, _check(threshold), strict)


def _count(table: Overlap, threshold: float, strict: bool) -> Counts:
    tp = len(_match(table.iou, threshold, strict)[0])
    return Counts(tp, table.iou.shape[0] - tp, table.iou.shape[1] - tp)


def average_precision(
    predicted: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = (0.5, 0.75, 0.9)
) -> np.ndarray:
    """Average precision of Cellpose for one image: TP / (TP + FP + FN) at each threshold, match at IoU >= t.

    Source: Stringer et al., Nature Methods 18 (2021) 100, ``cellpose/metrics.py``; the same as the accuracy of StarDist
    and the score of the 2018 Data Science Bowl.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` labels.
    thresholds
        Each 0..1.

    Returns
    -------
    ndarray
        ``(len(thresholds),)`` 0..1.

    Examples
    --------
    >>> average_precision(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 7, 9]]), (0.5, 0.75)).round(2).tolist()
    [1.0, 0.33]
    """
    table = overlap(predicted, truth)
    return np.array([_count(table, _check(t), strict=False).ap for t in thresholds])


def pooled_counts(pairs: Iterable[Pair], threshold: float = 0.5) -> Counts:
    """Counts summed over images; ``.ap`` and ``.f1`` of the sum give every instance the same weight.

    Parameters
    ----------
    pairs
        (predicted, true) labels of the images.
    threshold
        0..1.

    Returns
    -------
    Counts

    Raises
    ------
    InputError
        No pair.

    Examples
    --------
    >>> labels = np.array([[1, 0, 2]])
    >>> pooled_counts([(labels, labels), (labels * 0, labels)])
    Counts(tp=2, fp=0, fn=2)
    """
    total = [counts(p, t, threshold) for p, t in pairs]
    if not total:
        raise InputError("There are no labels to compare.")
    return sum(total, Counts())


def emps_average_precision(
    predicted: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = EMPS_THRESHOLDS
) -> float:
    """Average precision as defined by the authors of EMPS: the mean over IoU thresholds of TP / (TP + FP).

    A match needs IoU > t, t = 0, 0.05 ... 0.95. Of several predictions of one particle one counts, and the others are
    false positives. Missed particles do not lower it. Source: Yildirim and Cole, J. Chem. Inf. Model. 61 (2021) 1136
    (the code of by256/bpartis). Here pairs are assigned one to one for the most matches; the authors take, for each
    prediction, the first particle over the threshold.

    Parameters
    ----------
    predicted, truth
        ``(H, W)`` labels.
    thresholds
        Each 0..1.

    Returns
    -------
    float
        0..1; without predictions 0, or 1 if there is no particle either.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0, 2]])
    >>> emps_average_precision(labels, labels)
    1.0
    """
    table = overlap(predicted, truth)
    return float(np.mean([_count(table, _check(t), strict=True).precision for t in thresholds]))


def panoptic_quality(pairs: Iterable[Pair]) -> dict[str, float]:
    """Panoptic quality for one class (Kirillov et al., CVPR 2019): PQ = SQ * RQ.

    A match needs IoU > 0.5, which makes it unique. SQ is the mean IoU of the matches, RQ = TP / (TP + FP/2 + FN/2).

    Parameters
    ----------
    pairs
        (predicted, true) labels of the images; counts and IoUs are summed over them.

    Returns
    -------
    dict of str to float
        ``pq``, ``sq``, ``rq``, 0..1. Without matches sq is 0; all are 1 if there is no instance anywhere.

    Raises
    ------
    InputError
        No pair.

    Examples
    --------
    >>> panoptic_quality([(np.array([[1, 1, 1, 0]]), np.array([[1, 1, 1, 1]]))])
    {'pq': 0.75, 'sq': 0.75, 'rq': 1.0}
    """
    total, quality, images = Counts(), 0.0, 0
    for predicted, truth in pairs:
        table = overlap(predicted, truth)
        total += _count(table, 0.5, strict=True)
        quality += float(table.iou[table.iou > 0.5].sum())
        images += 1
    if images == 0:
        raise InputError("There are no labels to compare.")
    if total == Counts():
        return {"pq": 1.0, "sq": 1.0, "rq": 1.0}
    sq = quality / total.tp if total.tp else 0.0
    return {"pq": sq * total.f1, "sq": sq, "rq": total.f1}


def seg(pairs: Iterable[Pair]) -> float:
    """SEG of the Cell Tracking Challenge (Ulman et al., Nature Methods 14 (2017) 1141).

    The mean over all true instances R of the Jaccard index with the predicted instance S that covers more than half of
    it, |R and S| > |R| / 2 (at most one can); 0 if none does. False positives do not count.

    Parameters
    ----------
    pairs
        (predicted, true) labels of the images.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    InputError
        No pair, or no true instance in any.

    Examples
    --------
    >>> seg([(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 1, 2]]))])
    0.3333333333333333
    """
    values: list[np.ndarray] = []
    for predicted, truth in pairs:
        table = overlap(predicted, truth)
        covering = table.intersection > table.true_area[None, :] / 2
        values.append((table.iou * covering).sum(axis=0) if len(table.predicted) else np.zeros(len(table.true)))
    together = np.concatenate(values) if values else np.zeros(0)
    if len(together) == 0:
        raise InputError("SEG needs at least one true instance.")
    return float(together.mean())


def coco_average_precision(pairs: Sequence[Pair], scores: Sequence[np.ndarray] | None = None) -> dict[str, float]:
    """Average precision of COCO for masks, by pycocotools (Lin et al. 2014), for one class.

    Precision is interpolated at 101 recalls and averaged; ``ap`` also over IoU 0.5 to 0.95. The limit of detections per
    image is raised from COCO's 100 to the largest number present, since micrographs hold hundreds of particles.

    Parameters
    ----------
    pairs
        (predicted, true) labels of the images.
    scores
        For each image ``(n,)``, the confidence of its predicted instances in ascending order of the labels. By default
        all are equal, and the order of the instances decides ties, as in COCO.

    Returns
    -------
    dict of str to float
        ``ap``, ``ap50``, ``ap75``, ``ar`` (recall at most detections, mean over IoU), 0..1; NaN without any true
        instance.

    Raises
    ------
    InputError
        No pair, or numbers of scores that do not match.

    Examples
    --------
    >>> labels = np.zeros((8, 8), int)
    >>> labels[1:4, 1:4], labels[5:8, 5:8] = 1, 2
    >>> coco_average_precision([(labels, labels)])["ap"]
    1.0
    """
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not pairs:
        raise InputError("There are no labels to compare.")
    if scores is not None and len(scores) != len(pairs):
        raise InputError(f"There are {len(pairs)} images but scores for {len(scores)}.")
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    images: list[dict[str, int]] = []
    most = 1
    for number, (predicted, truth) in enumerate(pairs, start=1):
        p, p_labels = compact(predicted)
        t, t_labels = compact(truth)
        if p.shape != t.shape:
            raise InputError(
                f"Image {number} has predicted labels {p.shape} but true labels {t.shape} of another shape."
            )
        confidence = np.ones(len(p_labels)) if scores is None else np.asarray(scores[number - 1], float)
        if confidence.shape != (len(p_labels),):
            raise InputError(f"Image {number} has {len(p_labels)} instances but {confidence.size} scores.")
        images.append({"id": number, "height": t.shape[0], "width": t.shape[1]})
        most = max(most, len(p_labels))
        for k in range(1, len(t_labels) + 1):
            rle = coco_mask.encode(np.asfortranarray(t == k, dtype=np.uint8))
            area = float(coco_mask.area(rle))
            box = coco_mask.toBbox(rle).tolist()
            truths.append(
                {"id": len(truths) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "area": area}
                | {"bbox": box, "segmentation": rle}
            )
        for k in range(1, len(p_labels) + 1):
            rle = coco_mask.encode(np.asfortranarray(p == k, dtype=np.uint8))
            found.append({"image_id": number, "category_id": 1, "score": float(confidence[k - 1]), "segmentation": rle})
    if not truths:
        return dict.fromkeys(("ap", "ap50", "ap75", "ar"), float("nan"))
    if not found:
        return dict.fromkeys(("ap", "ap50", "ap75", "ar"), 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference = COCO()
        reference.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}], "info": {}}
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(found), "segm")
        evaluation.params.maxDets = [1, 10, most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 2]  # (IoU, recall), class 0, all sizes, most detections
    recall = evaluation.eval["recall"][:, 0, 0, 2]
    return {
        "ap": float(precision.mean()),
        "ap50": float(precision[0].mean()),
        "ap75": float(precision[5].mean()),
        "ar": float(recall.mean()),
    }
