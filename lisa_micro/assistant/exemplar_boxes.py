"""Boxes around examples: checks, and the parts of a large micrograph in which they lie."""

from __future__ import annotations

import numpy as np

from lisa_micro.geometry import box_iou, check_boxes
from lisa_micro.models.lisa.exemplars import NEGATIVE, POSITIVE, RING
from lisa_micro.types import InputError

SAME_BOX = 0.9
"""IoU from which a like and an unlike box contradict each other."""
CELL = 4.0
"""px of the tower's input: side of the cells whose brightness is compared in :func:`differs`."""
LEAST_DIFFERENCE = 0.12
"""Kolmogorov-Smirnov distance between a box and its surroundings below which they do not differ; on the materials sets
it is 0.17 and more for objects, 0.04 to 0.12 for large boxes over background."""
NOISE = 0.6
"""Share of the standard scale of that distance for few cells, below which they do not differ either."""


def check_exemplar_boxes(
    like: object, unlike: object, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Check like and unlike boxes.

    Args:
        like, unlike: ``(N, 4)`` XYXY px; ``None`` or empty: none of this kind.
        shape: ``(H, W)`` of the micrograph.

    Returns:
        ``(K, 4)`` float64 boxes, ``(K,)`` signs, and notes.

    Raises:
        InputError: no box at all, boxes that :func:`lisa_micro.geometry.check_boxes` rejects, or the same box as like
            and as unlike.
    """
    boxes, signs, notes = [np.zeros((0, 4))], [np.zeros(0, np.int64)], []
    for given, sign in ((like, POSITIVE), (unlike, NEGATIVE)):
        if given is None or np.size(np.asarray(given, object)) == 0:
            continue
        checked, remarks = check_boxes(given, shape)
        boxes.append(checked)
        signs.append(np.full(len(checked), sign))
        notes += remarks
    every, signed = np.concatenate(boxes), np.concatenate(signs)
    if not len(every):
        raise InputError("There is no box; draw at least one around an object that is meant.")
    overlap = box_iou(every[signed == POSITIVE], every[signed == NEGATIVE])
    if overlap.size and overlap.max() >= SAME_BOX:
        first = every[signed == POSITIVE][np.unravel_index(overlap.argmax(), overlap.shape)[0]]
        raise InputError(
            f"The box {box_text(first)} is given both as like and as unlike; it can be only one of the two."
        )
    return every, signed, tuple(dict.fromkeys(notes))


def box_text(box: np.ndarray) -> str:
    """A box as a user types it."""
    return ",".join(f"{value:g}" for value in box)


def windows_of(
    boxes: np.ndarray, signs: np.ndarray, shape: tuple[int, int], side: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts of a large micrograph in which the boxes lie.

    Args:
        boxes: ``(K, 4)`` XYXY px. signs: ``(K,)``; windows are laid around like boxes first.
        shape: ``(H, W)`` of the micrograph.
        side: of a window, px; larger for a box that does not fit.

    Returns:
        windows x0, y0, x1, y1 (int) and the rows of the boxes in them; each box is in one window.
    """
    limits = np.array(shape[::-1])
    found, left = [], [int(k) for k in np.argsort(-signs, kind="stable")]
    while left:
        box = boxes[left[0]]
        size = np.minimum(np.maximum(side, 1.25 * (box[2:] - box[:2]).max() + 2), limits)
        low = np.clip(np.floor((box[:2] + box[2:] - size) / 2), 0, limits - size).astype(int)
        high = np.minimum(low + np.ceil(size).astype(int), limits)
        inside = [k for k in left if (boxes[k, :2] >= low).all() and (boxes[k, 2:] <= high).all()]
        found.append((np.concatenate([low, high]), np.array(inside)))
        left = [k for k in left if k not in inside]
    return found


def check_contents(unit: np.ndarray, boxes: np.ndarray, scale: float) -> None:
    """Check that at least one like box holds something.

    Args:
        unit: ``(H, W)`` in 0..1. boxes: ``(N, 4)`` XYXY px.
        scale: px of the tower's input per px of the micrograph.

    Raises:
        InputError: there are boxes, and none of them differs from its surroundings.
    """
    if len(boxes) and not any(differs(unit, box, CELL / scale) for box in boxes):
        raise InputError(
            f"The content of the box {box_text(boxes[0])} does not differ from its surroundings; draw it closely "
            "around an object."
        )


def differs(unit: np.ndarray, box: np.ndarray, cell: float) -> bool:
    """Whether the brightness in a box is distributed differently from that in the ring around it, by the
    Kolmogorov-Smirnov distance of the means of square cells.

    Args:
        unit: ``(H, W)``. box: ``(4,)`` XYXY px. cell: side of a cell, px.
    """
    step = max(1, round(cell))
    grown = np.maximum(RING * np.tile(box[2:] - box[:2], 2), 1.5 * step) * [-1, -1, 1, 1]
    low = np.maximum(np.floor((box + grown)[:2]), 0).astype(int)
    high = np.minimum(np.ceil((box + grown)[2:]), unit.shape[::-1]).astype(int)
    part = unit[low[1] : high[1], low[0] : high[0]]
    rows, columns = part.shape[0] // step, part.shape[1] // step
    cells = part[: rows * step, : columns * step].reshape(rows, step, columns, step).mean((1, 3))
    y, x = ((np.arange(n) + 0.5) * step + start for n, start in ((rows, low[1]), (columns, low[0])))
    within = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))
    inside, around = cells[within], cells[~within]
    if len(inside) < 2 or len(around) < 2:
        return True  # too little to tell
    scale = np.sqrt(1 / len(inside) + 1 / len(around))
    return _distance(inside, around) >= max(LEAST_DIFFERENCE, NOISE * scale)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of two samples."""
    every = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(values), every, side="right") / len(values) for values in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())
