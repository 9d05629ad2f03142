"""One plane of a stack, read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lisa_micro.io.arrays import check_size, to_plane
from lisa_micro.io.lazy.layout import Layout, Place, ReadPart
from lisa_micro.io.survey import NOTHING, Looking, surveyed
from lisa_micro.types import InputError, Micrograph

BAND_PX = 1 << 25
"""Pixels of a band of rows in :meth:`Plane.bands`: 128 MiB as float32."""


@dataclass(frozen=True, eq=False, repr=False)
class Plane:
    """A 2-D image of any size whose pixels are read where they are asked for.

    ``plane[y0:y1, x0:x1]`` gives that part as float32; ``np.asarray(plane)`` reads all of it.

    Attributes:
        layout: of the stack.
        place: index along each of its axes.
        source: path of the stack, or a description.
        number: of the plane in the stack, from 0.
        pixel_size_nm, pixel_size_origin: as in :class:`lisa_micro.types.Micrograph`.
        notes: what a user should know, one sentence each.
    """

    layout: Layout
    place: Place
    source: str
    number: int
    pixel_size_nm: float | None
    pixel_size_origin: str
    notes: tuple[str, ...]
    _read: ReadPart

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Part of the plane, clipped to it: ``(h, w)`` float32, colour as luminance.

        Raises:
            InputError: the part is damaged or missing.
        """
        height, width = self.shape
        rows = slice(max(y0, 0), max(min(y1, height), max(y0, 0)))
        columns = slice(max(x0, 0), max(min(x1, width), max(x0, 0)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        try:
            array = self._read(self.place, rows, columns)
        except InputError:
            raise
        except Exception as error:  # readers and codecs raise dozens of types of errors on damaged files
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputError(
                f"Plane {self.number} of {self._name} is damaged or cut short at rows {rows.start} to {rows.stop - 1} "
                f"({reason})."
            ) from error
        return to_plane(array, self._name, limited=False)[0]

    @property
    def _name(self) -> str:
        return self.source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or self.source

    def bands(self, least: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """The plane from top to bottom in bands of rows: the first row of each, and its pixels.

        Args:
            least: the number of rows of a band is a multiple of it, except for the last one.
        """
        height, width = self.shape
        step = max(BAND_PX // max(width, 1) // least, 1) * least
        for top in range(0, height, step):
            yield top, self.read(top, top + step, 0, width)

    def __getitem__(self, part: Any) -> np.ndarray:
        rows, columns = part if isinstance(part, tuple) else (part, slice(None))
        if not isinstance(rows, slice) or not isinstance(columns, slice):
            raise TypeError("a plane is indexed by two slices: plane[y0:y1, x0:x1]")
        (y0, y1, down), (x0, x1, across) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        if down < 1 or across < 1:
            raise TypeError("a plane is read forwards; the steps of both slices must be positive")
        return self.read(y0, y1, x0, x1)[::down, ::across]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = self.read(0, self.shape[0], 0, self.shape[1])
        return pixels if dtype is None else pixels.astype(dtype)

    def micrograph(self, looking: Looking = NOTHING) -> Micrograph:
        """The whole plane as a micrograph.

        Args:
            looking: what is looked for in the picture, as in :func:`lisa_micro.read_micrograph`.

        Raises:
            InputError: a side above the limit of micrographs in memory, or the pixels are damaged.
        """
        check_size(*self.shape, self._name)
        layout = self.layout
        image = Micrograph(
            pixels=np.asarray(self),
            pixel_size_nm=self.pixel_size_nm,
            source=self.source,
            pixel_size_origin=self.pixel_size_origin,
            modality=layout.modality,
            notes=self.notes,
            metadata={"format": layout.format, "pages": layout.count, "page": self.number, "dtype": layout.dtype},
        )
        if not layout.drawn:
            looking = replace(looking, banner=False, scale_bar=False)
        return surveyed(image, looking)

    def __repr__(self) -> str:
        size = "no pixel size" if self.pixel_size_nm is None else f"{self.pixel_size_nm:.4g} nm/px"
        place = ", ".join(f"{axis}={k}" for axis, k in zip(self.layout.axes, self.place, strict=True))
        return f"<Plane {self.source!r}: {place or 'single'}, shape {self.shape}, {size}>"
