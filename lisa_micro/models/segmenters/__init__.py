"""Promptable segmenters: an image encoded once, then points and boxes answered with masks."""

from lisa_micro.models.segmenters.base import Prediction, Segmenter
from lisa_micro.models.segmenters.promptable import BUILDERS, build_segmenter

__all__ = ["BUILDERS", "Prediction", "Segmenter", "build_segmenter"]
