"""The network of DeAOT: encoder, bank of identities, propagation, decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lisa_micro.models.trackers.deaot.config import STRIDE, DeaotConfig
from lisa_micro.models.trackers.deaot.decoder import PyramidDecoder
from lisa_micro.models.trackers.deaot.encoders import FrozenBatchNorm, Norm, build_encoder
from lisa_micro.models.trackers.deaot.layers import to_grid, to_tokens
from lisa_micro.models.trackers.deaot.lstt import LongShortTermPropagation, Memory, Seen

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNUSED = -1e10
"""Logit of an identity of the bank that nobody has."""


class DeAOT(nn.Module):
    """Names of parts and parameters are the official ones.

    Args:
        encoder: images -> features at strides 4, 8, 16, 16; its ``channels`` are their channels.
        lstt: propagation. decoder: tokens and features -> logits.
        dim: D of a branch. objects: identities of a bank. aligned: whether grids have aligned corners.
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
        # with aligned corners a token stands on a pixel, so its patch has a pixel more
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
        """``(B, 3, H, W)`` in 0..1 -> features at strides 4, 8, 16 and, projected to D channels, 16."""
        *shortcuts, last = self.encoder((images - self.pixel_mean) / self.pixel_std)
        return [*shortcuts, self.encoder_projector(last)]

    def identify(self, one_hot: Tensor) -> Tensor:
        """Who is where ``(B, 1 + objects, H, W)``, background first -> ``(B, N, D)``."""
        return self.id_norm(to_tokens(self.patch_wise_id_bank(one_hot)))

    def propagate(
        self,
        features: list[Tensor],
        id_emb: Tensor | None = None,
        long_term: Sequence[Memory] | None = None,
        short_term: Sequence[Memory] | None = None,
    ) -> tuple[Tensor, list[Seen]]:
        """Features of a frame -> tokens ``(B, N, 2 D)`` and what each layer saw. With ``id_emb`` ``(B, N, D)`` the
        frame is a reference; else it takes both memories, one a layer."""
        grid = features[-1]
        return self.LSTT(to_tokens(grid), grid.shape[-2:], id_emb, long_term, short_term)

    def decode(self, tokens: Tensor, features: list[Tensor], used: Tensor | int) -> Tensor:
        """Tokens and features of a frame -> logits ``(B, 1 + objects, h, w)`` at stride 4.

        Args:
            used: how many identities of the bank are in use, or which channels are, ``(B, 1 + objects)`` bool; the
                others get :data:`UNUSED`.
        """
        logits = self.decoder(to_grid(tokens, features[-1].shape[-2:]), *features[:3])
        if isinstance(used, int):
            used = (torch.arange(self.objects + 1, device=logits.device) <= used)[None]
        return logits.masked_fill(~used[:, :, None, None], UNUSED)


def build_deaot(config: DeaotConfig, norm: Norm = FrozenBatchNorm) -> DeAOT:
    """The network with random weights. ``norm`` is that of a convolutional encoder; checkpoints hold the frozen one."""
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
