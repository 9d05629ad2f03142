"""Convert the array of any file to one float32 channel, within the size limit."""

from __future__ import annotations

import numpy as np

from lisa_micro.types import InputError

MAX_SIDE = 16384
"""Longest side of an image that is read, in px."""
MAX_BYTES = 16 * MAX_SIDE**2
"""Largest image that is read, in bytes as unpacked: four channels of 32 bits at the longest sides."""

# Rec. 601, as in Pillow and in ImageJ's weighted mode
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_CHUNK_ROWS = 512


class TooLargeError(InputError):
    """An image with a side longer than :data:`MAX_SIDE`, which may still be read part by part.

    Attributes:
        shape: ``(H, W)`` px.
    """

    def __init__(self, message: str, shape: tuple[int, int]):
        super().__init__(message)
        self.shape = shape


def check_size(height: int, width: int, name: str) -> None:
    """Check the size of an image before its pixels are read.

    Raises:
        InputError: no pixels.
        TooLargeError: a side longer than :data:`MAX_SIDE`.
    """
    if height < 1 or width < 1:
        raise InputError(f"{name} has no pixels ({width} x {height}).")
    if height > MAX_SIDE or width > MAX_SIDE:
        raise TooLargeError(
            f"{name} is {width} x {height} px, above the limit of {MAX_SIDE} x {MAX_SIDE}; crop or bin it.",
            (int(height), int(width)),
        )


def check_bytes(count: int, name: str) -> None:
    """Check the size in memory of one image before its pixels are read: a header can state any number of channels.

    Raises:
        InputError: above :data:`MAX_BYTES`.
    """
    if count > MAX_BYTES:
        raise InputError(
            f"{name} takes {count / 2**30:.3g} GB when unpacked, above the limit of {MAX_BYTES / 2**30:g} GB; bin it."
        )


def check_page(page: int, count: int, name: str) -> int:
    """Index of a page, counting negative numbers from the end.

    Raises:
        InputError: no such page.
    """
    if isinstance(page, bool) or not isinstance(page, int | np.integer) or not -count <= page < count:
        pages = "1 page" if count == 1 else f"{count} pages, 0 to {count - 1}"
        raise InputError(f"{name} has {pages}; there is no page {page}.")
    return int(page) % count


def to_plane(array: np.ndarray, name: str, limited: bool = True) -> tuple[np.ndarray, list[str]]:
    """Convert an image to one float32 channel.

    Colour becomes luminance (Rec. 601; equal channels keep their exact value) and alpha is dropped. Of a complex image
    the modulus is used, and of other channels the first.

    Args:
        array: ``(H, W)`` or ``(H, W, C)`` of any numeric type.
        name: name of the image for messages.
        limited: whether sides are limited to :data:`MAX_SIDE`; parts of larger planes are not.

    Returns:
        ``(H, W)`` float32, and notes on what was changed.

    Raises:
        InputError: no pixels, too many, or values that are not numbers.
    """
    notes: list[str] = []
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] < 1):
        raise InputError(f"{name} is not a 2-D image: its shape is {array.shape}.")
    if limited:
        check_size(array.shape[0], array.shape[1], name)
    if array.dtype.names:  # rosettasciio and HyperSpy give colour as a structured type
        array = np.stack([array[field] for field in array.dtype.names], axis=-1)
    if array.dtype.kind not in "biufc":
        raise InputError(f"{name} holds values of type {array.dtype}, which are not intensities.")
    if array.dtype.kind == "c":
        array = np.abs(array)
        notes.append("The image is complex; its modulus is used.")
    if array.ndim == 2:
        return _as_float32(array), notes
    channels = array.shape[2]
    if channels in (3, 4):
        plane, coloured = _luminance(array)
        if coloured:
            notes.append("The image is in colour; its luminance is used.")
        return plane, notes
    if channels > 4:
        notes.append(f"The image has {channels} channels; the first is used.")
    return _as_float32(array[..., 0]), notes


def _as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def _luminance(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Luminance of an image ``(H, W, 3 or 4)``, in bands of rows to bound the memory.

    Returns:
        ``(H, W)`` float32, and whether any pixel is coloured.
    """
    plane = np.empty(array.shape[:2], dtype=np.float32)
    coloured = False
    for start in range(0, array.shape[0], _CHUNK_ROWS):
        band = array[start : start + _CHUNK_ROWS, :, :3]
        if (band[..., 0] == band[..., 1]).all() and (band[..., 0] == band[..., 2]).all():
            plane[start : start + _CHUNK_ROWS] = _as_float32(band[..., 0])
            continue
        coloured = True
        with np.errstate(over="ignore", invalid="ignore"):
            plane[start : start + _CHUNK_ROWS] = _as_float32(band) @ _LUMINANCE
    return plane, coloured
