"""Intensities of any kind brought to 0..1."""

from __future__ import annotations

import numpy as np

MAX_SAMPLES = 4_000_000
"""Percentiles of a larger image are taken from an even subsample of about this many pixels."""


def to_unit_range(pixels: np.ndarray, low: float = 0.3, high: float = 99.7) -> np.ndarray:
    """Robust contrast: the ``low`` percentile becomes 0, the ``high`` percentile becomes 1, what lies beyond
    is cut.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, any real type. NaN becomes 0; infinities become 0 and 1.
        low, high: percentiles, ``0 <= low < high <= 100``.

    Returns:
        float32 of the same shape, 0..1; all zeros where the image is constant.

    Raises:
        ValueError: percentiles out of order or out of range.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"percentiles must satisfy 0 <= low < high <= 100, not {low}, {high}")
    array = np.asarray(pixels)
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.float32)
    bottom, top = _limits(array, low, high)
    # float64 for the limits: a float32 image may span more than float32 can subtract without overflow
    span = top - bottom
    if not span > 0:
        # nothing to stretch; only an infinity stands out
        return (array == np.inf).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        # whether float32 holds every value of the type without loss
        exact = array.dtype.itemsize <= 2 or array.dtype == np.float32
        if exact and max(abs(bottom), abs(top)) < 1e30:
            result = array.astype(np.float32)
            result -= np.float32(bottom)
            result *= np.float32(min(1.0 / span, 3e38))
        else:
            result = ((array.astype(np.float64) - bottom) / span).astype(np.float32)
    np.nan_to_num(result, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(result, 0.0, 1.0, out=result)


def _limits(array: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The two percentiles of the finite pixels; equal where there is nothing to stretch."""
    sample = array
    if array.size > MAX_SAMPLES:
        # Different odd steps along the two axes, so that a periodic pattern (a lattice, scan lines) is not
        # met in the same phase each time.
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
        # Nearly everything has one value: a few bright dots on a flat field still deserve to be seen.
        bottom, top = float(sample.min()), float(sample.max())
    return bottom, top
