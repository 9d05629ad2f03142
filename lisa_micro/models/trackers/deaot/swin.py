"""Swin transformer (Liu et al., arXiv 2103.14030) without its last stage, with the official checkpoints' names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.blocks import FeedForward
from lisa_micro.models.trackers.deaot.layers import DropPath
from lisa_micro.models.windows import (
    in_windows,
    init_linear,
    position_bias,
    relative_positions,
    self_attention,
    window_mask,
)

OTHER_REGION = -100.0
"""Added to the logits of tokens that a shift brought into one window although they are not neighbours."""


class WindowAttention(nn.Module):
    """Attention within windows of ``window`` x ``window`` tokens, with a bias for each relative position and head."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        # persistent, because the official checkpoints hold it
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor, visible: Tensor | None) -> Tensor:
        """``(B, windows, T, C)`` and :func:`lisa_micro.models.windows.window_mask` -> the same shape."""
        bias = position_bias(self.relative_position_bias_table, self.relative_position_index)  # (heads, T, T)
        if visible is not None:
            # (B windows, heads, T, T)
            mask = (~visible).to(windows.dtype) * OTHER_REGION
            bias = (bias + mask[:, None]).repeat(len(windows), 1, 1, 1)
        return self_attention(windows.flatten(0, 1), self.qkv, self.proj, self.heads, bias).view_as(windows)


class SwinBlock(nn.Module):
    """Window attention and feed-forward, each after a layer norm and added to its input. Every other block shifts the
    windows by half their side."""

    def __init__(self, width: int, heads: int, window: int, shift: int, drop_path: float):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows, ``(B, H, W, C)`` -> the same shape. As in the official code, padding tokens are
        attended to."""
        n = self.window
        visible = None
        if self.shift:
            padded = (length + -length % n for length in x.shape[1:3])
            visible = window_mask(*padded, n, self.shift).to(x.device)
        return in_windows(x, n, self.shift, lambda windows: self.attn(windows, visible))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Merge four neighbours into one token with twice the channels."""

    def __init__(self, width: int):
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # order of the neighbours (y, x): (0, 0), (1, 0), (0, 1), (1, 1)
        parts = [x[:, y::2, z::2] for z in (0, 1) for y in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class SwinStage(nn.Module):
    """Blocks at one resolution, and the step to the next one (``downsample``)."""

    def __init__(self, width: int, heads: int, window: int, drop_paths: Sequence[float], last: bool):
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, (window // 2) * (k % 2), drop) for k, drop in enumerate(drop_paths)
        )
        self.downsample = None if last else PatchMerging(width)


class PatchEmbed(nn.Module):
    """4 x 4 px -> one token."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, 4)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, H/4, W/4, C)``."""
        images = F.pad(images, (0, -images.shape[3] % 4, 0, -images.shape[2] % 4))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class SwinEncoder(nn.Module):
    """``(B, 3, H, W)`` -> C, 2 C, 4 C and again 4 C channels at strides 4, 8, 16 and 16.

    Args:
        width: C.
        depths, heads: of the three stages.
        window: side of a window, tokens.
        drop_path: share of residuals that are dropped in training. It rises linearly from 0 in the first block to this
            value in the last of ``blocks`` (the blocks of the missing stage are counted).
    """

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int = 7,
        drop_path: float = 0.0,
        blocks: int = 24,
    ):
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 4 * width)
        self.patch_embed = PatchEmbed(width)
        drops = [drop_path * k / (blocks - 1) for k in range(sum(depths))]
        self.layers = nn.ModuleList()
        for k, (depth, head) in enumerate(zip(depths, heads, strict=True)):
            begin = sum(depths[:k])
            stage = SwinStage(width << k, head, window, drops[begin : begin + depth], last=k == len(depths) - 1)
            self.layers.append(stage)
        self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(c) for c in self.channels[:3])
        self.apply(init_linear)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, taps = self.patch_embed(images), []
        for stage, norm in zip(self.layers, (self.norm0, self.norm1, self.norm2), strict=True):
            for block in stage.blocks:
                x = block(x)
            taps.append(norm(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return [*taps, taps[-1]]
