"""step -> batch of crops with all their prompts and targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lisa_micro.models.lisa.mask_head import FRAME, STRIDE
from lisa_micro.models.lisa.windows import MARGIN, Window
from lisa_micro.types import VISION_CONCEPTS
from lisa_micro_finetune.concepts.choosing import Chosen, Word, pick_episode, pick_object, pick_words
from lisa_micro_finetune.concepts.crops import THIN, Crop, cut_crop
from lisa_micro_finetune.concepts.sources import Labelled
from lisa_micro_finetune.data.crops import Maps, _points_of, halve, instance_maps, notches
from lisa_micro_finetune.data.regions import quarter, rough_region

WINDOW_SIDES = (10, 14, 20)
"""Cells of 16 px: windows around boxes have one of these sides, so that prompts share batches."""


LEAST_SIZE = {"particle": 6.0, "fibre": 5.0, "shell": 5.0, "crack": 3.5, "grain_boundary": 3.5}
"""px of a crop: the least size, as :func:`object_size` gives it, at which objects are shown; of all others as of
particles."""
LARGEST_SCALE = 2.6


def object_size(labels: np.ndarray) -> float:
    """Typical size of the objects of ``(H, W)`` labels, px: four times the area over the perimeter, which is the
    diameter of a disc and twice the width of a line; 0 without objects."""
    inside = labels > 0
    area = int(inside.sum())
    if not area:
        return 0.0
    edges = int((labels[1:] != labels[:-1]).sum()) + int((labels[:, 1:] != labels[:, :-1]).sum())
    # a jagged edge is longer than the line that it follows by 4 / pi
    return 4 * area / max(edges * np.pi / 4, 1.0)


@dataclass(frozen=True)
class ConceptCrops:
    """How batches are made.

    size: side of a crop, px, a multiple of 32. mix: share of each kind of source; kinds without sources are left out.
    other_share: of each kind that ``mix`` does not name. scales: enlargement per kind, (low, high). default_scale: of
    the others. absent: chance that a crop is asked for a concept that it does not show. boxes: prompts per crop.
    regions, points: prompts per batch. particle_share: how often a source with other labels is cut for its particles
    all the same.
    """

    size: int = 320
    mix: dict[str, float] = field(default_factory=dict)
    other_share: float = 0.0
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    default_scale: tuple[float, float] = (0.35, 1.8)
    absent: float = 0.3
    boxes: int = 3
    regions: int = 2
    points: int = 1
    particle_share: float = 0.5
    fixed: tuple[str, ...] = ("tem",)


class ConceptBatch(NamedTuple):
    """B crops ``(B, 1, S, S)`` 0..1 and their prompts, each with the number of its crop (``*_rows``).

    Words: class numbers ``(Nw,)``. Exemplars: boxes ``(Ne, K, 4)`` px of the crop, signs ``(Ne, K)``. Objects: boxes
    ``(Nb, 4)`` px of the frame and mask prompts ``(Nb, 1, S/4, S/4)`` (negative: the box itself), windows ``(Nb, 4)``
    in cells. Points ``(Np, 4, 2)`` px of the frame, labels ``(Np, 4)``. Targets in the order words, exemplars, objects,
    points; ``concepts``: class number of each, -1 unknown; ``first_region``: objects from here on have mask prompts.
    ``origin``: where the crops lie in the frame, cells of 16 px.
    """

    images: Tensor
    word_rows: Tensor
    words: Tensor
    exemplar_rows: Tensor
    exemplar_boxes: Tensor
    exemplar_signs: Tensor
    object_rows: Tensor
    object_boxes: Tensor
    regions: Tensor
    windows: Tensor
    point_rows: Tensor
    points: Tensor
    point_labels: Tensor
    targets: Maps
    concepts: Tensor
    first_region: int
    origin: tuple[int, int]


def training_window(box: np.ndarray, cells: int) -> Window:
    """The window around a box of a crop of ``cells`` x ``cells`` cells; its side is one of :data:`WINDOW_SIDES`."""
    need = (max(box[2] - box[0], box[3] - box[1]) + 2 * MARGIN) / STRIDE
    side = min(next((s for s in WINDOW_SIDES if s >= need), cells), cells)
    corner = [
        int(min(max(round((low + high) / 2 / STRIDE - side / 2), 0), cells - side))
        for low, high in ((box[0], box[2]), (box[1], box[3]))
    ]
    return Window(corner[0], corner[1], corner[0] + side, corner[1] + side)


def word_target(word: Word, parts: bool, weight: float) -> tuple:
    """Row of :class:`lisa_micro_finetune.data.crops.Maps` for all instances of a concept."""
    labels = word.labels
    half_valid = (halve(word.valid) > 0.99).astype(np.float32)
    small = labels[::2, ::2]
    empty = np.zeros(small.shape, np.float32)
    area = int((labels > 0).sum())
    presence = 1.0 if area >= 24 else (0.0 if area == 0 else -1.0)
    if not area or not parts:
        mask = halve(labels > 0) if area else empty
        return mask, empty, empty, empty, half_valid, presence, weight, float(parts and area == 0)
    distance, border = instance_maps(small)
    ends = 0.4 * notches(small).astype(np.float32) if word.concept == "particle" else empty
    return halve(labels > 0), distance, border.astype(np.float32), ends, half_valid, presence, weight, 1.0


def object_target(chosen: Chosen, valid: np.ndarray, window: Window | None, weight: float) -> tuple:
    """Row of :class:`lisa_micro_finetune.data.crops.Maps` for one object: neighbours weigh heavily, as background."""
    half_valid = (halve(valid) > 0.99).astype(np.float32)
    if window is not None:
        inside = np.zeros_like(half_valid)
        inside[8 * window.y0 : 8 * window.y1, 8 * window.x0 : 8 * window.x1] = 1
        half_valid = half_valid * inside
    empty = np.zeros(half_valid.shape, np.float32)
    size = int(round(np.sqrt(chosen.mask.sum())))
    near = ndimage.binary_dilation(chosen.mask[::2, ::2], iterations=max(2, min(size // 4, 8)))
    rivals = halve(chosen.others) * near
    return halve(chosen.mask), empty, empty, rivals, half_valid, -1.0, weight, 0.0


class ConceptMaker:
    """step -> :class:`ConceptBatch`, the same for the same seed, step and sources."""

    def __init__(self, sources: list[Labelled], config: ConceptCrops, batch_size: int, seed: int):
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.pools: dict[str, list[Labelled]] = {}
        for source in sources:
            self.pools.setdefault(source.kind, []).append(source)
        self._sizes: dict[tuple[str, str, str], float] = {}
        given = {kind: config.mix.get(kind, config.other_share) for kind in sorted(self.pools)}
        self.kinds = [kind for kind, share in given.items() if share > 0]
        if not self.kinds:
            raise ValueError("no training images of the kinds in the mix")
        shares = np.array([given[kind] for kind in self.kinds])
        self.shares = shares / shares.sum()

    def crop(self, rng: np.random.Generator) -> tuple[Crop, str]:
        """One crop, and the concept that it was cut for."""
        pool = self.pools[self.kinds[int(rng.choice(len(self.kinds), p=self.shares))]]
        source = pool[int(rng.integers(len(pool)))]
        there = [c for c, m in source.labels.items() if c not in ("substrate", "annotation") and m.any()]
        others = [c for c in there if c != "particle"]
        if not there:
            focus = "particle"
        elif not others or ("particle" in there and rng.random() < self.config.particle_share):
            focus = "particle" if "particle" in there else there[0]
        else:
            focus = others[int(rng.integers(len(others)))]
        low, high = self.config.scales.get(source.kind, self.config.default_scale)
        if source.kind not in self.config.fixed:
            low, high = self.visible(source, focus, low, high)
        return cut_crop(source, rng, self.config.size, (low, high), focus), focus

    def visible(self, source: Labelled, concept: str, low: float, high: float) -> tuple[float, float]:
        """A range of scales at which the objects of a concept are not smaller than :data:`LEAST_SIZE`."""
        key = (source.name, source.kind, concept)
        if key not in self._sizes:
            self._sizes[key] = object_size(source.labels[concept]) if concept in source.labels else 0.0
        size = self._sizes[key]
        if size <= 0:
            return low, high
        low = min(max(low, LEAST_SIZE.get(concept, LEAST_SIZE["particle"]) / size), LARGEST_SCALE)
        return low, min(max(high, 14 / size, 1.3 * low), 1.3 * LARGEST_SCALE)

    def __call__(self, step: int) -> ConceptBatch:
        rng = np.random.default_rng((self.seed, step))
        config, size = self.config, self.config.size
        cells, room = size // STRIDE, (FRAME - size) // STRIDE
        origin = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
        shift = np.array(origin, np.float32) * STRIDE
        crops = [self.crop(rng) for _ in range(self.batch_size)]
        rows: dict[str, list[int]] = {"word": [], "exemplar": [], "object": [], "point": []}
        targets: dict[str, list[tuple]] = {kind: [] for kind in rows}
        numbers: dict[str, list[int]] = {kind: [] for kind in rows}
        examples, boxes, regions, windows, points, point_labels = [], [], [], [], [], []
        for row, (crop, focus) in enumerate(crops):
            for word in pick_words(crop, rng, focus, config.absent):
                there = bool(word.labels.any())
                parts = word.concept in crop.parts or (word.concept in crop.absent and not there)
                targets["word"].append(word_target(word, parts, 1.0 if there else 0.7))
                rows["word"].append(row)
                numbers["word"].append(VISION_CONCEPTS.index(word.concept))
            episode = pick_episode(crop, rng)
            if episode is not None:
                parts = episode.word.concept in crop.parts
                target = word_target(episode.word, parts, 1.0)
                targets["exemplar"].append((*target[:5], -1.0, *target[6:]))
                rows["exemplar"].append(row)
                numbers["exemplar"].append(VISION_CONCEPTS.index(episode.word.concept))
                examples.append((episode.boxes, episode.signs))

        def add_object(row: int, chosen: Chosen, box: np.ndarray, region: np.ndarray | None) -> None:
            window = training_window(box, cells)
            targets["object"].append(object_target(chosen, crops[row][0].valid, window, 0.6))
            rows["object"].append(row)
            numbers["object"].append(-1)
            boxes.append(box + np.tile(shift, 2))
            windows.append([window.x0, window.y0, window.x1, window.y1])
            regions.append(np.full((1, size // 4, size // 4), -1, np.float32) if region is None else quarter(region))

        for row, (crop, _) in enumerate(crops):
            for _ in range(config.boxes):
                chosen = pick_object(crop, rng)
                if chosen is not None:
                    add_object(row, chosen, chosen.box, None)
        first_region = len(boxes)
        for _ in range(config.regions):
            row = int(rng.integers(self.batch_size))
            chosen = pick_object(crops[row][0], rng)
            if chosen is None:
                continue
            rough = rough_region(chosen.mask, np.where(chosen.mask, 1, 2 * chosen.others).astype(np.int32), rng)
            ys, xs = np.nonzero(rough)
            tight = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
            add_object(row, chosen, tight, rough)
        for _ in range(config.points):
            row = int(rng.integers(self.batch_size))
            chosen = pick_object(crops[row][0], rng)
            if chosen is None:
                continue
            xy, signs = _points_of(chosen.mask, rng)
            targets["point"].append(object_target(chosen, crops[row][0].valid, None, 0.6))
            rows["point"].append(row)
            numbers["point"].append(-1)
            points.append(xy + shift)
            point_labels.append(signs)
        everything = [target for kind in rows for target in targets[kind]]
        columns = [torch.as_tensor(np.array(column, np.float32)) for column in zip(*everything, strict=True)]

        def whole(values: list, *shape: int) -> Tensor:
            return torch.as_tensor(np.array(values, np.int64).reshape(-1, *shape))

        def real(values: list, *shape: int) -> Tensor:
            return torch.as_tensor(np.array(values, np.float32).reshape(-1, *shape))

        most = 6
        return ConceptBatch(
            images=torch.as_tensor(np.array([crop.image for crop, _ in crops])).unsqueeze(1),
            word_rows=whole(rows["word"]),
            words=whole(numbers["word"]),
            exemplar_rows=whole(rows["exemplar"]),
            exemplar_boxes=real([b for b, _ in examples], most, 4),
            exemplar_signs=whole([s for _, s in examples], most),
            object_rows=whole(rows["object"]),
            object_boxes=real(boxes, 4),
            regions=real(regions, 1, size // 4, size // 4),
            windows=whole(windows, 4),
            point_rows=whole(rows["point"]),
            points=real(points, 4, 2),
            point_labels=whole(point_labels, 4),
            targets=Maps(*columns),
            concepts=whole([n for kind in rows for n in numbers[kind]]),
            first_region=first_region,
            origin=origin,
        )


def is_thin(concepts: Tensor) -> Tensor:
    """Which class numbers are thin structures, bool."""
    return torch.isin(concepts, torch.tensor([VISION_CONCEPTS.index(c) for c in THIN], device=concepts.device))
