"""Crops, prompts and target maps for training the SAM tower and the mask decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from lisa_micro.models.lisa.mask_head import FRAME, STRIDE
from lisa_micro.types import CONCEPTS
from lisa_micro_finetune.data.regions import quarter, rough_region
from lisa_micro_finetune.data.sources import Source


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut. size: side in px, a multiple of 32. scales: zoom per kind of source, (low, high), drawn
    log-uniformly. mix: share of each kind. words: concepts asked for per crop, particles first. The labels of ``tem``
    are a recipe's output at one scale, so these images are neither zoomed nor blurred. size_power: an instance is
    picked to be prompted with a chance that goes with its area to this power; at 0 the many small ones leave the
    decoder few large ones to learn a point from. regions: prompt by nearly right outlines too
    (:mod:`lisa_micro_finetune.data.regions`)."""

    size: int = 288
    words: int = 2
    mix: tuple[tuple[str, float], ...] = (("emps", 0.6), ("tem", 0.12), ("sim", 0.28))
    scales: tuple[tuple[str, float, float], ...] = (
        ("emps", 0.5, 1.6),
        ("tem", 1.0, 1.0),
        ("sim", 0.6, 1.6),
        ("video", 0.8, 1.4),
    )
    size_power: float = 0.0
    regions: bool = False


class Maps(NamedTuple):
    """Targets of N prompts at stride 2, ``(N, h, w)`` float32; ``notch``: 1 about the ends of necks; ``presence``
    ``(N,)``: 1, 0, or -1 where unknown; ``weight`` ``(N,)``: 0 leaves a prompt out; ``parts`` ``(N,)``: 1 where
    instances are known."""

    mask: Tensor
    distance: Tensor
    border: Tensor
    notch: Tensor
    valid: Tensor
    presence: Tensor
    weight: Tensor
    parts: Tensor


class Batch(NamedTuple):
    """B crops: images ``(B, 1, S, S)`` 0..1; word prompts as concept numbers ``(B, W)``, boxes ``(B, 4)`` and points
    ``(B, 4, 2)`` with labels ``(B, 4)`` in px of the frame; outlines ``(B, 1, S/4, S/4)``, their boxes ``(B, 4)``, or
    none of them (B = 0); targets in the order words (B*W), boxes (B), points (B), outlines (B or 0); ``origin``:
    where the crops lie in the frame, in cells of 16 px."""

    images: Tensor
    concepts: Tensor
    boxes: Tensor
    points: Tensor
    point_labels: Tensor
    regions: Tensor
    region_boxes: Tensor
    targets: Maps
    origin: tuple[int, int]


def instance_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(h, w)`` int labels -> distance to the instance's edge over the instance's largest such distance, 0..1, and the
    lines where two instances are at most one pixel apart, bool."""
    inside = labels > 0
    own = inside.copy()
    for axis in (0, 1):
        a = np.moveaxis(labels, axis, 0)
        meets = (a[1:] != a[:-1]) & (a[1:] > 0) & (a[:-1] > 0)
        view = np.moveaxis(own, axis, 0)
        view[1:][meets] = False
        view[:-1][meets] = False
    distance = ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1].astype(np.float32)
    count = int(labels.max(initial=0))
    if count == 0:
        return distance, np.zeros(labels.shape, bool)
    top = ndimage.maximum(distance, labels, np.arange(count + 1))
    distance /= np.maximum(np.asarray(top, np.float32), 1e-6)[labels]
    distance[~inside] = 0
    low = ndimage.minimum_filter(np.where(inside, labels, count + 1), 3)
    high = ndimage.maximum_filter(labels, 3)
    return np.minimum(distance, 1.0), (low != high) & (low <= count) & (high > 0)


def notches(labels: np.ndarray, reach: int = 2) -> np.ndarray:
    """``(h, w)`` int labels -> bool, where two instances and background are all within ``reach`` px: the ends of necks,
    and narrow gaps. How deep a mask cuts in there decides how wide a neck is measured, and it is few pixels."""
    side = 2 * reach + 1
    count = int(labels.max(initial=0))
    low = ndimage.minimum_filter(np.where(labels > 0, labels, count + 1), side)
    high = ndimage.maximum_filter(labels, side)
    return (low < high) & (ndimage.minimum_filter(labels, side) == 0)


def halve(mask: np.ndarray) -> np.ndarray:
    """Mean over 2 x 2 px, ``(H, W)`` -> ``(H/2, W/2)`` float32."""
    h, w = mask.shape
    return mask.reshape(h // 2, 2, w // 2, 2).mean((1, 3), dtype=np.float32)


def _window(array: np.ndarray, x: int, y: int, side: int, reflect: bool) -> np.ndarray:
    """A square window of ``side`` px with its corner at (x, y), which may reach over the edge."""
    h, w = array.shape
    part = array[max(0, y) : min(h, y + side), max(0, x) : min(w, x + side)]
    pad = ((max(0, -y), max(0, y + side - h)), (max(0, -x), max(0, x + side - w)))
    if not any(sum(p) for p in pad):
        return part
    return np.pad(part, pad, mode="symmetric") if reflect else np.pad(part, pad)


def cut(source: Source, rng: np.random.Generator, config: CropConfig) -> tuple[np.ndarray, dict, np.ndarray]:
    """One augmented crop: pixels ``(S, S)`` float32, labels per concept, valid ``(S, S)`` bool."""
    size = config.size
    low, high = next((a, b) for kind, a, b in config.scales if kind == source.kind)
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    side = int(round(size / scale))
    h, w = source.pixels.shape
    particle = source.labels.get("particle")
    x = int(rng.integers(min(0, w - side) // 2, max(1, w - side + 1)))
    y = int(rng.integers(min(0, h - side) // 2, max(1, h - side + 1)))
    if particle is not None and rng.random() < 0.6:
        ys, xs = np.nonzero(particle[::7, ::7])
        if len(ys):
            k = int(rng.integers(len(ys)))
            jitter = rng.integers(-side // 3, side // 3 + 1, 2)
            x = int(np.clip(xs[k] * 7 - side // 2 + jitter[0], min(0, w - side), max(0, w - side)))
            y = int(np.clip(ys[k] * 7 - side // 2 + jitter[1], min(0, h - side), max(0, h - side)))
    pixels = _window(source.pixels, x, y, side, reflect=True)
    image = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    labels = {
        c: np.asarray(
            Image.fromarray(_window(m, x, y, side, False).astype(np.int32), mode="I").resize(
                (size, size), Image.Resampling.NEAREST
            )
        )
        for c, m in source.labels.items()
    }
    valid = _window(np.ones((h, w), np.uint8), x, y, side, False)
    valid = np.asarray(Image.fromarray(valid).resize((size, size), Image.Resampling.NEAREST)) > 0
    turns, flip = int(rng.integers(4)), rng.random() < 0.5

    def orient(a: np.ndarray) -> np.ndarray:
        a = np.rot90(a, turns)
        return np.ascontiguousarray(a[:, ::-1] if flip else a)

    image = photometric(orient(image), rng, gentle=source.kind == "tem")
    return image, {c: orient(m) for c, m in labels.items()}, orient(valid)


def photometric(image: np.ndarray, rng: np.random.Generator, gentle: bool) -> np.ndarray:
    """Contrast, brightness, gamma; unless gentle also blur, noise and, rarely, inversion."""
    if not gentle:
        if rng.random() < 0.08:
            image = 1 - image
        if rng.random() < 0.2:
            image = ndimage.gaussian_filter(image, rng.uniform(0.4, 1.3))
        if rng.random() < 0.3:
            image = image + rng.normal(0, rng.uniform(0.01, 0.08), image.shape).astype(np.float32)
        image = np.clip(image, 0, 1) ** float(np.exp(rng.uniform(-0.4, 0.4)))
    gain, shift = rng.uniform(0.75, 1.2), rng.uniform(-0.12, 0.12)
    return np.clip((image - 0.5) * gain + 0.5 + shift, 0, 1).astype(np.float32)


def compacted(labels: np.ndarray) -> np.ndarray:
    """Instances renumbered 1..n."""
    values, inverse = np.unique(labels, return_inverse=True)
    if values[0] != 0:
        return (inverse + 1).reshape(labels.shape).astype(np.int32)
    return inverse.reshape(labels.shape).astype(np.int32)


def target_maps(labels: np.ndarray | None, valid: np.ndarray, parts: bool, presence: float, weight: float) -> tuple:
    """One prompt's row of :class:`Maps`, in its order; without labels a row that does not count."""
    half_valid = halve(valid) > 0.99
    if labels is None:
        empty = np.zeros(half_valid.shape, np.float32)
        return empty, empty, empty, empty, half_valid.astype(np.float32), -1.0, 0.0, 0.0
    distance, border = instance_maps(labels[::2, ::2])
    return (
        halve(labels > 0),
        distance,
        border.astype(np.float32),
        notches(labels[::2, ::2]).astype(np.float32),
        half_valid.astype(np.float32),
        presence,
        weight,
        float(parts),
    )


def presence_of(labels: np.ndarray) -> float:
    """1 where clearly there, 0 where nothing, -1 (no loss) for specks at the crop's edge."""
    area = int((labels > 0).sum())
    return 1.0 if area >= 60 else (0.0 if area == 0 else -1.0)


def pick_instance(labels: dict, rng: np.random.Generator, parts: bool, power: float = 0.0) -> np.ndarray | None:
    """Mask of one instance: mostly a particle, sometimes a neck or a pore; ``power``: see :class:`CropConfig`."""
    if not parts:
        return None
    order = ["particle", "pore", "neck"] if rng.random() < 0.85 else ["neck", "pore", "particle"]
    for concept in order:
        m = labels.get(concept)
        if m is None or not m.any():
            continue
        ids, areas = np.unique(m[m > 0], return_counts=True)
        ids, areas = ids[areas >= 24], areas[areas >= 24].astype(float)
        if len(ids) and power == 0:
            return m == ids[int(rng.integers(len(ids)))]
        if len(ids):
            return m == ids[int(rng.choice(len(ids), p=areas**power / (areas**power).sum()))]
    return None


def box_of(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """XYXY box of a mask, as a hand draws it: the edges a few per cent off."""
    ys, xs = np.nonzero(mask)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    side = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    jitter = rng.normal(0, 0.04, 4) * side + rng.normal(0, 0.7, 4)
    return (box + np.clip(jitter, -0.15 * side - 1, 0.15 * side + 1)).astype(np.float32)


def _points_of(mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Up to three points inside and one outside; unused places get label -1."""
    points, labels = np.zeros((4, 2), np.float32), np.full(4, -1, np.int64)
    ys, xs = np.nonzero(mask)
    count = int(rng.choice([1, 1, 1, 2, 3]))
    for i, k in enumerate(rng.integers(len(ys), size=count)):
        points[i], labels[i] = (xs[k], ys[k]), 1
    if rng.random() < 0.4:
        ring = ndimage.binary_dilation(mask, iterations=12) & ~ndimage.binary_dilation(mask, iterations=2)
        ys, xs = np.nonzero(ring)
        if len(ys):
            k = int(rng.integers(len(ys)))
            points[3], labels[3] = (xs[k], ys[k]), 0
    return points, labels


class CropMaker:
    """step -> :class:`Batch`, the same for the same seed and step."""

    def __init__(self, sources: list[Source], config: CropConfig, batch_size: int, seed: int):
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.pools = {kind: [s for s in sources if s.kind == kind] for kind, _ in config.mix}
        shares = np.array([share if self.pools[kind] else 0.0 for kind, share in config.mix])
        if shares.sum() == 0:
            raise ValueError("no training images")
        self.kinds, self.shares = [kind for kind, _ in config.mix], shares / shares.sum()

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        size, words = self.config.size, self.config.words
        room = (FRAME - size) // STRIDE
        origin = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
        shift = np.array(origin, np.float32) * STRIDE
        images, concepts, boxes, points, point_labels, regions, region_boxes = [], [], [], [], [], [], []
        kinds = ("boxes", "points", *(["regions"] if self.config.regions else []))
        targets: dict[str, list] = {kind: [] for kind in ("words", *kinds)}
        for _ in range(self.batch_size):
            pool = self.pools[self.kinds[int(rng.choice(len(self.kinds), p=self.shares))]]
            source = pool[int(rng.integers(len(pool)))]
            image, labels, valid = cut(source, rng, self.config)
            labels = {c: compacted(m) for c, m in labels.items()}
            images.append(image)
            asked = self._ask(labels, rng, words)
            concepts.append([CONCEPTS.index(c) for c in asked])
            for c in asked:
                weight = 1.0 if c == "particle" else 0.7
                targets["words"].append(target_maps(labels[c], valid, source.instances, presence_of(labels[c]), weight))
            for kind in kinds:
                mask = pick_instance(labels, rng, source.instances, self.config.size_power)
                one = None if mask is None else mask.astype(np.int32)
                targets[kind].append(target_maps(one, valid, False, -1.0, 0.7))
                if kind == "boxes":
                    box = np.array([8, 8, 24, 24], np.float32) if mask is None else box_of(mask, rng)
                    boxes.append(box + np.tile(shift, 2))
                elif kind == "regions":
                    mask = np.eye(size, dtype=bool) if mask is None else mask
                    rough = rough_region(mask, labels.get("particle", mask), rng)
                    rows, columns = np.nonzero(rough)
                    tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    regions.append(quarter(rough))
                    region_boxes.append(np.array(tight, np.float32) + np.tile(shift, 2))
                else:
                    p, k = (
                        (np.zeros((4, 2), np.float32), np.full(4, -1, np.int64))
                        if mask is None
                        else _points_of(mask, rng)
                    )
                    points.append(p + shift)
                    point_labels.append(k)
        rows = [row for kind in ("words", *kinds) for row in targets[kind]]
        columns = [torch.as_tensor(np.array(column, np.float32)) for column in zip(*rows, strict=True)]
        return Batch(
            torch.as_tensor(np.array(images)).unsqueeze(1),
            torch.as_tensor(concepts),
            torch.as_tensor(np.array(boxes)),
            torch.as_tensor(np.array(points)),
            torch.as_tensor(np.array(point_labels)),
            torch.as_tensor(np.array(regions, np.float32).reshape(len(regions), 1, size // 4, size // 4)),
            torch.as_tensor(np.array(region_boxes, np.float32).reshape(-1, 4)),
            Maps(*columns),
            origin,
        )

    @staticmethod
    def _ask(labels: dict, rng: np.random.Generator, count: int) -> list[str]:
        """Particles always, then other known concepts, those in the crop twice as likely as absent ones."""
        others = [c for c in CONCEPTS[1:] if c in labels]
        weights = np.array([1.0 if labels[c].any() else 0.5 for c in others])
        # everything is either a particle or substrate: little is learnt from asking for both
        weights[[c == "substrate" for c in others]] *= 0.3
        picks = rng.choice(len(others), size=count - 1, p=weights / weights.sum())
        return ["particle", *(others[int(k)] for k in picks)]
