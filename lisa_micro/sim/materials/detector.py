"""From a painted scene to pixels: illumination, blur, noise at a signal-to-noise ratio, contrast, compression."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from lisa_micro.sim.materials.painted import Draw, Painted, chance, log_uniform
from lisa_micro.sim.texture import blur, jitter_rows, smooth_noise, trail, unit_plane

SNR_RANGES = ((0.3, 1.0), (1.0, 4.0), (4.0, 100.0))
SNR_SHARES = (0.08, 0.17, 0.75)
"""How often a scene without a given signal-to-noise ratio falls into each range (log-uniform within it)."""


def expose(
    painted: Painted, draw: Draw, grain: np.random.Generator, snr: float | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Record a painted scene.

    Args:
        painted: the scene at infinite dose.
        draw: its ``look`` gives all settings.
        grain: the noise itself comes from it.
        snr: signal-to-noise ratio, see :func:`contrast_of`; infinity for no noise; drawn where ``None``.

    Returns:
        ``(pixels, settings)``: ``(H, W)`` float32 in 0..1; ``settings`` has ``snr``, and ``contrast`` and
        ``noise_sigma`` in units of the pixels (before they are clipped to 0..1).
    """
    look, scanning = draw.look, draw.modality != "BF-TEM"
    image = _illuminate(painted.image, draw)
    spread = look.uniform(0, 1) ** 1.5 * min(0.16 * painted.detail, 2.5)
    image = blur(image, spread)
    jitter = look.uniform(0.05, 0.4)
    if scanning and chance(look, 0.3):
        image = jitter_rows(grain, image, jitter)
    contrast = contrast_of(image, painted.signal, painted.ground)
    drawn = _draw_snr(look, painted.faintest)
    snr = drawn if snr is None else float(snr)
    sigma = contrast / snr
    field = _noise(image, draw, grain)
    image = image + np.float32(sigma) * field if sigma > 0 else image
    image, gain = _contrast(image, draw, snr)
    image = _compress(image, look)
    settings = {
        "snr": snr,
        "contrast": contrast * gain,
        "noise_sigma": sigma * gain,
        "point_spread": spread,
    }
    return np.clip(image, 0, 1).astype(np.float32), settings


def contrast_of(image: np.ndarray, signal: np.ndarray, ground: np.ndarray) -> float:
    """Root mean square, over the objects, of the difference between an object's mean and the ground's mean.

    Args:
        image: ``(H, W)`` without noise.
        signal: ``(H, W)`` int32 labels of the objects.
        ground: ``(H, W)`` bool.

    Returns:
        The contrast in units of the image; a tenth of its standard deviation at least, so that an empty scene
        has noise too.
    """
    least = max(0.1 * float(image.std()), 1e-4)
    flat = signal.ravel()
    if not flat.any() or not ground.any():
        return least
    count = np.bincount(flat)
    mean = np.bincount(flat, weights=image.ravel()) / np.maximum(count, 1)
    difference = mean[1:] - float(image[ground].mean())
    weight = np.sqrt(count[1:])
    return max(float(np.sqrt((weight * difference**2).sum() / weight.sum())), least)


def _draw_snr(look: np.random.Generator, faintest: float) -> float:
    low, high = SNR_RANGES[int(look.choice(3, p=SNR_SHARES))]
    return max(log_uniform(look, low, high), faintest * log_uniform(look, 1.0, 2.0))


def _illuminate(image: np.ndarray, draw: Draw) -> np.ndarray:
    """Gradients, vignetting, charging, gamma: what changes slowly over the field of view."""
    look, shape = draw.look, draw.shape
    depth = np.float32(max(float(image.std()), 1e-3))
    if chance(look, 0.5):
        image = image * (1 + np.float32(look.uniform(0, 0.25)) * unit_plane(look, shape))
    if chance(look, 0.2):
        row, column = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        image = image * (1 - np.float32(look.uniform(0.05, 0.3)) * (row**2 + column**2).astype(np.float32) / 2)
    if chance(look, 0.3):
        image = image + depth * np.float32(look.uniform(0.05, 0.5)) * smooth_noise(look, shape, look.uniform(80, 300))
    if draw.modality == "SEM" and chance(look, 0.12):
        tail = trail(np.maximum(image - np.float32(np.median(image)), 0), look.uniform(0.05, 0.4) * shape[1])
        image = image + np.float32(look.uniform(0.3, 1.0)) * look.choice([-1.0, 1.0]).astype(np.float32) * tail
    if chance(look, 0.3):
        low, high = float(image.min()), float(image.max())
        unit = (image - low) / max(high - low, 1e-6)
        image = unit ** np.float32(look.uniform(0.65, 1.5)) * (high - low) + low
    return image


def _noise(image: np.ndarray, draw: Draw, grain: np.random.Generator) -> np.ndarray:
    """``(H, W)`` float32 noise of unit root mean square: Poisson-like weight, correlation, lines of the scan."""
    look = draw.look
    field = grain.standard_normal(draw.shape, dtype=np.float32)
    correlated = chance(look, 0.4)
    sigma = look.uniform(0.35, 1.0)
    lines, poisson = look.uniform(0.05, 0.35), look.uniform(0, 0.8)
    if correlated:
        field = blur(field, sigma)
        field /= max(float(field.std()), 1e-6)
    if draw.modality != "BF-TEM" and chance(look, 0.3):
        rows = ndimage.gaussian_filter1d(grain.standard_normal((draw.shape[0], 1), dtype=np.float32), 0.6, axis=0)
        field = field + np.float32(lines) * rows
    low, high = np.percentile(image[::4, ::4], (1, 99))
    level = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    field = field * np.sqrt(1 - np.float32(poisson) * (1 - level))
    return field / max(float(np.sqrt((field * field).mean())), 1e-6)


def _contrast(image: np.ndarray, draw: Draw, snr: float) -> tuple[np.ndarray, float]:
    """Map the image linearly to grey values as an operator would; returns the image and the slope."""
    look = draw.look
    tail = look.choice([0.0, 0.2, 1.0, 4.0], p=[0.35, 0.35, 0.2, 0.1])
    low_to, high_to = look.uniform(0.0, 0.3), look.uniform(0.6, 1.0)
    if snr < 3:
        tail, low_to, high_to = 0.1, 0.3 * low_to + 0.01, 0.99 - 0.3 * (1 - high_to)
    low, high = np.percentile(image[::2, ::2], (tail, 100 - tail))
    gain = float((high_to - low_to) / max(high - low, 1e-6))
    return (image - np.float32(low)) * np.float32(gain) + np.float32(low_to), gain


def _compress(image: np.ndarray, look: np.random.Generator) -> np.ndarray:
    """Eight bits, as most files have, and sometimes the traces of JPEG."""
    jpeg, quality = chance(look, 0.25), int(look.integers(55, 96))
    whole = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if jpeg:
        file = io.BytesIO()
        Image.fromarray(whole).save(file, "JPEG", quality=quality)
        whole = np.asarray(Image.open(file))
    return whole.astype(np.float32) / 255
