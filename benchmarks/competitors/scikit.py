"""Threshold and watershed of scikit-image, as its gallery shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from competitors.found import Found
from competitors.pictures import Picture
from competitors.processes import Clock


@dataclass(frozen=True)
class ScikitSetting:
    """How to threshold, and whether to separate particles that touch.

    Attributes:
        level: ``"otsu"``, ``"li"``, or ``"local"`` (the mean of a window of a quarter of the shorter side).
        sigma: px of the Gaussian filter before.
        smallest: px^2; smaller regions are removed.
        fill: whether holes are filled; in a packing of particles these are gaps.
        distance: px, least distance of two peaks of the distance map from which the watershed starts; 0: no watershed.
    """

    level: str
    sigma: float
    smallest: int
    fill: bool
    distance: int = 0


def grid(distances: Sequence[int]) -> list[ScikitSetting]:
    """All settings that are tried."""
    return [
        ScikitSetting(*one) for one in product(("otsu", "li", "local"), (1.0, 3.0), (20, 100), (True, False), distances)
    ]


THRESHOLD_GRID = grid((0,))
WATERSHED_GRID = grid((7, 15))


def segment(jobs: Sequence[tuple[Picture, ScikitSetting]], work: Path) -> Iterator[Found]:
    """Segment each picture with its setting; reading is not timed."""
    first, setting = jobs[0]
    separate(first.pixels(), first.bright, setting)  # the first call loads code
    for picture, setting in jobs:
        grey = picture.pixels()
        clock = Clock()
        labels = separate(grey, picture.bright, setting)
        diameters = diameters_of(labels)
        yield Found(picture.name, labels, diameters, *clock.read())


def separate(grey: np.ndarray, bright: bool, setting: ScikitSetting) -> np.ndarray:
    """Label the particles of ``(H, W)`` intensities.

    Args:
        bright: whether particles are brighter than their surroundings.

    Returns:
        ``(H, W)`` labels.
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.measure import label
    from skimage.segmentation import watershed

    mask = foreground(grey, bright, setting)
    if setting.fill:
        mask = ndimage.binary_fill_holes(mask)
    regions = label(mask)
    if setting.distance:
        depth = ndimage.distance_transform_edt(mask)
        peaks = peak_local_max(depth, min_distance=setting.distance, labels=regions, exclude_border=False)
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        regions = watershed(-depth, markers, mask=mask)
    return without_small(regions, setting.smallest)


def foreground(grey: np.ndarray, bright: bool, setting: ScikitSetting) -> np.ndarray:
    """``(H, W)`` bool: the pixels on the particles' side of the threshold."""
    from skimage.filters import gaussian, threshold_li, threshold_local, threshold_otsu

    smooth = gaussian(grey.astype(np.float32), setting.sigma, preserve_range=True)
    if setting.level == "local":
        level = threshold_local(smooth, min(grey.shape) // 4 | 1, method="mean")
    else:
        level = (threshold_otsu if setting.level == "otsu" else threshold_li)(smooth)
    return smooth > level if bright else smooth < level


def without_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Remove regions below ``smallest`` px^2 and number the others from 1."""
    kept = np.bincount(labels.ravel()) >= smallest
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def diameters_of(labels: np.ndarray) -> list[float]:
    """Equivalent diameters, px."""
    from skimage.measure import regionprops_table

    found = regionprops_table(labels, properties=("equivalent_diameter_area",))
    return found["equivalent_diameter_area"].tolist()
