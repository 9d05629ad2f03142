"""From the maps of a built-in concept beyond the first five to its instances: one rule for each kind of shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, bodies, drop_small, hysteresis, separate
from lisa_micro.types import CONCEPTS

REGIONS = ("substrate", "layer", "grain_boundary")
"""Built-in concepts that are one region, without instances."""
COMPONENTS = ("crack", "shell", "annotation")
"""Built-in concepts whose instances are the connected components of the mask, of any shape: lines and rings, in which a
distance map has no peaks to count by. All others but grains are bodies, see
:func:`lisa_micro.models.lisa.instances.bodies`."""
GRAIN_CERTAINTY = 0.6
"""Least mean probability of a grain. Grains fill the plane, so they are separated by the watershed alone: joined like
bodies, two micrographs have TP/(TP+FP+FN) 0.41 to 0.47 in place of 0.50."""
MASK_THRESHOLD = 0.5
"""Probability from which a pixel belongs to a concept for which the model's configuration gives no threshold."""

LEAST_SHARE = {"layer": 0.1, "crack": 0.02}
"""Components of the mask below this share of the largest one's area are dropped: a coating is one or a few bands, and
scattered spots of the same grey belong to something else. Chosen on validation coatings and simulated layers."""
HOLE_SHARE = {"layer": 0.05}
"""Holes of the mask up to this share of its area are filled: cracks and pores in a layer are part of it."""


def needs_border(concept: str) -> bool:
    """Whether the instances of a concept are separated by its distance and border maps."""
    return concept not in (*REGIONS, *COMPONENTS)


def grains(mask: np.ndarray, distance: np.ndarray, border: np.ndarray, split: SplitConfig) -> np.ndarray:
    """Instances that fill the plane, ``(H, W)`` int32; see :func:`lisa_micro.models.lisa.instances.separate`."""
    return separate(mask, distance, border, replace(split, certainty=GRAIN_CERTAINTY))


def separator(concept: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray, SplitConfig], np.ndarray]:
    """How the instances of a concept are separated by its three maps."""
    return grains if concept == "grain" else bodies


def mask_threshold(config: LisaConfig, concept: str) -> float:
    """Probability from which a pixel belongs to a built-in concept."""
    return config.mask_threshold.get(concept, MASK_THRESHOLD)


def is_new(concept: str) -> bool:
    """Whether a built-in concept has rules of its own: it is none of the first five, whose instances are those of
    particles or follow from them."""
    return concept not in CONCEPTS


def concept_mask(mask: np.ndarray, concept: str, threshold: float) -> np.ndarray:
    """The pixels of a built-in concept, before its instances are separated.

    Args:
        mask: ``(H, W)`` probabilities, 0..1.
        concept: its name; see :data:`LEAST_SHARE` and :data:`HOLE_SHARE`.
        threshold: probability from which a pixel belongs to it.

    Returns:
        ``(H, W)`` bool.
    """
    found = hysteresis(mask, threshold, MASK_THRESHOLD)
    if concept in LEAST_SHARE:
        parts, areas = _components(found, np.ones((3, 3)))
        found = (areas >= LEAST_SHARE[concept] * areas.max(initial=0))[parts] & found
    if concept in HOLE_SHARE:
        parts, areas = _components(~found)
        found = found | (areas <= HOLE_SHARE[concept] * np.count_nonzero(found))[parts]
    return found


def _components(mask: np.ndarray, structure: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Connected components of a mask, ``(H, W)`` 1..n, and the area of each number; that of 0, outside, counts as 0."""
    parts, count = ndimage.label(mask, structure)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    areas[0] = 0
    return parts, areas


def concept_labels(maps: np.ndarray, concept: str, split: SplitConfig, threshold: float) -> np.ndarray:
    """Instances of a built-in concept.

    Args:
        maps: ``(3, H, W)`` mask, distance, border, 0..1, or the mask alone, ``(1, H, W)``: bodies are not split then.
        concept: its name.
        split: lengths, px of the maps.
        threshold: probability from which a pixel belongs to the mask.

    Returns:
        ``(H, W)`` int32, 1..n without gaps; one instance of a region.
    """
    mask = concept_mask(maps[0], concept, threshold)
    if concept in REGIONS:
        return mask.astype(np.int32)
    if concept in COMPONENTS:
        return drop_small(ndimage.label(mask, np.ones((3, 3)))[0].astype(np.int32), split.smallest)
    if len(maps) == 1:
        return drop_small(ndimage.label(mask, np.ones((3, 3)))[0].astype(np.int32), split.smallest)
    return separator(concept)(maps[0], maps[1], maps[2], replace(split, threshold=threshold))
