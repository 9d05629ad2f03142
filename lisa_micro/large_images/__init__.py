"""Large micrographs: tiles at full resolution, and detection first with segmentation second."""

from lisa_micro.large_images.segment import segment_large

__all__ = ["segment_large"]
