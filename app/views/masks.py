"""Micrographs and masks for the browser, which draws them itself.

The browser gets the micrograph as a picture, the labels of each segment as an RGB picture, and the measurements of
every instance. It needs no further request for colours, opacity, contours, zoom and hover.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import Micrograph
from lisa_micro.viz.overlay import draw_burnt_in, instance_colours
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.tables import instance_lines

_SHADES = ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0))


def png(pixels: np.ndarray) -> bytes:
    """Encode ``(H, W)`` or ``(H, W, 3)`` uint8 as a PNG file."""

    buffer = io.BytesIO()
    # level 1: micrographs are mostly noise, and speed matters more than size
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def display_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size ``(h, w)`` at which an image of ``shape`` is sent to the browser; images are never enlarged."""
    return resize_long_side(shape, min(max(shape), longest)).resized


def grey_png(image: Micrograph, longest: int) -> bytes:
    """Encode a micrograph as a grey PNG file with robust contrast, its longer side at most ``longest`` px.

    The scale bar that was read and the edge of the field of view are marked in colour, so that a person can check them.
    """
    resizing = resize_long_side(image.shape, min(max(image.shape), longest))
    grey = (np.clip(resizing.image(to_unit_range(image.pixels)), 0, 1) * 255).round().astype(np.uint8)
    if image.scale_bar is None and image.field is None:
        return png(grey)
    picture = Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
    draw_burnt_in(ImageDraw.Draw(picture, "RGBA"), image, resizing.resized[1] / image.shape[1])
    return png(np.asarray(picture))


def labels_png(labels: np.ndarray, longest: int) -> bytes:
    """Encode instance labels as an RGB PNG file of the size of :func:`grey_png`: label = red + 256 green + 65536
    blue."""
    small = resize_long_side(labels.shape, min(max(labels.shape), longest)).labels(labels).astype(np.uint32)
    return png(np.stack([small & 255, small >> 8 & 255, small >> 16 & 255], axis=2).astype(np.uint8))


def shades(labels: np.ndarray) -> list[int]:
    """The shade 0..3 of the layer's colour for every instance 1..n; touching instances get different shades."""
    return instance_colours(labels, _SHADES, varied=False)[1:, 0].tolist()


def image_view(session: Session, image: Micrograph, key: str, longest: int) -> dict[str, Any]:
    """The micrograph as plain data: ``url``, ``width`` and ``height`` in px, size as sent (``shown``), pixel size."""
    height, width = image.shape
    shown = display_shape(image.shape, longest)
    return {
        "key": key,
        "url": session.once(f"image-{key}-{longest}", "image/png", lambda: grey_png(image, longest)),
        "width": width,
        "height": height,
        "shown": [shown[1], shown[0]],
        "nm": image.pixel_size_nm,
    }


def layer_views(
    session: Session, segments: Sequence[Segmentation], colours: Sequence[str], key: str, longest: int
) -> list[dict[str, Any]]:
    """Segments as plain data, one layer each.

    Args:
        session: offers the pictures.
        segments, colours: one colour ``#rrggbb`` per segment.
        key: unique name of the answer within the session.
        longest: longer side of the label pictures, px.

    Returns:
        per layer ``id``, ``phrase``, ``concept``, ``colour``, ``url`` of its labels, ``shades``, ``count``, ``boxes``
        (XYXY px of every instance) and ``lines`` (measurements of every instance in words).
    """
    layers = []
    for k, (segment, colour) in enumerate(zip(segments, colours, strict=True)):
        table = segment.table()
        columns = ["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]
        boxes = table[columns].astype(int).values.tolist() if len(table) and set(columns) <= set(table) else []
        layers.append(
            {
                "id": f"{key}-{k}",
                "phrase": segment.phrase or segment.concept,
                "concept": segment.concept,
                "colour": colour,
                "count": int(np.count_nonzero(np.bincount(segment.labels.ravel())[1:])),
                "url": session.once(f"labels-{key}-{k}", "image/png", partial(labels_png, segment.labels, longest)),
                "shades": shades(segment.labels),
                "boxes": {str(int(label)): box for label, box in zip(table.get("label", []), boxes, strict=False)},
                "lines": instance_lines(segment),
            }
        )
    return layers
