"""What is known about a stack before its pixels are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lisa_micro.io.pixelsize import PixelSize

Place = tuple[int, ...]
"""Index along each axis of a stack other than y and x."""
ReadPart = Callable[[Place, slice, slice], np.ndarray]
"""Reads rows and columns (start and stop within the plane) of one plane as stored: ``(h, w)`` or ``(h, w, C)``."""


@dataclass(frozen=True)
class Layout:
    """Axes, size and calibration of a stack.

    Attributes:
        axes: names of the axes other than y and x, slowest first: ``"t"``, ``"c"``, ``"z"`` or others of the file.
        sizes: number of planes along each of them.
        shape: ``(H, W)`` px of a plane.
        dtype: type of the pixels in the file.
        channels: names of the channels; empty where the file has no channel axis, ``""`` where it names none.
        pages: names of the planes, in order; empty where the file names none.
        pixel_size: edge length of a pixel and its origin.
        step_nm: distance of neighbouring slices (along z) in nm, ``None`` if unknown.
        format: of the file.
        modality: as in :class:`lisa_micro.types.Micrograph`.
        drawn: whether a microscope or a person may have drawn into the picture (data bar, scale bar).
        chunk: ``(h, w)`` px of what is decoded as one, a chunk of OME-Zarr or a tile or strip of TIFF; ``None`` where
            any part can be read by itself.
        levels: ``(H, W)`` px of each resolution of a pyramid, the finest first; empty without a pyramid.
        notes: what a user should know, one sentence each.
    """

    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    shape: tuple[int, int]
    dtype: str
    channels: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    pixel_size: PixelSize = PixelSize(None)
    step_nm: float | None = None
    format: str = ""
    modality: str | None = None
    drawn: bool = False
    chunk: tuple[int, int] | None = None
    levels: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of planes."""
        return int(np.prod(self.sizes, dtype=int)) if self.sizes else 1


@dataclass(frozen=True)
class Opened:
    """An open stack: what is known, how parts are read, and how its files are closed."""

    layout: Layout
    read: ReadPart
    close: Callable[[], None] = lambda: None


def plain_rows(path: str, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> ReadPart:
    """Read parts of an array that lies uncompressed in a file, without mapping the file into memory.

    Args:
        offset: bytes before the array.
        shape: ``(*sizes, H, W)`` in C order.
    """
    height, width = shape[-2:]
    sizes = shape[:-2]

    def read(place: Place, rows: slice, columns: slice) -> np.ndarray:
        number = int(np.ravel_multi_index(place, sizes)) if sizes else 0
        first = offset + (number * height + rows.start) * width * dtype.itemsize
        count = (rows.stop - rows.start) * width
        values = np.fromfile(path, dtype, count, offset=first)
        if values.size < count:
            raise EOFError("pixels are missing at its end")
        return values.reshape(-1, width)[:, columns]

    return read
