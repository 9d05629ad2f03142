"""Accuracy of promptable segmenters: IoU per object for one box, one click, and everything mode, with truth.

    python benchmarks/segmenter_accuracy.py --images 15 [--segmenter NAME --checkpoint PATH] [--data FOLDER]

On simulated validation scenes, and on the validation part of EMPS if ``LISA_MICRO_DATA`` or ``--data`` points to it. A
click is at the centroid of the object, or at its innermost pixel if the centroid lies outside. For ``micro`` the bare
point, decoded without the instance under it, is reported as well.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import numpy as np
import torch

from lisa_micro import metrics
from lisa_micro.datasets.readers import read_emps
from lisa_micro.evaluate.comparison import inner_points
from lisa_micro.evaluate.scenes import micrograph_of, scenes
from lisa_micro.geometry import boxes_from_labels
from lisa_micro.models.segmenters import Segmenter, build_segmenter
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.types import Micrograph

LEAST_PX = 24
"""Objects below this area are left out, since their truth is mostly edge."""


def examples(source: str, count: int, data: str | None) -> Iterator[tuple[Micrograph, np.ndarray]]:
    """Yield ``count`` micrographs with labels ``(H, W)``, spread over the whole data set; all if ``count`` is 0."""
    if source == "simulated":
        for scene in scenes(count or 50):
            yield micrograph_of(scene), scene.labels("particle")
        return
    part = read_emps("validation", data)
    chosen = np.linspace(0, len(part) - 1, count).astype(int) if count else range(len(part))
    for k in chosen:
        yield part[int(k)].micrograph, part[int(k)].labels


def clicks(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """``(n, 2)`` XY px; the module's description has the rule."""
    inner, found = inner_points(labels), []
    present = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    for number in numbers:
        rows, columns = np.nonzero(labels == number)
        x, y = columns.mean() + 0.5, rows.mean() + 0.5
        found.append((x, y) if labels[int(y), int(x)] == number else inner[np.searchsorted(present, number)])
    return np.array(found)


def ious(masks: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> list[float]:
    """IoU of mask k with object ``numbers[k]``."""
    return [metrics.iou(mask, labels == number) for mask, number in zip(masks, numbers, strict=True)]


def bare_points(segmenter: MicroSegmenter, points: np.ndarray) -> np.ndarray:
    """``(n, H, W)`` bool: masks that the decoder gives for each point alone."""
    seen = segmenter.image.features.image
    found = []
    with torch.inference_mode():
        for point in torch.from_numpy(points).float():
            out = segmenter.model.decode_points(seen, point[None, None], torch.ones(1, 1, dtype=torch.int64))
            found.append(segmenter.enlarge(out.mask, seen.shape)[0].numpy() > 0)
    return np.array(found)


def run(segmenter: Segmenter, source: str, arguments: argparse.Namespace) -> None:
    """Evaluate one segmenter on one source and print the scores."""
    rng = np.random.default_rng(0)
    scores: dict[str, list[float]] = {"one box": [], "one click": [], "bare point": []}
    pairs = []
    for image, labels in examples(source, arguments.images, arguments.data):
        numbers = np.flatnonzero(np.bincount(labels.ravel())[1:] >= LEAST_PX) + 1
        if arguments.objects and len(numbers) > arguments.objects:
            numbers = np.sort(rng.choice(numbers, arguments.objects, replace=False))
        if not len(numbers):
            continue
        segmenter.encode(image)
        for start in range(0, len(numbers), 32):
            some = numbers[start : start + 32]
            points = clicks(labels, some)
            scores["one box"] += ious(segmenter.predict(boxes=boxes_from_labels(labels)[some - 1]).masks, labels, some)
            scores["one click"] += ious(segmenter.predict(points=points[:, None]).masks, labels, some)
            if isinstance(segmenter, MicroSegmenter):
                scores["bare point"] += ious(bare_points(segmenter, points), labels, some)
        if arguments.everything:
            pairs.append((segmenter.everything().labels, labels))
    for name, values in scores.items():
        if values:
            print(f"{source:10} {name:12} IoU per object {np.mean(values):.3f}   objects {len(values)}")
    if pairs:
        quality, count = metrics.panoptic_quality(pairs), metrics.pooled_counts(pairs)
        print(f"{source:10} everything   AP50 {count.ap:.3f}   PQ {quality['pq']:.3f}   images {len(pairs)}")


def main() -> None:
    """Parse the arguments and evaluate all sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segmenter", default="micro")
    parser.add_argument("--checkpoint")
    parser.add_argument("--images", type=int, default=15, help="0: all")
    parser.add_argument("--objects", type=int, default=6, help="most objects per image, chosen at random; 0: all")
    parser.add_argument("--everything", action="store_true", help="evaluate everything mode as well")
    parser.add_argument("--data", default=os.environ.get("LISA_MICRO_DATA"))
    arguments = parser.parse_args()
    segmenter = build_segmenter(arguments.segmenter, arguments.checkpoint)
    for source in ("simulated", *(["emps"] if arguments.data else [])):
        run(segmenter, source, arguments)


if __name__ == "__main__":
    main()
