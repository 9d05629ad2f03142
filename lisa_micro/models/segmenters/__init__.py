"""Segmenters. Promptable ones: an image encoded once, then points, boxes and masks answered with masks, or everything
outlined. Semantic ones: an image in, one class out, no prompt."""

from lisa_micro.models.segmenters.base import Instances, Prediction, Segmenter
from lisa_micro.models.segmenters.everything import Everything
from lisa_micro.models.segmenters.promptable import BUILDERS, build_segmenter
from lisa_micro.models.segmenters.semantic import SEMANTIC, SemanticEntry, build_semantic

__all__ = [
    "BUILDERS",
    "Everything",
    "Instances",
    "Prediction",
    "SEMANTIC",
    "Segmenter",
    "SemanticEntry",
    "build_segmenter",
    "build_semantic",
]
