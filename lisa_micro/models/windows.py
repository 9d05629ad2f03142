"""Attention within windows of a token grid (Liu et al., "Swin Transformer", arXiv 2103.14030), shared by the networks
that use it. Modules hold their weights under the names of their checkpoints and compute with these functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING_REGION = -1
"""Region number of padding tokens."""


def to_windows(x: Tensor, side: int) -> Tensor:
    """``(B, H, W, C)``, both sides multiples of ``side`` -> ``(B, windows, side * side, C)``, row by row."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // side, side, width // side, side, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, side * side, channels)


def from_windows(windows: Tensor, height: int, width: int, side: int) -> Tensor:
    """The inverse of :func:`to_windows`."""
    batch, channels = windows.shape[0], windows.shape[-1]
    x = windows.view(batch, height // side, width // side, side, side, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)


@lru_cache(maxsize=64)
def window_mask(height: int, width: int, side: int, shift: int) -> Tensor | None:
    """Which tokens of a window attend to each other.

    Windows of a grid that was rolled by ``shift`` hold tokens of parts that were not neighbours before. These do not
    attend to each other, and neither do padding tokens and others (Liu et al., figure 4).

    Args:
        height, width: of the grid in tokens, before it is padded to multiples of ``side``.
        side: of a window.
        shift: number of tokens by which the grid is rolled up and to the left.

    Returns:
        ``(windows, side * side, side * side)`` bool; ``None`` where all attend to all.
    """
    tall, wide = height + -height % side, width + -width % side
    if shift == 0 and (tall, wide) == (height, width):
        return None
    with torch.inference_mode(False):  # the cached mask may serve training later
        regions = torch.zeros(1, tall, wide, 1, dtype=torch.long)
        if shift:
            # after the roll the last `shift` rows and columns come from the other end
            regions[:, tall - shift :] += 1
            regions[:, :, wide - shift :] += 2
        padding = torch.ones(1, tall, wide, 1, dtype=torch.bool)
        padding[:, :height, :width] = False
        regions[torch.roll(padding, (-shift, -shift), (1, 2))] = PADDING_REGION
        numbers = to_windows(regions, side)[0, :, :, 0]  # (windows, side * side)
        return numbers[:, :, None] == numbers[:, None, :]


def relative_positions(side: int) -> Tensor:
    """``(side^2, side^2)`` row of the bias table for each pair of tokens of a window; the table has a row for each of
    ``(2 side - 1)^2`` relative positions."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], dim=-1)
    offset = place[:, None] - place[None] + side - 1  # (side^2, side^2, 2), 0 .. 2 side - 2
    return offset[..., 0] * (2 * side - 1) + offset[..., 1]


def position_bias(table: Tensor, positions: Tensor) -> Tensor:
    """Bias table ``((2 side - 1)^2, heads)`` and :func:`relative_positions` -> ``(heads, T, T)``."""
    return table[positions].permute(2, 0, 1)


def self_attention(x: Tensor, qkv: nn.Linear, proj: nn.Linear, heads: int, bias: Tensor) -> Tensor:
    """Multi-head attention of tokens to each other.

    Args:
        x: ``(..., T, C)``.
        qkv, proj: projections, C -> 3 C and C -> C.
        bias: added to the logits, broadcast to ``(..., heads, T, T)``.
    """
    # (..., T, 3 C) -> 3 x (..., heads, T, C / heads)
    q, k, v = qkv(x).unflatten(-1, (3, heads, -1)).movedim(-3, 0).transpose(-3, -2).unbind(0)
    return proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(-3, -2).flatten(-2))


def in_windows(x: Tensor, side: int, shift: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply attention within windows to a grid of tokens.

    Args:
        x: ``(B, H, W, C)``; padded with zeros to multiples of ``side``.
        side: of a window.
        shift: number of tokens by which the windows are shifted down and to the right.
        attend: ``(B, windows, side * side, C)`` -> the same shape.
    """
    height, width = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    tall, wide = x.shape[1:3]
    if shift:
        x = torch.roll(x, (-shift, -shift), (1, 2))
    x = from_windows(attend(to_windows(x, side)), tall, wide, side)
    if shift:
        x = torch.roll(x, (shift, shift), (1, 2))
    return x[:, :height, :width]


def init_linear(module: nn.Module) -> None:
    """Initialise a linear layer with a truncated normal of 0.02 and no bias; leave other modules alone."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
