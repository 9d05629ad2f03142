"""Neural networks: towers, LISA, segmenters, trackers; their weights on disk and on the hub."""

from lisa_micro.models import compat  # noqa: F401  (must precede transformers, timm, open_clip, segment_anything)
