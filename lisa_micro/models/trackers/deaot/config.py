"""Sizes of the published DeAOT models (Yang and Yang, NeurIPS 2022, arXiv 2210.09782; yoxu515/aot-benchmark)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lisa_micro.types import InputError

STRIDE = 16
"""Pixels of the network's input for one token."""


@dataclass(frozen=True)
class DeaotConfig:
    """The defaults are those that all published models share.

    Attributes:
        encoder: which image encoder.
        layers: gated propagation layers.
        long_term_gap: frames between two that are remembered for good; 9999 = the first one only.
        dim: channels D of the visual and of the identity branch.
        attention: channels of queries and keys.
        expansion: channels of values and gates of one branch.
        window: side of the short-term window, tokens, odd.
        objects: identities of one bank, without the background.
        aligned: corners of grids are aligned when resizing, and inputs have sides 16 k + 1; else 16 k.
        drop_path, drop_channel: shares left out while training, of residuals per clip and of gated channels.
    """

    encoder: Literal["mobilenetv2", "resnet50", "swin_base"] = "mobilenetv2"
    layers: int = 1
    long_term_gap: int = 9999
    dim: int = 256
    attention: int = 128
    expansion: int = 512
    window: int = 15
    objects: int = 10
    aligned: bool = True
    drop_path: float = 0.1
    drop_channel: float = 0.1


_TINY = DeaotConfig()

CONFIGS: dict[str, DeaotConfig] = {
    "deaot-t": _TINY,
    "deaot-s": replace(_TINY, layers=2),
    "deaot-b": replace(_TINY, layers=3),
    "deaot-l": replace(_TINY, layers=3, long_term_gap=5),
    "deaot-r50-l": replace(_TINY, encoder="resnet50", layers=3, long_term_gap=5),
    "deaot-swinb-l": replace(_TINY, encoder="swin_base", layers=3, long_term_gap=5, aligned=False),
}
"""The published models by name."""


@dataclass(frozen=True)
class TrackingSettings:
    """How a video is followed; nothing here changes the weights.

    Attributes:
        long_side: frames are shrunk to this many px at most on their longer side (the published models: 1040).
        memory_frames: how many frames the long-term memory holds at most. When it is full, the oldest goes that nobody
            labelled; then the oldest labelled one but the first.
        memory_mb: what the long-term memories of all banks may take together, in MB; with many identities each bank
            holds fewer frames, but one at least.
        long_term_gap: in place of the model's own.

    Raises:
        InputError: a value out of range.
    """

    long_side: int = 1040
    memory_frames: int = 8
    memory_mb: float = 2000.0
    long_term_gap: int | None = None

    def __post_init__(self) -> None:
        if self.long_side < STRIDE:
            raise InputError(f"long_side must be at least {STRIDE} px, not {self.long_side}")
        if self.memory_frames < 1:
            raise InputError(f"memory_frames must be at least 1, not {self.memory_frames}")
        if not self.memory_mb > 0:
            raise InputError(f"memory_mb must be positive, not {self.memory_mb}")
        if self.long_term_gap is not None and self.long_term_gap < 1:
            raise InputError(f"long_term_gap must be at least 1 frame, not {self.long_term_gap}")
