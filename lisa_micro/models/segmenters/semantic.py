"""What a semantic segmenter is: images in, one logit a pixel out; and those that are built by name.

It needs no prompt and knows one class, what the training masks called foreground. These are the networks of the paper
this project comes from (Duan et al., Elemental Microscopy 2024), trained and compared by ``lisa-micro benchmark
segmenters``. YOLOv8n-seg is behind the same interface, but not here: its package is under the AGPL, and this library
imports nothing under it (see ``lisa_micro_finetune.benchmark.yolo``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.types import InputError


@dataclass(frozen=True)
class SemanticEntry:
    """A semantic segmenter that can be built.

    Attributes:
        title: its name for people.
        resolution: side of the square images it sees in the paper, px.
        parameters: how many it has in the paper's table.
        build: side of the images in px -> module with random weights, ``(B, 1 or 3, H, W)`` in 0..1 -> logits
            ``(B, 1, H, W)``, positive inside. H and W are free; the side only sizes what depends on it.
    """

    title: str
    resolution: int
    parameters: int
    build: Callable[[int], nn.Module]


def three_channels(images: Tensor) -> Tensor:
    """``(B, 1 or 3, H, W)`` -> ``(B, 3, H, W)``.

    Raises:
        InputError: other than four axes, or another number of channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(f"images must be (B, 1 or 3, H, W), not {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until ``(B, C, H, W)`` has sides that are multiples of ``multiple``."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns or could learn; buffers are not counted."""
    return sum(p.numel() for p in module.parameters())


def _swin_unet(_: int) -> nn.Module:
    from lisa_micro.models.segmenters.swin_unet import SwinUnet

    return SwinUnet()


def _vmamba(_: int) -> nn.Module:
    from lisa_micro.models.segmenters.vmamba import VMambaUnet

    return VMambaUnet()


def _efficient_sam(side: int) -> nn.Module:
    from lisa_micro.models.segmenters.efficient_sam_semantic import build_efficient_sam_semantic

    return build_efficient_sam_semantic(side)


SEMANTIC: dict[str, SemanticEntry] = {
    "swin-unet": SemanticEntry("Swin-UNet", 448, 3_645_600, _swin_unet),
    "vmamba": SemanticEntry("VMamba", 512, 3_145_179, _vmamba),
    "efficient-sam": SemanticEntry("EfficientSAM-Ti", 1024, 10_185_380, _efficient_sam),
}
"""What :func:`build_semantic` knows; more can be added."""


def build_semantic(name: str, resolution: int | None = None) -> nn.Module:
    """A semantic segmenter with random weights.

    Args:
        name: one of :data:`SEMANTIC`.
        resolution: side of the images it will see, px; None: the paper's.

    Raises:
        InputError: no such segmenter.
    """
    if name not in SEMANTIC:
        raise InputError(f"no semantic segmenter called {name!r}; there are: {', '.join(SEMANTIC)}")
    entry = SEMANTIC[name]
    return entry.build(resolution or entry.resolution)
