"""The DeAOT network: encoder, object embedding, gated propagation and decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lisa_micro.models.trackers.deaot.config import STRIDE, DeaotConfig
from lisa_micro.models.trackers.deaot.decoder import PyramidDecoder
from lisa_micro.models.trackers.deaot.encoders import FrozenBatchNorm, Norm, build_encoder
from lisa_micro.models.trackers.deaot.layers import to_grid, to_tokens
from lisa_micro.models.trackers.deaot.lstt import FrameState, LongShortTermPropagation, Memory

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNUSED = -1e10
"""Logit of an object number that is not in use."""


class DeAOT(nn.Module):
    """DeAOT with the module and parameter names of the official code.

    Args:
        encoder: maps images to features at strides 4, 8, 16 and 16; its ``channels`` are their channels.
        lstt: gated propagation.
        decoder: maps tokens and features to logits.
        dim: channels D of a branch.
        objects: number of objects per bank.
        aligned: whether grids have aligned corners.
    """

    def __init__(
        self,
        encoder: nn.Module,
        lstt: LongShortTermPropagation,
        decoder: PyramidDecoder,
        dim: int,
        objects: int,
        aligned: bool,
    ):
        super().__init__()
        self.objects, self.aligned = objects, aligned
        self.encoder = encoder
        self.encoder_projector = nn.Conv2d(encoder.channels[-1], dim, 1)
        self.LSTT = lstt
        self.decoder = decoder
        # with aligned corners a token is centred on a pixel, so its patch is one pixel larger
        kernel = STRIDE + 1 if aligned else STRIDE
        self.patch_wise_id_bank = nn.Conv2d(objects + 1, dim, kernel, STRIDE, STRIDE // 2 if aligned else 0)
        self.id_norm = nn.LayerNorm(dim)
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        nn.init.xavier_uniform_(self.encoder_projector.weight)
        with torch.no_grad():
            flat = nn.init.orthogonal_(torch.empty(dim, (objects + 1) * kernel**2), gain=kernel**-2)
            self.patch_wise_id_bank.weight.copy_(flat.view_as(self.patch_wise_id_bank.weight))

    def encode(self, images: Tensor) -> list[Tensor]:
        """Encode images ``(B, 3, H, W)`` in 0..1 to features at strides 4, 8, 16 and, projected to D channels, 16."""
        *shortcuts, last = self.encoder((images - self.pixel_mean) / self.pixel_std)
        return [*shortcuts, self.encoder_projector(last)]

    def identify(self, one_hot: Tensor) -> Tensor:
        """Embed one-hot labels ``(B, 1 + objects, H, W)``, background first, as ``(B, N, D)``."""
        return self.id_norm(to_tokens(self.patch_wise_id_bank(one_hot)))

    def propagate(
        self,
        features: list[Tensor],
        id_emb: Tensor | None = None,
        long_term: Sequence[Memory] | None = None,
        short_term: Sequence[Memory] | None = None,
    ) -> tuple[Tensor, list[FrameState]]:
        """Propagate the features of a frame.

        Args:
            features: of :meth:`encode`.
            id_emb: label embedding ``(B, N, D)`` of a reference frame; ``None`` for a frame to be predicted.
            long_term, short_term: memories of a frame to be predicted, one entry per layer.

        Returns:
            tokens ``(B, N, 2 D)`` and the state of the frame in each layer.
        """
        grid = features[-1]
        return self.LSTT(to_tokens(grid), grid.shape[-2:], id_emb, long_term, short_term)

    def decode(self, tokens: Tensor, features: list[Tensor], used: Tensor | int) -> Tensor:
        """Decode tokens and features of a frame to logits ``(B, 1 + objects, h, w)`` at stride 4.

        Args:
            tokens, features: of :meth:`propagate` and :meth:`encode`.
            used: number of objects in use, or the used channels as ``(B, 1 + objects)`` bool; the logits of the others
                are :data:`UNUSED`.
        """
        logits = self.decoder(to_grid(tokens, features[-1].shape[-2:]), *features[:3])
        if isinstance(used, int):
            used = (torch.arange(self.objects + 1, device=logits.device) <= used)[None]
        return logits.masked_fill(~used[:, :, None, None], UNUSED)


def build_deaot(config: DeaotConfig, norm: Norm = FrozenBatchNorm) -> DeAOT:
    """Build the network with random weights; ``norm`` is the normalization of a convolutional encoder."""
    encoder = build_encoder(config.encoder, norm)
    lstt = LongShortTermPropagation(
        config.layers,
        config.dim,
        config.attention,
        config.expansion,
        config.window,
        config.drop_path,
        config.drop_channel,
    )
    decoder = PyramidDecoder(2 * config.dim, config.dim, encoder.channels[:3], config.objects + 1, config.aligned)
    return DeAOT(encoder, lstt, decoder, config.dim, config.objects, config.aligned)
