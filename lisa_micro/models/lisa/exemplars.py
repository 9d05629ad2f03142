"""Exemplars: boxes around some objects prompt the mask decoder for all that are alike.

Two prompts come out. Tokens say what the objects look like: features pooled in the boxes, by a small network. The mask
prompt says where such pixels are: a ridge regression in closed form on the SAM tower's features, fitted to the pixels
of the boxes (Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.lisa.mask_head import FRAME, box_areas, exact
from lisa_micro.models.towers.sam import ChannelNorm, SamFeatures

POSITIVE, NEGATIVE, UNUSED = 1, -1, 0
"""Signs of exemplar boxes: alike, not alike, no box."""

RING = 0.35
"""Width of the ring around a positive box that counts as unlike, as a share of the box's sides."""
LEAST_RING = 6.0
"""px of the tower's input: the ring is at least so wide."""
TOKENS = 3
"""Prompt tokens of an exemplar prompt: of the positive boxes, of the negative ones, and one for the task."""


SMALL = 20.0
"""px: objects that would be seen smaller than this are seen enlarged, as far as the frame goes."""


def side_for(boxes: np.ndarray, shape: tuple[int, int], work_side: int) -> int:
    """Longest side, px, at which the tower is to see a micrograph of ``shape`` ``(H, W)`` so that the objects in
    ``boxes`` ``(K, 4)`` XYXY px are not too small: between ``work_side`` and :data:`FRAME`, and never more than the
    micrograph's own."""
    longest = max(shape)
    size = float(np.median(np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0), axis=1))))
    wanted = SMALL / size * longest
    return int(min(max(wanted, work_side), FRAME, max(longest, work_side)))


class LearntExemplar(NamedTuple):
    """What boxes have taught, without the image that they were drawn on; it prompts on any image.

    tokens: ``(N, 3, D)`` prompt tokens. gram: ``(N, C + 1, C + 1)`` weighted second moments of the maps' pixels, the
    last channel being 1; target: ``(N, C + 1, 1)`` their weighted sum, unlike pixels counted negative. Both may be
    averaged over several images.
    """

    tokens: Tensor
    gram: Tensor
    target: Tensor


class ExemplarPrompt(NamedTuple):
    """Prompt of N images.

    tokens: ``(N, 3, D)``. areas: ``(N, 1, H/4, W/4)``, the probability 0..1 that a pixel is alike, by the ridge
    regression. fine: ``(N, D/8, H/4, W/4)``, the same for the decoder's refinement, whose cells are small enough for
    small objects.
    """

    tokens: Tensor
    areas: Tensor
    fine: Tensor

    def on(self, features: SamFeatures) -> SamFeatures:
        """The features that the mask decoder refines its mask with: those of the tower, ``fine`` added at stride 4."""
        coarse, middle, finest = features.skips
        return features._replace(skips=(coarse, middle + self.fine.to(middle.dtype), finest))


@dataclass(frozen=True)
class ExemplarBoxes:
    """Boxes of N images.

    Attributes:
        boxes: ``(N, K, 4)`` XYXY px of the tower's input, relative to its top left corner.
        signs: ``(N, K)`` :data:`POSITIVE`, :data:`NEGATIVE` or :data:`UNUSED`; each image has a positive one.
        masks: ``(N, K, H/2, W/2)`` probability 0..1 of the object in each box, as the mask decoder gives it for the
        box.
    """

    boxes: Tensor
    signs: Tensor
    masks: Tensor


class ExemplarEncoder(nn.Module):
    """Exemplar boxes -> prompt of the mask decoder.

    Args:
        dim: channels D of the tower's embedding and of a prompt token.
    """

    def __init__(self, dim: int = 192):
        super().__init__()
        widths = (64, dim // 4, dim // 8, dim // 8)
        self.projections = nn.ModuleList(
            nn.Conv2d(channels, width, 1)
            for channels, width in zip((dim, dim // 4, dim // 8, dim // 8), widths, strict=True)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths)
        self.channels = width = sum(widths) + 2
        self.pooled = nn.Sequential(
            nn.Linear(3 * width + 4, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim), nn.GELU(), nn.Linear(dim, dim)
        )
        self.kinds = nn.Embedding(4, dim)  # positive, negative, no negative box, the task itself
        self.weights = nn.Parameter(torch.tensor([0.0, 0.0, -1.5]))  # logarithms: boxes, unlike pixels, all others
        self.ridge = nn.Parameter(torch.tensor(-4.0))  # logarithm
        self.scale = nn.Parameter(torch.tensor([3.0, 0.0]))
        self.fine = nn.Conv2d(2, dim // 8, 3, padding=1)
        nn.init.normal_(self.kinds.weight, std=0.3)

    def maps(self, features: SamFeatures, image: Tensor, level: Tensor | None = None) -> Tensor:
        """The tower's features and the image ``(N, 1, H, W)`` in 0..1 as one map ``(N, C, H/4, W/4)``. ``level``:
        ``(2,)`` mean and standard deviation of the micrograph that the image is a part of; ``None``: of the image."""
        size = (image.shape[-2] // 4, image.shape[-1] // 4)
        parts = []
        for part, projection, norm in zip(
            (features.embedding, *features.skips), self.projections, self.norms, strict=True
        ):
            part = norm(projection(part))
            if part.shape[-2] > size[0]:
                part = F.avg_pool2d(part, 2)
            elif part.shape[-2:] != size:
                part = F.interpolate(part, size, mode="bilinear", align_corners=False)
            parts.append(part)
        grey = F.avg_pool2d(image, 4)
        around = F.avg_pool2d(grey, 9, stride=1, padding=4, count_include_pad=False)
        if level is None:
            centre, spread = grey.mean((2, 3), keepdim=True), grey.std((2, 3), keepdim=True)
        else:
            centre, spread = level[0], level[1]
        spread = spread.clamp_min(1e-3)
        return torch.cat([*parts, (grey - centre) / spread, (grey - around) / spread], 1)

    def forward(self, features: SamFeatures, image: Tensor, given: ExemplarBoxes) -> ExemplarPrompt:
        """The prompt of each of N images.

        Args:
            features: of N images. image: ``(N, 1, H, W)`` in 0..1, as the tower saw it, sides multiples of 16.
            given: their boxes.
        """
        with exact(image.device):
            maps = self._exact_maps(features, image)
            return self._prompt(maps, self._learn(maps, given))

    def learn(
        self, features: SamFeatures, image: Tensor, given: ExemplarBoxes, level: Tensor | None = None
    ) -> LearntExemplar:
        """What the boxes of each of N images teach; arguments as of :meth:`forward` and :meth:`maps`."""
        with exact(image.device):
            return self._learn(self._exact_maps(features, image, level), given)

    def prompt(
        self, features: SamFeatures, image: Tensor, learnt: LearntExemplar, level: Tensor | None = None
    ) -> ExemplarPrompt:
        """The prompt of N images by what boxes of others have taught; ``level`` as of :meth:`maps`."""
        with exact(image.device):
            return self._prompt(self._exact_maps(features, image, level), learnt)

    def _exact_maps(self, features: SamFeatures, image: Tensor, level: Tensor | None = None) -> Tensor:
        features = SamFeatures(features.embedding.float(), tuple(s.float() for s in features.skips))
        return self.maps(features, image.float(), level)

    def _learn(self, maps: Tensor, given: ExemplarBoxes) -> LearntExemplar:
        inside, ring = self._places(given, maps.shape[-2:])
        objects = F.avg_pool2d(given.masks.float(), 2) * inside
        gram, target = self._moments(maps, inside, ring, objects, given.signs)
        return LearntExemplar(self._tokens(maps, inside, ring, objects, given), gram, target)

    def _prompt(self, maps: Tensor, learnt: LearntExemplar) -> ExemplarPrompt:
        n, c, h, w = maps.shape
        ridge = self.ridge.exp() * torch.eye(c + 1, device=maps.device)
        solution = torch.linalg.solve(learnt.gram + ridge, learnt.target)  # (N, C + 1, 1)
        x = torch.cat([maps, maps.new_ones(n, 1, h, w)], 1).reshape(n, c + 1, -1)
        score = (solution.transpose(1, 2) @ x).reshape(n, 1, h, w)
        areas = (self.scale[0] * score + self.scale[1]).sigmoid()
        fine = self.fine(torch.cat([areas, score.tanh()], 1))
        return ExemplarPrompt(learnt.tokens, areas, fine)

    def _places(self, given: ExemplarBoxes, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Inside of each box and ring around it, ``(N, K, h, w)`` in 0..1."""
        n, k = given.signs.shape
        flat = given.boxes.float().reshape(-1, 4)
        sides = (flat[:, 2:] - flat[:, :2]).clamp_min(1.0)
        grown = (RING * sides).clamp_min(LEAST_RING)
        outer = torch.cat([flat[:, :2] - grown, flat[:, 2:] + grown], 1)
        used = (given.signs != UNUSED).float()[..., None, None]
        inside, around = (box_areas(b, size[0] // 4, size[1] // 4).reshape(n, k, *size) * used for b in (flat, outer))
        return inside, (around - inside).clamp_min(0)

    def _moments(
        self, maps: Tensor, inside: Tensor, ring: Tensor, objects: Tensor, signs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gram matrix and target of the weighted ridge regression of +1 (alike) and -1 on the maps, see
        :class:`LearntExemplar`."""
        n, c, h, w = maps.shape
        positive = (signs == POSITIVE).float()[..., None, None]
        negative = (signs == NEGATIVE).float()[..., None, None]
        alike = (objects * positive).amax(1)
        unlike = torch.maximum(
            ((inside + ring - objects) * positive).amax(1), (0.3 * inside + 0.7 * objects).mul(negative).amax(1)
        )
        unlike = unlike * (1 - alike)
        some = positive.amax(1)  # without a positive box nothing is known of the rest
        rest = (1 - alike) * (1 - unlike) * some
        shares = self.weights.exp()
        weight_alike = shares[0] * alike / alike.sum((1, 2), keepdim=True).clamp_min(1e-3)
        weight_unlike = shares[1] * unlike / unlike.sum((1, 2), keepdim=True).clamp_min(1e-3)
        weight_rest = shares[2] * rest / rest.sum((1, 2), keepdim=True).clamp_min(1e-3)
        weight = (weight_alike + weight_unlike + weight_rest).reshape(n, 1, -1)
        signed = (weight_alike - weight_unlike - weight_rest).reshape(n, -1, 1)
        x = torch.cat([maps, maps.new_ones(n, 1, h, w)], 1).reshape(n, c + 1, -1)
        return (x * weight) @ x.transpose(1, 2), x @ signed

    def _tokens(self, maps: Tensor, inside: Tensor, ring: Tensor, objects: Tensor, given: ExemplarBoxes) -> Tensor:
        """Prompt tokens ``(N, 3, D)``."""

        def pool(weight: Tensor) -> Tensor:
            total = weight.sum((2, 3)).clamp_min(1e-3)
            return torch.einsum("nkhw,nchw->nkc", weight, maps) / total[..., None]

        # a trace of the whole box: where the decoder finds nothing in it, something is pooled all the same
        own, around = pool(objects + 0.02 * inside), pool(ring + 1e-4)
        sides = (given.boxes[..., 2:] - given.boxes[..., :2]).float().clamp_min(1.0)
        size = torch.cat([sides.log() - 3.5, (sides[..., :1] / sides[..., 1:]).log()], -1)
        filled = (objects.sum((2, 3)) / inside.sum((2, 3)).clamp_min(1.0))[..., None]
        each = self.pooled(torch.cat([own, around, own - around, size, filled], -1))
        tokens = []
        for kind, sign in enumerate((POSITIVE, NEGATIVE)):
            share = (given.signs == sign).float()
            count = share.sum(1, keepdim=True)
            mean = (each * share[..., None]).sum(1) / count.clamp_min(1.0)
            token = mean + self.kinds.weight[kind]
            tokens.append(torch.where(count > 0, token, self.kinds.weight[2].expand_as(token)))
        tokens.append(self.kinds.weight[3].expand_as(tokens[0]))
        return torch.stack(tokens, 1)
