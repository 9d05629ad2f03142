"""Measure the drift of the sample, frame by frame, with subpixel accuracy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.types import InputError

STEPS = 20
"""Subpixel resolution: number of steps per pixel."""
_UPDATE = 0.2  # weight of the newest frame in the reference, low so that its noise matters little
_MAX_OFFSET = 0.1  # displacement, as a share of the side, at which the reference is replaced


class Drift:
    """Measures the drift of a video by registration to a running reference.

    The reference is an exponential moving average of the registered frames, so that noise and particles that move
    individually matter little. It is shifted by whole pixels only, since repeated subpixel shifts would blur it, and is
    replaced by the current frame when that has moved too far.

    Frames are not resampled: positions stay in the pixels of their frame, and the drift is reported separately.
    """

    def __init__(self) -> None:
        self._reference: np.ndarray | None = None
        self._origin = np.zeros(2)  # position of the reference, y, x px from the first frame

    def step(self, pixels: np.ndarray) -> np.ndarray:
        """Register the next frame.

        Args:
            pixels: ``(H, W)`` float, of the same size in all frames; NaN and infinities are replaced by the mean.

        Returns:
            ``(2,)`` float64, displacement of the image since the first frame, x, y px.

        Raises:
            InputError: if the frame has another size than the first.
        """
        frame = high_pass(pixels)
        if self._reference is None:
            self._reference = frame
            return np.zeros(2)
        if frame.shape != self._reference.shape:
            first = self._reference.shape
            raise InputError(f"The frame has the shape {frame.shape} (H, W), but the first frame has {first}.")
        offset = _displacement(self._reference, frame)
        if offset is None:
            return self._origin[::-1].copy()
        position = self._origin + offset
        whole = np.rint(offset)
        if (np.abs(whole) > _MAX_OFFSET * np.array(frame.shape)).any():
            self._reference, self._origin = frame, position
            return position[::-1].copy()
        self._origin = self._origin + whole
        kept = np.roll(self._reference, tuple(whole.astype(int)), axis=(0, 1))
        registered = ndimage.shift(frame, whole - offset, order=1, mode="nearest")
        self._reference = (1 - _UPDATE) * kept + _UPDATE * registered
        return position[::-1].copy()


def frame_shift(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the displacement of the image between two frames.

    Args:
        first, second: ``(H, W)``, of one size, from :func:`high_pass`.

    Returns:
        ``(2,)`` float64 x, y px with a resolution of 1 / :data:`STEPS` px; 0, 0 if a frame has no structure.
    """
    offset = _displacement(first, second)
    return np.zeros(2) if offset is None else offset[::-1]


def _displacement(reference: np.ndarray, frame: np.ndarray) -> np.ndarray | None:
    """Return the displacement of a frame from a reference, y, x px; ``None`` if one has no structure."""
    from skimage.registration import phase_cross_correlation

    if min(frame.shape) < 8 or not frame.any() or not reference.any():
        return None
    window = _window(frame.shape)
    found, _, _ = phase_cross_correlation(reference * window, frame * window, upsample_factor=STEPS, normalization=None)
    return -np.asarray(found, float)


def high_pass(pixels: np.ndarray) -> np.ndarray:
    """Filter a frame ``(H, W)`` for registration.

    Removes what does not move with the sample: the mean, slow shading, and pixel noise. NaN and infinities are replaced
    by the mean.
    """
    pixels = np.asarray(pixels, np.float64)
    good = np.isfinite(pixels)
    if not good.all():
        pixels = np.where(good, pixels, pixels[good].mean() if good.any() else 0.0)
    wide = max(min(pixels.shape) / 8, 4)
    return ndimage.gaussian_filter(pixels, 1.0) - ndimage.uniform_filter(pixels, int(wide))


def _window(shape: tuple[int, int]) -> np.ndarray:
    """Return a Hann window ``(H, W)``, which suppresses the borders, where particles enter and leave."""
    return np.hanning(shape[0] + 2)[1:-1, None] * np.hanning(shape[1] + 2)[None, 1:-1]
