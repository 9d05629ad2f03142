"""Prompt encoder and mask decoder of EfficientSAM.

They are like those of SAM, but with other prompt embeddings (none for points outside the object, none for masks), a
residual connection around every attention, and GELU throughout. Names of parameters are those of the official
checkpoints (yformer/EfficientSAM, Apache-2.0), so that these load strictly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOX_NEAR, BOX_FAR = 2, 3
"""Point labels of the corners of a box; 1 is a point on the object, -1 is no point."""


class PerceptronHead(nn.Module):
    """``hidden_layers`` linear layers with GELU, followed by a linear layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, hidden_layers: int):
        super().__init__()
        widths = [inputs] + [hidden] * hidden_layers
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.GELU()) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)


class FourierPositions(nn.Module):
    """Encode positions in 0..1 as sines and cosines of random frequencies, always in float32."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, xy: Tensor) -> Tensor:
        """``(..., 2)`` x, y in 0..1 -> ``(..., D)``."""
        with torch.autocast(xy.device.type, enabled=False):
            phases = (2 * xy.float() - 1) @ self.positional_encoding_gaussian_matrix.float()
            phases = 2 * math.pi * phases
            return torch.cat([phases.sin(), phases.cos()], dim=-1)

    def grid(self, side: int) -> Tensor:
        """Encodings of the centres of ``side`` x ``side`` cells, ``(D, side, side)``."""
        centres = torch.arange(side, device=self.positional_encoding_gaussian_matrix.device) + 0.5
        y, x = torch.meshgrid(centres / side, centres / side, indexing="ij")
        return self(torch.stack([x, y], dim=-1)).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Points -> tokens.

    Args:
        dim: D of a token.
        grid: side of the embedding.
        image_size: side of the encoder's images, px.
    """

    def __init__(self, dim: int, grid: int, image_size: int):
        super().__init__()
        self.grid, self.image_size = grid, image_size
        self.pe_layer = FourierPositions(dim)
        self.invalid_points = nn.Embedding(1, dim)
        self.point_embeddings = nn.Embedding(1, dim)
        self.bbox_top_left_embeddings = nn.Embedding(1, dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, dim)

    def get_dense_pe(self) -> Tensor:
        """Position encoding of the embedding, ``(1, D, grid, grid)``."""
        return self.pe_layer.grid(self.grid).unsqueeze(0)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points ``(N, P, 2)`` XY px of the encoder's images, labels ``(N, P)`` -> ``(N, P, D)``. A label without an
        embedding (0, for example) gives the position encoding alone."""
        # a point in whole pixels stands for the centre of its pixel
        tokens = self.pe_layer((points + 0.5) / self.image_size)
        codes = (
            (-1, self.invalid_points),
            (1, self.point_embeddings),
            (BOX_NEAR, self.bbox_top_left_embeddings),
            (BOX_FAR, self.bbox_bottom_right_embeddings),
        )
        for label, code in codes:
            tokens = tokens + code.weight * (labels == label).unsqueeze(-1)
        return tokens


class CrossAttention(nn.Module):
    """Attention with projections to ``dim / shrink`` channels."""

    def __init__(self, dim: int, heads: int, shrink: int = 1):
        super().__init__()
        inner = dim // shrink
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q ``(N, T, D)``, k and v ``(N, S, D)`` -> ``(N, T, D)``."""
        projected = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        heads = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)  # (N, heads, T, inner/heads)
        return self.out_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend to each other, then to the image; a feed-forward; then the image attends to the tokens.

    Args:
        place_tokens: whether positions are added to the tokens before their self-attention (not in the first block,
            where the tokens are equal to their positions).
    """

    def __init__(self, dim: int, heads: int, hidden: int, place_tokens: bool):
        super().__init__()
        self.place_tokens = place_tokens
        self.self_attn = CrossAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = CrossAttention(dim, heads, shrink=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = PerceptronHead(dim, hidden, dim, 1)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = CrossAttention(dim, heads, shrink=2)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` and image ``(N, S, D)`` with their position encodings -> both, updated."""
        if self.place_tokens:
            tokens = tokens + token_pe
        tokens = self.norm1(tokens + self.self_attn(tokens, tokens, tokens))
        placed = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Blocks with attention between tokens and image in both directions, and a last attention of the tokens to the
    image."""

    def __init__(self, dim: int, depth: int, heads: int, hidden: int):
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, heads, hidden, place_tokens=k > 0) for k in range(depth))
        self.final_attn_token_to_image = CrossAttention(dim, heads, shrink=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, prompts: Tensor, image: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)``, image ``(N, S, D)``, position encoding ``(1, S, D)`` -> both, updated."""
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, image_pe)
        attended = self.final_attn_token_to_image(tokens + prompts, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


class MaskDecoder(nn.Module):
    """Prompt tokens and an embedding -> masks and their predicted IoU.

    Args:
        dim: D of tokens and embedding.
        transformer: see :class:`TwoWayTransformer`.
        masks: number of masks of an ambiguous prompt; there is one more token, for unambiguous prompts.
        upscaling: channels after each doubling of the resolution.
        quality_hidden: width of the head that predicts the IoU.
    """

    def __init__(
        self, dim: int, transformer: TwoWayTransformer, masks: int, upscaling: tuple[int, ...], quality_hidden: int
    ):
        super().__init__()
        self.transformer = transformer
        self.mask_count = masks + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.mask_count, dim)
        self.final_output_upscaling_layers = nn.ModuleList()
        for k, (a, b) in enumerate(zip((dim, *upscaling), upscaling, strict=False)):
            norm = nn.Identity() if k == len(upscaling) - 1 else nn.GroupNorm(1, b)
            self.final_output_upscaling_layers.append(
                nn.Sequential(nn.ConvTranspose2d(a, b, 2, stride=2), norm, nn.GELU())
            )
        self.output_hypernetworks_mlps = nn.ModuleList(
            PerceptronHead(dim, dim, upscaling[-1], 2) for _ in range(self.mask_count)
        )
        self.iou_prediction_head = PerceptronHead(dim, quality_hidden, self.mask_count, 2)

    def forward(self, embedding: Tensor, image_pe: Tensor, prompts: Tensor, several: bool) -> tuple[Tensor, Tensor]:
        """Decode N prompts, each with an embedding of its own.

        Args:
            embedding: ``(N, D, h, w)``.
            image_pe: position encoding ``(1, D, h, w)``.
            prompts: ``(N, P, D)``.
            several: whether to give the masks of an ambiguous prompt (M = 3), or the one of an unambiguous prompt
                (M = 1).

        Returns:
            logits ``(N, M, 4h, 4w)``, predicted IoU ``(N, M)``.
        """
        learned = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(prompts), -1, -1)
        tokens, image = self.transformer(
            torch.cat([learned, prompts], dim=1),
            embedding.flatten(2).transpose(1, 2),  # (N, S, D)
            image_pe.flatten(2).transpose(1, 2),
        )
        x = image.transpose(1, 2).reshape(embedding.shape)
        for layer in self.final_output_upscaling_layers:
            x = layer(x)
        quality = self.iou_prediction_head(tokens[:, 0])  # (N, masks + 1)
        chosen = range(1, self.mask_count) if several else range(1)
        kernels = torch.stack([self.output_hypernetworks_mlps[k](tokens[:, 1 + k]) for k in chosen], dim=1)
        logits = (kernels @ x.flatten(2)).unflatten(2, x.shape[-2:])
        return logits, quality[:, chosen.start : chosen.stop]
