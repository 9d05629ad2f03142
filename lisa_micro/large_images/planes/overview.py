"""One pass over a plane: a reduced picture of it, and the limits of its contrast."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from lisa_micro.io.contrast import MAX_SAMPLES, limits
from lisa_micro.io.lazy import Plane
from lisa_micro.protocols import Progress
from lisa_micro.types import Micrograph

LONGEST = 2048
"""px: the longest side of an overview is at most this."""


@dataclass(frozen=True, eq=False)
class Overview:
    """A plane as a whole, reduced.

    Attributes:
        micrograph: means of blocks of ``step`` x ``step`` px, with the pixel size that belongs to them.
        step: px of the plane per px of the overview.
        limits: intensities that become 0 and 1, from all of the plane.
    """

    micrograph: Micrograph
    step: int
    limits: tuple[float, float]


def overview_of(plane: Plane, progress: Progress | None = None) -> Overview:
    """Read a plane once, in bands of rows.

    Args:
        progress: called after each band.

    Raises:
        InputError: a part of the plane is damaged.
    """
    height, width = plane.shape
    step = max(1, -(-max(height, width) // LONGEST))
    # different odd steps along the axes, as for a micrograph in memory: a lattice is not sampled in one phase
    apart = int(np.ceil(np.sqrt(height * width / MAX_SAMPLES))) | 1
    beside = max(1, apart - 2)
    small = np.zeros((-(-height // step), -(-width // step)), np.float32)
    samples = []
    for top, band in plane.bands(step):
        reduced = block_means(band, step)
        small[top // step : top // step + len(reduced)] = reduced
        samples.append(band[-top % apart :: apart, ::beside].ravel())
        if progress:
            progress("Reading", min(top + len(band), height), height)
    nm = plane.pixel_size_nm
    micrograph = Micrograph(
        pixels=small,
        pixel_size_nm=None if nm is None else nm * step,
        source=plane.source,
        pixel_size_origin=plane.pixel_size_origin,
        modality=plane.layout.modality,
    )
    return Overview(micrograph, step, limits(np.concatenate(samples)[None]))


def block_means(band: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of ``step`` x ``step`` px of a band ``(h, w)``, of the finite pixels; blocks at the far edges may
    be smaller.

    Returns:
        ``(ceil(h / step), ceil(w / step))`` float32; NaN where a block has no finite pixel.
    """
    if step == 1:
        return band
    padded = np.pad(band, [(0, -side % step) for side in band.shape], mode="edge")
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    if np.isfinite(band).all():
        return blocks.mean(axis=(1, 3), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a block without a finite pixel
        return np.nanmean(np.where(np.isfinite(blocks), blocks, np.nan), axis=(1, 3)).astype(np.float32)
