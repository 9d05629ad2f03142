"""From the maps of the mask decoder to measured instances of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from lisa_micro.assistant.concept_labels import concept_labels, is_new, mask_threshold
from lisa_micro.assistant.engine import Engine
from lisa_micro.datasets.derive import derive_truth, enclosed_background
from lisa_micro.geometry import resample_nearest
from lisa_micro.language import Concept
from lisa_micro.measure import neck_labels
from lisa_micro.measure.structures import concept_properties
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.protocols import Progress
from lisa_micro.types import CONCEPTS

PRESENCE_THRESHOLD = 0.5
"""Least presence score of a concept for which the model's configuration gives no threshold of its own."""

SUPPORT = {"neck": 0.1, "pore": 0.0, "agglomerate": 0.0}
"""Least mean probability, in the map that the words prompted, of a structure that particles define. Chosen on
validation images: for pores and agglomerates the definition alone does better than the map."""

CUT_WIDTH = 4.0
"""px: largest distance from an instance of a pixel on the border between two instances that is assigned to it."""


@dataclass(frozen=True, eq=False)
class TargetInstances:
    """All instances of one target, before its constraint is applied.

    Attributes:
        concept: what they are.
        labels: ``(H, W)`` int32, 0 = background, k = instance k.
        properties: columns as of :func:`lisa_micro.measure.structures.concept_properties`, in px.
        score: 0..1, predicted quality of the mask.
        presence: 0..1, probability that the concept is in the micrograph.
        tower_scale: px that the tower saw per px of the micrograph; ``None`` where masks did not come from the words.
    """

    concept: str
    labels: np.ndarray
    properties: dict[str, np.ndarray]
    score: float
    presence: float
    tower_scale: float | None = None


class TargetSegmenter(Protocol):
    """A way to segment the targets of a reply: at once, in tiles, or in crops."""

    def segment(
        self,
        view: ImageView,
        states: torch.Tensor,
        concepts: Sequence[str],
        progress: Progress | None = None,
    ) -> tuple[list[TargetInstances], str]:
        """Segment all instances of each target.

        Args:
            view: the micrograph as a whole.
            states: ``(S, hidden)`` hidden states of [SEG] tokens.
            concepts: of the first targets, at most S.
            progress: called after each step.

        Returns:
            one entry for each concept, and a note on how the micrograph was processed (empty: nothing to say).
        """
        ...


class ImageView:
    """One encoded micrograph: features, and all particles once they are needed.

    Args:
        engine: the model.
        pixels: ``(H, W)`` intensities as in the file.
        features: of the micrograph.
    """

    def __init__(self, engine: Engine, pixels: np.ndarray, features: ImageFeatures):
        self.engine, self.pixels, self.features = engine, pixels, features
        self._particles: np.ndarray | None = None

    def maps(self, out: MaskOutputs, k: int) -> np.ndarray:
        """Probabilities ``(3, h, w)`` of prompt k (mask, distance, border) at the size of :func:`label_shape`."""
        stack = torch.stack([out.mask[k], out.distance[k], out.border[k]])
        return expit(self.engine.on_micrograph(stack, self.features, label_shape(self.features.shape)))

    @property
    def particles(self) -> np.ndarray:
        """``(h, w)`` int32 labels of all particles, at the size of :func:`label_shape`."""
        if self._particles is None:
            out = self.engine.decode_concept(self.features, CONCEPTS.index("particle"))
            self._particles = separate(*self.maps(out, 0), split_for(self.features))
        return self._particles

    def instances(self, out: MaskOutputs, k: int, concept: str) -> TargetInstances:
        """Instances of prompt k and their properties.

        Particles are separated in the maps of the decoder. Necks, pores and agglomerates are defined by the particles
        around them: their shapes follow that definition, and the map that the words prompted decides which are kept.
        The other built-in concepts have a rule for each kind of shape, see
        :mod:`lisa_micro.assistant.concept_labels`.
        """
        custom = self.engine.vocabulary.own_concept(concept)
        maps = self.maps(out, k)
        extra: dict[str, np.ndarray] = {}
        split = split_for(self.features)
        if custom is not None:
            labels = custom_labels(maps[0], custom, split.smallest, maps[2])
        elif is_new(concept):
            labels = concept_labels(maps, concept, split, mask_threshold(self.engine.model.config, concept))
        elif concept == "substrate":
            labels = (maps[0] > 0.5).astype(np.int32)
        elif concept in SUPPORT and not self.is_dense(concept):
            labels, extra = self._structures(concept, maps[0])
        else:
            labels = separate(*maps, split)
        labels = resample_nearest(labels, self.features.shape)
        properties = concept_properties(labels, concept if custom is None else "", self.pixels) | extra
        score, presence = (float(expit(float(logit[k]))) for logit in (out.iou, out.presence))
        scale = max(self.features.work) / max(self.features.shape)
        return TargetInstances(concept, labels, properties, score, presence, scale)

    def is_dense(self, concept: str) -> bool:
        """Whether pores and agglomerates are objects in a matrix: there are no particles that could define them."""
        return concept in ("pore", "agglomerate") and not self.particles.any()

    def _structures(self, concept: str, probability: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if concept != "neck":
            pores = concept == "pore"
            candidates = enclosed_background(self.particles) if pores else derive_truth(self.particles)[concept]
            return renumbered(candidates, supported(candidates, probability, SUPPORT[concept])), {}
        candidates, necks = neck_labels(self.particles)
        keep = supported(candidates, probability, SUPPORT["neck"])
        necks = necks[: len(keep)]  # on images of a few pixels the last necks may have no pixel
        scale = max(self.features.shape) / max(candidates.shape)
        width = scale * np.array([2 * neck.x_px for neck in necks], float)[keep]
        ratio = np.array([neck.x_over_R for neck in necks], float)[keep]
        return renumbered(candidates, keep), {"neck_width": width, "neck_ratio": ratio}


class WholeImage:
    """Segments targets on the micrograph as a whole, scaled down to what the model sees. It is a
    :class:`TargetSegmenter`."""

    def segment(
        self,
        view: ImageView,
        states: torch.Tensor,
        concepts: Sequence[str],
        progress: Progress | None = None,
    ) -> tuple[list[TargetInstances], str]:
        """See :meth:`TargetSegmenter.segment`."""
        out = view.engine.decode_words(view.features, states)
        return [view.instances(out, k, concept) for k, concept in enumerate(concepts)], ""


def is_present(engine: Engine, found: TargetInstances) -> bool:
    """Whether a target is in the micrograph: it has instances, and its presence score reaches the threshold of its
    concept."""
    threshold = engine.model.config.presence_threshold.get(found.concept, PRESENCE_THRESHOLD)
    return found.presence >= threshold and bool(found.labels.any())


def split_for(features: ImageFeatures) -> SplitConfig:
    """Settings for separating instances: smoothing and smallest area follow the scale between the input of the tower
    and the size at which labels are made."""
    scale = max(1.0, max(label_shape(features.shape)) / max(features.work))
    return SplitConfig().scaled(scale)


def renumbered(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Keep the instances k with ``keep[k - 1]``, numbered 1..n without gaps; int32."""
    numbers = np.zeros(len(keep) + 1, np.int32)
    numbers[1:][keep] = np.arange(1, int(keep.sum()) + 1)
    return numbers[labels]


def supported(candidates: np.ndarray, probability: np.ndarray, least: float) -> np.ndarray:
    """``(n,)`` bool: candidates whose mean probability is at least ``least``."""
    count = int(candidates.max(initial=0))
    if count == 0:
        return np.zeros(0, bool)
    return np.asarray(ndimage.mean(probability, candidates, np.arange(1, count + 1))) >= least


def custom_labels(
    probability: np.ndarray, concept: Concept, smallest: int, border: np.ndarray | None = None
) -> np.ndarray:
    """Instances of a custom concept: connected components of its map, of any shape (a ring keeps its hole).

    Args:
        probability: ``(H, W)``, 0..1.
        concept: with instances, or one region.
        smallest: px; smaller components are removed.
        border: ``(H, W)``, 0..1: where two instances meet; separates components that touch.

    Returns:
        ``(H, W)`` int32, 1..n.
    """
    mask = probability > 0.5
    if not concept.instances:
        return mask.astype(np.int32)
    apart = mask if border is None else mask & (border <= 0.5)
    pieces = ndimage.label(apart, np.ones((3, 3)))[0].astype(np.int32)
    if border is not None:
        # pixels of the border return to the nearest component; a border without a component near it is removed
        near, (rows, columns) = ndimage.distance_transform_edt(pieces == 0, return_indices=True)
        pieces = np.where(mask & (near <= CUT_WIDTH), pieces[rows, columns], 0)
    keep = np.bincount(pieces.ravel())[1:] >= smallest
    return renumbered(pieces, keep)
