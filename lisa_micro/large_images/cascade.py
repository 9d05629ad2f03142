"""Detect first, segment second.

Particles are detected on the scaled micrograph, by the words' own prompt. Their boxes are gathered into crops at full
resolution; each crop is encoded once, and the mask decoder outlines every particle in it from its box. What lies
outside the crops is never looked at closely, so that few particles on much background cost little. Necks, pores and
agglomerates are derived from the particles; constraints and values refer to the whole micrograph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.outline import ImageView, Outline, renumbered
from lisa_micro.assistant.prompted import BATCH
from lisa_micro.geometry import Resizing, resample_nearest, resize_long_side
from lisa_micro.large_images.segment import check_tiles
from lisa_micro.large_images.split import separate_large
from lisa_micro.large_images.tiled import HALO_SHARE, Stitched, TiledConversation, boxes_of
from lisa_micro.models.lisa.model import ImageFeatures

DETECT_SIDE = 2048
"""Longest side, px, of the image on which particles are detected; it is seen in tiles of its own where it is larger
than the tower sees at once."""
CROP = 384
"""px. The decoder's time for a box follows the area of its crop: small crops cost less than few large ones."""
MARGIN = 32
"""px of surroundings that a box has in its crop, or a quarter of the box where that is more."""


def plan_crops(
    boxes: np.ndarray, shape: tuple[int, int], side: int = CROP, margin: int = MARGIN
) -> list[tuple[tuple[int, int, int, int], np.ndarray]]:
    """Crops that hold every box with its surroundings, each box in exactly one.

    Boxes are put on shelves from top to bottom, and on each shelf into crops from left to right; a crop is then as
    small as its boxes allow. A box that is larger than ``side`` has a crop of its own.

    Args:
        boxes: ``(N, 4)`` XYXY px. shape: ``(H, W)`` of the micrograph.
        side: px, of a crop. margin: see :data:`MARGIN`.

    Returns:
        ``(y0, y1, x0, x1)`` px of each crop and the ``(M,)`` numbers of its boxes.
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
    for mine in groups:
        (x0, y0), (x1, y1) = low[mine].min(axis=0), high[mine].max(axis=0)
        crops.append(((int(y0), int(y1), int(x0), int(x1)), mine))
    return crops


class _Canvas:
    """Overlap-free instances of a whole micrograph: a pixel belongs to the box that is most certain of it."""

    def __init__(self, shape: tuple[int, int]):
        self.labels, self.best = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)

    def paint(self, probability: np.ndarray, corner: tuple[int, int], box: np.ndarray, number: int) -> None:
        """``probability`` ``(h, w)`` 0..1 of a crop whose top left pixel is ``corner`` (row, column)."""
        margin = 0.1 * (box[2:] - box[:2]) + 1
        x0, y0 = np.floor(box[:2] - margin - corner[::-1]).clip(0).astype(int)
        x1, y1 = np.ceil(box[2:] + margin - corner[::-1]).astype(int)
        seen = np.rint(255 * probability[y0:y1, x0:x1])
        top, left = corner[0] + y0, corner[1] + x0
        window = np.s_[top : top + seen.shape[0], left : left + seen.shape[1]]
        wins = (seen > 127) & (seen > self.best[window])
        self.labels[window][wins] = number
        self.best[window][wins] = seen[wins]

    def finish(self, smallest: int) -> np.ndarray:
        """Labels 1..n without gaps. Of an instance in several pieces the largest stays; below ``smallest`` px none."""
        labels = self.labels
        keep = np.zeros(int(labels.max(initial=0)), bool)
        for k, box in enumerate(ndimage.find_objects(labels)):
            if box is None:
                continue
            own = labels[box] == k + 1
            parts, count = ndimage.label(own)
            areas = np.bincount(parts.ravel())[1:]
            keep[k] = areas.max() >= smallest
            if count > 1:
                labels[box][own & (parts != 1 + int(areas.argmax()))] = 0
        return renumbered(labels, keep)


class CascadeConversation(TiledConversation):
    """A conversation about a large micrograph: detection on the scaled image, outlines in crops at full resolution.

    Args:
        assistant, image, progress: as for :class:`lisa_micro.large_images.tiled.TiledConversation`.
        tile, halo: of the detection, px of the scaled image.

    Raises:
        InputError: see :func:`lisa_micro.large_images.segment.check_tiles`.
    """

    def at_once(self, view: ImageView) -> bool:
        """Never: a cascade looks at crops, however small the micrograph."""
        return False

    def outlines(self, view: ImageView, states: torch.Tensor, concepts: Sequence[str]) -> list[Outline]:
        engine, unit = self.assistant.engine, self.assistant.intensities(view.pixels)
        longest = max(unit.shape)
        scaling = resize_long_side(unit.shape, min(DETECT_SIDE, longest))
        small = scaling.image(unit)
        tile = min(self.tile or engine.model.config.work_side, max(small.shape))
        halo = int(HALO_SHARE * tile) if self.halo is None else self.halo
        check_tiles(tile, halo)
        detected = self.look(small, states, concepts, tile, halo, "Detecting")
        del small
        # what needs particles: targets that are particles, and the code's where a target is defined by them
        sets = [k for k, seen in enumerate(detected) if len(seen.maps) == 3]
        boxes = [scaling.boxes_back(boxes_of(separate_large(detected[k].maps, detected[k].split))) for k in sets]
        owner = np.repeat(np.arange(len(sets)), [len(one) for one in boxes])
        together = np.concatenate(boxes) if boxes else np.zeros((0, 4))
        crops = plan_crops(together, unit.shape)
        self.how = (
            f"{len(together)} particles detected at {scaling.resized[1]} x {scaling.resized[0]} px, outlined in "
            f"{len(crops)} crops at full resolution."
        )
        canvases = [_Canvas(unit.shape) for _ in sets]
        planes = {
            k: _enlarged(seen.maps[0], scaling)
            for k, (seen, _) in enumerate(zip(detected, concepts, strict=False))
            if len(seen.maps) == 1
        }
        step = self.told("Outlining crops")
        for number, ((y0, y1, x0, x1), mine) in enumerate(crops):
            features = engine.encode(unit[y0:y1, x0:x1], tokens=False)
            if planes:
                self._replace(planes, engine, features, states, (y0, y1, x0, x1))
            for k in np.unique(owner[mine]):
                _decode_boxes(engine, features, canvases[k], (y0, x0), mine[owner[mine] == k], together)
            if step:
                step(number + 1, len(crops))
        found = {k: canvas.finish(detected[k].split.smallest) for k, canvas in zip(sets, canvases, strict=True)}
        del canvases, unit
        particles = found.get(len(concepts))
        result = []
        for k, concept in enumerate(concepts):
            seen = _at_full_size(detected[k], planes.get(k), scaling)
            result.append(self.outline(view, concept, seen, found.get(k), particles))
        return result

    @staticmethod
    def _replace(
        planes: dict[int, np.ndarray],
        engine: Engine,
        features: ImageFeatures,
        states: torch.Tensor,
        crop: tuple[int, int, int, int],
    ) -> None:
        """Within a crop the words' maps are seen again at full resolution."""
        y0, y1, x0, x1 = crop
        out = engine.decode_words(features, states)
        for k, plane in planes.items():
            seen = expit(engine.on_micrograph(out.mask[k : k + 1], features, (y1 - y0, x1 - x0))[0])
            plane[y0:y1, x0:x1] = np.rint(255 * seen)


def _decode_boxes(
    engine: Engine,
    features: ImageFeatures,
    canvas: _Canvas,
    corner: tuple[int, int],
    mine: np.ndarray,
    boxes: np.ndarray,
) -> None:
    """Outline the boxes number ``mine`` of a crop; instance k + 1 comes from box k."""
    for start in range(0, len(mine), BATCH):
        part = mine[start : start + BATCH]
        out = engine.decode_boxes(features, boxes[part] - np.tile(corner[::-1], 2))
        for k, logits in zip(part, engine.on_micrograph(out.mask, features, features.shape), strict=True):
            canvas.paint(expit(logits), corner, boxes[k], int(k) + 1)


def _enlarged(plane: np.ndarray, scaling: Resizing) -> np.ndarray:
    """uint8 ``(h, w)`` of the scaled image -> a copy of the micrograph's size."""
    return np.array(resample_nearest(plane, scaling.original))


def _at_full_size(seen: Stitched, plane: np.ndarray | None, scaling: Resizing) -> Stitched:
    """The detection's presence and score in px of the micrograph, with the map of the whole where there is one."""
    y, x = scaling.scale_xy[::-1]
    maps = seen.maps[:, :0] if plane is None else plane[None]
    return Stitched(maps, seen.outers / [y, y, x, x], seen.presence, seen.score, seen.scale)
