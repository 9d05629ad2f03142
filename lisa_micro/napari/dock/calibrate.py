"""Give layers the pixel size that was read from their file: napari itself opens a TIFF without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.types import Micrograph

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer


def calibrate(viewer: Viewer, image: Image, micrograph: Micrograph) -> str:
    """Scale all layers to nanometres, if none of them has a scale yet and the pixel size is known.

    Layers that lie on each other go on doing so. Where any layer has a scale of its own, nothing is changed.

    Returns:
        what was done, one sentence; empty if nothing was.
    """
    nm = micrograph.pixel_size_nm
    if nm is None or micrograph.pixel_size_origin == "none" or not all(_is_plain(layer) for layer in viewer.layers):
        return ""
    for layer in viewer.layers:
        layer.scale = (*layer.scale[:-2], nm, nm)
        layer.units = (*layer.units[:-2], "nm", "nm")
    viewer.reset_view()
    return f"The layers are scaled to {nm:.4g} nm a pixel ({micrograph.pixel_size_origin})."


def _is_plain(layer: Layer) -> bool:
    """Whether a layer counts in pixels."""
    transform = np.allclose(layer.scale, 1) and np.allclose(layer.translate, 0)
    return bool(transform) and all(str(unit) == "pixel" for unit in layer.units)
