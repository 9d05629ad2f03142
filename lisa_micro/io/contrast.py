"""Scale intensities of any range to 0..1."""

from __future__ import annotations

import numpy as np

MAX_SAMPLES = 4_000_000
"""Percentiles of larger images are computed from a regular subsample of about this many pixels."""


def to_unit_range(pixels: np.ndarray, low: float = 0.3, high: float = 99.7) -> np.ndarray:
    """Scale intensities to 0..1 with robust contrast.

    The ``low`` percentile becomes 0 and the ``high`` percentile 1; values beyond are clipped.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, any real type. NaN becomes 0, infinities become 0 and 1.
        low, high: percentiles, ``0 <= low < high <= 100``.

    Returns:
        float32 of the same shape, 0..1; all zeros for a constant image.

    Raises:
        ValueError: percentiles out of order or out of range.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"percentiles must satisfy 0 <= low < high <= 100, not {low}, {high}")
    array = np.asarray(pixels)
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.float32)
    return scaled_between(array, *limits(array, low, high))


def scaled_between(array: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Scale intensities so that ``bottom`` becomes 0 and ``top`` 1, as :func:`to_unit_range` does with its own limits.

    Args:
        array: ``(H, W)`` or ``(H, W, C)``, any real type.
        bottom, top: from :func:`limits`; equal ones are those of a constant image.

    Returns:
        float32 of the same shape, 0..1.
    """
    # the limits are float64, since the range of a float32 image may exceed that of float32
    span = top - bottom
    if not span > 0:
        # a constant image; only infinities differ
        return (array == np.inf).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        # whether float32 holds every value of the type exactly
        exact = array.dtype.itemsize <= 2 or array.dtype == np.float32
        if exact and max(abs(bottom), abs(top)) < 1e30:
            result = array.astype(np.float32)
            result -= np.float32(bottom)
            result *= np.float32(min(1.0 / span, 3e38))
        else:
            result = ((array.astype(np.float64) - bottom) / span).astype(np.float32)
    np.nan_to_num(result, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(result, 0.0, 1.0, out=result)


def limits(array: np.ndarray, low: float = 0.3, high: float = 99.7) -> tuple[float, float]:
    """The two percentiles of the finite pixels; equal for a constant image."""
    sample = array
    if array.size > MAX_SAMPLES:
        # different odd steps along the axes, so that a periodic pattern (a lattice, scan lines) is not sampled in
        # the same phase each time
        step = int(np.ceil(np.sqrt(array.size / MAX_SAMPLES))) | 1
        sample = array[::step, :: max(1, step - 2)]
    sample = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample.ravel()
    if sample.size == 0:
        finite = array[np.isfinite(array)]
        if finite.size == 0:
            return 0.0, 0.0
        sample = finite
    bottom, top = (float(value) for value in np.percentile(sample.astype(np.float64), [low, high]))
    if not top > bottom:
        # nearly all pixels have the same value; the few others should still be visible
        bottom, top = float(sample.min()), float(sample.max())
    return bottom, top
