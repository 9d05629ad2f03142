"""Crops of labelled micrographs: scale, place, rotation, photometry, burnt-in annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.measure import label as connected_regions

from lisa_micro.sim.overlay import random_overlay
from lisa_micro_finetune.concepts.sources import Labelled
from lisa_micro_finetune.data.crops import _window, photometric

THIN = ("crack", "grain_boundary")
"""Concepts drawn as lines of a few pixels."""

WHOLE = ("layer", "substrate", *THIN)
"""Concepts that are one region: their labels are not told apart."""


@dataclass(frozen=True)
class Crop:
    """One augmented crop, all ``(S, S)``.

    image: float32 0..1. labels: concept -> int32. valid: bool, inside the micrograph. parts, absent, partial: as in
    :class:`lisa_micro_finetune.concepts.sources.Labelled`. kind: of the source.
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]
    valid: np.ndarray
    parts: frozenset[str]
    absent: frozenset[str]
    partial: frozenset[str]
    kind: str


def _mirrored(array: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    return np.ascontiguousarray(_window(array, x, y, side, reflect=True))


def _resized(mask: np.ndarray, size: int, concept: str) -> np.ndarray:
    """Labels at another size; thin lines keep at least a pixel of width."""
    if concept not in THIN or mask.shape[0] <= size:
        return np.asarray(
            Image.fromarray(mask.astype(np.int32), mode="I").resize((size, size), Image.Resampling.NEAREST)
        ).astype(np.int32)
    share = Image.fromarray((mask > 0).astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    return (np.asarray(share) > 0.3).astype(np.int32)


def _place(source: Labelled, rng: np.random.Generator, side: int, focus: str) -> tuple[int, int]:
    """Corner ``(x, y)`` of a square of ``side`` px, mostly around a pixel of concept ``focus``."""
    h, w = source.pixels.shape
    low_x, low_y = min(0, w - side), min(0, h - side)
    mask = source.labels.get(focus)
    if mask is not None and rng.random() < 0.8:
        ys, xs = np.nonzero(mask[::5, ::5])
        if len(ys):
            k = int(rng.integers(len(ys)))
            jitter = rng.integers(-side // 3, side // 3 + 1, 2)
            x = int(np.clip(xs[k] * 5 - side // 2 + jitter[0], low_x, max(0, w - side)))
            return x, int(np.clip(ys[k] * 5 - side // 2 + jitter[1], low_y, max(0, h - side)))
    return (
        int(rng.integers(low_x // 2, max(1, w - side + 1))),
        int(rng.integers(low_y // 2, max(1, h - side + 1))),
    )


def cut_crop(source: Labelled, rng: np.random.Generator, size: int, scales: tuple[float, float], focus: str) -> Crop:
    """One augmented crop.

    Args:
        size: side S in px. scales: enlargement, drawn log-uniformly between the two. focus: the concept that the crop
            is mostly to show.

    Where the crop is larger than the micrograph, the micrograph goes on mirrored, labels too, so that small objects
    come in numbers.
    """
    scale = float(np.exp(rng.uniform(*np.log(scales))))
    h, w = source.pixels.shape
    side = min(int(round(size / scale)), 2 * min(h, w))
    x, y = _place(source, rng, side, focus)
    pixels = _mirrored(source.pixels, x, y, side)
    image = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    mirrored = x < 0 or y < 0 or x + side > w or y + side > h
    turns, flip = int(rng.integers(4)), rng.random() < 0.5

    def orient(a: np.ndarray) -> np.ndarray:
        a = np.rot90(a, turns)
        return np.ascontiguousarray(a[:, ::-1] if flip else a)

    labels = {}
    for concept, whole in source.labels.items():
        small = _resized(_mirrored(whole, x, y, side), size, concept)
        if mirrored and concept in source.parts:
            small = connected_regions(small, background=0, connectivity=2)
        labels[concept] = orient(small).astype(np.int32)
    image = orient(image)
    absent, partial = source.absent, source.partial
    if "annotation" not in labels and rng.random() < (0.25 if source.kind != "tem" else 0.1):
        image, labels = burn(image, labels, rng, alone="annotation" in absent)
        # letters that were there before are not labelled
        partial = partial if "annotation" in absent else partial | {"annotation"}
        absent = absent - {"annotation"}
    image = photometric(image, rng, gentle=source.kind == "tem")
    if source.kind not in ("emps", "tem", "dislocation-loops") and rng.random() < 0.15:
        image = drowned(image, labels, rng)
    return Crop(image, labels, np.ones((size, size), bool), source.parts, absent, partial, source.kind)


def burn(
    image: np.ndarray, labels: dict[str, np.ndarray], rng: np.random.Generator, alone: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Burn letters, a scale bar or a banner into a crop, as ``annotation``; ``alone``: a crop without any is known to
    have none."""
    overlay = random_overlay(rng, image.shape, float(np.exp(rng.uniform(-2, 3))), bool(image.mean() > 0.5), True)
    if overlay is None:
        return image, labels | ({"annotation": np.zeros(image.shape, np.int32)} if alone else {})
    hidden = {c: np.where(overlay.opaque, 0, m).astype(np.int32) for c, m in labels.items()}
    hidden["annotation"] = overlay.mask.astype(np.int32)
    return np.clip(overlay.over(image), 0, 1).astype(np.float32), hidden


def drowned(image: np.ndarray, labels: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Noise until the contrast of what is labelled is 0.3 to 3 times its standard deviation, half of the time
    smoothed, as averaged frames are."""
    inside = np.zeros(image.shape, bool)
    for concept, mask in labels.items():
        if concept not in ("substrate", "annotation"):
            inside |= mask > 0
    if not inside.any() or inside.all():
        return image
    contrast = abs(float(image[inside].mean() - image[~inside].mean()))
    sigma = max(contrast, 0.03) / float(np.exp(rng.uniform(np.log(0.3), np.log(3.0))))
    noisy = image + rng.normal(0, sigma, image.shape).astype(np.float32)
    if rng.random() < 0.5:
        noisy = ndimage.gaussian_filter(noisy, rng.uniform(0.5, 2.0))
    low, high = np.percentile(noisy, (0.5, 99.5))
    return np.clip((noisy - low) / max(high - low, 1e-3), 0, 1).astype(np.float32)
