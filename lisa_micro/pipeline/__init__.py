"""Beyond one look at one image: large micrographs in tiles, and detection first with segmentation second."""

from lisa_micro.pipeline.large import segment_large

__all__ = ["segment_large"]
