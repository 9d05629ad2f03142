"""The interface of a tracker, and checks of the frames and labels that it takes."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from lisa_micro.io import to_unit_range
from lisa_micro.types import InputError, Micrograph

Frame: TypeAlias = "np.ndarray | Micrograph"
"""A frame of a video: ``(H, W)`` float in 0..1, or a micrograph, which is rescaled with its robust contrast."""

MAX_TRACK_ID = int(np.iinfo(np.int32).max)


@runtime_checkable
class Tracker(Protocol):
    """Propagates labels through a video, one frame at a time.

    The caller chooses the track IDs, which are positive integers. A tracker never renumbers them. Labels are ``(H, W)``
    int32 at the size of the frame: 0 is background, and k marks the pixels of track k.

    Attributes:
        name: the name under which :func:`lisa_micro.models.trackers.build_tracker` builds it.
        weights_sha256: SHA-256 of the weights file, hexadecimal; ``""`` for a tracker without weights.
    """

    name: str
    weights_sha256: str

    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """Start a new video and discard the state of the previous one.

        Args:
            first_frame: first frame of the video.
            first_labels: ``(H, W)`` integer track IDs in that frame; all 0 if no track is known yet.

        Raises:
            InputError: if the frame or the labels are invalid, or if their sizes differ.
        """
        ...

    def step(self, frame: Frame, labels: np.ndarray | None = None) -> np.ndarray:
        """Track into the next frame.

        Args:
            frame: next frame, of the same size as the first.
            labels: ``(H, W)`` integer track IDs that are known in this frame. Nonzero pixels override the prediction: a
                new ID starts a track, a known ID is corrected.

        Returns:
            ``(H, W)`` int32 track IDs.

        Raises:
            InputError: if :meth:`reset` was not called, or if the frame or the labels are invalid or of another size.
        """
        ...


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
