"""VMamba as a segmenter: an encoder and a decoder of visual state space blocks with skip connections.

Written from the papers: Liu et al., "VMamba" (arXiv 2401.10166) for the blocks, Ruan and Xiang, "VM-UNet" (arXiv
2402.02491) for the network. The block is the later, faster one of VMamba: one state per channel, no gate, and a
feed-forward layer; with the sixteen states of the first version, a step at 512 px on a CPU takes several times the time
and the memory. A width of 34 and two blocks in every stage give the 3.1 M parameters of the seed paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.segmenters.selective_scan import selective_scan
from lisa_micro.models.segmenters.swin_unet import PatchExpanding, PatchMerging, descend
from lisa_micro.models.windows import init_linear

DIRECTIONS = 4
STEP_MIN, STEP_MAX = 1e-3, 1e-1
"""Range of the initial step sizes, uniform in their logarithm (Mamba, section 3.6)."""


def cross_scan(x: Tensor) -> Tensor:
    """``(B, H, W, C)`` -> ``(B, H W, 4, C)``: the grid row by row, column by column, and both in reverse."""
    rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
    return torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=2)


def cross_merge(sequences: Tensor, height: int, width: int) -> Tensor:
    """``(B, H W, 4, C)`` in the order of :func:`cross_scan` -> their sum at each position, ``(B, H, W, C)``."""
    rows = sequences[:, :, 0] + sequences[:, :, 2].flip(1)
    columns = sequences[:, :, 1] + sequences[:, :, 3].flip(1)
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


class CrossScan2d(nn.Module):
    """SS2D: every position depends on the whole grid through four selective scans.

    Args:
        width: channels C.
        states: N of each channel.
        rank: of the projection to step sizes; ``None``: C / 16, at least 1.
    """

    def __init__(self, width: int, states: int = 1, rank: int | None = None):
        super().__init__()
        self.states, self.rank = states, rank or max(1, math.ceil(width / 16))
        self.into = nn.Linear(width, width, bias=False)
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        # one matrix per direction: channels -> step sizes (rank), B and C
        self.select = nn.Parameter(torch.empty(DIRECTIONS, self.rank + 2 * states, width))
        self.steps = nn.Parameter(torch.empty(DIRECTIONS, width, self.rank))
        self.step_bias = nn.Parameter(torch.empty(DIRECTIONS, width))
        self.log_a = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(DIRECTIONS * width, 1))
        self.skip = nn.Parameter(torch.ones(DIRECTIONS * width))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.uniform_(self.select, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.steps, -(self.rank**-0.5), self.rank**-0.5)
        first = torch.exp(torch.rand(DIRECTIONS, width) * math.log(STEP_MAX / STEP_MIN) + math.log(STEP_MIN))
        with torch.no_grad():
            self.step_bias.copy_(first + torch.log(-torch.expm1(-first)))  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` -> the same shape."""
        height, width = x.shape[1:3]
        x = self.local(self.into(x).permute(0, 3, 1, 2))
        sequences = cross_scan(F.silu(x).permute(0, 2, 3, 1))  # (B, L, 4, C)
        chosen = torch.einsum("blgc,gec->blge", sequences, self.select)
        delta, b, c = chosen.split([self.rank, self.states, self.states], dim=-1)
        delta = F.softplus(torch.einsum("blgr,gcr->blgc", delta, self.steps) + self.step_bias)
        y = selective_scan(
            sequences.flatten(2), delta.flatten(2), -torch.exp(self.log_a.float()), b, c, self.skip.float()
        )
        y = cross_merge(y.unflatten(2, (DIRECTIONS, -1)), height, width)
        return self.out(self.norm(y.to(x.dtype)))


class StateSpaceBlock(nn.Module):
    """SS2D and feed-forward on ``(B, H, W, C)``, each after a layer norm and added to its input."""

    def __init__(self, width: int, states: int, mlp_ratio: float = 4.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.scan = CrossScan2d(width, states)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scan(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VMambaUnet(nn.Module):
    """Images -> one logit per pixel.

    Args:
        width: channels C after the patch embedding; stage k has ``C * 2**k``.
        depths: blocks of each stage of the encoder, the last being the bottleneck; the decoder mirrors the others.
        states: N of each channel.
        patch: side of a patch in px.
    """

    def __init__(self, width: int = 34, depths: tuple[int, ...] = (2, 2, 2, 2), states: int = 1, patch: int = 4):
        super().__init__()
        self.multiple = patch * 2 ** (len(depths) - 1)
        widths = [width * 2**k for k in range(len(depths))]

        def stage(k: int) -> nn.Sequential:
            return nn.Sequential(*(StateSpaceBlock(widths[k], states) for _ in range(depths[k])))

        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(width)
        self.down = nn.ModuleList(stage(k) for k in range(len(depths)))
        self.merge = nn.ModuleList(PatchMerging(w) for w in widths[:-1])
        upwards = range(len(depths) - 2, -1, -1)
        self.expand = nn.ModuleList(PatchExpanding(widths[k + 1], 2, widths[k]) for k in upwards)
        self.up = nn.ModuleList(stage(k) for k in upwards)
        self.last = PatchExpanding(width, patch, width)
        self.head = nn.Conv2d(width, 1, 1)
        self.apply(init_linear)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in 0..1 -> logits ``(B, 1, H, W)``.

        Raises:
            InputError: images of another shape.
        """
        height, width = images.shape[-2:]
        x, skips = descend(self, images)
        for expand, blocks in zip(self.expand, self.up, strict=True):
            x = blocks(expand(x) + skips.pop())  # VM-UNet adds its skips
        x = self.last(x).permute(0, 3, 1, 2)
        return self.head(x)[..., :height, :width]
