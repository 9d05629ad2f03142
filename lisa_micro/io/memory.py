"""Images that other libraries hold in memory: arrays, HyperSpy signals, xarray, tensors and Pillow images.

None of these libraries is imported; an object is recognised by its interface.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from lisa_micro.io.arrays import to_plane
from lisa_micro.io.formats.pictures import picture_array
from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.units import to_nm
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    from PIL import Image

CHANNEL_DIMENSIONS = ("c", "channel", "channels", "band", "bands", "rgb", "rgba", "colour", "color", "s")
"""Names of xarray dimensions that hold colour channels."""
ORIGIN = "axes"
"""Origin of a pixel size that was read from the axes of a signal or data array."""
_UNEVEN = 1e-3  # relative deviation of coordinate steps above which there is no single pixel size


class SignalAxis(Protocol):
    """An axis of a HyperSpy signal."""

    scale: float
    units: Any
    index_in_array: int


class AxesManager(Protocol):
    """The axes of a HyperSpy signal."""

    @property
    def signal_axes(self) -> Sequence[SignalAxis]:
        """Axes of the image, x before y."""

    @property
    def navigation_axes(self) -> Sequence[SignalAxis]:
        """Axes over which a stack or a map extends, the fastest first."""


@runtime_checkable
class Signal(Protocol):
    """A HyperSpy signal."""

    data: Any
    axes_manager: AxesManager


@runtime_checkable
class DataArray(Protocol):
    """An xarray ``DataArray``."""

    @property
    def dims(self) -> tuple[Any, ...]:
        """Names of the dimensions."""

    @property
    def coords(self) -> Mapping[Any, Any]:
        """Coordinates by dimension."""

    @property
    def values(self) -> np.ndarray:
        """The numbers."""


@runtime_checkable
class Tensor(Protocol):
    """A torch tensor."""

    def detach(self) -> Any:
        """The tensor without gradients."""

    def cpu(self) -> Any:
        """The tensor in main memory."""


MicrographLike: TypeAlias = (
    "Micrograph | str | os.PathLike[str] | np.ndarray | Signal | DataArray | Tensor | Image.Image"
)
"""Everything that is accepted as a micrograph."""


def micrograph_from_memory(source: object) -> Micrograph:
    """Convert an image held by another library.

    Args:
        source: array ``(H, W)`` or ``(H, W, 1 to 4)`` of any numeric type; HyperSpy signal with one image; xarray
            ``DataArray`` of two dimensions, or three if one holds colour; torch tensor ``(H, W)``, ``(H, W, C)`` or
            ``(C, H, W)``; Pillow image.

    Returns:
        the micrograph. Its pixel size comes from the axes of a signal or the coordinates of a data array, provided
        they are lengths; its ``pixels`` are a copy.

    Raises:
        InputError: another type, another shape, no pixels, or values that are not numbers.
    """
    from PIL import Image

    size = PixelSize(None)
    name = "array"
    if isinstance(source, Image.Image):
        array, name = picture_array(source), "Pillow image"
    elif isinstance(source, Signal):
        array, size = _signal_image(source)
        name = "signal"
    elif isinstance(source, DataArray):
        array, size = _data_array_image(source)
        name = "data array"
    elif isinstance(source, Tensor):
        array, name = tensor_array(source), "tensor"
        if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
            array = np.moveaxis(array, 0, 2)  # (C, H, W) -> (H, W, C)
    else:
        array = _numbers(source)
    if array.dtype.names is None:
        _check_form(array)
    plane, notes = to_plane(array, f"The {name}")
    if np.may_share_memory(plane, array):
        plane = plane.copy()  # a micrograph is frozen, but the caller may go on changing the array
    return Micrograph(plane, size.nm, name, size.origin, notes=(*notes, *size.notes))


def tensor_array(tensor: Tensor) -> np.ndarray:
    """The numbers of a torch tensor; bfloat16, which NumPy lacks, becomes float32."""
    values = tensor.detach().cpu()
    try:
        return np.asarray(values)
    except TypeError:
        return np.asarray(values.float())


def _numbers(source: object) -> np.ndarray:
    try:
        return np.asarray(source)
    except Exception as error:
        raise InputError(f"An image must be a path or an array, not {type(source).__name__}.") from error


def _check_form(array: np.ndarray) -> None:
    if array.dtype.kind not in "biufc" or array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] > 4:
        form = f"{array.shape} of type {array.dtype}"
        raise InputError(f"An image array must be (H, W) or (H, W, 1 to 4) of numbers, not {form}.")


def _signal_image(signal: Signal) -> tuple[np.ndarray, PixelSize]:
    """Image ``(H, W)`` of a signal and its pixel size."""
    axes = signal.axes_manager
    plane, stack = list(axes.signal_axes), list(axes.navigation_axes)
    if len(plane) != 2 and len(plane) + len(stack) == 2:  # a map of single values, such as a STEM scan
        plane, stack = sorted((*plane, *stack), key=lambda axis: -axis.index_in_array), []
    if len(plane) != 2 or stack:
        raise InputError(
            f"A HyperSpy signal must hold one image, not {len(stack)} navigation and {len(plane)} signal dimensions; "
            "select an image first, for example with signal.inav[0]."
        )
    x, y = plane
    array = np.asarray(signal.data)
    if array.ndim == 2 and y.index_in_array > x.index_in_array:
        array = array.T
    return array, signal_pixel_size(x, y)


def signal_pixel_size(x: SignalAxis, y: SignalAxis) -> PixelSize:
    """Pixel size from the axes of a signal; none unless both are lengths."""
    # the scale is negative if an axis was flipped; the edge of a pixel is not
    edges = [to_nm(abs(float(axis.scale)), str(axis.units or "")) for axis in (x, y)]
    return combine(edges[0], edges[1], ORIGIN)


def _data_array_image(source: DataArray) -> tuple[np.ndarray, PixelSize]:
    """Image ``(H, W)`` or ``(H, W, C)`` of a data array and its pixel size."""
    dims = [str(name) for name in source.dims]
    array = np.asarray(source.values)
    channel = [k for k, name in enumerate(dims) if name.lower() in CHANNEL_DIMENSIONS]
    if len(dims) == 3 and not channel and array.shape[2] in (1, 3, 4):
        channel = [2]
    if len(dims) - len(channel) != 2 or len(channel) > 1:
        raise InputError(
            f"A data array must have two dimensions, or a third for colour, not {tuple(dims)}; "
            "select an image first, for example with array.isel."
        )
    if channel:
        array = np.moveaxis(array, channel[0], 2)
    rows, columns = (name for k, name in enumerate(source.dims) if k not in channel)
    edges, notes = [], []
    for name in (columns, rows):
        step, unit = coordinate_step(source, name)
        edges.append(None if step is None else to_nm(step, unit))
        if step is None and name in source.coords and source.coords[name].size > 1:
            notes.append(f"The coordinates of {name} are not evenly spaced, so they give no pixel size.")
    size = combine(edges[0], edges[1], ORIGIN)
    return array, PixelSize(size.nm, size.origin, (*notes, *size.notes))


def coordinate_step(source: DataArray, name: object) -> tuple[float | None, str]:
    """Distance of the coordinates of one dimension of a data array.

    Returns:
        the step, positive, and its unit (``""`` if not given); the step is ``None`` without coordinates, with fewer
        than two, or if they are not evenly spaced.
    """
    if name not in source.coords:
        return None, ""
    coordinate = source.coords[name]
    unit = str(coordinate.attrs.get("units", ""))
    values = np.asarray(coordinate.values)
    if values.dtype.kind not in "iuf" or values.ndim != 1 or len(values) < 2:
        return None, unit
    steps = np.diff(values.astype(float))
    mean = float(steps.mean())
    even = mean != 0 and bool((np.abs(steps - mean) <= _UNEVEN * abs(mean)).all())
    return (abs(mean) if even else None), unit
