"""Image encoder of EfficientSAM: a plain ViT with attention over the whole image, and a neck.

Names of parameters, order of layers and sizes of tables are those of the official checkpoints (yformer/EfficientSAM,
Apache-2.0), so that these load strictly.
"""

from __future__ import annotations

import math

from torch import Tensor, nn, zeros
from torch.nn import functional as F

from lisa_micro.models.blocks import FeedForward
from lisa_micro.models.towers.sam import ChannelNorm

PRETRAINED_SIDE = 224
"""Side, px, of the images on which the encoder was pretrained. Its position table has a row for the class token, which
is not used here, and a row for each patch of such an image."""


class PatchEmbed(nn.Module):
    """``(B, 3, H, W)`` -> ``(B, C, H/patch, W/patch)``."""

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images)


class SelfAttention(nn.Module):
    """Self-attention of tokens ``(B, N, C)``."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (B, N, 3 C) -> 3 x (B, heads, N, C/heads)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Attention and feed-forward, each after a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, int(width * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Normalised images -> embedding.

    Args:
        image_size: side S of the square images, px.
        patch: side of a patch, px.
        width, depth, heads, mlp_ratio: of the transformer.
        neck: channels D of the embedding.
    """

    def __init__(self, image_size: int, patch: int, width: int, depth: int, heads: int, mlp_ratio: float, neck: int):
        super().__init__()
        self.img_size = image_size
        self.patch_embed = PatchEmbed(patch, width)
        self.pos_embed = nn.Parameter(zeros(1, (PRETRAINED_SIDE // patch) ** 2 + 1, width))
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, mlp_ratio) for _ in range(depth))
        self.neck = nn.Sequential(
            nn.Conv2d(width, neck, 1, bias=False),
            ChannelNorm(neck),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            ChannelNorm(neck),
        )

    def positions(self, height: int, width: int) -> Tensor:
        """Resize the position table to a grid: ``(1, height * width, C)``."""
        table = self.pos_embed[:, 1:]
        side = math.isqrt(table.shape[1])
        if (side, side) == (height, width):
            return table
        grid = table.transpose(1, 2).unflatten(2, (side, side))  # (1, C, side, side)
        grid = F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)
        return grid.flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, S, S)`` normalised -> ``(B, D, S/patch, S/patch)``."""
        grid = self.patch_embed(images)
        shape = grid.shape[-2:]
        x = grid.flatten(2).transpose(1, 2)  # (B, N, C)
        x = x + self.positions(*shape)
        for block in self.blocks:
            x = block(x)
        return self.neck(x.transpose(1, 2).unflatten(2, shape))
