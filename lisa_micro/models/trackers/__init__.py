"""Trackers that propagate the labels of one frame through a video."""

from lisa_micro.models.trackers.base import Frame, Tracker
from lisa_micro.models.trackers.builders import BUILDERS, build_tracker

__all__ = ["BUILDERS", "Frame", "Tracker", "build_tracker"]
