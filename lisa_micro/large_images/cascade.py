"""Detect first, segment second.

Particles are detected on the scaled micrograph, prompted by the words. Their boxes are gathered into crops at full
resolution; each crop is encoded once, and the mask decoder segments every particle in it from its box. What lies
outside the crops is not processed at full resolution, so that few particles on much background cost little. Necks,
pores and agglomerates are derived from the particles; constraints and values refer to the whole micrograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import ImageView, TargetInstances, renumbered
from lisa_micro.assistant.tiling import TileSize
from lisa_micro.geometry import Resizing, resample_nearest, resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.large_images.split import separate_large
from lisa_micro.large_images.tiled import Steps, Stitched, boxes_of, checked_size, measured, segment_maps, stage
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.protocols import Progress

DETECT_SIDE = 2048
"""Longest side, px, of the image on which particles are detected; it is tiled in turn where it is larger than the tower
sees at once."""
CROP_SIDE = 384
"""px. The decoder's time for a box grows with the area of its crop: many small crops cost less than few large ones."""
MARGIN = 32
"""px of surroundings of a box in its crop, or a quarter of the box where that is more."""
BATCH = 16
"""Boxes decoded at a time."""


@dataclass(frozen=True, eq=False)
class Crop:
    """Part of a micrograph.

    Attributes:
        rows, columns: ``(start, stop)`` px.
        boxes: ``(M,)`` numbers of the boxes that are segmented in it.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    boxes: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)`` px."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


def plan_crops(boxes: np.ndarray, shape: tuple[int, int], side: int = CROP_SIDE, margin: int = MARGIN) -> list[Crop]:
    """Crops that hold every box with its surroundings, each box in exactly one of them.

    Boxes are sorted into shelves from top to bottom, and each shelf into crops from left to right; a crop is then as
    small as its boxes allow. A box that is larger than ``side`` gets a crop of its own.

    Args:
        boxes: ``(N, 4)`` XYXY px.
        shape: ``(H, W)`` of the micrograph.
        side: of a crop, px.
        margin: see :data:`MARGIN`.
    """
    around = np.maximum(margin, 0.25 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0))[:, None]
    low = np.floor(np.maximum(boxes[:, :2] - around, 0)).astype(int)
    high = np.ceil(np.minimum(boxes[:, 2:] + around, [shape[1], shape[0]])).astype(int)
    large = (high - low).max(axis=1, initial=0) > side
    groups = [np.array([k]) for k in np.flatnonzero(large)]
    waiting = np.lexsort((low[:, 0], low[:, 1]))
    waiting = waiting[~large[waiting]]
    while len(waiting):
        bottom = low[waiting[0], 1] + side
        on_shelf = high[waiting, 1] <= bottom
        shelf, waiting = waiting[on_shelf], waiting[~on_shelf]
        shelf = shelf[np.argsort(low[shelf, 0], kind="stable")]
        while len(shelf):
            inside = high[shelf, 0] <= low[shelf[0], 0] + side
            groups.append(shelf[inside])
            shelf = shelf[~inside]
    crops = []
    for group in groups:
        (x0, y0), (x1, y1) = low[group].min(axis=0), high[group].max(axis=0)
        crops.append(Crop((int(y0), int(y1)), (int(x0), int(x1)), group))
    return crops


class _Canvas:
    """Instances of a whole micrograph without overlaps: a pixel belongs to the box that is most certain of it."""

    def __init__(self, shape: tuple[int, int]):
        self.labels, self.best = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)

    def paint(self, probability: np.ndarray, corner: tuple[int, int], box: np.ndarray, number: int) -> None:
        """Add instance ``number``.

        Args:
            probability: ``(h, w)`` 0..1 of a crop.
            corner: row and column of its top left pixel.
            box: ``(4,)`` XYXY px of the micrograph.
        """
        margin = 0.1 * (box[2:] - box[:2]) + 1
        x0, y0 = np.floor(box[:2] - margin - corner[::-1]).clip(0).astype(int)
        x1, y1 = np.ceil(box[2:] + margin - corner[::-1]).astype(int)
        certainty = np.rint(255 * probability[y0:y1, x0:x1])
        top, left = corner[0] + y0, corner[1] + x0
        window = np.s_[top : top + certainty.shape[0], left : left + certainty.shape[1]]
        wins = (certainty > 127) & (certainty > self.best[window])
        self.labels[window][wins] = number
        self.best[window][wins] = certainty[wins]

    def finish(self, smallest: int) -> np.ndarray:
        """Labels 1..n without gaps. Of each instance the largest component is kept, if it has at least ``smallest``
        px."""
        labels = self.labels
        keep = np.zeros(int(labels.max(initial=0)), bool)
        for k, box in enumerate(ndimage.find_objects(labels)):
            if box is None:
                continue
            instance = labels[box] == k + 1
            parts, count = ndimage.label(instance)
            areas = np.bincount(parts.ravel())[1:]
            keep[k] = areas.max() >= smallest
            if count > 1:
                labels[box][instance & (parts != 1 + int(areas.argmax()))] = 0
        return renumbered(labels, keep)


@dataclass(frozen=True, eq=False)
class _Detection:
    """What the scaled micrograph shows.

    scaling: between the micrograph and the scaled image. stitched: maps of the targets, and behind them those of all
    particles where a target needs them. separated: numbers of the entries whose instances are separated. boxes: ``(N,
    4)`` XYXY px of the micrograph, of their instances. owner: ``(N,)`` position in ``separated`` of each box.
    """

    scaling: Resizing
    stitched: list[Stitched]
    separated: list[int]
    boxes: np.ndarray
    owner: np.ndarray


class CascadeSegmenter:
    """Detects on the scaled micrograph and segments in crops at full resolution, however small the micrograph is. It is
    a :class:`lisa_micro.assistant.targets.TargetSegmenter`.

    Args:
        engine: the model.
        size: tile and halo of the detection, px of the scaled image.
    """

    def __init__(self, engine: Engine, size: TileSize):
        self.engine, self.size = engine, size

    def segment(
        self, view: ImageView, states: torch.Tensor, concepts: Sequence[str], progress: Progress | None = None
    ) -> tuple[list[TargetInstances], str]:
        """See :meth:`lisa_micro.assistant.targets.TargetSegmenter.segment`."""
        states = states[: len(concepts)]
        unit = to_unit_range(view.pixels)
        detection = self._detect(unit, states, concepts, stage(progress, "Detecting"))
        crops = plan_crops(detection.boxes, unit.shape)
        labels, planes = self._segment_crops(unit, states, detection, crops, stage(progress, "Segmenting crops"))
        del unit
        particles = labels.get(len(concepts))
        found = []
        for k, concept in enumerate(concepts):
            stitched = _at_full_size(detection.stitched[k], planes.get(k), detection.scaling)
            found.append(measured(self.engine, view, concept, stitched, labels.get(k), particles))
        height, width = detection.scaling.resized
        return found, (
            f"{len(detection.boxes)} particles were detected at {width} x {height} px and segmented in {len(crops)} "
            "crops at full resolution."
        )

    def _detect(
        self, unit: np.ndarray, states: torch.Tensor, concepts: Sequence[str], step: Steps | None
    ) -> _Detection:
        scaling = resize_long_side(unit.shape, min(DETECT_SIDE, max(unit.shape)))
        small = scaling.image(unit)
        tile = min(self.size.tile or self.engine.model.config.work_side, max(small.shape))
        size = checked_size(tile, self.size.halo)
        stitched = segment_maps(self.engine, small, states, concepts, size, step, apart=False)
        separated = [k for k, one in enumerate(stitched) if len(one.maps) == 3]
        boxes = [scaling.boxes_back(boxes_of(separate_large(stitched[k].maps, stitched[k].split))) for k in separated]
        owner = np.repeat(np.arange(len(separated)), [len(one) for one in boxes])
        return _Detection(scaling, stitched, separated, np.concatenate(boxes) if boxes else np.zeros((0, 4)), owner)

    def _segment_crops(
        self, unit: np.ndarray, states: torch.Tensor, detection: _Detection, crops: list[Crop], step: Steps | None
    ) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """Labels ``(H, W)`` int32 by number of the separated entries; masks ``(H, W)`` uint8 of the other targets."""
        canvases = [_Canvas(unit.shape) for _ in detection.separated]
        planes = {
            k: _enlarged(one.maps[0], detection.scaling)
            for k, one in enumerate(detection.stitched[: len(states)])
            if len(one.maps) == 1
        }
        for number, crop in enumerate(crops):
            features = self.engine.encode(unit[crop.window], tokens=False)
            if planes:
                self._refine(planes, features, states, crop)
            for k in np.unique(detection.owner[crop.boxes]):
                of = crop.boxes[detection.owner[crop.boxes] == k]
                self._decode_boxes(features, canvases[k], crop, of, detection.boxes)
            if step:
                step(number + 1, len(crops))
        labels = {
            k: canvas.finish(detection.stitched[k].split.smallest)
            for k, canvas in zip(detection.separated, canvases, strict=True)
        }
        return labels, planes

    def _refine(self, planes: dict[int, np.ndarray], features: ImageFeatures, states: torch.Tensor, crop: Crop) -> None:
        """Within a crop, replace the masks by those at full resolution."""
        out = self.engine.decode_words(features, states)
        for k, plane in planes.items():
            mask = expit(self.engine.on_micrograph(out.mask[k : k + 1], features, crop.shape)[0])
            plane[crop.window] = np.rint(255 * mask)

    def _decode_boxes(
        self, features: ImageFeatures, canvas: _Canvas, crop: Crop, numbers: np.ndarray, boxes: np.ndarray
    ) -> None:
        """Segment the boxes with these ``numbers``; instance k + 1 comes from box k."""
        corner = crop.rows[0], crop.columns[0]
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH]
            out = self.engine.decode_boxes(features, boxes[part] - np.tile(corner[::-1], 2))
            for k, logits in zip(part, self.engine.on_micrograph(out.mask, features, features.shape), strict=True):
                canvas.paint(expit(logits), corner, boxes[k], int(k) + 1)


def _enlarged(plane: np.ndarray, scaling: Resizing) -> np.ndarray:
    """uint8 ``(h, w)`` of the scaled image -> a copy at the size of the micrograph."""
    return np.array(resample_nearest(plane, scaling.original))


def _at_full_size(stitched: Stitched, plane: np.ndarray | None, scaling: Resizing) -> Stitched:
    """Presence and score of the detection in px of the micrograph, with the mask at full resolution if there is one."""
    y, x = scaling.scale_xy[::-1]
    maps = stitched.maps[:, :0] if plane is None else plane[None]
    return Stitched(maps, stitched.outers / [y, y, x, x], stitched.presence, stitched.score, stitched.scale)
