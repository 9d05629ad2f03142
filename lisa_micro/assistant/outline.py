"""From the decoder's maps to measured instances of a concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.measure import particle_properties
from lisa_micro.measure.necks import Neck, find_necks
from lisa_micro.models.lisa.instances import SplitConfig, connected, separate
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.types import CONCEPTS

SMALLEST_PX = 12


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
    """Instances are separated at the size at which the tower saw the image; the smoothing follows the scale."""
    scale = max(1.0, 1.0 / features.scale[0])
    return SplitConfig(smooth=SplitConfig.smooth * scale)


def instances_of(concept: str, maps: np.ndarray, features: ImageFeatures) -> np.ndarray:
    """Probability maps ``(3, H, W)`` (mask, distance, border) -> labels ``(H, W)`` int32. Particles (and objects that
    nobody named) are separated where they touch; the other concepts are separate by definition."""
    mask, distance, border = maps
    if concept == "substrate":
        return (mask > 0.5).astype(np.int32)
    if concept in ("particle", "object"):
        return separate(mask, distance, border, split_for(features))
    return connected(mask, SMALLEST_PX)


class ImageView:
    """One micrograph as the assistant sees it: features, and the particles once they are needed."""

    def __init__(self, engine: Engine, pixels: np.ndarray, features: ImageFeatures):
        self.engine, self.pixels, self.features = engine, pixels, features
        self._particles: np.ndarray | None = None

    def maps(self, out: MaskOutputs, k: int) -> np.ndarray:
        """Probabilities ``(3, H, W)`` of prompt k at the micrograph's size."""
        import torch

        stack = torch.stack([out.mask[k], out.distance[k], out.border[k]])
        return expit(self.engine.on_micrograph(stack, self.features))

    @property
    def particles(self) -> np.ndarray:
        """Labels of all particles, for measures that need them."""
        if self._particles is None:
            out = self.engine.decode_concept(self.features, CONCEPTS.index("particle"))
            self._particles = instances_of("particle", self.maps(out, 0), self.features)
        return self._particles

    def outline(self, out: MaskOutputs, k: int, concept: str) -> Outline:
        """Instances and properties of prompt k."""
        labels = instances_of(concept, self.maps(out, k), self.features)
        properties = particle_properties(labels, self.pixels)
        if concept == "particle":
            self._particles = labels
        elif concept == "neck" and labels.any():
            properties = with_neck_sizes(properties, labels, find_necks(self.particles))
        return Outline(
            concept, labels, properties, float(expit(float(out.iou[k]))), float(expit(float(out.presence[k])))
        )


def with_neck_sizes(properties: dict[str, np.ndarray], labels: np.ndarray, necks: list[Neck]) -> dict[str, np.ndarray]:
    """Neck widths and ratios from the particles that the necks join.

    A neck mask takes the sizes of the measured neck whose centre lies in it, or nearest to its centroid within half its
    length; one without gets its largest Feret diameter as its width and no ratio.
    """
    width = np.array(properties["length"], float)
    ratio = np.full(len(width), np.nan)
    centres = np.array([n.centre for n in necks], float).reshape(-1, 2)
    for k in range(len(width)):
        if not len(centres):
            break
        gaps = np.hypot(centres[:, 0] - properties["x"][k], centres[:, 1] - properties["y"][k])
        inside = _inside(labels, centres, k + 1)
        best = int(np.argmin(np.where(inside, gaps - 1e6, gaps)))
        if inside[best] or gaps[best] <= properties["length"][k] / 2:
            width[k], ratio[k] = 2 * necks[best].x_px, necks[best].x_over_R
    return {**properties, "neck_width": width, "neck_ratio": ratio}


def _inside(labels: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    x = np.clip(np.round(centres[:, 0]).astype(int), 0, labels.shape[1] - 1)
    y = np.clip(np.round(centres[:, 1]).astype(int), 0, labels.shape[0] - 1)
    return labels[y, x] == k
