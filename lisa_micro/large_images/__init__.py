"""Segmenters for large micrographs: in tiles at full resolution, and by detection first and segmentation second."""

from lisa_micro.large_images.exemplars import find_in_tiles
from lisa_micro.large_images.segment import segment_large, tiled_segmenter

__all__ = ["find_in_tiles", "segment_large", "tiled_segmenter"]
