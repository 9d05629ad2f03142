"""Between the towers, the language model and the mask decoder."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ImageProjector(nn.Module):
    """Tower features ``(B, C, h, w)`` -> image tokens ``(B, side * side, hidden)``: mean pooling to a fixed grid, then
    a two-layer perceptron."""

    def __init__(self, width: int, hidden: int, side: int):
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def pool(self, features: Tensor) -> Tensor:
        """``(B, C, h, w)`` -> ``(B, side * side, C)``: the part without weights, which training keeps on disk."""
        return F.adaptive_avg_pool2d(features.float(), self.side).flatten(2).transpose(1, 2)

    def project(self, pooled: Tensor) -> Tensor:
        """``(B, side * side, C)`` -> ``(B, side * side, hidden)``."""
        return self.layers(self.norm(pooled))

    def forward(self, features: Tensor) -> Tensor:
        return self.project(self.pool(features))


class SegProjector(nn.Sequential):
    """Hidden state of [SEG] ``(N, hidden)`` -> prompt embedding ``(N, out)``. Layers 0 and 2 carry weights, as
    ``text_hidden_fcs.0`` of LISA does."""

    def __init__(self, hidden: int, out: int):
        super().__init__(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.to(self[0].weight.dtype))
