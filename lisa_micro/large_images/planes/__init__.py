"""Planes of any size: read, segmented, measured and written part by part."""

from lisa_micro.large_images.planes.answer import PlaneAnswer, PlaneSegment
from lisa_micro.large_images.planes.segment import segment_plane

__all__ = ["PlaneAnswer", "PlaneSegment", "segment_plane"]
