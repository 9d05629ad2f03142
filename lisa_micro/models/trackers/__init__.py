"""Trackers that propagate the labels of one frame through a video."""

from lisa_micro.models.trackers.builders import BUILDERS, build_tracker
from lisa_micro.protocols import Frame, Tracker

__all__ = ["BUILDERS", "Frame", "Tracker", "build_tracker"]
