"""Label slices that are known -> 3-D instances."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lisa_micro.io.units import check_pixel_size, check_positive
from lisa_micro.types import InputError
from lisa_micro.volumes.dividing import divided
from lisa_micro.volumes.measures import VolumeMeasures
from lisa_micro.volumes.sections import WAIST, SliceLinker
from lisa_micro.volumes.volume import Slices, Volume, paint


def link_slices(
    slices: Iterable[np.ndarray],
    pixel_size_nm: float | None = None,
    step_nm: float | None = None,
    *,
    gap: int = 1,
    waist: float | None = WAIST,
    least_slices: int = 1,
    concept: str = "object",
) -> Volume:
    """Link the instances of label slices into 3-D instances by their overlap.

    Args:
        slices: ``(Z, H, W)`` integers, or a sequence of ``(H, W)`` label images; numbers need not agree between slices.
        pixel_size_nm: edge length of a pixel in nm.
        step_nm: distance of neighbouring slices in nm.
        gap: number of slices in which an object may be missed; its shape there is interpolated.
        waist: objects are divided where their radius falls to this share of the maxima on both sides, as where two
            particles touch one above the other, and sections that hold two objects of a neighbouring slice where they
            have a waist; ``None``: neither.
        least_slices: objects in fewer slices are left out.
        concept: what the instances are.

    Returns:
        the volume, with its labels in memory.

    Raises:
        InputError: no slices, slices of different size, no labels, or an argument that is out of range.

    Examples:
        >>> z, y, x = np.ogrid[:20, :30, :30]
        >>> ball = ((z - 10) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 <= 8**2).astype(int)
        >>> volume = link_slices(ball, pixel_size_nm=2.0, step_nm=2.0)
        >>> volume.count, volume.table()["volume_voxels"][0] == ball.sum(), volume.table()["diameter_nm"].round(1)[0]
        (1, True, 32.0)
    """
    nm, step = check_pixel_size(pixel_size_nm), check_positive(step_nm, "step between slices", "nanometres")
    kept = [np.asarray(one) for one in slices]
    if not kept:
        raise InputError("There are no slices to link; give label images (H, W), one for each slice.")
    linker = SliceLinker(gap)
    if waist is not None:
        kept = list(divided(list(divided(kept))[::-1]))[::-1]
    for labels in kept:
        linker.add(labels)
    links = linker.finish(waist, least_slices)
    measures = VolumeMeasures(links.count)
    painted: Slices = list(measures.watch(paint(links, kept)))
    return Volume(painted, measures.finish(), (len(kept), *measures.shape), nm, step, concept)
