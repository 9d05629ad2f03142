"""Suite ``exemplars``: boxes around a few objects, and all that is alike."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro import metrics
from lisa_micro.datasets.materials import MATERIALS, read_materials
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, SuiteResult, mean
from lisa_micro.evaluate.seeing import Eyes, Seen, best_and_worst, picture
from lisa_micro.geometry import boxes_from_labels

POSITIVE = NEGATIVE = 3
"""Boxes of the first way; the second is one box alone."""
LINES = ("crack", "grain_boundary")
LEAST_PX = 30
"""Smaller objects are not shown as examples."""


def positive_boxes(labels: np.ndarray, concept: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes ``(k, 4)`` XYXY px, k <= count, as a user draws them: around objects, or around pieces of a line or a
    layer.

    Args:
        labels: ``(H, W)`` int32; a mask's connected pieces are its objects.
    """
    mask = labels > 0
    if concept in LINES or concept == "layer":
        ys, xs = np.nonzero(mask)
        half = 24 if concept in LINES else 40
        picks = rng.choice(len(ys), min(count, len(ys)), replace=False)
        return np.array([_around(mask, int(xs[k]), int(ys[k]), half) for k in picks], float)
    if labels.max() == 1:
        labels = ndimage.label(mask)[0]
    areas = np.bincount(labels.ravel())[1:]
    large = np.flatnonzero(areas >= min(LEAST_PX, int(areas.max())))
    picks = rng.choice(large, min(count, len(large)), replace=False)
    return boxes_from_labels(labels)[picks].astype(float)


def _around(mask: np.ndarray, x: int, y: int, half: int) -> list[int]:
    y0, x0 = max(0, y - half), max(0, x - half)
    part = mask[y0 : y + half, x0 : x + half]
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    return [x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1]


def negative_boxes(labels: np.ndarray, like: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes ``(k, 4)`` of the size of the positive ones where under 2 % are of the concept, k <= count."""
    size = np.median(like[:, 2:] - like[:, :2], axis=0)
    boxes: list[list[float]] = []
    for _ in range(300):
        if len(boxes) == count:
            break
        x, y = rng.uniform(0, np.maximum(np.array(labels.shape[::-1]) - size, 1))
        part = labels[int(y) : int(np.ceil(y + size[1])), int(x) : int(np.ceil(x + size[0]))]
        if part.size and (part > 0).mean() < 0.02:
            boxes.append([x, y, min(x + size[0], labels.shape[1]), min(y + size[1], labels.shape[0])])
    return np.array(boxes, float).reshape(-1, 4)


def exemplars(context: Context) -> SuiteResult:
    """Each labelled concept of each validation micrograph of ``materials``: three boxes and three negative ones, and
    one box.

    Raises:
        InputError: the data sets are not found.
    """
    eyes = Eyes(context.assistant)
    if not eyes.knows_exemplars:
        return SuiteResult("exemplars", (), notes=("The model has no exemplar encoder.",))
    scores: dict[tuple[str, bool], list[float]] = {}
    seen: dict[bool, list[Seen]] = {True: [], False: []}
    with context.steps("exemplars", len(MATERIALS)) as step:
        for name in MATERIALS:
            for number, example in enumerate(context.limited(read_materials(name, "validation", context.data))):
                for concept, labels in example.concept_labels.items():
                    if not labels.any():
                        continue
                    rng = np.random.default_rng((context.seed, number))
                    like = positive_boxes(labels, concept, POSITIVE, rng)
                    unlike = negative_boxes(labels, like, NEGATIVE, rng)
                    for several in (True, False):
                        boxes = np.concatenate([like, unlike]) if several else like[:1]
                        signs = np.ones(len(boxes), np.int64)
                        signs[len(like) :] = -1
                        found = eyes.like(example.micrograph.pixels, boxes, signs)
                        score = metrics.iou(found, labels)
                        scores.setdefault((f"{concept}, {name}", several), []).append(score)
                        title = f"{example.name} {concept}"
                        case = Seen(title, score, example.micrograph.pixels, labels, found, boxes, signs)
                        seen[several].append(case)
            step()
    cases = sorted({case for case, _ in scores})
    rows = [
        {
            "concept": case,
            "micrographs": len(scores[case, True]),
            "three boxes and three negative": round(mean(scores[case, True]), 4),
            "one box": round(mean(scores[case, False]), 4),
        }
        for case in cases
    ]
    by_way = {way: mean([mean(scores[case, way]) for case in cases]) for way in (True, False)}
    n = sum(len(scores[case, True]) for case in cases)
    meaning = "IoU of the masks, mean over the micrographs of a set and concept, then over these."
    figures = (
        Metric("several", "three boxes and three negative ones, gIoU", by_way[True], meaning, 0.65, 0.8, n=n),
        Metric("one", "one box, gIoU", by_way[False], meaning, 0.5, 0.65, n=n),
    )
    pictures = {
        f"exemplars-{'several' if way else 'one'}.png": picture(best_and_worst(cases_seen, 5))
        for way, cases_seen in seen.items()
        if cases_seen
    }
    return SuiteResult("exemplars", figures, {"By set and concept": rows}, pictures=pictures)
