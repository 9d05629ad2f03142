"""Overlays, plots and movies of results."""

from lisa_micro.viz.overlay import draw_overlay, segment_colours

__all__ = ["draw_overlay", "segment_colours"]
