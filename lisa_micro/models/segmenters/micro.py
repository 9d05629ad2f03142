"""The tower and the mask decoder of a LISA model, without the language model, as a promptable segmenter.

Boxes are passed to the decoder unchanged. For points, the instance of the decoder's maps that they lie in becomes the
prompt: its box, and its mask as SAM's mask prompt. A point alone gives the decoder a position but no size: on particles
above 50 px it answers with a square around the point.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from scipy.special import logit
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.geometry import boxes_from_labels, resample_nearest
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.models.lisa.mask_head import box_areas, point_areas
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel
from lisa_micro.models.lisa.windows import Window, decode_windows, window_around
from lisa_micro.models.segmenters.base import INSIDE, MASK_LOGIT, OUTSIDE, Prompts
from lisa_micro.models.segmenters.everything import Everything, Proposals, Shape, label_shape
from lisa_micro.models.segmenters.loop import EncodedImage, PromptedSegmenter
from lisa_micro.models.towers.sam import SamFeatures
from lisa_micro.protocols import Instances
from lisa_micro.types import CONCEPTS

REACH = 2
"""px by which a point can miss an instance."""


@dataclass
class MicroFeatures:
    """An encoded micrograph, with its particles once a prompt needs them.

    Attributes:
        image: features of the tower.
        segmenter: that made them.
    """

    image: ImageFeatures
    segmenter: MicroSegmenter

    @cached_property
    def prompted(self) -> SamFeatures:
        """Features of the tower as the decoder of boxes and points uses them."""
        with torch.inference_mode(), self.segmenter.cast():
            return self.segmenter.model.seen_by_boxes(self.image.sam)

    @cached_property
    def _decoded(self) -> tuple[np.ndarray, float]:
        model = self.segmenter.model
        with torch.inference_mode(), self.segmenter.cast():
            code = model.mask_head.code_book(torch.tensor([[CONCEPTS.index("particle")]], device=self.segmenter.device))
            out = model.mask_head(self.image.sam, code)
        stack = torch.stack([out.mask[0], out.distance[0], out.border[0]])
        maps = model.to_micrograph(stack, self.image, label_shape(self.image.shape)).sigmoid().cpu().numpy()
        return maps, float(out.presence[0].sigmoid())

    @property
    def maps(self) -> np.ndarray:
        """``(3, h, w)`` probabilities of particles, their distance and border, at the size of
        :func:`lisa_micro.models.segmenters.everything.label_shape`."""
        return self._decoded[0]

    @property
    def presence(self) -> float:
        """Probability, 0..1, that there are particles."""
        return self._decoded[1]

    @cached_property
    def particles(self) -> np.ndarray:
        """``(h, w)`` int32 labels of all particles."""
        # the lengths in the configuration refer to maps at the tower's resolution
        scale = max(1.0, max(label_shape(self.image.shape)) / max(self.image.work))
        return separate(*self.maps, SplitConfig().scaled(scale))

    @cached_property
    def enclosed(self) -> np.ndarray:
        """``(h, w)`` int32 labels of pores: background that does not reach a side of the image."""
        labels, count = ndimage.label(self.particles == 0)
        edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        numbers = np.arange(count + 1)
        numbers[edge] = 0
        return numbers[labels].astype(np.int32)

    def region(self, points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, bool] | None:
        """The region that points mark.

        Args:
            points: ``(P, 2)`` XY px of the micrograph.
            labels: ``(P,)``, 1 or 0.

        Returns:
            ``(h, w)`` bool, and whether it is a pore. It is the union of the particles that points with label 1 lie in,
            or else the pore that they lie in. Where a point with label 0 lies in one of these particles, the particle
            is cut half-way. ``None``: they lie in neither.
        """
        particles = self.particles
        height, width = particles.shape
        scale = np.array([width / self.image.shape[1], height / self.image.shape[0]])
        at = points * scale
        cells = np.clip(at.astype(int), 0, (width - 1, height - 1))
        wanted = {_label_near(particles, *cell) for cell in cells[labels == INSIDE]} - {0}
        if not wanted:
            pores = {int(self.enclosed[y, x]) for x, y in cells[labels == INSIDE]} - {0}
            return (np.isin(self.enclosed, list(pores)), True) if pores else None
        found = np.isin(particles, list(wanted))
        refused = {int(particles[y, x]) for x, y in cells[labels == OUTSIDE]} & wanted
        if refused:
            rows, columns = np.nonzero(np.isin(particles, list(refused)))
            pixels = np.stack([columns, rows], axis=1) + 0.5
            near = [
                np.linalg.norm(pixels[:, None] - at[labels == side], axis=2).min(axis=1) for side in (INSIDE, OUTSIDE)
            ]
            lost = near[1] < near[0]
            found[rows[lost], columns[lost]] = False
        return (found, False) if found.any() else None


def _label_near(labels: np.ndarray, x: int, y: int) -> int:
    """The label at a pixel, or else the most frequent one within :data:`REACH`, or 0."""
    if labels[y, x]:
        return int(labels[y, x])
    around = labels[max(0, y - REACH) : y + REACH + 1, max(0, x - REACH) : x + REACH + 1]
    return int(np.bincount(around[around > 0]).argmax()) if around.any() else 0


class MicroSegmenter(PromptedSegmenter):
    """Tower and mask decoder of a LISA model as a promptable segmenter.

    A point in a pore gives the pore as the particles around enclose it, because the decoder segments pores badly. A
    point in neither particle nor pore is passed to the decoder unchanged.

    Args:
        name: the name by which it was built.
        model: with its weights; its language model, if any, is not used.
        device: where to run.
        weights_sha256: of the weights.
        bf16: whether to compute in bfloat16.
    """

    batch = 16
    concept = "particle"
    cut_at_box = True  # the decoder's masks are slightly too large: without this, tight boxes give a lower IoU
    settings = Everything(score=0.5, stability=0.7)
    model: LisaModel

    def __init__(self, name: str, model: LisaModel, device: torch.device, weights_sha256: str, bf16: bool = False):
        super().__init__(name, model, device, weights_sha256)
        self.bf16 = bf16
        self._position: Tensor | None = None

    def cast(self) -> contextlib.AbstractContextManager:
        """The precision to compute in."""
        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def extract(self, pixels: Tensor) -> tuple[MicroFeatures, tuple[int, int]]:
        with self.cast():
            image = self.model.encode_image(pixels)
        return MicroFeatures(image, self), _window_of(image)

    def use_features(self, image: ImageFeatures) -> None:
        """Use an image that the same model has encoded elsewhere."""
        if self._image is None or self._image.features.image is not image:
            self._image = EncodedImage(MicroFeatures(image, self), image.shape, _window_of(image))

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        return self.model.to_micrograph(logits, self.image.features.image, shape)

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        features: MicroFeatures = self.image.features
        sam = features.prompted
        height, width = sam.embedding.shape[-2:]
        logits = torch.zeros(len(prompts), 8 * height, 8 * width, device=self.device)
        scores = torch.zeros(len(prompts), device=self.device)
        waiting = defaultdict(list)  # prompts with equal numbers of tokens and window sizes are decoded together
        for row in range(len(prompts)):
            seed = self._seed(prompts, row)
            if isinstance(seed, _Pore):
                logits[row], scores[row] = seed.logits, seed.score
                continue
            waiting[seed.sparse.shape[0], seed.window.size].append((row, seed))
        with self.cast():
            for group in waiting.values():
                rows, seeds = zip(*group, strict=True)
                logits[list(rows)], scores[list(rows)] = decode_windows(
                    self.model.box_head,
                    sam,
                    self._positions()[..., :height, :width],
                    torch.stack([seed.sparse for seed in seeds]),
                    torch.stack([seed.area for seed in seeds]),
                    [seed.window for seed in seeds],
                )
        return logits, scores

    def _positions(self) -> Tensor:
        """Position encoding of the whole input, computed once."""
        if self._position is None:
            side = self.model.box_head.prompt_encoder.image_embedding_size[0]
            self._position = self.model.box_head.position(side, side)
        return self._position

    def _seed(self, prompts: Prompts, row: int) -> _Seed | _Pore:
        """Tokens, mask prompt and window of one prompt."""
        head, features = self.model.box_head, self.image.features
        scale = np.array(features.image.scale)
        height, width = features.image.sam.embedding.shape[-2:]
        points, given = prompts.points[row], prompts.labels[row]
        box = None if prompts.boxes is None else prompts.boxes[row] * np.tile(scale, 2)
        area, region = None, None
        if prompts.masks is not None:
            mask = prompts.masks[row]
            area = self._area(torch.from_numpy(mask).sigmoid())
            box = self._box(mask > 0) if box is None and (mask > 0).any() else box
        elif (given == INSIDE).any():
            region = features.region(points, given)
        if region is not None:
            mask, pore = region
            if box is not None:
                mask = mask & self._inside(prompts.boxes[row], mask.shape)
            elif pore:
                return self._pore(mask)
            if mask.any():
                area = self._area(torch.from_numpy(mask.astype(np.float32)))
                box = self._box(mask) if box is None else box
        tokens, xy, labels = [], None, None
        if region is None and len(points):
            xy = torch.tensor(points * scale, dtype=torch.float32, device=self.device)[None]
            labels = torch.tensor(given, device=self.device)[None]
            tokens.append(head.point_tokens(xy, labels)[0, : len(points) if box is not None else None])
        if box is not None:
            corners = torch.tensor(box, dtype=torch.float32, device=self.device)[None]
            tokens.append(head.box_tokens(corners)[0])
            area = box_areas(corners, height, width)[0] if area is None else area
            window = window_around(tuple(box.tolist()), height, width)
        else:
            window = Window(0, 0, width, height)
        if xy is not None:
            dots = point_areas(xy, labels, height, width)[0]
            area = dots if area is None else (area + dots).clamp(-1, 1)
        return _Seed(torch.cat(tokens), area, window)

    def _area(self, share: Tensor) -> Tensor:
        """``(h, w)`` in 0..1, covering the micrograph -> mask prompt ``(1, 4h, 4w)`` of the padded input."""
        image = self.image.features.image
        height, width = image.sam.embedding.shape[-2:]
        size = tuple(max(1, round(side / 4)) for side in image.work)
        share = share.float().to(self.device)[None, None]
        if share.shape[-2:] != size:
            share = F.interpolate(share, size, mode="bilinear", antialias=True, align_corners=False)
        return F.pad(share[0], (0, 4 * width - size[1], 0, 4 * height - size[0]))

    def _box(self, mask: np.ndarray) -> np.ndarray:
        """Tight box, px of the tower's input, of a mask that covers the micrograph."""
        box = boxes_from_labels(mask.astype(np.int32))[0]
        work = self.image.features.image.work
        return box * np.tile([work[1] / mask.shape[1], work[0] / mask.shape[0]], 2)

    def _inside(self, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """``size`` bool: pixels whose centre lies within a box of the micrograph."""
        shape = self.image.shape
        y, x = ((np.arange(n) + 0.5) * full / n for n, full in zip(size, shape, strict=True))
        return ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))

    def _pore(self, mask: np.ndarray) -> _Pore:
        image = self.image.features.image
        height, width = image.sam.embedding.shape[-2:]
        share = torch.from_numpy(mask.astype(np.float32))[None, None].to(self.device)
        size = tuple(-(-side // 2) for side in image.work)
        share = F.interpolate(share, size, mode="bilinear", antialias=True, align_corners=False)[0, 0]
        logits = F.pad(share * 2 - 1, (0, 8 * width - size[1], 0, 8 * height - size[0]), value=-1.0) * MASK_LOGIT
        return _Pore(logits, float(1 - self.image.features.maps[0][mask].mean()))

    def everything(self, settings: Everything | None = None) -> Instances:
        found = super().everything(settings)
        return found if self.image.flat else replace(found, presence=self.image.features.presence)

    def propose(self, settings: Everything) -> Iterator[Proposals]:
        """The instances in the decoder's maps, each as a box and a mask. Their masks are kept: decoding them again does
        not improve them (panoptic quality on simulated scenes and EMPS), but tells which of them are objects."""
        features: MicroFeatures = self.image.features
        labels = features.particles
        image = features.image
        back = np.tile([image.shape[1] / labels.shape[1], image.shape[0] / labels.shape[0]], 2)
        size = tuple(max(1, round(side / 4)) for side in image.work)
        found = [
            (number, Shape(labels[window] == number, window[1].start, window[0].start))
            for number, window in enumerate(ndimage.find_objects(labels), 1)
            if window is not None
        ]
        quarters = _Quarters(labels, size)
        for start in range(0, len(found), self.batch):
            some = found[start : start + self.batch]
            share = np.stack([quarters.share(number) for number, _ in some])
            boxes = np.array([shape.box for _, shape in some], np.float64) * back
            prompts = Prompts(
                np.zeros((len(some), 0, 2)),
                np.zeros((len(some), 0), np.int64),
                boxes,
                masks=logit(np.clip(share, 1e-3, 1 - 1e-3)).astype(np.float32),
            )
            yield Proposals(prompts, tuple(shape for _, shape in some))


class _Quarters:
    """Share of each of ``size`` ``(h, w)`` cells that an instance of ``labels`` covers, computed within the window of
    the instance."""

    def __init__(self, labels: np.ndarray, size: tuple[int, int]):
        self.size = size
        self.labels = resample_nearest(labels, (4 * size[0], 4 * size[1]))
        self.windows = ndimage.find_objects(self.labels, int(labels.max(initial=0)))

    def share(self, number: int) -> np.ndarray:
        """``(h, w)`` float32 in 0..1 of instance ``number``."""
        share, window = np.zeros(self.size, np.float32), self.windows[number - 1]
        if window is not None:
            (y0, y1), (x0, x1) = ((side.start // 4, -(-side.stop // 4)) for side in window)
            instance = self.labels[4 * y0 : 4 * y1, 4 * x0 : 4 * x1] == number
            share[y0:y1, x0:x1] = instance.reshape(y1 - y0, 4, x1 - x0, 4).mean((1, 3), dtype=np.float32)
        return share


@dataclass(frozen=True)
class _Seed:
    """Tokens ``(T, D)``, mask prompt ``(1, 4h, 4w)``, window."""

    sparse: Tensor
    area: Tensor
    window: Window


@dataclass(frozen=True)
class _Pore:
    """Logits ``(8h, 8w)`` at stride 2 of the padded input, score."""

    logits: Tensor
    score: float


def _window_of(image: ImageFeatures) -> tuple[int, int]:
    """Size of the part of maps at stride 2 that holds the image."""
    return -(-image.work[0] // 2), -(-image.work[1] // 2)
