"""Prompts of promptable segmenters, checked; see :class:`lisa_micro.protocols.Segmenter`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.geometry import check_boxes
from lisa_micro.io import to_unit_range
from lisa_micro.points import INSIDE, NO_POINT, OUTSIDE, check_points
from lisa_micro.types import InputError, Micrograph

__all__ = [
    "INSIDE",
    "MASK_LOGIT",
    "NO_POINT",
    "OUTSIDE",
    "Prompts",
    "check_prompts",
    "unit_pixels",
]

MASK_LOGIT = 6.0
"""Logit of the inside of a binary mask that is given as a prompt; the outside has its negative. It is certain, but not
more certain than a decoder is of its own masks."""


@dataclass(frozen=True)
class Prompts:
    """N checked prompts.

    Attributes:
        points: ``(N, P, 2)`` float64 XY px; P is 0 where there are boxes or masks only; -1 where there is no point.
        labels: ``(N, P)`` int64.
        boxes: ``(N, 4)`` float64 XYXY px, or ``None``.
        notes: what was repaired, one sentence each.
        masks: ``(N, h, w)`` float32 logits that cover the whole micrograph, or ``None``.
    """

    points: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    notes: tuple[str, ...] = ()
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def part(self, rows: np.ndarray, most: int) -> Prompts:
        """Select prompts by number. Their real points come first, and at most ``most`` points are kept."""
        order = np.argsort(self.labels[rows] == NO_POINT, axis=1, kind="stable")[:, :most]
        return Prompts(
            np.take_along_axis(self.points[rows], order[..., None], axis=1),
            np.take_along_axis(self.labels[rows], order, axis=1),
            None if self.boxes is None else self.boxes[rows],
            self.notes,
            None if self.masks is None else self.masks[rows],
        )


def unit_pixels(image: Micrograph) -> np.ndarray:
    """``(H, W)`` float32 in 0..1 with robust contrast.

    Raises:
        InputError: an image without pixels, or with other than two axes.
    """
    pixels = np.asarray(image.pixels)
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"An image must be (H, W) with at least one pixel, not of shape {pixels.shape}.")
    return to_unit_range(pixels)


def check_prompts(
    points: object, point_labels: object, boxes: object, shape: tuple[int, int], mask_inputs: object = None
) -> Prompts:
    """Check prompts as a user gives them; see :meth:`lisa_micro.protocols.Segmenter.predict`.

    Args:
        shape: ``(H, W)`` of the micrograph.

    Raises:
        InputError: no prompt; points, labels, boxes or masks of the wrong shape, outside the image, or of different
            numbers; a prompt of points alone, none of which is on the object; or of an empty mask alone.
    """
    if points is None and point_labels is not None:
        raise InputError("There are point labels but no points; give both.")
    if points is None and boxes is None and mask_inputs is None:
        raise InputError("There is no prompt; give points, boxes or masks.")
    frames, notes = (None, ()) if boxes is None else check_boxes(boxes, shape)
    masks = None if mask_inputs is None else _check_masks(mask_inputs)
    number = len(frames) if frames is not None else len(masks) if masks is not None else 0
    if points is None:
        array, labels = np.zeros((number, 0, 2)), np.zeros((number, 0), np.int64)
    else:
        array, labels = check_points(points, point_labels, shape, axes=3)
    for name, others in (("boxes", frames), ("masks", masks)):
        if others is not None and len(others) != len(array):
            what, one = "boxes" if points is None else "points", {"boxes": "box", "masks": "mask"}[name]
            raise InputError(f"{len(array)} prompts have {what} and {len(others)} have {name}; give one {one} to each.")
    if frames is None:
        pointed = (labels == INSIDE).any(axis=1)
        marked = np.zeros(len(array), bool) if masks is None else (masks > 0).any(axis=(1, 2))
        if masks is None and not pointed.all():
            raise InputError("A prompt without a box needs at least one point with label 1, on the object.")
        if not (pointed | marked).all():
            raise InputError("A mask given as a prompt is empty; give one with pixels of the object.")
    return Prompts(array, labels, frames, notes, masks)


def _check_masks(masks: object) -> np.ndarray:
    """``(N, h, w)`` bool, integers or logits -> float32 logits."""
    try:
        array = np.asarray(masks)
        whole = array.dtype == bool or np.issubdtype(array.dtype, np.integer)
        logits = np.where(array != 0, MASK_LOGIT, -MASK_LOGIT) if whole else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError("Masks given as prompts must be (N, h, w): zeros and ones, or logits.") from error
    if logits.ndim != 3 or not logits.size:
        raise InputError(f"Masks given as prompts must be (N, h, w), one for each prompt, not {logits.shape}.")
    if not np.isfinite(logits).all():
        raise InputError("A mask given as a prompt has a value that is not finite; give zeros and ones, or logits.")
    return logits.astype(np.float32)
