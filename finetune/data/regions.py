"""Prompts by an outline that is nearly right, as a click gives: at inference a point becomes the instance of the
decoder's own maps under it, and this instance prompts the decoder (``lisa_micro.models.segmenters.micro``)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def rough_region(mask: np.ndarray, instances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An outline such as the decoder's own maps might give for one instance.

    It is moved, grown or shrunk by a few per cent of its size; sometimes a side is cut off, as where one object was
    taken for two, or a neighbour is in it, as where two were taken for one.

    Args:
        mask: ``(S, S)`` bool, the instance, not empty.
        instances: ``(S, S)`` int labels of what may be its neighbours, itself among them.

    Returns:
        ``(S, S)`` bool, never empty.
    """
    rough = mask
    size = float(np.sqrt(mask.sum()))
    if rng.random() < 0.12:
        near = ndimage.binary_dilation(mask, iterations=3)
        numbers = np.unique(instances[near & ~mask & (instances > 0)])
        if len(numbers):
            rough = rough | (instances == numbers[int(rng.integers(len(numbers)))])
    if rng.random() < 0.12:
        rows, columns = np.nonzero(mask)
        angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.3)
        along = np.cos(angle) * columns + np.sin(angle) * rows
        lost = along > np.quantile(along, 1 - share)
        rough = rough.copy()
        rough[rows[lost], columns[lost]] = False
    if rng.random() < 0.8:
        # a threshold on the signed distance grows and shrinks without square corners
        signed = ndimage.distance_transform_edt(rough) - ndimage.distance_transform_edt(~rough)
        rough = signed > rng.normal(0, 0.04 * size + 0.5)
        step = np.rint(rng.normal(0, 0.03 * size, 2)).astype(int)
        rough = ndimage.shift(rough.astype(np.uint8), step, order=0) > 0
    return rough if rough.any() else mask


def quarter(mask: np.ndarray) -> np.ndarray:
    """``(S, S)`` bool -> ``(1, S/4, S/4)`` float32: share of each 4 x 4 px, as mask prompts are laid down."""
    h, w = mask.shape
    return mask.reshape(h // 4, 4, w // 4, 4).mean((1, 3), dtype=np.float32)[None]
