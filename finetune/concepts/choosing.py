"""What is asked of a crop: words, boxes, points, exemplars, and the labels that answer them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_regions

from lisa_micro.types import VISION_CONCEPTS
from lisa_micro_finetune.concepts.crops import THIN, WHOLE, Crop

LEAST_AREA = 16
"""px: smaller instances are not prompted by boxes."""


@dataclass(frozen=True)
class Chosen:
    """One object and its box (XYXY px, as a hand draws it), both of one crop. mask: ``(S, S)`` bool. others: ``(S, S)``
    bool, instances of the same concept beside it."""

    mask: np.ndarray
    others: np.ndarray
    box: np.ndarray


def sloppy_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """XYXY box of a mask, its edges a few per cent off, one time in five by up to a fifth."""
    ys, xs = np.nonzero(mask)
    return jittered(np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32), rng)


def jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same box as a hand draws it."""
    side = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    much = 0.1 if rng.random() < 0.2 else 0.035
    moved = rng.normal(0, much, 4) * side + rng.normal(0, 0.7, 4)
    return (box + np.clip(moved, -0.2 * side - 1, 0.2 * side + 1)).astype(np.float32)


def crowding(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, list]:
    """Numbers of the instances of at least :data:`LEAST_AREA` px, the share of each one's box that other instances
    cover, and the boxes as slices."""
    numbers, shares, windows = [], [], []
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        part = labels[window]
        if int((part == number).sum()) < LEAST_AREA:
            continue
        numbers.append(number)
        shares.append(float(((part > 0) & (part != number)).mean()))
        windows.append(window)
    return np.array(numbers, int), np.array(shares), windows


def pick_object(crop: Crop, rng: np.random.Generator) -> Chosen | None:
    """An instance to be prompted by a box or a point, in a crowd most of the time; ``None`` where the crop has none."""
    there = [c for c in crop.parts if c in crop.labels and c not in WHOLE and crop.labels[c].any()]
    if not there:
        return None
    # necks and agglomerates are not what a box is drawn around most often
    weights = np.array([{"neck": 0.15, "agglomerate": 0.1, "pore": 0.4}.get(c, 1.0) for c in there])
    concept = there[int(rng.choice(len(there), p=weights / weights.sum()))]
    labels = crop.labels[concept]
    numbers, shares, _ = crowding(labels)
    if not len(numbers):
        return None
    areas = np.bincount(labels.ravel())[numbers].astype(float)
    chance = areas**0.4 * np.where(shares > 0.08, 4.0, np.where(shares > 0, 1.5, 1.0))
    number = int(numbers[int(rng.choice(len(numbers), p=chance / chance.sum()))])
    mask = labels == number
    return Chosen(mask, (labels > 0) & ~mask, sloppy_box(mask, rng))


@dataclass(frozen=True)
class Word:
    """A concept asked for by its class embedding. labels: ``(S, S)`` int32, all 0 where it is absent. valid: ``(S, S)``
    bool."""

    concept: str
    labels: np.ndarray
    valid: np.ndarray


def truth_of(crop: Crop, concept: str) -> Word:
    """What a concept's labels say of a crop; absent ones are empty."""
    if concept not in crop.labels:
        return Word(concept, np.zeros(crop.image.shape, np.int32), crop.valid)
    labels, valid = crop.labels[concept], crop.valid
    if concept in crop.partial:
        valid = valid & (ndimage.binary_dilation(labels > 0, iterations=3))
    return Word(concept, labels, valid)


RARE = {"fibre": 0.4, "core": 0.3, "shell": 0.3, "satellite": 0.3, "dislocation_loop": 0.4, "hole": 0.5}
"""How often a concept is asked for where it is absent, beside 1 of the others: where a concept is seldom shown, more
negatives than examples teach the decoder to answer it with nothing."""


def pick_words(crop: Crop, rng: np.random.Generator, focus: str, absent: float, most: int = 3) -> list[Word]:
    """The concept that the crop was cut for, up to ``most`` others that are there, and, with a chance of ``absent``,
    one that is not: labelled as empty or known to be absent."""
    there = [c for c in crop.labels if c not in (focus, "substrate") and crop.labels[c].any()]
    gone = [c for c in VISION_CONCEPTS if c in crop.absent or (c in crop.labels and not crop.labels[c].any())]
    asked = [focus, *(there[int(k)] for k in rng.permutation(len(there))[:most])]
    if "substrate" in crop.labels and focus != "substrate" and rng.random() < 0.1:
        asked.append("substrate")
    gone = [c for c in gone if c not in asked]
    if gone and rng.random() < absent:
        weights = np.array([RARE.get(c, 1.0) for c in gone])
        asked.append(gone[int(rng.choice(len(gone), p=weights / weights.sum()))])
    return [truth_of(crop, c) for c in asked]


@dataclass(frozen=True)
class Episode:
    """Exemplars of one crop. word: truth of all that is alike. boxes ``(K, 4)`` XYXY px, signs ``(K,)``: 1 alike, -1
    not, 0 no box."""

    word: Word
    boxes: np.ndarray
    signs: np.ndarray


def _line_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box around a piece of a line or a region, as one would show it."""
    ys, xs = np.nonzero(mask)
    k = int(rng.integers(len(ys)))
    half = np.exp(rng.uniform(np.log(8), np.log(36), 2))
    size = mask.shape[0]
    x0, y0 = max(0, int(xs[k] - half[0])), max(0, int(ys[k] - half[1]))
    x1, y1 = min(size, int(xs[k] + half[0])), min(size, int(ys[k] + half[1]))
    rows, columns = np.nonzero(mask[y0:y1, x0:x1])
    tight = [x0 + columns.min(), y0 + rows.min(), x0 + columns.max() + 1, y0 + rows.max() + 1]
    return jittered(np.array(tight, np.float32), rng)


def _unlike_box(crop: Crop, target: np.ndarray, like: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A box over what is not alike: an instance of another concept, or a place of the size of a positive box."""
    size = target.shape[0]
    rivals = [c for c in crop.parts if c in crop.labels and c not in WHOLE and crop.labels[c].any()]
    for _ in range(6):
        if rivals and rng.random() < 0.4:
            labels = crop.labels[rivals[int(rng.integers(len(rivals)))]]
            values = np.unique(labels[labels > 0])
            box = sloppy_box(labels == values[int(rng.integers(len(values)))], rng)
        else:
            half = (like[2:] - like[:2]) / 2 * np.exp(rng.uniform(-0.3, 0.5, 2))
            centre = rng.uniform(0, size, 2)
            box = np.concatenate([centre - half, centre + half]).astype(np.float32)
        x0, y0, x1, y1 = np.clip(np.round(box), 0, size).astype(int)
        if x1 - x0 >= 4 and y1 - y0 >= 4 and (target[y0:y1, x0:x1] > 0).mean() < 0.03:
            return np.array([x0, y0, x1, y1], np.float32)
    return None


def pick_episode(crop: Crop, rng: np.random.Generator, most: int = 3) -> Episode | None:
    """One to three objects of a concept that is there, up to three that are not alike; ``None`` where there is nothing
    to show."""
    there = [c for c in crop.labels if crop.labels[c].any() and c not in ("substrate", "annotation")]
    if not there:
        return None
    weights = np.array([{"neck": 0.3, "agglomerate": 0.4, "pore": 0.7}.get(c, 1.0) for c in there])
    concept = there[int(rng.choice(len(there), p=weights / weights.sum()))]
    word = truth_of(crop, concept)
    labels = word.labels
    positives: list[np.ndarray] = []
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.2, 0.4]))
    if concept in THIN or concept in WHOLE:
        positives = [_line_box(labels > 0, rng) for _ in range(count)]
    else:
        pieces = labels if concept in crop.parts else connected_regions(labels > 0, background=0, connectivity=2)
        values, areas = np.unique(pieces[pieces > 0], return_counts=True)
        values = values[areas >= min(LEAST_AREA, int(areas.max()))]
        chosen = rng.choice(values, size=min(count, len(values)), replace=False)
        positives = [sloppy_box(pieces == v, rng) for v in chosen]
    boxes, signs = np.zeros((2 * most, 4), np.float32), np.zeros(2 * most, np.int64)
    boxes[:, 2:] = 8
    for k, box in enumerate(positives):
        boxes[k], signs[k] = box, 1
    for k in range(most, most + int(rng.integers(0, most + 1))):
        unlike = _unlike_box(crop, labels, positives[0], rng)
        if unlike is not None:
            boxes[k], signs[k] = unlike, -1
    boxes = np.clip(boxes, 0, crop.image.shape[0])
    # a box cut off at the edge of the crop keeps an area
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
    return Episode(word, boxes, signs)
