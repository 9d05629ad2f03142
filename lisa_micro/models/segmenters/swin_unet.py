"""Swin-UNet: an encoder and a decoder of windowed attention with skip connections.

Written from the papers: Cao et al., "Swin-Unet" (arXiv 2105.05537) for the whole, Liu et al., "Swin Transformer"
(arXiv 2103.14030) for the blocks. Left out is stochastic depth, which has no parameters: so short a training does not
overfit by what it would prevent. The paper's size of 3.6 M parameters is reached by the width of 36 instead of 96;
depths, heads, window and patch are the published ones.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.segmenters.semantic import pad_to_multiple, three_channels

NO_REGION = -1
"""Region number of tokens that only fill up the last windows."""


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
    """Which tokens of a window may see each other.

    Windows of a grid that was rolled by ``shift`` hold tokens of parts that were not neighbours before; these, and
    tokens that only fill up, do not see each other (Liu et al., figure 4).

    Args:
        height, width: of the grid in tokens, before it is filled up to multiples of ``side``.
        side: of a window. shift: by how many tokens the grid is rolled up and to the left.

    Returns:
        ``(windows, side * side, side * side)`` bool, True where the one sees the other; None where all see all.
    """
    tall, wide = height + -height % side, width + -width % side
    if shift == 0 and (tall, wide) == (height, width):
        return None
    regions = torch.zeros(1, tall, wide, 1, dtype=torch.long)
    if shift:
        # after the roll the last `shift` rows and columns come from the other end
        regions[:, tall - shift :] += 1
        regions[:, :, wide - shift :] += 2
    filling = torch.ones(1, tall, wide, 1, dtype=torch.bool)
    filling[:, :height, :width] = False
    regions[torch.roll(filling, (-shift, -shift), (1, 2))] = NO_REGION
    numbers = to_windows(regions, side)[0, :, :, 0]  # (windows, side * side)
    return numbers[:, :, None] == numbers[:, None, :]


class WindowAttention(nn.Module):
    """Attention of the tokens of a window to each other, with a learned bias for each relative position.

    Args:
        width: channels C. heads: of attention. side: of a window in tokens.
    """

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        place = torch.stack([rows.flatten(), columns.flatten()], dim=-1)
        offset = place[:, None] - place[None] + side - 1  # (side^2, side^2, 2), 0 .. 2 side - 2
        self.register_buffer("offset", offset[..., 0] * (2 * side - 1) + offset[..., 1], persistent=False)

    def forward(self, windows: Tensor, visible: Tensor | None) -> Tensor:
        """``(B, windows, T, C)`` and :func:`window_mask` -> the same shape."""
        # (B, windows, T, 3 C) -> 3 x (B, windows, heads, T, C / heads)
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind(0)
        bias = self.bias[self.offset].permute(2, 0, 1).to(q.dtype)  # (heads, T, T)
        if visible is not None:
            bias = bias.masked_fill(~visible[:, None], float("-inf"))  # (windows, heads, T, T)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(2, 3).flatten(3))


class SwinBlock(nn.Module):
    """Windowed attention and feed-forward, each after a layer norm and added to its input.

    Args:
        width, heads, side: see :class:`WindowAttention`. shifted: windows lie half a window off. mlp_ratio: width of
            the feed-forward layer over C.
    """

    def __init__(self, width: int, heads: int, side: int, shifted: bool, mlp_ratio: float = 4.0):
        super().__init__()
        self.side, self.shifted = side, shifted
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` -> the same shape."""
        x = x + self._attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        side = self.side
        # a grid of a single window has nothing to shift against
        shift = side // 2 if self.shifted and min(height, width) > side else 0
        visible = window_mask(height, width, side, shift)
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        tall, wide = x.shape[1:3]
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
        windows = self.attention(to_windows(x, side), None if visible is None else visible.to(x.device))
        x = from_windows(windows, tall, wide, side)
        if shift:
            x = torch.roll(x, (shift, shift), (1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halves the grid and doubles the channels: ``(B, H, W, C)``, even sides -> ``(B, H/2, W/2, 2C)``."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return self.reduce(self.norm(x.flatten(3)))


class PatchExpanding(nn.Module):
    """Enlarges the grid: ``(B, H, W, C)`` -> ``(B, factor H, factor W, out)``.

    Args:
        width: C. factor: by which the sides grow. out: channels afterwards.
    """

    def __init__(self, width: int, factor: int, out: int):
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(width, factor * factor * out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        f = self.factor
        x = self.expand(x).view(batch, height, width, f, f, -1).permute(0, 1, 3, 2, 4, 5)
        return self.norm(x.reshape(batch, f * height, f * width, -1))


class SwinUnet(nn.Module):
    """Images -> one logit a pixel.

    Args:
        width: channels C after the patch embedding; stage k has ``C * 2**k``.
        depths: blocks of each stage of the encoder, the last being the bottleneck; the decoder mirrors the others.
        heads: of attention in each stage.
        window: side of a window in tokens. patch: side of a patch in px.
    """

    def __init__(
        self,
        width: int = 36,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        patch: int = 4,
    ):
        super().__init__()
        self.multiple = patch * 2 ** (len(depths) - 1)
        widths = [width * 2**k for k in range(len(depths))]

        def stage(k: int) -> nn.Sequential:
            return nn.Sequential(*(SwinBlock(widths[k], heads[k], window, n % 2 == 1) for n in range(depths[k])))

        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(width)
        self.down = nn.ModuleList(stage(k) for k in range(len(depths)))
        self.merge = nn.ModuleList(PatchMerging(w) for w in widths[:-1])
        self.norm = nn.LayerNorm(widths[-1])
        upwards = range(len(depths) - 2, -1, -1)
        self.expand = nn.ModuleList(PatchExpanding(widths[k + 1], 2, widths[k]) for k in upwards)
        self.join = nn.ModuleList(nn.Linear(2 * widths[k], widths[k]) for k in upwards)
        self.up = nn.ModuleList(stage(k) for k in upwards)
        self.up_norm = nn.LayerNorm(width)
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
        x = self.norm(x)
        for expand, join, blocks in zip(self.expand, self.join, self.up, strict=True):
            x = blocks(join(torch.cat([expand(x), skips.pop()], dim=-1)))
        x = self.last(self.up_norm(x)).permute(0, 3, 1, 2)
        return self.head(x)[..., :height, :width]


def descend(net: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The encoder of a network with ``embed``, ``embed_norm``, ``down``, ``merge`` and ``multiple``.

    Args:
        images: ``(B, 1 or 3, H, W)`` in 0..1.

    Returns:
        what its last stage gives, ``(B, h, w, C)``, and what the stages before gave, finest first.

    Raises:
        InputError: images of another shape.
    """
    # 0..1 to about -1..1, what the initial weights are meant for
    x = net.embed(pad_to_multiple(three_channels(images), net.multiple) * 2 - 1)
    x = net.embed_norm(x.permute(0, 2, 3, 1))
    skips = []
    for k, blocks in enumerate(net.down):
        x = blocks(x)
        if k < len(net.merge):
            skips.append(x)
            x = net.merge[k](x)
    return x, skips


def init_linear(module: nn.Module) -> None:
    """Linear layers start at a truncated normal of 0.02 and no bias, as both papers have it."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
