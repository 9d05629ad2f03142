"""Check points given as prompts, for segmenters, the assistant and comparisons. NumPy only."""

from __future__ import annotations

import numpy as np

from lisa_micro.types import InputError

OUTSIDE, INSIDE, NO_POINT = 0, 1, -1
"""Labels of points: not on the object, on the object, no point."""


def check_points(
    points: object, labels: object, shape: tuple[int, int], axes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Check points given by a user, and their labels.

    Args:
        points: with ``axes`` 2, ``(P, 2)`` XY px or one point ``(2,)``; with ``axes`` 3, ``(N, P, 2)``: N prompts of P
            points.
        labels: ``(P,)`` or ``(N, P)``: 1 = on the object, 0 = not on it, -1 = no point (padding; its coordinates are
            ignored). All 1 if ``None``.
        shape: ``(H, W)`` of the micrograph. A point on the far edge, at x = W, counts as inside.
        axes: number of axes of ``points``.

    Returns:
        points as float64, -1 for padding; labels as int64.

    Raises:
        InputError: points or labels of another shape or type, not finite, or outside the image.
    """
    form = "(N, P, 2): N prompts of P points" if axes == 3 else "(P, 2): P points"
    try:
        array = np.array(points, dtype=np.float64)
        array = array[None] if axes == 2 and array.ndim == 1 else array
        given = np.ones(array.shape[:-1]) if labels is None else np.array(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Points must be {form}, each two finite numbers x, y in pixels.") from error
    if array.ndim != axes or array.shape[-1] != 2 or not array.size:
        raise InputError(f"Points must be {form}, each two finite numbers x, y in pixels, not an array {array.shape}.")
    if given.shape != array.shape[:-1]:
        raise InputError(f"Each point needs one label: {array.shape[:-1]} labels expected, not {given.shape}.")
    if not np.isin(given, (INSIDE, OUTSIDE, NO_POINT)).all():
        raise InputError("The label of a point must be 1 (on the object), 0 (not on it) or -1 (no point).")
    array[given == NO_POINT] = -1
    real = array[given != NO_POINT]  # (K, 2)
    if not np.isfinite(real).all():
        raise InputError("A point holds a number that is not finite; give x, y in pixels.")
    if (real < 0).any() or (real > (shape[1], shape[0])).any():
        raise InputError(f"A point lies outside the image of {shape[1]} x {shape[0]} px; give x, y in pixels.")
    return array, given.astype(np.int64)
