"""The mask decoder: one for words, points and boxes.

``segment_anything``'s prompt encoder and two-way mask decoder, with a refinement step that goes on to stride 2 with the
SAM tower's fine features. Three maps come out for every prompt: the mask, the distance of each pixel to its
instance's edge (from which touching instances are told apart), and the line where instances meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from lisa_micro.models.towers.sam import ChannelNorm, SamFeatures

FRAME = 1024
"""Side of the square frame, px, in which positions are encoded. Images are laid into it at their own scale, so that a
position code means a length, not a share of the image."""

STRIDE = 16


class MaskOutputs(NamedTuple):
    """What the mask decoder gives for N prompts; maps at stride 2 of the tower's input (stride 4 without refinement).

    mask: ``(N, h, w)`` logits. distance: ``(N, h, w)`` logits; sigmoid = distance to the instance's edge over the
    instance's largest such distance. border: ``(N, h, w)`` logits of the lines where instances meet.
    iou: ``(N,)`` predicted IoU. presence: ``(N,)`` logit of "this is in the image".
    """

    mask: Tensor
    distance: Tensor
    border: Tensor
    iou: Tensor
    presence: Tensor


class RefiningMaskDecoder(MaskDecoder):
    """SAM's mask decoder with skip connections at strides 8 and 4, and one more step up to stride 2.

    The three mask tokens stand for mask, distance and border; the first two outputs of the quality head for predicted
    IoU and presence.
    """

    def __init__(self, dim: int, depth: int = 2, heads: int = 8, mlp_dim: int = 512):
        transformer = TwoWayTransformer(depth=depth, embedding_dim=dim, mlp_dim=mlp_dim, num_heads=heads)
        super().__init__(transformer_dim=dim, transformer=transformer, num_multimask_outputs=2, iou_head_hidden_dim=dim)
        fine = dim // 8
        self.refine_up = nn.ConvTranspose2d(fine, fine, kernel_size=2, stride=2)
        self.refine_norm = ChannelNorm(fine)
        self.refine_conv = nn.Conv2d(fine, fine, 3, padding=1)
        self.activation = nn.GELU()

    def decode(
        self, embedding: Tensor, skips: tuple[Tensor, ...], position: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Args: per-prompt embedding ``(N, D, h, w)`` and skips, position code ``(N, D, h, w)``, prompt tokens
        ``(N, T, D)``, dense prompt broadcastable to the embedding. Returns maps ``(N, 3, 8h, 8w)`` and quality
        ``(N, 3)``."""
        n = sparse.shape[0]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(n, -1, -1)
        tokens, source = self.transformer(embedding + dense, position, torch.cat([own, sparse], 1))
        x = source.transpose(1, 2).reshape(embedding.shape)
        up8, norm8, act, up4, act4 = self.output_upscaling
        x = act(norm8(up8(x) + skips[0]))
        x = act4(up4(x) + skips[1])
        x = self.activation(self.refine_norm(self.refine_up(x) + skips[2]))
        x = self.activation(self.refine_conv(x) + x)
        kernels = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        maps = torch.einsum("nkc,nchw->nkhw", kernels, x)
        return maps, self.iou_prediction_head(tokens[:, 0])


def exact(device: torch.device) -> torch.autocast:
    """Position codes are computed in float32: their phases span many turns over the frame, and bfloat16 would move a
    position by many pixels, differently on machines with and without it."""
    return torch.autocast(device.type, enabled=False)


def _axis(count: int, start: float, like: Tensor) -> Tensor:
    """Centres of cells of 4 px along one axis, px of the frame."""
    return torch.arange(count, device=like.device, dtype=torch.float32) * 4 + 2 + start


def box_areas(boxes: Tensor, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> Tensor:
    """A box is also laid down as SAM's mask prompt: it says where to look more directly than two corners do.

    Args:
        boxes: ``(N, 4)`` XYXY px of the frame. height, width: of the embedding (cells of 16 px), at ``origin``.

    Returns:
        ``(N, 1, 4 height, 4 width)``: 1 inside, 0 outside, linear over the 4 px at the edge.
    """
    x = _axis(4 * width, origin[0] * STRIDE, boxes)
    y = _axis(4 * height, origin[1] * STRIDE, boxes)
    x0, y0, x1, y1 = boxes.float().unbind(1)
    inside_x = torch.minimum(x - x0[:, None], x1[:, None] - x).div(4).add(0.5).clamp(0, 1)
    inside_y = torch.minimum(y - y0[:, None], y1[:, None] - y).div(4).add(0.5).clamp(0, 1)
    return (inside_y[:, :, None] * inside_x[:, None, :]).unsqueeze(1)


def point_areas(points: Tensor, labels: Tensor, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> Tensor:
    """Points as SAM's mask prompt: a bump (sigma 6 px) per point, positive inside, negative outside.

    Args:
        points: ``(N, P, 2)`` XY px of the frame; labels ``(N, P)``: 1 in, 0 out, -1 nothing.

    Returns:
        ``(N, 1, 4 height, 4 width)`` in -1..1.
    """
    x = _axis(4 * width, origin[0] * STRIDE, points)
    y = _axis(4 * height, origin[1] * STRIDE, points)
    bump_x = torch.exp(-((x - points[..., 0:1].float()) ** 2) / 72)
    bump_y = torch.exp(-((y - points[..., 1:2].float()) ** 2) / 72)
    sign = torch.where(labels == 1, 1.0, torch.where(labels == 0, -1.0, 0.0)).unsqueeze(-1)
    return torch.einsum("npy,npx->nyx", bump_y * sign, bump_x).clamp(-1, 1).unsqueeze(1)


@dataclass(frozen=True)
class MaskHeadConfig:
    """Sizes of the mask decoder. ``concepts``: number of entries of the concept code book."""

    dim: int = 192
    depth: int = 2
    heads: int = 8
    mlp_dim: int = 512
    concepts: int = 5


class MaskHead(nn.Module):
    """Prompt encoder, mask decoder and the code book of concepts.

    The code book holds one prompt embedding per concept. The decoder is trained with it; the language model then learns
    to write [SEG] tokens whose projected hidden states lie where the code book's entry does. At inference words never
    touch the code book: only the hidden state prompts the decoder.
    """

    def __init__(self, config: MaskHeadConfig):
        super().__init__()
        self.config = config
        self.prompt_encoder = PromptEncoder(
            embed_dim=config.dim,
            image_embedding_size=(FRAME // STRIDE, FRAME // STRIDE),
            input_image_size=(FRAME, FRAME),
            mask_in_chans=16,
        )
        # one scale of random frequencies, as in SAM, resolves an image of one size; here a length of 8 px and one of
        # 500 px both matter, so the frequencies spread over four octaves
        frequencies = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        frequencies *= torch.logspace(-1, 3, frequencies.shape[1], base=2.0)
        self.mask_decoder = RefiningMaskDecoder(config.dim, config.depth, config.heads, config.mlp_dim)
        self.code_book = nn.Embedding(config.concepts, config.dim)

    def point_tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """``(N, P, 2)`` XY px of the frame and ``(N, P)`` labels (1 in, 0 out, -1 nothing) -> ``(N, P + 1, D)``."""
        with exact(points.device):
            return self.prompt_encoder._embed_points(points.float(), labels, pad=True)

    def box_tokens(self, boxes: Tensor) -> Tensor:
        """``(N, 4)`` XYXY px of the frame -> ``(N, 2, D)``."""
        with exact(boxes.device):
            return self.prompt_encoder._embed_boxes(boxes.float())

    def position(self, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Position code ``(1, D, height, width)`` of an embedding whose top left corner lies at ``origin`` (column,
        row, in cells of 16 px) of the frame."""
        x0, y0 = origin
        with exact(self.code_book.weight.device):
            full = self.prompt_encoder.get_dense_pe()
        if y0 + height > full.shape[2] or x0 + width > full.shape[3]:
            raise ValueError(f"the image does not fit into the {FRAME} px frame: tile it")
        return full[:, :, y0 : y0 + height, x0 : x0 + width]

    def forward(
        self,
        features: SamFeatures,
        sparse: Tensor,
        origin: tuple[int, int] = (0, 0),
        areas: Tensor | None = None,
    ) -> MaskOutputs:
        """Decode N prompts.

        Args:
            features: of one image (batch 1, shared by all prompts) or one entry per prompt (batch N).
            sparse: prompt tokens ``(N, T, D)``.
            origin: see :meth:`position`.
            areas: ``(N, 1, 4h, 4w)``, see :func:`box_areas` and :func:`point_areas`; ``None`` for words.
        """
        n = sparse.shape[0]
        embedding = features.embedding.expand(n, -1, -1, -1)
        skips = tuple(skip.expand(n, -1, -1, -1) for skip in features.skips)
        position = self.position(*embedding.shape[-2:], origin=origin).expand(n, -1, -1, -1)
        return self.decode(embedding, skips, position, sparse, areas)

    def decode(
        self, embedding: Tensor, skips: tuple[Tensor, ...], position: Tensor, sparse: Tensor, areas: Tensor | None
    ) -> MaskOutputs:
        """The same with all that a prompt sees spelt out: embedding and position code ``(N, D, h, w)``, skips likewise,
        tokens ``(N, T, D)``, areas ``(N, 1, 4h, 4w)`` or ``None``."""
        dtype = embedding.dtype
        if areas is None:
            dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).to(dtype)
        else:
            dense = self.prompt_encoder.mask_downscaling(areas.to(dtype)).to(dtype)
        maps, quality = self.mask_decoder.decode(embedding, skips, position.to(dtype), sparse.to(dtype), dense)
        maps, quality = maps.float(), quality.float()
        return MaskOutputs(maps[:, 0], maps[:, 1], maps[:, 2], quality[:, 0], quality[:, 1])
