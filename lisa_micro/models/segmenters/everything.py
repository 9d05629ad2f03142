"""Everything mode: many prompts, and of their masks those that are good, stable and new, as labels without overlaps.

The way is that of SAM's automatic mask generator (Kirillov et al., Segment Anything, arXiv 2304.02643, appendix B): a
grid of points, filters on predicted IoU and on stability, non-maximum suppression of boxes, small regions cleaned up.
What is different: a member may propose prompts of its own instead of the grid, and what comes out are instances that
share no pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import ndimage

from lisa_micro.geometry import resample_nearest
from lisa_micro.models.segmenters.base import Instances, Prompts
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from torch import Tensor

LABEL_SIDE = 1536
"""Longest side, px, at which masks are put together; the decoders' maps hold no finer detail, and memory stays bounded
however large the micrograph is."""
_SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Everything:
    """How everything mode goes.

    Attributes:
        side: points along the longer side of the grid.
        score: least predicted IoU. stability: least IoU of the mask cut at logits +``shift`` with that at -``shift``.
        overlap: of two masks whose boxes have a larger IoU than this, the better one stays.
        covered: a mask of which better ones hold more than this share already is left out.
        smallest: regions and holes below this area are cleaned up; px where the longest side is at most
            :data:`LABEL_SIDE`, else px of the image at that size.
        largest: of the masks from the grid those are background that cover more than this share of the image, or
            reach all four of its sides.

    Raises:
        InputError: a value out of its range.
    """

    side: int = 32
    score: float = 0.7
    stability: float = 0.8
    shift: float = 1.0
    overlap: float = 0.7
    covered: float = 0.5
    smallest: int = 12
    largest: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.side <= 256:
            raise InputError(f"the grid has 1 to 256 points a side, not {self.side}")
        for name in ("score", "stability", "overlap", "covered", "largest"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie within 0 and 1, not be {getattr(self, name)}")
        if not self.shift >= 0 or self.smallest < 0:
            raise InputError("shift and smallest must not be negative")


@dataclass(frozen=True)
class Shape:
    """A mask and where its top left corner lies: ``mask`` ``(h, w)`` bool, ``x``, ``y`` px at the size of
    :func:`label_shape`."""

    mask: np.ndarray
    x: int
    y: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y, self.y + self.mask.shape[0]), slice(self.x, self.x + self.mask.shape[1])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """XYXY px."""
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]


@dataclass(frozen=True)
class Proposals:
    """Prompts, and, where the model that proposes them knows the objects' outlines already, these: then the decoder's
    answers say only which of them are objects."""

    prompts: Prompts
    shapes: tuple[Shape, ...] | None = None


class Proposer(Protocol):
    """The part of a segmenter that everything mode needs; see :class:`lisa_micro.models.segmenters.loop`."""

    image: Any

    def propose(self, settings: Everything) -> Iterator[Proposals]:
        """Prompts that together show every object."""

    def decode(self, prompts: Prompts) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Numbers of prompts, logits, predicted IoU, in batches."""

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Logits at the size of ``shape``, which stands for the whole micrograph."""


def label_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """The size ``(h, w)`` at which masks of a micrograph of ``shape`` ``(H, W)`` are put together."""
    scale = min(1.0, LABEL_SIDE / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def grid_points(shape: tuple[int, int], side: int) -> np.ndarray:
    """``(n, 2)`` XY px: the centres of square cells (to rounding), ``side`` of them along the longer side of an image
    of ``shape`` ``(H, W)``."""
    step = max(shape) / side
    counts = [max(1, round(length / step)) for length in shape]
    y, x = ((np.arange(count) + 0.5) * length / count for count, length in zip(counts, shape, strict=True))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def stability(logits: Tensor, shift: float) -> Tensor:
    """IoU of each mask cut at ``+shift`` with the one cut at ``-shift``: the first lies within the second, so their
    areas' ratio (Kirillov et al. 2023, appendix B). ``(n, h, w)`` logits -> ``(n,)``; 0 for an empty mask."""
    inner = (logits > shift).sum((1, 2))
    outer = (logits > -shift).sum((1, 2))
    return inner / outer.clamp_min(1)


def box_nms(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Non-maximum suppression: from the best score on, a box stays where its IoU with none of those that stay exceeds
    ``overlap``.

    Args:
        boxes: ``(n, 4)`` XYXY. scores: ``(n,)``.

    Returns:
        numbers of the boxes that stay, best first; of equal scores the first one goes first.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    waiting = np.argsort(-np.asarray(scores), kind="stable")
    stay = []
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        stay.append(best)
        near = np.maximum(boxes[rest, :2], boxes[best, :2])
        far = np.minimum(boxes[rest, 2:], boxes[best, 2:])
        common = np.prod(np.maximum(far - near, 0), axis=1)
        union = np.maximum(areas[rest] + areas[best] - common, 1e-9)
        waiting = rest[common / union <= overlap]
    return np.array(stay, np.intp)


def cleaned(mask: np.ndarray, smallest: int) -> np.ndarray:
    """``(h, w)`` bool without pieces below ``smallest`` px, and with its holes below that filled."""
    for inside in (True, False):
        labels, count = ndimage.label(mask == inside, _SQUARE if inside else None)
        small = np.bincount(labels.ravel(), minlength=count + 1) < smallest
        small[0] = False
        if not inside:  # what reaches the edge of the crop is no hole
            edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            small[edge] = False
        if small.any():
            mask = np.where(small[labels], not inside, mask)
    return mask


def crop(mask: np.ndarray) -> Shape | None:
    """``(H, W)`` bool -> its tight crop; ``None`` where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y, x = int(rows[0]), int(columns[0])
    return Shape(mask[y : rows[-1] + 1, x : columns[-1] + 1].copy(), x, y)


def outline_everything(segmenter: Proposer, settings: Everything) -> Instances:
    """All objects in the image that a segmenter has encoded. To be called in inference mode."""
    shape = segmenter.image.shape
    size = label_shape(shape)
    shapes: list[Shape] = []
    scores: list[float] = []
    tried = 0
    for proposals in segmenter.propose(settings):
        tried += len(proposals.prompts)
        for rows, logits, quality in segmenter.decode(proposals.prompts):
            h, w = segmenter.image.window
            steady = stability(logits[:, :h, :w], settings.shift)
            good = (quality >= settings.score) & (steady >= settings.stability)
            for k in good.nonzero()[:, 0].tolist():
                if proposals.shapes is not None:
                    found = proposals.shapes[rows[k]]
                else:
                    mask = (segmenter.enlarge(logits[k : k + 1], size)[0] > 0).cpu().numpy()
                    found = None if is_background(mask, settings.largest) else _tidy(mask, settings.smallest)
                if found is not None:
                    shapes.append(found)
                    scores.append(float(quality[k].clamp(0, 1) * steady[k]))
    labels, kept = without_overlaps(shapes, scores, size, settings)
    return Instances(resample_nearest(labels, shape), np.asarray(scores, np.float32)[kept], tried)


def is_background(mask: np.ndarray, largest: float) -> bool:
    """Whether a mask ``(h, w)`` covers more than ``largest`` of the image, or reaches all of its four sides."""
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return bool(mask.mean() > largest or all(side.any() for side in sides))


def _tidy(mask: np.ndarray, smallest: int) -> Shape | None:
    found = crop(mask)
    if found is None:
        return None
    inner = crop(cleaned(found.mask, smallest))
    return None if inner is None else Shape(inner.mask, found.x + inner.x, found.y + inner.y)


def without_overlaps(
    shapes: list[Shape], scores: list[float], size: tuple[int, int], settings: Everything
) -> tuple[np.ndarray, np.ndarray]:
    """Masks -> labels. From the best score on, each takes what is free of its pixels, and of that the largest piece.

    Returns:
        ``(*size)`` int32 labels, 1..n; numbers of the masks that they came from ``(n,)``.
    """
    labels = np.zeros(size, np.int32)
    kept: list[int] = []
    boxes = np.array([shape.box for shape in shapes], np.float64).reshape(-1, 4)
    for k in box_nms(boxes, np.asarray(scores), settings.overlap):
        shape = shapes[k]
        under = labels[shape.window]
        free = shape.mask & (under == 0)
        if free.sum() < max((1 - settings.covered) * shape.mask.sum(), settings.smallest, 1):
            continue
        pieces, count = ndimage.label(free, _SQUARE)
        if count > 1:
            areas = np.bincount(pieces.ravel())
            areas[0] = 0
            free = pieces == areas.argmax()
        if free.sum() < max(settings.smallest, 1):
            continue
        kept.append(int(k))
        under[free] = len(kept)
    return labels, np.array(kept, np.intp)
