"""Image layers as micrographs and videos, and shapes as boxes.

The layer is looked at in the thread of the window, which is quick (:func:`film_of`); files are read and arrays are
converted in a worker (:func:`micrograph_of`, :func:`frames_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from lisa_micro.io import as_micrograph, read_micrograph, read_video
from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.stream import VideoStream
from lisa_micro.io.times import in_seconds
from lisa_micro.io.units import to_nm
from lisa_micro.napari.layers import RECORD, Place
from lisa_micro.types import InputError, Micrograph

TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""Keyword arguments that put a result where its image layer is."""
ORIGIN = "axes"
"""Origin of a pixel size that was read from the scale and the units of a layer."""
_SAME = 1e-3  # relative difference of two pixel sizes that count as equal


class ImageLayer(Protocol):
    """What is used of a napari image layer."""

    name: str
    ndim: int
    data: Any
    rgb: bool
    multiscale: bool
    metadata: Mapping[str, Any]
    scale: Any
    units: Any
    source: Any

    def world_to_data(self, position: Any) -> Any:
        """Coordinates of the scene as indices of the data."""


class ShapesLayer(Protocol):
    """What is used of a napari shapes layer."""

    data: Sequence[Any]
    units: Any

    def data_to_world(self, position: Any) -> Any:
        """Coordinates of the data in the scene."""


@dataclass(frozen=True, eq=False)
class Film:
    """An image layer as it was when a request was made.

    Attributes:
        name: of the layer.
        data: ``(..., H, W)``, or ``(..., H, W, C)`` if ``rgb``; it may be lazy.
        rgb: whether the last axis holds colours.
        frame: index on the axes before the two of the image; empty for a single image.
        size: pixel size by the scale and units of the layer.
        frame_time_s: seconds from frame to frame by the scale and units, ``None`` if unknown.
        transform: keyword arguments that put a result at the same place.
        path: of the file that the layer was opened from.
        known: the micrograph that the reader put into the layer.
        user_nm: pixel size given by the user, which takes precedence.
    """

    name: str
    data: Any
    rgb: bool
    frame: tuple[int, ...]
    size: PixelSize
    frame_time_s: float | None
    transform: Mapping[str, Any]
    path: str | None = None
    known: Micrograph | None = None
    user_nm: float | None = None

    @property
    def place(self) -> Place:
        """Where a result about the frame that is shown lies."""
        return Place(self.transform, self.frame)

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""
        axes = self.data.shape[:-1] if self.rgb else self.data.shape
        return int(axes[-2]), int(axes[-1])

    @property
    def frames(self) -> int:
        """Number of frames; 1 for a single image."""
        return int(np.prod([int(n) for n in self.data.shape[: len(self.frame)]], dtype=np.int64))


def film_of(layer: ImageLayer, position: Sequence[float] = (), user_nm: float | None = None) -> Film:
    """Take what a request needs from an image layer; nothing is read or computed.

    Args:
        layer: an image layer whose last two axes are rows and columns.
        position: the point of the sliders in the scene, which chooses the frame of a stack.
        user_nm: pixel size given by the user.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    lead = layer.ndim - 2
    frame: tuple[int, ...] = ()
    if lead:
        point = np.asarray(layer.world_to_data(np.asarray(position, float)[-layer.ndim :]))[:lead]
        frame = tuple(int(k) for k in np.clip(np.round(point), 0, np.array(data.shape[:lead]) - 1))
    options = {"scale": layer.scale, "units": layer.units}
    time = in_seconds(float(layer.scale[-3]), str(layer.units[-3])) if lead == 1 else None
    known = layer.metadata.get(RECORD)
    same = isinstance(known, Micrograph) and known.pixels is data
    return Film(
        name=layer.name,
        data=data,
        rgb=bool(layer.rgb),
        frame=frame,
        size=layer_pixel_size(options),
        frame_time_s=time or None,
        transform={name: getattr(layer, name) for name in TRANSFORM},
        path=layer.source.path,
        known=known if same else None,
        user_nm=user_nm,
    )


def layer_pixel_size(options: Mapping[str, Any]) -> PixelSize:
    """Pixel size by the ``scale`` and ``units`` of a layer's last two axes; none unless both are lengths."""
    scale, units = options.get("scale"), options.get("units")
    if scale is None or units is None or len(scale) < 2 or len(units) < 2:
        return PixelSize(None)
    edges = [to_nm(abs(float(edge)), str(unit)) for edge, unit in zip(scale[-2:], units[-2:], strict=True)]
    return combine(edges[1], edges[0], ORIGIN)


def micrograph_of(film: Film) -> Micrograph:
    """The micrograph that a layer shows, with what its file says: pixel size, data bar, scale bar.

    The pixel size is the user's, that of the layer's scale where its units are lengths, or that of the file.

    Raises:
        InputError: an array that is no image.
    """
    image = film.known
    if image is None:
        plane = np.asarray(film.data[film.frame] if film.frame else film.data)
        image = replace(as_micrograph(plane), source=film.name)
        if film.path is not None:
            image = _with_file(image, film)
    if film.user_nm is not None:
        return replace(image, pixel_size_nm=film.user_nm, pixel_size_origin="user")
    nm = film.size.nm
    if nm is None or (image.pixel_size_nm is not None and abs(nm - image.pixel_size_nm) <= _SAME * nm):
        return image
    notes = (*image.notes, *film.size.notes)
    return replace(image, pixel_size_nm=nm, pixel_size_origin=film.size.origin, notes=notes)


def _with_file(image: Micrograph, film: Film) -> Micrograph:
    """The pixels of a layer with what the file says that it was opened from, if it shows the same image."""
    try:
        page = film.frame[0] if len(film.frame) == 1 else 0
        read = read_micrograph(str(film.path), page=page)
    except InputError:  # napari reads more formats
        return image
    if read.shape != image.shape:
        return image
    return replace(read, pixels=image.pixels, notes=tuple(dict.fromkeys((*image.notes, *read.notes))))


def frames_of(film: Film) -> VideoStream:
    """The frames of a stack as a video, with pixel size and frame time of the user, the layer, or its file.

    Raises:
        InputError: a single image, or an array with further axes.
    """
    if len(film.frame) != 1:
        axes = "is a single image" if not film.frame else f"has {len(film.frame)} axes before rows and columns"
        raise InputError(f"Tracking needs a stack of frames (T, H, W); the layer {film.name!r} {axes}.")
    nm, time = film.user_nm or film.size.nm, film.frame_time_s
    if film.path is not None and (nm is None or time is None):
        try:
            facts = read_video(film.path).facts
        except InputError:
            facts = None
        if facts is not None and facts.shape == film.shape:
            nm, time = nm or facts.pixel_size_nm, time or facts.frame_time_s
    video = read_video(film.data, nm, time)
    return VideoStream(film.path or film.name, video.facts, video.frames)


def boxes_of(shapes: ShapesLayer, layer: ImageLayer) -> np.ndarray:
    """The bounding boxes of shapes in an image layer.

    Args:
        shapes: a shapes layer; its scale and units may differ from those of the image.
        layer: the image layer.

    Returns:
        ``(N, 4)`` XYXY px of the image, counted from the corner of its first pixel.
    """
    factors = _unit_factors(shapes.units, layer.units)
    boxes = np.zeros((len(shapes.data), 4))
    for row, corners in zip(boxes, shapes.data, strict=True):
        world = np.array([np.asarray(shapes.data_to_world(corner))[-2:] * factors for corner in np.asarray(corners)])
        lead = np.zeros((len(world), layer.ndim - 2))
        yx = np.array([np.asarray(layer.world_to_data(point))[-2:] for point in np.hstack([lead, world])])
        row[:] = *yx.min(axis=0)[::-1], *yx.max(axis=0)[::-1]
    return boxes + 0.5  # napari counts from the centre of the first pixel


def _unit_factors(units: Sequence[Any], other: Sequence[Any]) -> np.ndarray:
    """``(2,)`` factors from the units of two layers; 1 where either is no length, as napari draws them."""
    pairs = zip(units[-2:], other[-2:], strict=True)
    edges = [(to_nm(1.0, str(one)), to_nm(1.0, str(two))) for one, two in pairs]
    return np.array([1.0 if one is None or two is None else one / two for one, two in edges])
