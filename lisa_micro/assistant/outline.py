"""From the decoder's maps to measured instances of a concept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.datasets.derive import derive_truth, enclosed_background
from lisa_micro.geometry import resample_nearest
from lisa_micro.language import Concept
from lisa_micro.measure import neck_labels, particle_properties
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.types import CONCEPTS

SUPPORT = {"neck": 0.1, "pore": 0.0, "agglomerate": 0.0}
"""Least mean probability, in the map that the words gave, of a structure between particles. Chosen on validation
images: for pores and agglomerates the definition alone does better than the decoder's map."""

REGIONS = ("substrate", "layer", "grain_boundary")
"""Built-in concepts that are one region, not instances."""

PIECES = ("crack", "shell", "annotation")
"""Built-in concepts whose instances are the connected pieces of the mask, of any shape: their distance maps say
nothing."""

LESS_CERTAIN = 0.6
"""Least mean probability of an instance of a built-in concept beyond the reply language's five: their masks are less
sure than those of particles. Chosen on four superalloys, two micrographs of dislocation loops and four simulated
scenes."""

CUT = 4.0
"""px: how far from a piece the cut between two touching instances may lie."""


@dataclass(frozen=True)
class Outline:
    """All instances of one target, before its constraint.

    labels: ``(H, W)`` int32. properties: as :func:`lisa_micro.measure.particle_properties`, in px. score,
    presence: 0..1.
    """

    concept: str
    labels: np.ndarray
    properties: dict[str, np.ndarray]
    score: float
    presence: float


def split_for(features: ImageFeatures) -> SplitConfig:
    """Smoothing and the smallest area follow the scale between the tower's input and the size of the separation."""
    scale = max(1.0, max(label_shape(features.shape)) / max(features.work))
    return SplitConfig().scaled(scale)


def split_of(concept: str, split: SplitConfig) -> SplitConfig:
    """How instances of a built-in concept are separated, where ``split`` is how particles are."""
    return split if concept in CONCEPTS else replace(split, certainty=LESS_CERTAIN)


def renumbered(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Instances k with ``keep[k - 1]``, numbered 1..n; int32."""
    numbers = np.zeros(len(keep) + 1, np.int32)
    numbers[1:][keep] = np.arange(1, int(keep.sum()) + 1)
    return numbers[labels]


def supported(candidates: np.ndarray, probability: np.ndarray, least: float) -> np.ndarray:
    """``(n,)`` bool: candidates whose mean probability is at least ``least``."""
    count = int(candidates.max(initial=0))
    if count == 0:
        return np.zeros(0, bool)
    return np.asarray(ndimage.mean(probability, candidates, np.arange(1, count + 1))) >= least


def pieces(probability: np.ndarray, smallest: int) -> np.ndarray:
    """Connected pieces of a map ``(H, W)`` in 0..1 with at least ``smallest`` px, numbered 1..n; int32."""
    labels = ndimage.label(probability > 0.5, np.ones((3, 3)))[0].astype(np.int32)
    return renumbered(labels, np.bincount(labels.ravel())[1:] >= smallest)


def own_labels(
    probability: np.ndarray, concept: Concept, smallest: int, border: np.ndarray | None = None
) -> np.ndarray:
    """Instances of a concept that users taught: connected pieces of its map, of any shape (a ring keeps its hole).

    Args:
        probability: ``(H, W)``, 0..1.
        concept: with instances, or one region.
        smallest: px; smaller pieces are dropped.
        border: ``(H, W)``, 0..1: where two instances meet; cuts pieces that touch.

    Returns:
        ``(H, W)`` int32, 1..n.
    """
    mask = probability > 0.5
    if not concept.instances:
        return mask.astype(np.int32)
    apart = mask if border is None else mask & (border <= 0.5)
    parts = ndimage.label(apart, np.ones((3, 3)))[0].astype(np.int32)
    if border is not None:
        # the cut itself goes back to the pieces beside it; what is only cut belongs to nobody
        near, (rows, columns) = ndimage.distance_transform_edt(parts == 0, return_indices=True)
        parts = np.where(mask & (near <= CUT), parts[rows, columns], 0)
    keep = np.bincount(parts.ravel())[1:] >= smallest
    return renumbered(parts, keep)


class ImageView:
    """One micrograph as the assistant sees it: features, and the particles once they are needed (at the size of
    :func:`label_shape`)."""

    def __init__(self, engine: Engine, pixels: np.ndarray, features: ImageFeatures):
        self.engine, self.pixels, self.features = engine, pixels, features
        self._particles: np.ndarray | None = None

    def maps(self, out: MaskOutputs, k: int) -> np.ndarray:
        """Probabilities ``(3, h, w)`` of prompt k at the size of :func:`label_shape`."""
        stack = torch.stack([out.mask[k], out.distance[k], out.border[k]])
        return expit(self.engine.on_micrograph(stack, self.features, label_shape(self.features.shape)))

    @property
    def particles(self) -> np.ndarray:
        """Labels of all particles, for what is defined by them."""
        if self._particles is None:
            out = self.engine.decode_concept(self.features, CONCEPTS.index("particle"))
            self._particles = separate(*self.maps(out, 0), split_for(self.features))
        return self._particles

    def outline(self, out: MaskOutputs, k: int, concept: str) -> Outline:
        """Instances and properties of prompt k.

        Particles are separated in the decoder's maps. Necks, pores and agglomerates are defined by the particles around
        them: their shapes follow that definition, on the particles found, and the map that the words gave says which of
        them are meant and there.
        """
        maps = self.maps(out, k)
        extra: dict[str, np.ndarray] = {}
        own = self.engine.vocabulary.own_concept(concept)
        if own is None and concept in REGIONS:
            labels = (maps[0] > 0.5).astype(np.int32)
        elif own is None and concept in PIECES:
            labels = pieces(maps[0], split_for(self.features).smallest)
        elif own is not None:
            labels = own_labels(maps[0], own, split_for(self.features).smallest, maps[2])
        elif concept in SUPPORT and not self.is_dense(concept):
            labels, extra = self._structures(concept, maps[0])
        else:
            labels = separate(*maps, split_of(concept, split_for(self.features)))
        labels = resample_nearest(labels, self.features.shape)
        properties = particle_properties(labels, self.pixels) | extra
        return Outline(
            concept, labels, properties, float(expit(float(out.iou[k]))), float(expit(float(out.presence[k])))
        )

    def is_dense(self, concept: str) -> bool:
        """Whether pores and agglomerates are seen directly, as objects in a matrix: there are no particles to define
        them."""
        return concept in ("pore", "agglomerate") and not self.particles.any()

    def _structures(self, concept: str, probability: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if concept != "neck":
            pores = concept == "pore"
            candidates = enclosed_background(self.particles) if pores else derive_truth(self.particles)[concept]
            return renumbered(candidates, supported(candidates, probability, SUPPORT[concept])), {}
        candidates, necks = neck_labels(self.particles)
        keep = supported(candidates, probability, SUPPORT["neck"])
        necks = necks[: len(keep)]  # on images of a few pixels the last ones may have none
        scale = max(self.features.shape) / max(candidates.shape)
        width = scale * np.array([2 * neck.x_px for neck in necks], float)[keep]
        ratio = np.array([neck.x_over_R for neck in necks], float)[keep]
        return renumbered(candidates, keep), {"neck_width": width, "neck_ratio": ratio}
