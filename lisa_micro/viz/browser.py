"""Micrographs and masks for a browser, which draws them itself: pictures of both, and the viewer's script and style.

A micrograph is sent as a picture, and the labels of each segment as an RGB picture. The scripts in ``static`` need no
further request for colours, opacity, contours, zoom and hover; the app and notebooks share them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.types import Micrograph
from lisa_micro.viz.overlay import draw_burnt_in, instance_colours

STATIC = Path(__file__).with_name("static")
_SHADES = ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0))


def png(pixels: np.ndarray, level: int = 1) -> bytes:
    """Encode ``(H, W)`` or ``(H, W, 3)`` uint8 as a PNG file.

    Args:
        pixels: the picture.
        level: of compression, 0..9. Micrographs are mostly noise, which the highest level makes hardly smaller.
    """
    return _encoded(pixels, format="PNG", compress_level=level)


def jpeg(pixels: np.ndarray, quality: int = 88) -> bytes:
    """Encode ``(H, W)`` or ``(H, W, 3)`` uint8 as a JPEG file."""
    return _encoded(pixels, format="JPEG", quality=quality)


def _encoded(pixels: np.ndarray, **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **how)
    return buffer.getvalue()


def display_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size ``(h, w)`` at which an image of ``shape`` is sent to the browser; images are never enlarged."""
    return resize_long_side(shape, min(max(shape), longest)).resized


def grey_picture(image: Micrograph, longest: int) -> np.ndarray:
    """A micrograph with robust contrast, its longer side at most ``longest`` px: ``(h, w)`` or ``(h, w, 3)`` uint8.

    The scale bar that was read and the edge of the field of view are marked in colour, so that a person can check them.
    """
    resizing = resize_long_side(image.shape, min(max(image.shape), longest))
    grey = (np.clip(resizing.image(to_unit_range(image.pixels)), 0, 1) * 255).round().astype(np.uint8)
    if image.scale_bar is None and image.field is None:
        return grey
    picture = Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
    draw_burnt_in(ImageDraw.Draw(picture, "RGBA"), image, resizing.resized[1] / image.shape[1])
    return np.asarray(picture)


def grey_png(image: Micrograph, longest: int) -> bytes:
    """:func:`grey_picture` as a PNG file."""
    return png(grey_picture(image, longest))


def labels_png(labels: np.ndarray, longest: int, level: int = 1) -> bytes:
    """Encode instance labels as an RGB PNG file of the size of :func:`grey_png`: label = red + 256 green + 65536
    blue."""
    small = resize_long_side(labels.shape, min(max(labels.shape), longest)).labels(labels).astype(np.uint32)
    return png(np.stack([small & 255, small >> 8 & 255, small >> 16 & 255], axis=2).astype(np.uint8), level)


def shades(labels: np.ndarray) -> list[int]:
    """The shade 0..3 of the layer's colour for every instance 1..n; touching instances get different shades."""
    return instance_colours(labels, _SHADES, varied=False)[1:, 0].tolist()


@cache
def _static(*names: str) -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


def viewer_script() -> str:
    """Scripts of the viewer: ``window.lisaMicro.parts`` with elements, stage and controls."""
    return _static("parts.js", "stage.js", "layers.js")


def viewer_style() -> str:
    """Style sheet of the viewer."""
    return _static("viewer.css")


def viewer_page(view: Mapping[str, Any], alone: bool = False) -> str:
    """A page with one viewer; it needs no other file and no network.

    Args:
        view: ``name`` and ``facts`` (text), ``image`` and ``layers`` as the stage takes them, with data URLs.
        alone: whether the page fills a window, and is not in a frame.
    """
    # "<" could end the script element; text is set as text by the scripts
    body = '<body class="lm-alone">' if alone else "<body>"
    data = json.dumps(view, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>LISA-micro</title>'
        f"<style>{viewer_style()}\n{_static('page.css')}</style></head>"
        f'{body}<div class="lm-mount"></div>'
        f'<script type="application/json" id="lm-view">{data}</script>'
        f"<script>{viewer_script()}\n{_static('page.js')}</script></body></html>\n"
    )
