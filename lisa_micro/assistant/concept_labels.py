"""From the maps of a built-in concept beyond the first five to its instances: one rule for each kind of shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, bodies, drop_small, hysteresis
from lisa_micro.types import CONCEPTS

REGIONS = ("substrate", "layer", "grain_boundary")
"""Built-in concepts that are one region, without instances."""
COMPONENTS = ("crack", "shell", "annotation")
"""Built-in concepts whose instances are the connected components of the mask, of any shape: lines and rings, in which a
distance map has no peaks to count by. All others are bodies, see :func:`lisa_micro.models.lisa.instances.bodies`."""
MASK_THRESHOLD = 0.5
"""Probability from which a pixel belongs to a concept for which the model's configuration gives no threshold."""


def needs_border(concept: str) -> bool:
    """Whether the instances of a concept are separated by its distance and border maps."""
    return concept not in (*REGIONS, *COMPONENTS)


def mask_threshold(config: LisaConfig, concept: str) -> float:
    """Probability from which a pixel belongs to a built-in concept."""
    return config.mask_threshold.get(concept, MASK_THRESHOLD)


def is_new(concept: str) -> bool:
    """Whether a built-in concept has rules of its own: it is none of the first five, whose instances are those of
    particles or follow from them."""
    return concept not in CONCEPTS


def concept_labels(maps: np.ndarray, concept: str, split: SplitConfig, threshold: float) -> np.ndarray:
    """Instances of a built-in concept.

    Args:
        maps: ``(3, H, W)`` mask, distance, border, 0..1; of regions and lines the mask is enough, ``(1, H, W)``.
        concept: its name.
        split: lengths, px of the maps.
        threshold: probability from which a pixel belongs to the mask.

    Returns:
        ``(H, W)`` int32, 1..n without gaps; one instance of a region.
    """
    mask = hysteresis(maps[0], threshold, MASK_THRESHOLD)
    if concept in REGIONS:
        return mask.astype(np.int32)
    if concept in COMPONENTS:
        return drop_small(ndimage.label(mask, np.ones((3, 3)))[0].astype(np.int32), split.smallest)
    return bodies(maps[0], maps[1], maps[2], replace(split, threshold=threshold))
