"""Drift of the sample under the microscope, measured frame by frame to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.types import InputError

STEPS = 20
"""A pixel is resolved into so many steps."""
_MEMORY = 0.2  # weight of the newest frame in the reference: the noise of one frame hardly counts
_CLEAR = 0.1  # share of a side by which the reference may lie aside before it begins anew


class Drift:
    """Follows the drift of a video by registration against a running reference.

    The reference is a mean of the last frames, brought into register, so that noise and particles that move on their
    own matter little. It stays on whole pixels (nothing is blurred by moving it again and again), and begins anew at
    the present frame when that has moved far from it.

    Frames are not resampled: where things are is told in the pixels of their own frame, and the drift beside it.
    """

    def __init__(self) -> None:
        self._reference: np.ndarray | None = None
        self._origin = np.zeros(2)  # where the reference lies, y, x px from the first frame

    def step(self, pixels: np.ndarray) -> np.ndarray:
        """Register the next frame.

        Args:
            pixels: ``(H, W)`` float, of one size in all frames; NaN and infinities count as the mean.

        Returns:
            ``(2,)`` float64 x, y px: by how much what is seen has moved since the first frame (0, 0).

        Raises:
            InputError: a frame of another size than the first.
        """
        frame = prepared(pixels)
        if self._reference is None:
            self._reference = frame
            return np.zeros(2)
        if frame.shape != self._reference.shape:
            raise InputError(f"all frames must be of one size, {self._reference.shape} px (H, W), not {frame.shape}")
        away = _away(self._reference, frame)
        if away is None:
            return self._origin[::-1].copy()
        where = self._origin + away
        whole = np.rint(away)
        if (np.abs(whole) > _CLEAR * np.array(frame.shape)).any():
            self._reference, self._origin = frame, where
            return where[::-1].copy()
        self._origin = self._origin + whole
        kept = np.roll(self._reference, tuple(whole.astype(int)), axis=(0, 1))
        registered = ndimage.shift(frame, whole - away, order=1, mode="nearest")
        self._reference = (1 - _MEMORY) * kept + _MEMORY * registered
        return where[::-1].copy()


def frame_shift(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """By how much what is seen has moved from one frame to another.

    Args:
        first, second: ``(H, W)``, of one size, as :func:`prepared` gives them.

    Returns:
        ``(2,)`` float64 x, y px, to a :data:`STEPS`-th of a pixel; 0, 0 where there is nothing to hold on to.
    """
    away = _away(first, second)
    return np.zeros(2) if away is None else away[::-1]


def _away(reference: np.ndarray, frame: np.ndarray) -> np.ndarray | None:
    """y, x px by which a frame lies aside of a reference, both prepared; ``None``: there is nothing to hold on to."""
    from skimage.registration import phase_cross_correlation

    if min(frame.shape) < 8 or not frame.any() or not reference.any():
        return None
    window = _window(frame.shape)
    found, _, _ = phase_cross_correlation(reference * window, frame * window, upsample_factor=STEPS, normalization=None)
    return -np.asarray(found, float)


def prepared(pixels: np.ndarray) -> np.ndarray:
    """A frame ``(H, W)`` as frames are registered by: without its mean, its slow shading, and the noise of single
    pixels, none of which moves with the sample. NaN and infinities count as the mean."""
    pixels = np.asarray(pixels, np.float64)
    good = np.isfinite(pixels)
    if not good.all():
        pixels = np.where(good, pixels, pixels[good].mean() if good.any() else 0.0)
    wide = max(min(pixels.shape) / 8, 4)
    return ndimage.gaussian_filter(pixels, 1.0) - ndimage.uniform_filter(pixels, int(wide))


def _window(shape: tuple[int, int]) -> np.ndarray:
    """``(H, W)``: falls to 0 at the borders, where things come and go."""
    return np.hanning(shape[0] + 2)[1:-1, None] * np.hanning(shape[1] + 2)[None, 1:-1]
