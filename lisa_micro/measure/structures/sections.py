"""Cross-sections of a body along its axis."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.structures.centre_lines import smoothed

STEP = 0.25
"""px between samples of a section; its ends are interpolated between them."""


def tangents(points: np.ndarray) -> np.ndarray:
    """``(n, 2)`` unit vectors along a path ``(n, 2)``."""
    ahead = np.gradient(points, axis=0)
    return ahead / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]


def section_widths(mask: np.ndarray, path: np.ndarray, reach: float, half: float) -> np.ndarray:
    """Width of a body across its axis at each point of the axis.

    A section runs along the normal of the smoothed axis, from the axis to the contour on both sides (where the mask,
    interpolated linearly, falls below 1/2).

    Parameters
    ----------
    mask
        ``(H, W)`` bool.
    path
        ``(n, 2)`` x, y px along the axis, n >= 2.
    reach
        px on each side after which the contour is no longer looked for.
    half
        px on each side over which the axis is smoothed.

    Returns
    -------
    ndarray
        ``(n,)`` px; NaN where the axis lies outside the body or a section reaches the border of the image or the
        reach, so that its end is unknown.
    """
    path = smoothed(path, half)
    along = tangents(path)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    offsets = np.arange(0, reach + STEP, STEP)
    values = mask.astype(np.float32)
    width = np.zeros(len(path))
    for side in (1, -1):
        at = path[:, None] + side * offsets[None, :, None] * normal[:, None]  # (n, m, 2)
        sampled = ndimage.map_coordinates(values, [at[..., 1], at[..., 0]], order=1, mode="nearest")
        outside = (at < -0.5).any(2) | (at[..., 0] > mask.shape[1] - 0.5) | (at[..., 1] > mask.shape[0] - 0.5)
        width += _first_below(sampled, outside)
    return width


def _first_below(sampled: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """``(n,)`` px from the axis to where the samples ``(n, m)`` fall below 1/2; NaN where that is not before they leave
    the image."""
    below = sampled < 0.5
    k = below.argmax(1)
    rows = np.arange(len(sampled))
    before = sampled[rows, np.maximum(k - 1, 0)]
    after = sampled[rows, k]
    part = (before - 0.5) / np.maximum(before - after, 1e-9)
    known = below.any(1) & (k > 0) & ~outside[rows, k]
    return np.where(known, (k - 1 + part) * STEP, np.nan)


def extended(mask: np.ndarray, path: np.ndarray, radius: float) -> np.ndarray:
    """The path with both ends continued in their direction to the contour of the mask ``(H, W)``; the direction is
    that of the last ``2 * radius`` px."""
    for _ in range(2):  # its end, then, reversed, its beginning
        back = path[max(0, len(path) - 1 - max(2, round(2 * radius)))]
        ahead = path[-1] - back
        size = np.hypot(*ahead)
        if size > 0:
            offsets = np.arange(0, 3 * radius + 2, STEP)
            at = path[-1] + offsets[:, None] * ahead / size
            sampled = ndimage.map_coordinates(mask.astype(np.float32), at.T[::-1], order=1, mode="constant")
            stop = int((sampled < 0.5).argmax()) if (sampled < 0.5).any() else 0
            if stop:
                path = np.r_[path, at[stop : stop + 1]]
        path = path[::-1]
    return path
