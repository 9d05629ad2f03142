"""Swin-UNet: an encoder and a decoder of windowed attention with skip connections.

Written from the papers: Cao et al., "Swin-Unet" (arXiv 2105.05537) for the network, Liu et al., "Swin Transformer"
(arXiv 2103.14030) for the blocks. Stochastic depth, which has no parameters, is left out: the training is too short to
need it. A width of 36 instead of 96 gives the 3.6 M parameters of the seed paper; depths, heads, window and patch are
the published ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lisa_micro.models.segmenters.images import pad_to_multiple, three_channels
from lisa_micro.models.windows import (
    in_windows,
    init_linear,
    position_bias,
    relative_positions,
    self_attention,
    window_mask,
)


class WindowAttention(nn.Module):
    """Attention of the tokens of a window to each other, with a learned bias for each relative position.

    Args:
        width: channels C.
        heads: of attention.
        side: of a window in tokens.
    """

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("offset", relative_positions(side), persistent=False)

    def forward(self, windows: Tensor, visible: Tensor | None) -> Tensor:
        """``(B, windows, T, C)`` and :func:`lisa_micro.models.windows.window_mask` -> the same shape."""
        bias = position_bias(self.bias, self.offset).to(windows.dtype)
        if visible is not None:
            bias = bias.masked_fill(~visible[:, None], float("-inf"))  # (windows, heads, T, T)
        return self_attention(windows, self.qkv, self.proj, self.heads, bias)


class SwinBlock(nn.Module):
    """Windowed attention and feed-forward, each after a layer norm and added to its input.

    Args:
        width, heads, side: see :class:`WindowAttention`.
        shifted: whether windows are shifted by half their side.
        mlp_ratio: width of the feed-forward layer over C.
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
        # a grid of a single window has nothing to shift against
        shift = self.side // 2 if self.shifted and min(height, width) > self.side else 0
        visible = window_mask(height, width, self.side, shift)
        visible = None if visible is None else visible.to(x.device)
        return in_windows(x, self.side, shift, lambda windows: self.attention(windows, visible))


class PatchMerging(nn.Module):
    """Halve the grid and double the channels: ``(B, H, W, C)``, even sides -> ``(B, H/2, W/2, 2C)``."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return self.reduce(self.norm(x.flatten(3)))


class PatchExpanding(nn.Module):
    """Enlarge the grid: ``(B, H, W, C)`` -> ``(B, factor H, factor W, out)``.

    Args:
        width: C.
        factor: by which the sides grow.
        out: channels of the result.
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
    """Images -> one logit per pixel.

    Args:
        width: channels C after the patch embedding; stage k has ``C * 2**k``.
        depths: blocks of each stage of the encoder, the last being the bottleneck; the decoder mirrors the others.
        heads: of attention in each stage.
        window: side of a window in tokens.
        patch: side of a patch in px.
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
    """Run the encoder of a U-shaped network.

    Args:
        net: with ``embed``, ``embed_norm``, ``down``, ``merge`` and ``multiple``.
        images: ``(B, 1 or 3, H, W)`` in 0..1.

    Returns:
        output of the last stage ``(B, h, w, C)``, and outputs of the earlier stages, finest first.

    Raises:
        InputError: images of another shape.
    """
    # 0..1 to -1..1, the range for which the weights are initialised
    x = net.embed(pad_to_multiple(three_channels(images), net.multiple) * 2 - 1)
    x = net.embed_norm(x.permute(0, 2, 3, 1))
    skips = []
    for k, blocks in enumerate(net.down):
        x = blocks(x)
        if k < len(net.merge):
            skips.append(x)
            x = net.merge[k](x)
    return x, skips
