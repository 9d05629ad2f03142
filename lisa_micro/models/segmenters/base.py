"""What a promptable segmenter is: one image encoded once, then points and boxes answered with masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import nn

from lisa_micro.geometry import check_boxes
from lisa_micro.io import to_unit_range
from lisa_micro.types import InputError, Micrograph

OUTSIDE, INSIDE, NO_POINT = 0, 1, -1
"""Labels of points."""


@dataclass(frozen=True)
class Prediction:
    """One mask for each of N prompts.

    Attributes:
        masks: ``(N, H, W)`` bool, at the size of the micrograph.
        scores: ``(N,)`` float32, 0..1, what the model thinks the IoU of its mask is.
        logits: ``(N, h, w)`` float32 at the model's own resolution, standing for the whole micrograph, positive
            inside; ``None`` where the model has none.
        notes: what a user should know, one sentence each.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Segmenter(Protocol):
    """A model that outlines what points and boxes show it.

    Attributes:
        name: the name it is built by.
        model: the bare torch module.
        weights_sha256: sha256 of the weights' file, hexadecimal.
    """

    name: str
    model: nn.Module
    weights_sha256: str

    def encode(self, image: Micrograph) -> object:
        """See an image, once for all prompts about it; what the model remembers of it is returned and kept.

        Raises:
            InputError: an image without pixels, or with other than two axes.
        """
        ...

    def predict(self, points: object = None, point_labels: object = None, boxes: object = None) -> Prediction:
        """Outline N objects in the image that was encoded last. A prompt has points, or a box, or both.

        Args:
            points: ``(N, P, 2)`` XY px of the micrograph.
            point_labels: ``(N, P)``, 1 = on the object, 0 = not on it, -1 = no point (to fill up the array); all 1
                where left out.
            boxes: ``(N, 4)`` XYXY px of the micrograph.

        Raises:
            InputError: no image was encoded, no prompt, or a prompt that cannot be used.
        """
        ...


@dataclass(frozen=True)
class Prompts:
    """N prompts, checked.

    Attributes:
        points: ``(N, P, 2)`` float64 XY px; P is 0 where there are boxes only; -1 where there is no point.
        labels: ``(N, P)`` int64.
        boxes: ``(N, 4)`` float64 XYXY px, or ``None``.
        notes: what had to be repaired, one sentence each.
    """

    points: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)


def unit_pixels(image: Micrograph) -> np.ndarray:
    """``(H, W)`` float32 in 0..1 with robust contrast.

    Raises:
        InputError: an image without pixels, or with other than two axes.
    """
    pixels = np.asarray(image.pixels)
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"an image must be (H, W) with at least one pixel, not of shape {pixels.shape}")
    return to_unit_range(pixels)


def check_prompts(points: object, point_labels: object, boxes: object, shape: tuple[int, int]) -> Prompts:
    """Prompts as a user gives them (see :meth:`Segmenter.predict`) -> arrays that fit each other.

    Args:
        shape: ``(H, W)`` of the micrograph.

    Raises:
        InputError: no prompt; points, labels or boxes of another form, outside the image, or of different numbers; a
            prompt without a box and without any point on the object.
    """
    if points is None and point_labels is not None:
        raise InputError("there are labels of points but no points; give both")
    if points is None and boxes is None:
        raise InputError("there is no prompt; give points or boxes")
    frames, notes = (None, ()) if boxes is None else check_boxes(boxes, shape)
    if points is None:
        return Prompts(np.zeros((len(frames), 0, 2)), np.zeros((len(frames), 0), np.int64), frames, notes)
    array, labels = _check_points(points, point_labels, shape)
    if frames is not None and len(frames) != len(array):
        raise InputError(f"{len(array)} prompts have points and {len(frames)} have boxes; give one box to each")
    if frames is None and not (labels == INSIDE).any(axis=1).all():
        raise InputError("a prompt without a box needs at least one point with label 1, on the object")
    return Prompts(array, labels, frames, notes)


def _check_points(points: object, labels: object, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    try:
        array = np.array(points, dtype=np.float64)
        given = np.ones(array.shape[:2]) if labels is None else np.array(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("points must be (N, P, 2) numbers x, y in pixels, and their labels (N, P)") from error
    if array.ndim != 3 or array.shape[2] != 2 or not array.size:
        raise InputError(f"points must be (N, P, 2): N prompts of P points x, y in pixels, not {array.shape}")
    if given.shape != array.shape[:2]:
        raise InputError(f"each point needs one label: {array.shape[:2]} labels expected, not {given.shape}")
    if not np.isin(given, (INSIDE, OUTSIDE, NO_POINT)).all():
        raise InputError("the label of a point is 1 (on the object), 0 (not on it) or -1 (no point)")
    array[given == NO_POINT] = -1
    real = array[given != NO_POINT]  # (K, 2)
    if not np.isfinite(real).all():
        raise InputError("a point holds a number that is not finite; give x, y in pixels")
    if (real < 0).any() or (real > (shape[1], shape[0])).any():
        raise InputError(f"a point lies outside the image of {shape[1]} x {shape[0]} px")
    return array, given.astype(np.int64)
