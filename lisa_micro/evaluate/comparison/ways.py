"""Ways of prompting: words, boxes, points, and boxes proposed by a detector, all answered by one decoder."""

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
    """The methods of an assistant that a comparison uses."""

    def encode(self, image: Micrograph) -> float:
        """Encode an image before the first prompt; returns the seconds it took."""

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """Answer a request in words."""

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """Segment one instance per box ``(N, 4)`` XYXY px."""

    def segment_points(self, image: Micrograph, points: object, point_labels: object = None) -> Segmentation:
        """Segment one object from points ``(P, 2)`` XY px."""

    def segment_everything(self, image: Micrograph) -> Segmentation:
        """Segment all particles."""


@dataclass(frozen=True, eq=False)
class Way:
    """Result of one way of prompting.

    Attributes:
        name: ``"words"``, ``"boxes"``, ``"points"`` or ``"detected boxes"``.
        labels: ``(H, W)`` int32, 0 = background, k = instance k.
        seconds: time for prompting and decoding, without encoding the image.
        actions: number of user actions: one for a sentence, and one for each box or point.
        prompt: the words, or the number of boxes or points.
        notes: notices, one sentence each.
    """

    name: str
    labels: np.ndarray
    seconds: float
    actions: int
    prompt: str
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of instances with at least one pixel."""
        return len(np.unique(self.labels[self.labels > 0]))


def by_words(assistant: Assistant, image: Micrograph, words: str) -> Way:
    """Prompt with words. A reply that declines gives no instances and a note."""
    start = time.perf_counter()
    answer = assistant.ask(image, words)
    seconds = time.perf_counter() - start
    notes = answer.notes if answer.segments else (*answer.notes, f"The reply was: {answer.text}")
    return Way("words", answer.labels(image.shape), seconds, 1, words, notes)


def by_boxes(assistant: Assistant, image: Micrograph, boxes: object, name: str = "boxes") -> Way:
    """Prompt with boxes ``(N, 4)`` XYXY px, one object each.

    Raises:
        InputError: see :func:`lisa_micro.geometry.check_boxes`.
    """
    checked, notes = check_boxes(boxes, image.shape)
    start = time.perf_counter()
    result = assistant.segment_boxes(image, checked)
    seconds = time.perf_counter() - start
    drawn = 0 if name == "detected boxes" else len(checked)
    return Way(name, result.labels, seconds, drawn, f"{len(checked)} boxes", (*notes, *result.notes))


def by_points(assistant: Assistant, image: Micrograph, points: np.ndarray) -> Way:
    """Prompt with points ``(N, 2)`` XY px, one object each.

    A pixel in several masks goes to the smallest object, which would otherwise be lost in a larger one.

    Raises:
        InputError: a point outside the image.
    """
    start = time.perf_counter()
    masks = [assistant.segment_points(image, point[None]).mask for point in np.asarray(points, float)]
    labels = np.zeros(image.shape, np.int32)
    for k in sorted(range(len(masks)), key=lambda k: -int(masks[k].sum())):
        labels[masks[k]] = k + 1
    return Way("points", labels, time.perf_counter() - start, len(masks), f"{len(masks)} points")


def by_detector(assistant: Assistant, image: Micrograph) -> Way | None:
    """Prompt with boxes of the instances that the assistant proposes without words; ``None`` if it proposes none."""
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
    """Move the sides of boxes at random, as if they were drawn by hand.

    Args:
        boxes: ``(N, 4)`` XYXY px.
        px: each side moves by up to this distance either way, uniformly distributed.
        shape: ``(H, W)``; boxes stay inside the image and are at least one px wide.
        seed: seed of the random numbers.

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
    """``(n, 2)`` x, y px: of each instance the pixel farthest from its edge, where a careful user would click."""
    points = []
    for k, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        distance = ndimage.distance_transform_edt(np.pad(labels[window] == k, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(distance.argmax()), distance.shape)
        points.append((window[1].start + column + 0.5, window[0].start + row + 0.5))
    return np.array(points, np.float64).reshape(-1, 2)
