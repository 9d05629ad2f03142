"""The small picture of an image in the report of a batch."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.viz.overlay import draw_overlay

PICTURE_FILE = "picture.jpg"
"""In the folder of an item whose image is too large to be read again for the report."""
PICTURE_SIDE = 420
"""Longer side of a picture in px."""


def small_picture(pixels: np.ndarray, labels: Sequence[np.ndarray], pixel_size_nm: float | None) -> bytes:
    """Draw labels over an image, as JPEG.

    Args:
        pixels: ``(H, W)`` intensities.
        labels: ``(H, W)`` instances of each segment.
        pixel_size_nm: of the image.
    """
    from PIL import Image

    resizing = resize_long_side(pixels.shape, min(PICTURE_SIDE, max(pixels.shape)))
    picture = draw_overlay(
        resizing.image(np.nan_to_num(pixels, posinf=0.0, neginf=0.0)),
        [resizing.labels(one) for one in labels] or np.zeros(resizing.resized, np.int32),
        None if pixel_size_nm is None else pixel_size_nm / float(resizing.scale_xy[0]),
        [""] * len(labels) if len(labels) > 1 else None,
        enlarge=False,
    )
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=72)
    return buffer.getvalue()
