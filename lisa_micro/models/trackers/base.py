"""Checks of the frames and labels that trackers take."""

from __future__ import annotations

import numpy as np

from lisa_micro.io import to_unit_range
from lisa_micro.protocols import Frame
from lisa_micro.types import InputError, Micrograph

MAX_TRACK_ID = int(np.iinfo(np.int32).max)


def frame_pixels(frame: Frame) -> np.ndarray:
    """Return a frame as ``(H, W)`` float32 in 0..1.

    Raises:
        InputError: if the frame is empty, is not 2-D, or is an array with values outside 0..1.
    """
    micrograph = isinstance(frame, Micrograph)
    try:
        pixels = np.asarray(frame.pixels if isinstance(frame, Micrograph) else frame)
        numeric = pixels.dtype.kind in "buif"
    except (TypeError, ValueError):
        numeric = False
    if not numeric:
        raise InputError("A frame must be a Micrograph or an (H, W) array of numbers in 0..1.")
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"A frame must have the shape (H, W) with at least one pixel, not {pixels.shape}.")
    if micrograph:
        return to_unit_range(pixels)
    # NaN fails this comparison too
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise InputError(
            "The pixels of a frame must lie in 0..1; pass a Micrograph, or rescale them with to_unit_range."
        )
    return pixels.astype(np.float32)


def check_labels(labels: object, shape: tuple[int, int]) -> np.ndarray:
    """Validate labels and convert them to int32.

    Args:
        labels: ``(H, W)`` array-like of whole numbers.
        shape: ``(H, W)`` of the frame.

    Returns:
        ``(H, W)`` int32.

    Raises:
        InputError: if the labels have another shape, are not whole numbers, are negative, or exceed int32.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "bui" and not (array.dtype.kind == "f" and (array == np.floor(array)).all()):
        raise InputError("Labels must be whole numbers: 0 for the background and k for track k.")
    if array.shape != shape:
        raise InputError(
            f"Labels must have the frame's size of {shape[1]} x {shape[0]} px, not the shape {array.shape}."
        )
    if array.min() < 0 or array.max() > MAX_TRACK_ID:
        raise InputError(f"Labels must be in 0..{MAX_TRACK_ID}, not {array.min()}..{array.max()}.")
    return array.astype(np.int32)
