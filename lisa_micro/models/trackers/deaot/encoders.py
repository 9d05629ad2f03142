"""Image encoders of DeAOT: features at strides 4, 8, 16 and 16.

Parameter names are those of the official checkpoints (yoxu515/aot-benchmark, BSD-3), which load strictly. MobileNetV2
(Sandler et al., arXiv 1801.04381) and ResNet-50 (He et al., arXiv 1512.03385) end at stride 16: the stage at stride 32
is dilated in the former and left out in the latter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.trackers.deaot.swin import SwinEncoder
from lisa_micro.types import InputError

Norm = Callable[[int], nn.Module]
"""Builds the normalization layer of ``(B, C, H, W)`` features from the number of channels."""

MOBILENET_STAGES = (
    # expansion, channels, blocks, stride, dilation of the first block, of the others
    (1, 16, 1, 1, 1, 1),
    (6, 24, 2, 2, 1, 1),
    (6, 32, 3, 2, 1, 1),
    (6, 64, 4, 2, 1, 1),
    (6, 96, 3, 1, 1, 1),
    (6, 160, 3, 1, 1, 2),
    (6, 320, 1, 1, 2, 2),
)
MOBILENET_TAPS = (4, 7, 14, 19)
"""Indices of the blocks before which the features of strides 4, 8, 16 and 16 are taken."""


class FrozenBatchNorm(nn.Module):
    """Batch normalization with fixed statistics and fixed affine parameters, all of them buffers."""

    eps = 1e-5

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels) - self.eps)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, normalization and ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, norm: Norm, stride: int = 1, dilation: int = 1, groups: int = 1
    ):
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
            norm(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection; with a skip connection if sizes match."""

    def __init__(self, inputs: int, outputs: int, expansion: int, norm: Norm, stride: int = 1, dilation: int = 1):
        super().__init__()
        wide = inputs * expansion
        widen = [ConvNormAct(inputs, wide, 1, norm)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *widen,
            ConvNormAct(wide, wide, 3, norm, stride, dilation, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            norm(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2: ``(B, 3, H, W)`` -> features with 24, 32, 96 and 1280 channels."""

    channels = (24, 32, 96, 1280)

    def __init__(self, norm: Norm = FrozenBatchNorm):
        super().__init__()
        features: list[nn.Module] = [ConvNormAct(3, 32, 3, norm, stride=2)]
        inputs = 32
        for expansion, outputs, blocks, stride, first, others in MOBILENET_STAGES:
            for k in range(blocks):
                features.append(
                    InvertedResidual(
                        inputs, outputs, expansion, norm, stride if k == 0 else 1, first if k == 0 else others
                    )
                )
                inputs = outputs
        features.append(ConvNormAct(inputs, 1280, 1, norm))
        self.features = nn.Sequential(*features)
        _init_convolutions(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, taps, begin = images, [], 0
        for end in MOBILENET_TAPS:
            for block in self.features[begin:end]:
                x = block(x)
            taps.append(x)
            begin = end
        return taps


class Bottleneck(nn.Module):
    """Bottleneck block: 1 x 1, 3 x 3 and 1 x 1 convolutions, with a projected skip connection if sizes differ."""

    def __init__(self, inputs: int, planes: int, norm: Norm, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = norm(4 * planes)
        fits = stride == 1 and inputs == 4 * planes
        self.downsample = (
            None if fits else nn.Sequential(nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), norm(4 * planes))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """ResNet-50 without its last stage: ``(B, 3, H, W)`` -> features with 256, 512, 1024 and 1024 channels."""

    channels = (256, 512, 1024, 1024)

    def __init__(self, norm: Norm = FrozenBatchNorm):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)

        def stage(inputs: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
            rest = [Bottleneck(4 * planes, planes, norm) for _ in range(blocks - 1)]
            return nn.Sequential(Bottleneck(inputs, planes, norm, stride), *rest)

        self.layer1 = stage(64, 64, 3, 1)
        self.layer2 = stage(256, 128, 4, 2)
        self.layer3 = stage(512, 256, 6, 2)
        _init_convolutions(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [quarter, eighth, sixteenth, sixteenth]


def _init_convolutions(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")


def build_encoder(name: str, norm: Norm = FrozenBatchNorm) -> nn.Module:
    """Build an encoder with random weights.

    Args:
        name: ``"mobilenetv2"``, ``"resnet50"`` or ``"swin_base"``.
        norm: normalization of the two convolutional encoders.

    Raises:
        InputError: if the name is unknown.
    """
    if name == "mobilenetv2":
        return MobileNetV2(norm)
    if name == "resnet50":
        return ResNet50(norm)
    if name == "swin_base":
        return SwinEncoder(width=128, depths=(2, 2, 18), heads=(4, 8, 16), window=7, drop_path=0.3, blocks=24)
    raise InputError(f"Unknown encoder {name!r}; choose mobilenetv2, resnet50 or swin_base.")
