"""Small overlays as PNG files of bounded size, for notebooks."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.viz.overlay import draw_overlay

MAX_SIDE = 480
"""Longer side of a thumbnail in px."""
MAX_BYTES = 44_000
"""Size of the PNG file; 60 kB in base64."""

_COLOURS = 96
_SMALLEST_SIDE = 64


def overlay_thumbnail(
    labels: Sequence[np.ndarray],
    pixels: np.ndarray | None = None,
    pixel_size_nm: float | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """An overlay as a small PNG file.

    Args:
        labels: ``(H, W)`` instance labels of each segment, at least one segment.
        pixels: ``(H, W)`` intensities; a uniform background if ``None``.
        pixel_size_nm: for the scale bar; none is drawn if ``None``.
        names: names of the segments in the legend.

    Returns:
        a PNG file of at most :data:`MAX_BYTES` bytes; the picture is made smaller until it fits.
    """
    from PIL import Image

    background = np.zeros(labels[0].shape, np.float32) if pixels is None else pixels
    side = min(MAX_SIDE, max(background.shape))
    while True:
        resizing = resize_long_side((background.shape[0], background.shape[1]), side)
        picture = draw_overlay(
            resizing.image(np.nan_to_num(background.astype(np.float32), posinf=0.0, neginf=0.0)),
            [resizing.labels(segment) for segment in labels],
            None if pixel_size_nm is None else pixel_size_nm / float(resizing.scale_xy[0]),
            names,
            enlarge=False,
        )
        # a palette takes a third of the space of RGB, and noise does not compress
        small = Image.fromarray(picture).quantize(_COLOURS)
        buffer = io.BytesIO()
        small.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= MAX_BYTES or side <= _SMALLEST_SIDE:
            return buffer.getvalue()
        side = max(_SMALLEST_SIDE, int(side * min(0.9, (MAX_BYTES / buffer.tell()) ** 0.5)))
