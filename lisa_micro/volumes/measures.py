"""Measures of 3-D instances, from label images given slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


class VolumeMeasures:
    """Collects the voxels of 3-D instances slice by slice.

    Definitions: a voxel is a pixel in one slice. Centres of pixels and slices are whole numbers. The volume is the
    number of voxels times pixel size squared times the distance of slices.

    Args:
        count: number of instances, 1..count.
    """

    def __init__(self, count: int):
        far = np.iinfo(np.int64).max
        self.count, self.depth, self.shape = count, 0, (0, 0)
        self._sums = np.zeros((4, count))  # voxels, x, y, z
        self._low, self._high = np.full((3, count), far), np.zeros((3, count), np.int64)  # x, y, z
        self._section = np.zeros(count)

    def watch(self, slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Measure slices ``(H, W)`` int32 while they pass."""
        for labels in slices:
            self.add(labels)
            yield labels

    def add(self, labels: np.ndarray) -> None:
        """Measure the next slice."""
        z, n = self.depth, self.count
        self.depth, self.shape = z + 1, (int(labels.shape[0]), int(labels.shape[1]))
        rows, columns = np.nonzero(labels)
        which = labels[rows, columns] - 1
        area = np.bincount(which, minlength=n).astype(float)
        self._sums += [area, np.bincount(which, columns, n), np.bincount(which, rows, n), area * z]
        self._section = np.maximum(self._section, area)
        for k, values in enumerate((columns, rows)):
            np.minimum.at(self._low[k], which, values)
            np.maximum.at(self._high[k], which, values + 1)
        here = area > 0
        self._low[2, here] = np.minimum(self._low[2, here], z)
        self._high[2, here] = z + 1

    def finish(self) -> dict[str, np.ndarray]:
        """Columns ``(n,)``: ``label``, ``voxels``, ``x``, ``y`` (px), ``z`` (slices), ``x0`` ... ``z1`` (far edge
        exclusive), ``section`` (px2, the largest), ``touches_border``."""
        voxels = np.maximum(self._sums[0], 1)
        low, high = np.where(self._sums[0] > 0, self._low, 0), self._high
        height, width = self.shape
        edge = (low == 0).any(axis=0) | (high[0] == width) | (high[1] == height) | (high[2] == self.depth)
        return {
            "label": np.arange(1, self.count + 1),
            "voxels": self._sums[0].astype(np.int64),
            "x": self._sums[1] / voxels,
            "y": self._sums[2] / voxels,
            "z": self._sums[3] / voxels,
            "x0": low[0],
            "y0": low[1],
            "z0": low[2],
            "x1": high[0],
            "y1": high[1],
            "z1": high[2],
            "section": self._section.astype(np.int64),
            "touches_border": edge,
        }


def with_units(
    found: dict[str, np.ndarray], pixel_size_nm: float | None, step_nm: float | None
) -> dict[str, np.ndarray]:
    """Columns of :meth:`VolumeMeasures.finish` as a table, units in the names; in nm as far as sizes are known."""
    table = {
        "label": found["label"],
        "volume_voxels": found["voxels"],
        "first_slice": found["z0"],
        "last_slice": found["z1"] - 1,
        "centroid_x_px": found["x"],
        "centroid_y_px": found["y"],
        "centroid_z_slice": found["z"],
        **{f"box_{edge}_px": found[edge] for edge in ("x0", "y0", "x1", "y1")},
        "largest_section_px2": found["section"],
        "touches_border": found["touches_border"],
    }
    nm = pixel_size_nm
    if nm is not None:
        table["largest_section_nm2"] = found["section"] * nm**2
    if nm is not None and step_nm is not None:
        volume = found["voxels"] * nm**2 * step_nm
        table |= {"volume_nm3": volume, "diameter_nm": sphere_diameter(volume)}
        table |= {
            "centroid_x_nm": found["x"] * nm,
            "centroid_y_nm": found["y"] * nm,
            "centroid_z_nm": found["z"] * step_nm,
        }
    return table


def sphere_diameter(volume: np.ndarray) -> np.ndarray:
    """Diameter of the sphere of a volume, in the unit whose third power it has."""
    return np.cbrt(6 * np.asarray(volume, float) / np.pi)
