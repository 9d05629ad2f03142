"""Give layers the pixel size of a micrograph: napari itself opens a TIFF without its scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.types import Micrograph

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer


def calibrate(viewer: Viewer, image: Image, micrograph: Micrograph) -> str:
    """Scale all layers to nanometres, if none of them has a scale yet, or if the user has corrected the pixel size.

    Layers that lie on each other go on doing so. Where a layer has a scale or a shift of its own, nothing is changed.

    Args:
        viewer: its layers are scaled.
        image: layer of the micrograph.
        micrograph: with its pixel size and the origin of it.

    Returns:
        what was done, one sentence; empty if nothing was.
    """
    nm = micrograph.pixel_size_nm
    if nm is None or not all(_lies_on(layer, image) for layer in viewer.layers):
        return ""
    unscaled = np.allclose(image.scale[-2:], 1) and str(image.units[-1]) == "pixel"
    corrected = micrograph.pixel_size_origin == "user" and not np.allclose(image.scale[-2:], nm)
    if not unscaled and not corrected:
        return ""
    for layer in viewer.layers:
        layer.scale = (*layer.scale[:-2], nm, nm)
        layer.units = (*layer.units[:-2], "nm", "nm")
    viewer.reset_view()
    return f"The layers are scaled to {nm:.4g} nm a pixel ({micrograph.pixel_size_origin})."


def _lies_on(layer: Layer, image: Image) -> bool:
    """Whether rows and columns of a layer are those of the image."""
    same = np.allclose(layer.scale[-2:], image.scale[-2:]) and np.allclose(layer.translate[-2:], 0)
    return bool(same) and all(str(a) == str(b) for a, b in zip(layer.units[-2:], image.units[-2:], strict=True))
