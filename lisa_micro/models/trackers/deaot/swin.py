"""Swin transformer (Liu et al., arXiv 2103.14030) without its last stage, with the official checkpoints' names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.blocks import FeedForward
from lisa_micro.models.trackers.deaot.layers import DropPath

OTHER_WINDOW = -100.0
"""Added to the logits of tokens that a cyclic shift brought into one window though they are not neighbours."""


class WindowAttention(nn.Module):
    """Attention within windows of ``window`` x ``window`` tokens, with a bias for each relative position and head."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        y, x = y.flatten(), x.flatten()
        dy, dx = (v[:, None] - v[None, :] + window - 1 for v in (y, x))
        # a buffer of the checkpoints, though it could be computed
        self.register_buffer("relative_position_index", dy * (2 * window - 1) + dx)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Windows ``(B W, N, C)``, with ``mask`` ``(W, N, N)`` added to the logits."""
        # (B W, N, 3 C) -> 3 x (B W, heads, N, C/heads)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # (heads, N, N)
        if mask is not None:
            # (B W, heads, N, N)
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        return self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


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
        """``(B, H, W, C)`` -> the same, attended within windows."""
        b, height, width, c = x.shape
        n = self.window
        x = F.pad(x, (0, 0, 0, -width % n, 0, -height % n))
        rows, columns = x.shape[1] // n, x.shape[2] // n
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
            mask = self.shift_mask(rows, columns, x)
        # (B, rows n, columns n, C) -> (B rows columns, n n, C)
        x = x.view(b, rows, n, columns, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        x = self.attn(x, mask)
        x = x.view(b, rows, columns, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, rows * n, columns * n, c)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]

    def shift_mask(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """``(rows columns, n n, n n)``: 0 between tokens of one region, else :data:`OTHER_WINDOW`."""
        n = self.window

        def regions(count: int) -> Tensor:
            index = torch.arange(count * n, device=like.device)
            return (index >= (count - 1) * n).long() + (index >= count * n - self.shift).long()

        region = 3 * regions(rows)[:, None] + regions(columns)[None, :]
        region = region.view(rows, n, columns, n).permute(0, 2, 1, 3).reshape(-1, n * n)
        return (region[:, None] != region[:, :, None]).to(like.dtype) * OTHER_WINDOW

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the channels."""

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
    """Blocks at one resolution; ``downsample`` leads to the next one."""

    def __init__(self, width: int, heads: int, window: int, drop_paths: Sequence[float], last: bool):
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, (window // 2) * (k % 2), drop) for k, drop in enumerate(drop_paths)
        )
        self.downsample = None if last else PatchMerging(width)


class PatchEmbed(nn.Module):
    """4 x 4 px -> a token."""

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
        width: C. depths, heads: of the three stages. window: side of a window, tokens.
        drop_path: share of residuals left out while training; it rises from 0 by the same step from block to block,
            so as to be this at the last of ``blocks`` (the stage that is not there is counted).
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
        self.apply(_init)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, taps = self.patch_embed(images), []
        for stage, norm in zip(self.layers, (self.norm0, self.norm1, self.norm2), strict=True):
            for block in stage.blocks:
                x = block(x)
            taps.append(norm(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return [*taps, taps[-1]]


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
