"""Small layers shared by the parts of DeAOT."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: during training, drops a residual branch for random items of the batch (the first axis) and
    scales up the rest."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device, dtype=x.dtype) >= self.share
        return x * kept / (1 - self.share)


class GroupNormTokens(nn.Module):
    """Group normalization of tokens ``(B, N, C)`` over groups of channels and all tokens."""

    def __init__(self, groups: int, channels: int):
        super().__init__()
        self.gn = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(x.transpose(1, 2)).transpose(1, 2)


class DepthwiseTokens(nn.Module):
    """Depthwise 5 x 5 convolution of tokens ``(B, N, C)`` on their grid, with channel dropout during training."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return to_tokens(self.dropout(self.conv(to_grid(x, size))))


def to_grid(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Reshape tokens ``(B, h w, C)`` to a grid ``(B, C, h, w)``."""
    return tokens.transpose(1, 2).unflatten(2, size)


def to_tokens(grid: Tensor) -> Tensor:
    """Reshape a grid ``(B, C, h, w)`` to tokens ``(B, h w, C)``."""
    return grid.flatten(2).transpose(1, 2)


def init_xavier(module: nn.Module) -> None:
    """Initialize all matrices of a module with the Glorot uniform scheme."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
