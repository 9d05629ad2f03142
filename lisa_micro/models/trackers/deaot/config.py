"""Configurations of the published DeAOT models (Yang and Yang, NeurIPS 2022, arXiv 2210.09782)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lisa_micro.types import InputError

STRIDE = 16
"""Side of a token in pixels of the network's input."""


@dataclass(frozen=True)
class DeaotConfig:
    """Architecture of DeAOT. The defaults are shared by all published models (yoxu515/aot-benchmark).

    Attributes:
        encoder: image encoder.
        layers: number of gated propagation layers.
        long_term_gap: interval, in frames, of additions to the long-term memory; 9999 keeps only the first frame.
        dim: channels D of the visual branch and of the identification branch.
        attention: channels of queries and keys.
        expansion: channels of values and gates of one branch.
        window: side of the short-term attention window in tokens, odd.
        objects: number of objects per bank, without the background.
        aligned: resize with aligned corners, with input sides of 16 k + 1; otherwise 16 k.
        drop_path: probability of dropping a residual branch during training, per clip.
        drop_channel: probability of dropping a gated channel during training.
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
"""Published models by name."""


@dataclass(frozen=True)
class TrackingSettings:
    """Settings of inference; none of them changes the weights.

    Attributes:
        long_side: longest side, in px, to which frames are scaled down (1040 in the published models).
        memory_frames: largest number of frames in the long-term memory. When it is full, the oldest unlabelled frame is
            removed first, then the oldest labelled one except the first.
        memory_mb: memory, in MB, that the long-term memories of all banks may use together. With many objects each bank
            holds fewer frames, but at least one.
        long_term_gap: replaces the ``long_term_gap`` of the model if given.

    Raises:
        InputError: if a value is out of range.
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
