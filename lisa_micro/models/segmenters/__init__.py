"""Segmenters. Promptable ones encode an image once and answer points, boxes and masks with masks, or segment
everything. Semantic ones take an image and give one class, without a prompt."""

from lisa_micro.models.segmenters.everything import Everything
from lisa_micro.models.segmenters.promptable import BUILDERS, build_segmenter
from lisa_micro.models.segmenters.semantic import SEMANTIC, SemanticEntry, build_semantic
from lisa_micro.protocols import Instances, Prediction, Segmenter

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
