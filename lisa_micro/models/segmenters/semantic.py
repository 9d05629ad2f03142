"""Semantic segmenters by name: images in, one logit per pixel out.

They take no prompt and know one class, the foreground of the training masks. These are the networks of the seed paper
(Duan et al., Elemental Microscopy 2024), trained and compared by ``lisa-micro benchmark segmenters``. YOLOv8n-seg has
the
same interface, but is not here: its package is under the AGPL, and this library imports nothing under that license (see
``lisa_micro_finetune.benchmark.yolo``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from lisa_micro.models.segmenters.efficient_sam.semantic import build_efficient_sam_semantic
from lisa_micro.models.segmenters.swin_unet import SwinUnet
from lisa_micro.models.segmenters.vmamba import VMambaUnet
from lisa_micro.types import InputError


@dataclass(frozen=True)
class SemanticEntry:
    """A semantic segmenter that can be built by name.

    Attributes:
        title: its name as shown to users.
        resolution: side of its square input images in the paper, px.
        parameters: number of parameters in the paper's table.
        build: side of the images in px -> module with random weights, ``(B, 1 or 3, H, W)`` in 0..1 -> logits
            ``(B, 1, H, W)``, positive inside. H and W are free; the side only sizes what depends on it.
    """

    title: str
    resolution: int
    parameters: int
    build: Callable[[int], nn.Module]


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of a module, frozen ones included, buffers not."""
    return sum(p.numel() for p in module.parameters())


SEMANTIC: dict[str, SemanticEntry] = {
    "swin-unet": SemanticEntry("Swin-UNet", 448, 3_645_600, lambda side: SwinUnet()),
    "vmamba": SemanticEntry("VMamba", 512, 3_145_179, lambda side: VMambaUnet()),
    "efficient-sam": SemanticEntry("EfficientSAM-Ti", 1024, 10_185_380, build_efficient_sam_semantic),
}
"""Names that :func:`build_semantic` knows; more can be added."""


def build_semantic(name: str, resolution: int | None = None) -> nn.Module:
    """Build a semantic segmenter with random weights.

    Args:
        name: one of :data:`SEMANTIC`.
        resolution: side of its input images, px; ``None``: as in the paper.

    Raises:
        InputError: there is no such segmenter.
    """
    if name not in SEMANTIC:
        raise InputError(f"Unknown semantic segmenter {name!r}; choose one of {', '.join(SEMANTIC)}.")
    entry = SEMANTIC[name]
    return entry.build(resolution or entry.resolution)
