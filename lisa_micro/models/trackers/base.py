"""What a tracker is: identities of one frame in, identities of the frames after it out."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from lisa_micro.io import to_unit_range
from lisa_micro.types import InputError, Micrograph

Frame: TypeAlias = "np.ndarray | Micrograph"
"""A frame of a video: ``(H, W)`` float 0..1, or a micrograph of any intensities (its robust contrast is used)."""

MAX_IDENTITY = int(np.iinfo(np.int32).max)


@runtime_checkable
class Tracker(Protocol):
    """Carries identities through a video, frame by frame.

    An identity is a positive number that the caller chooses; it is never renamed, and of what the caller named nothing
    else is returned. Labels are ``(H, W)`` int32 at the size of the frame: 0 = background, k where identity k is.

    Attributes:
        name: the name it is built by.
        weights_sha256: sha256 of the weights' file, hexadecimal; ``""`` where there are no weights.
    """

    name: str
    weights_sha256: str

    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """Begin a video and forget the one before.

        Args:
            first_frame: its first frame.
            first_labels: ``(H, W)`` integers, the identities in it; all 0 where none is known yet.

        Raises:
            InputError: a frame or labels that cannot be used, or that are not of one size.
        """
        ...

    def step(self, frame: Frame, labels: np.ndarray | None = None) -> np.ndarray:
        """Follow to the next frame.

        Args:
            frame: of the size of the first one.
            labels: ``(H, W)`` integers, what is known of this frame. Where they are not 0 they go before what was
                tracked: a new identity is followed from here on, a known one is corrected.

        Returns:
            ``(H, W)`` int32.

        Raises:
            InputError: before :meth:`reset`; a frame or labels of another size, or that cannot be used.
        """
        ...


def frame_pixels(frame: Frame) -> np.ndarray:
    """A frame as ``(H, W)`` float32 in 0..1.

    Raises:
        InputError: no pixels, other than two axes, or an array that is not in 0..1.
    """
    given = isinstance(frame, Micrograph)
    try:
        pixels = np.asarray(frame.pixels if given else frame)
        real = pixels.dtype.kind in "buif"
    except (TypeError, ValueError):
        real = False
    if not real:
        raise InputError("a frame must be (H, W) numbers in 0..1, or a Micrograph")
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"a frame must be (H, W) with at least one pixel, not of shape {pixels.shape}")
    if given:
        return to_unit_range(pixels)
    # NaN fails the comparison as well
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise InputError("the pixels of a frame must be in 0..1; give a Micrograph, or scale them with to_unit_range")
    return pixels.astype(np.float32)


def check_labels(labels: object, shape: tuple[int, int]) -> np.ndarray:
    """Labels as a user gives them -> ``(H, W)`` int32.

    Args:
        shape: ``(H, W)`` of the frame.

    Raises:
        InputError: of another shape, not whole numbers, negative, or beyond int32.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "bui" and not (array.dtype.kind == "f" and (array == np.floor(array)).all()):
        raise InputError("labels must be whole numbers: 0 for the background, k for identity k")
    if array.shape != shape:
        raise InputError(f"labels must be of the frame's size {shape[1]} x {shape[0]} px, not of shape {array.shape}")
    if array.min() < 0 or array.max() > MAX_IDENTITY:
        raise InputError(f"labels must be in 0..{MAX_IDENTITY}, not {array.min()}..{array.max()}")
    return array.astype(np.int32)
