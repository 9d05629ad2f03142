"""Random fields and filters that the modalities share. All arrays are ``(H, W)`` float32."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage, signal


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Noise of zero mean and about unit deviation that varies over ``scale`` px.

    A coarse random grid is interpolated by two matrix products with cubic B-spline weights, which takes a
    millisecond where a Gaussian filter of the same scale takes fifty.
    """
    scale = max(float(scale), 1.0)
    weights = []
    for n in shape:
        at = np.arange(n, dtype=np.float32) / scale
        knot = at.astype(int)
        t = at - knot
        w = np.zeros((n, int(n / scale) + 4), np.float32)
        rows = np.arange(n)
        w[rows, knot] = (1 - t) ** 3 / 6
        w[rows, knot + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
        w[rows, knot + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
        w[rows, knot + 3] = t**3 / 6
        weights.append(w)
    coarse = rng.standard_normal((weights[0].shape[1], weights[1].shape[1]), dtype=np.float32)
    # B-spline weights average: 2.1 gives the deviation back
    return np.float32(2.1) * (weights[0] @ coarse @ weights[1].T)


def rough_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float, octaves: int = 4) -> np.ndarray:
    """Fractal noise: octaves from ``scale`` px down, each half the scale and 0.6 of the strength."""
    out = np.zeros(shape, np.float32)
    strength = 1.0
    for _ in range(octaves):
        out += np.float32(strength) * smooth_noise(rng, shape, scale)
        strength, scale = strength * 0.6, scale / 2
        if scale < 1.5:
            break
    return out / max(float(out.std()), 1e-6)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of ``sigma`` px, mirrored borders; small sigmas directly, large ones on a reduced
    grid."""
    if sigma < 0.15:
        return image
    if sigma <= 6:
        return ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
    step = max(2, int(sigma / 2.5))
    pad = [(0, -n % step) for n in image.shape]
    padded = np.pad(image, pad, mode="edge")
    small = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma / step, mode="nearest", truncate=3.0)
    return upsample(small, step)[: image.shape[0], : image.shape[1]]


def upsample(small: np.ndarray, step: int) -> np.ndarray:
    """Linear interpolation by a whole factor, cell centres kept in place."""
    out = small
    for axis in (0, 1):
        n = out.shape[axis]
        at = np.clip((np.arange(n * step) + 0.5) / step - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        t = (at - low).astype(np.float32)
        high = np.minimum(low + 1, n - 1)
        t = t[:, None] if axis == 0 else t[None]
        out = np.take(out, low, axis) * (1 - t) + np.take(out, high, axis) * t
    return out


def frequencies(shape: tuple[int, int]) -> np.ndarray:
    """Squared spatial frequency, (cycles per px)^2, on the half plane of a real FFT."""
    fy, fx = fft.fftfreq(shape[0]).astype(np.float32), fft.rfftfreq(shape[1]).astype(np.float32)
    return fy[:, None] ** 2 + fx[None] ** 2


def through_lens(image: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """Filter with a transfer function on the half plane of a real FFT (see :func:`frequencies`)."""
    return fft.irfft2(fft.rfft2(image) * transfer, s=image.shape).astype(np.float32, copy=False)


def trail(image: np.ndarray, length: float) -> np.ndarray:
    """Exponential tail of ``length`` px to the right of what is bright, as a detector or a charged grain
    leaves it along the scan line."""
    keep = float(np.exp(-1 / max(length, 1.0)))
    return signal.lfilter([1 - keep], [1, -keep], image, axis=1).astype(np.float32)


def jitter_rows(rng: np.random.Generator, image: np.ndarray, amount: float) -> np.ndarray:
    """Shift each scan line by a random part of a pixel (deviation ``amount``, at most 0.8 px),
    interpolated."""
    shift = np.clip(rng.normal(0, amount, image.shape[0]), -0.8, 0.8).astype(np.float32)[:, None]
    right, left = np.roll(image, -1, axis=1), np.roll(image, 1, axis=1)
    right[:, -1], left[:, 0] = image[:, -1], image[:, 0]
    return np.where(shift > 0, (1 - shift) * image + shift * right, (1 + shift) * image - shift * left)


def unit_plane(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A random gradient across the image, -1..1 at most."""
    angle = rng.uniform(0, 2 * np.pi)
    row = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    column = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    return np.float32(np.sin(angle) / 1.42) * row + np.float32(np.cos(angle) / 1.42) * column
