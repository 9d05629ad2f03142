"""Feature pyramid decoder of DeAOT: tokens at stride 16 -> object logits at stride 4.

Parameter names are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.trackers.deaot.layers import init_xavier


class ConvNorm(nn.Module):
    """Convolution followed by group normalization with 8 groups."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.gn = nn.GroupNorm(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(self.conv(x))


class PyramidDecoder(nn.Module):
    """Upsamples tokens and adds the encoder features of each resolution.

    Args:
        inputs: channels of the tokens.
        hidden: channels at strides 16 and 8; half of them at stride 4.
        shortcuts: channels of the encoder features at strides 4, 8 and 16.
        outputs: number of objects, background included.
        aligned: upsample with aligned corners.
    """

    def __init__(self, inputs: int, hidden: int, shortcuts: Sequence[int], outputs: int, aligned: bool):
        super().__init__()
        self.aligned = aligned
        quarter, eighth, sixteenth = shortcuts
        self.conv_in = ConvNorm(inputs, hidden, 1)
        self.conv_16x = ConvNorm(hidden, hidden, 3)
        self.conv_8x = ConvNorm(hidden, hidden // 2, 3)
        self.conv_4x = ConvNorm(hidden // 2, hidden // 2, 3)
        self.adapter_16x = nn.Conv2d(sixteenth, hidden, 1)
        self.adapter_8x = nn.Conv2d(eighth, hidden, 1)
        self.adapter_4x = nn.Conv2d(quarter, hidden // 2, 1)
        self.conv_out = nn.Conv2d(hidden // 2, outputs, 1)
        init_xavier(self)

    def forward(self, x: Tensor, quarter: Tensor, eighth: Tensor, sixteenth: Tensor) -> Tensor:
        """Decode tokens ``(B, C, h, w)`` and encoder features at strides 4, 8, 16 to logits at stride 4."""
        x = F.relu(self.conv_in(x))
        x = F.relu(self.conv_16x(self.adapter_16x(sixteenth) + x))
        x = F.relu(self.conv_8x(self.adapter_8x(eighth) + enlarge(x, eighth.shape[-2:], self.aligned)))
        x = F.relu(self.conv_4x(self.adapter_4x(quarter) + enlarge(x, quarter.shape[-2:], self.aligned)))
        return self.conv_out(x)


def enlarge(x: Tensor, size: Sequence[int], aligned: bool) -> Tensor:
    """Resize ``(B, C, h, w)`` to ``(B, C, *size)`` by bilinear interpolation."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=aligned)
