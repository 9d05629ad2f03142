"""Everything mode: decode many prompts, and keep the masks that are good, stable and new as labels without overlaps.

It follows SAM's automatic mask generator (Kirillov et al., Segment Anything, arXiv 2304.02643, appendix B): a grid of
points, filters on predicted IoU and on stability, non-maximum suppression of boxes, removal of small regions. In two
points it differs: a segmenter can propose its own prompts instead of the grid, and the resulting instances do not
overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import ndimage

from lisa_micro.geometry import resample_nearest
from lisa_micro.models.segmenters.base import Prompts
from lisa_micro.protocols import Instances
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from torch import Tensor

LABEL_SIDE = 1536
"""Longest side, px, at which masks are combined. The maps of the decoders hold no finer detail, and memory is bounded
for micrographs of any size."""
_SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Everything:
    """Settings of everything mode.

    Attributes:
        side: number of points along the longer side of the grid.
        score: least predicted IoU.
        stability: least IoU of the mask at the threshold +``shift`` with the mask at -``shift``.
        shift: in logits.
        overlap: of two masks whose boxes have a larger IoU than this, the better one is kept.
        covered: a mask is left out if better masks cover more than this share of it.
        smallest: regions and holes below this area are removed; px where the longest side is at most
            :data:`LABEL_SIDE`, else px of the image at that size.
        largest: a mask of the grid is background if it covers more than this share of the image, or reaches all four of
            its sides.

    Raises:
        InputError: a value out of range.
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
            raise InputError(f"The grid must have 1 to 256 points per side, not {self.side}.")
        shares = {
            "score": self.score,
            "stability": self.stability,
            "overlap": self.overlap,
            "covered": self.covered,
            "largest": self.largest,
        }
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} must be between 0 and 1, not {value}.")
        if not self.shift >= 0 or self.smallest < 0:
            raise InputError(f"shift and smallest must be 0 or more, not {self.shift} and {self.smallest}.")


@dataclass(frozen=True)
class Shape:
    """A mask and the position of its top left corner: ``mask`` ``(h, w)`` bool, ``x``, ``y`` px at the size of
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
    """Prompts, and the masks of the objects where the segmenter knows them already (``shapes``): then the decoder only
    decides which of them are objects."""

    prompts: Prompts
    shapes: tuple[Shape, ...] | None = None


class Proposer(Protocol):
    """The part of a segmenter that everything mode needs; see :mod:`lisa_micro.models.segmenters.loop`."""

    image: Any

    def propose(self, settings: Everything) -> Iterator[Proposals]:
        """Prompts that together cover every object."""

    def decode(self, prompts: Prompts) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Numbers of prompts, logits, predicted IoU, in batches."""

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Logits at the size of ``shape``, which covers the whole micrograph."""


def label_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """The size ``(h, w)`` at which masks of a micrograph of ``shape`` ``(H, W)`` are combined."""
    scale = min(1.0, LABEL_SIDE / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def grid_points(shape: tuple[int, int], side: int) -> np.ndarray:
    """``(n, 2)`` XY px: centres of cells that are square up to rounding, ``side`` of them along the longer side of an
    image of ``shape`` ``(H, W)``."""
    step = max(shape) / side
    counts = [max(1, round(length / step)) for length in shape]
    y, x = ((np.arange(count) + 0.5) * length / count for count, length in zip(counts, shape, strict=True))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def stability(logits: Tensor, shift: float) -> Tensor:
    """IoU of each mask at the threshold ``+shift`` with the mask at ``-shift`` (Kirillov et al. 2023, appendix B). The
    first lies within the second, so it is the ratio of their areas. ``(n, h, w)`` logits -> ``(n,)``; 0 for an empty
    mask."""
    inner = (logits > shift).sum((1, 2))
    outer = (logits > -shift).sum((1, 2))
    return inner / outer.clamp_min(1)


def box_nms(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Non-maximum suppression: in order of descending score, keep each box whose IoU with every kept box is at most
    ``overlap``.

    Args:
        boxes: ``(n, 4)`` XYXY.
        scores: ``(n,)``.

    Returns:
        numbers of the kept boxes, best first; of equal scores the first box comes first.
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
    """Remove components and fill holes below ``smallest`` px of a mask ``(h, w)`` bool."""
    for inside in (True, False):
        labels, count = ndimage.label(mask == inside, _SQUARE if inside else None)
        small = np.bincount(labels.ravel(), minlength=count + 1) < smallest
        small[0] = False
        if not inside:  # background at the edge of the crop is not a hole
            edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            small[edge] = False
        if small.any():
            mask = np.where(small[labels], not inside, mask)
    return mask


def crop(mask: np.ndarray) -> Shape | None:
    """``(H, W)`` bool -> its tight crop; ``None`` if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y, x = int(rows[0]), int(columns[0])
    return Shape(mask[y : rows[-1] + 1, x : columns[-1] + 1].copy(), x, y)


def segment_everything(segmenter: Proposer, settings: Everything) -> Instances:
    """Segment all objects in the image that a segmenter has encoded. To be called in inference mode."""
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
    """Masks -> labels. In order of descending score, each mask gets the largest component of its free pixels.

    Returns:
        ``(*size)`` int32 labels, 1..n; ``(n,)`` numbers of the masks that they come from.
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
