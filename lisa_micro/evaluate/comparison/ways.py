"""Ways to say what is meant: words, boxes, points, or boxes that a detector proposes. One decoder answers them all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import ndimage

from lisa_micro.geometry import boxes_from_labels, check_boxes
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph


class Assistant(Protocol):
    """The part of an assistant that is compared."""

    def encode(self, image: Micrograph) -> float:
        """Look at an image ahead of requests; seconds that it took."""

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """One request in words."""

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """One instance per box ``(N, 4)`` XYXY px."""

    def segment_points(self, image: Micrograph, points: object, point_labels: object = None) -> Segmentation:
        """One object from points ``(P, 2)`` XY px."""

    def segment_everything(self, image: Micrograph) -> Segmentation:
        """All particles."""


@dataclass(frozen=True)
class Way:
    """What one way of prompting gave.

    Attributes:
        name: ``"words"``, ``"boxes"``, ``"points"`` or ``"detected boxes"``.
        labels: ``(H, W)`` int32, 0 = background, k = instance k.
        seconds: for prompting and decoding; the image was encoded before.
        actions: what a user does for it: a sentence, a box, a point count one each.
        prompt: the words, or how many boxes or points.
        notes: one sentence each.
    """

    name: str
    labels: np.ndarray
    seconds: float
    actions: int
    prompt: str
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of instances that have a pixel."""
        return len(np.unique(self.labels[self.labels > 0]))


def by_words(assistant: Assistant, image: Micrograph, words: str) -> Way:
    """Prompted by words. A reply that declines gives no instance, and a note."""
    start = time.perf_counter()
    answer = assistant.ask(image, words)
    seconds = time.perf_counter() - start
    notes = answer.notes if answer.segments else (*answer.notes, f"The reply was: {answer.text}")
    return Way("words", answer.labels(image.shape), seconds, 1, words, notes)


def by_boxes(assistant: Assistant, image: Micrograph, boxes: object, name: str = "boxes") -> Way:
    """Prompted by boxes ``(N, 4)`` XYXY px, one object each.

    Raises:
        InputError: see :func:`lisa_micro.geometry.check_boxes`.
    """
    boxes, notes = check_boxes(boxes, image.shape)
    start = time.perf_counter()
    result = assistant.segment_boxes(image, boxes)
    seconds = time.perf_counter() - start
    drawn = 0 if name == "detected boxes" else len(boxes)
    return Way(name, result.labels, seconds, drawn, f"{len(boxes)} boxes", (*notes, *result.notes))


def by_points(assistant: Assistant, image: Micrograph, points: np.ndarray) -> Way:
    """Prompted by points ``(N, 2)`` XY px, one object each. A pixel that two objects want goes to the smaller one,
    which would else be lost in the larger.

    Raises:
        InputError: a point that is not in the image.
    """
    start = time.perf_counter()
    masks = [assistant.segment_points(image, point[None]).mask for point in np.asarray(points, float)]
    labels = np.zeros(image.shape, np.int32)
    for k in sorted(range(len(masks)), key=lambda k: -int(masks[k].sum())):
        labels[masks[k]] = k + 1
    return Way("points", labels, time.perf_counter() - start, len(masks), f"{len(masks)} points")


def by_detector(assistant: Assistant, image: Micrograph) -> Way | None:
    """Prompted by the boxes of the instances that the assistant proposes by itself, without words and without a user;
    None where it proposes none."""
    start = time.perf_counter()
    found = assistant.segment_everything(image).labels
    boxes = boxes_from_labels(found)
    boxes = boxes[(boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)]
    seconds = time.perf_counter() - start
    if not len(boxes):
        return None
    way = by_boxes(assistant, image, boxes, "detected boxes")
    return Way(way.name, way.labels, way.seconds + seconds, 0, way.prompt, way.notes)


def jittered(boxes: np.ndarray, px: float, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Boxes as a hand draws them: each side moved by up to ``px`` px either way, uniformly, kept within the image
    ``(H, W)`` and at least one px wide.

    Raises:
        InputError: a negative ``px``.
    """
    if not px >= 0:
        raise InputError(f"Boxes can be jittered by 0 px or more, not by {px}.")
    boxes = np.asarray(boxes, np.float64)
    moved = boxes + np.random.default_rng(seed).uniform(-px, px, boxes.shape)
    limit = np.array([shape[1], shape[0]], np.float64)
    near = np.clip(np.minimum(moved[:, :2], moved[:, 2:]), 0, limit - 1)
    far = np.minimum(np.maximum(np.maximum(moved[:, :2], moved[:, 2:]), near + 1), limit)
    return np.concatenate([near, far], 1)


def inner_points(labels: np.ndarray) -> np.ndarray:
    """``(n, 2)`` x, y px: of every instance the pixel farthest from its edge, where a careful user would click."""
    points = []
    for k, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        distance = ndimage.distance_transform_edt(np.pad(labels[window] == k, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(distance.argmax()), distance.shape)
        points.append((window[1].start + column + 0.5, window[0].start + row + 0.5))
    return np.array(points, np.float64).reshape(-1, 2)
