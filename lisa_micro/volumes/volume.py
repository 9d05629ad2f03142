"""3-D instances of a stack: labels slice by slice, and their table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lisa_micro.io.lazy import Plane
from lisa_micro.volumes.sections import Links

if TYPE_CHECKING:
    import pandas as pd


class Slices(Protocol):
    """Label images of a stack."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int) -> np.ndarray:
        """``(H, W)`` integers of slice k."""


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """3-D instances, numbered 1..n in the order of their first slice.

    Attributes:
        slices: label images; ``volume.slices[k]`` is slice k, ``(H, W)``.
        properties: columns ``(n,)`` in voxels and px, see :func:`measured`.
        shape: ``(Z, H, W)``.
        pixel_size_nm, step_nm: edge length of a pixel and distance of slices, ``None`` where unknown.
        concept: what the instances are.
        text: what was found, in words.
        notes: what a user should know, one sentence each.
        record: further facts of the run, for ``volume.json``.
        planes: the slices of the stack, where the labels are of one.
        folder: where the labels are, until the volume is forgotten; ``None``: in memory.
    """

    slices: Slices
    properties: dict[str, np.ndarray]
    shape: tuple[int, int, int]
    pixel_size_nm: float | None = None
    step_nm: float | None = None
    concept: str = "object"
    text: str = ""
    notes: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    planes: tuple[Plane, ...] = ()
    folder: TemporaryDirectory[str] | None = None

    @property
    def count(self) -> int:
        """Number of 3-D instances."""
        return len(self.properties["label"])

    @property
    def labels(self) -> np.ndarray:
        """``(Z, H, W)`` int32: all slices in memory."""
        if not len(self.slices):
            return np.zeros(self.shape, np.int32)
        return np.stack([np.asarray(self.slices[k], np.int32) for k in range(len(self.slices))])

    def table(self) -> pd.DataFrame:
        """One row per 3-D instance, units in the column names.

        Columns: ``label``, ``volume_voxels``, ``first_slice``, ``last_slice``, ``centroid_x_px``, ``centroid_y_px``,
        ``centroid_z_slice``, ``box_x0_px`` ... ``box_y1_px``, ``largest_section_px2``, ``touches_border`` (the edge
        of a slice, the first or the last slice). With a pixel size ``largest_section_nm2``, and with the distance of
        slices ``volume_nm3``, ``diameter_nm`` (of the sphere of the same volume), ``centroid_x_nm``,
        ``centroid_y_nm`` and ``centroid_z_nm``.
        """
        import pandas as pd

        from lisa_micro.volumes.measures import with_units

        return pd.DataFrame(with_units(self.properties, self.pixel_size_nm, self.step_nm))

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> list[Path]:
        """Write ``labels.tif`` (a volume), ``volumes.csv`` and ``volume.json``.

        Raises:
            InputError: the folder cannot be written, or holds results and ``force`` is false.
        """
        from lisa_micro.volumes.files import save_volume

        return save_volume(self, folder, force=force)

    def __repr__(self) -> str:
        depth, height, width = self.shape
        return f"<Volume: {self.count} x {self.concept} in {depth} slices of {width} x {height} px>"


def paint(links: Links, slices: Slices) -> Iterator[np.ndarray]:
    """The slices with the numbers of 3-D objects, one after the other: ``(H, W)`` int32.

    Where an object was missed in a slice, its shape is interpolated between the slices before and after.

    Args:
        links: of these slices.
        slices: the labels that were linked.
    """
    bridged: dict[int, list[tuple[int, int, int]]] = {}
    for number, low, high, k in links.bridges.tolist():
        bridged.setdefault(k, []).append((number, low, high))
    for k, numbers in enumerate(links.objects):
        out = numbers[slices[k]]
        for number, low, high in bridged.get(k, ()):
            one, other = (links.objects[side][slices[side]] == number for side in (low, high))
            out[between(one, other, (k - low) / (high - low)) & (out == 0)] = number
        yield out


def between(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The shape between two shapes ``(H, W)`` bool, by the mean of their signed distances.

    Args:
        share: 0: that of the first; 1: that of the second.
    """
    from scipy import ndimage

    rows, columns = np.nonzero(one | other)
    if not len(rows):
        return np.zeros(one.shape, bool)
    window = np.s_[max(rows.min() - 1, 0) : rows.max() + 2, max(columns.min() - 1, 0) : columns.max() + 2]
    signed = [
        ndimage.distance_transform_edt(shape) - ndimage.distance_transform_edt(~shape)
        for shape in (one[window], other[window])
    ]
    out = np.zeros(one.shape, bool)
    out[window] = (1 - share) * signed[0] + share * signed[1] > 0
    return out
