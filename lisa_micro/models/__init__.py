"""Towers, language model, mask decoder, segmenters."""

from lisa_micro.models import compat  # noqa: F401  (must precede transformers, timm, open_clip, segment_anything)
