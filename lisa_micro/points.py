"""Points as prompts, checked once for all who take them: segmenters, the assistant, comparisons. NumPy only."""

from __future__ import annotations

import numpy as np

from lisa_micro.types import InputError

OUTSIDE, INSIDE, NO_POINT = 0, 1, -1
"""Labels of points."""


def check_points(
    points: object, labels: object, shape: tuple[int, int], axes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Points as a user gives them, and their labels.

    Args:
        points: with ``axes`` 2, ``(P, 2)`` XY px or one point ``(2,)``; with 3, ``(N, P, 2)``: N prompts of P points.
        labels: ``(P,)`` or ``(N, P)``: 1 = on the object, 0 = not on it, -1 = no point (to fill up an array; its
            coordinates may be anything); all 1 where None.
        shape: ``(H, W)`` of the micrograph. A point on the far edge, at x = W, still counts as inside.

    Returns:
        points as float64, -1 where there is none; labels as int64.

    Raises:
        InputError: points or labels of another form or kind, not finite, or outside the image.
    """
    form = "(N, P, 2): N prompts of P points" if axes == 3 else "(P, 2): P points"
    try:
        array = np.array(points, dtype=np.float64)
        array = array[None] if axes == 2 and array.ndim == 1 else array
        given = np.ones(array.shape[:-1]) if labels is None else np.array(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"points must be {form}, each two finite numbers x, y in pixels") from error
    if array.ndim != axes or array.shape[-1] != 2 or not array.size:
        raise InputError(f"points must be {form}, each two finite numbers x, y in pixels, not {array.shape}")
    if given.shape != array.shape[:-1]:
        raise InputError(f"each point needs one label: {array.shape[:-1]} labels expected, not {given.shape}")
    if not np.isin(given, (INSIDE, OUTSIDE, NO_POINT)).all():
        raise InputError("the label of a point is 1 (on the object), 0 (not on it) or -1 (no point)")
    array[given == NO_POINT] = -1
    real = array[given != NO_POINT]  # (K, 2)
    if not np.isfinite(real).all():
        raise InputError("a point holds a number that is not finite; give x, y in pixels")
    if (real < 0).any() or (real > (shape[1], shape[0])).any():
        raise InputError(f"a point lies outside the image of {shape[1]} x {shape[0]} px; give x, y in pixels")
    return array, given.astype(np.int64)
