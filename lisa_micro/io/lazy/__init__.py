"""Stacks that are read part by part: planes of any size, by page, channel and axis."""

from lisa_micro.io.lazy.compact import CompactLabels
from lisa_micro.io.lazy.opening import read_stack
from lisa_micro.io.lazy.plane import Plane
from lisa_micro.io.lazy.stack import Stack

__all__ = ["CompactLabels", "Plane", "Stack", "read_stack"]
