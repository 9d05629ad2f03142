"""Images that show the same: copies, also turned, mirrored, in other contrast or format; and crops that overlap.

Training on one of such a pair and judging on the other gives figures that are too good. Copies are found by a
perceptual hash: the signs of the lowest frequencies of a cosine transform. Overlaps are found by cross-correlation of
small pictures; since empty micrographs correlate as soon as one edge fits, a pair must then agree in most places of the
overlap, at a finer scale, to count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range

KEPT_SIDE = 384
"""px, longer side of the picture that is kept of an image for comparing."""
HASH_SIDE = 12
"""The hash has the sign of so many frequencies a side, without the mean."""
SAME_HASH = 0.08
"""Share of the signs in which two copies may differ. Among the 66 795 pairs of EMPS the next pair differs in 0.11."""
COARSE_SIDE, FINE_SIDE = 64, 192
"""px, to which the median longer side of a set is brought to find and to confirm overlaps."""
LEAST_OVERLAP = 0.2
"""Share of the smaller image that two crops must have in common to be found."""
LEAST_COARSE = 0.3
LEAST_AGREEMENT = 0.1
"""Correlation that three quarters of the places in an overlap must reach. In tem-sintering and EMPS pairs of one area
reach 0.11 and more, all others 0.03 and less."""
CANDIDATES = 3
"""Overlaps that are confirmed at the finer scale, for each image: those that correlate best."""
_PLACES = 6
_LEAST_CONTRAST = 0.02


@dataclass(frozen=True)
class Look:
    """What is kept of an image for comparing.

    Attributes:
        picture: ``(h, w)`` uint8, robust contrast, longer side at most :data:`KEPT_SIDE`.
        scale: its px per px of the image.
        hashes: ``(8, 143)`` int8, -1 or 1: as the image is, turned by quarters, and mirrored.
        flat: whether there is nothing in it to compare.
    """

    picture: np.ndarray
    scale: float
    hashes: np.ndarray
    flat: bool


@dataclass(frozen=True)
class Pair:
    """Two images that show the same.

    Attributes:
        first, second: their numbers, from 0.
        kind: ``"copy"``, ``"turned copy"`` or ``"overlap"``.
        share: of the smaller image that both show, 0..1.
    """

    first: int
    second: int
    kind: str
    share: float = 1.0


def look_at(pixels: np.ndarray) -> Look:
    """Prepare an image for comparing.

    Args:
        pixels: ``(H, W)`` intensities of any range.
    """
    unit = to_unit_range(pixels)
    side = min(KEPT_SIDE, max(unit.shape))
    resizing = resize_long_side(unit.shape, side)
    picture = np.clip(resizing.image(unit), 0, 1)
    square = _resized(picture.astype(np.float32), (64, 64))
    turned = [np.rot90(image, k) for image in (square, square[:, ::-1]) for k in range(4)]
    hashes = np.stack([_hash(image) for image in turned])
    flat = float(picture.std()) < _LEAST_CONTRAST or min(picture.shape) < 8
    return Look((picture * 255).round().astype(np.uint8), max(resizing.resized) / max(unit.shape), hashes, flat)


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BOX))


def _hash(square: np.ndarray) -> np.ndarray:
    low = fft.dctn(square, norm="ortho")[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.where(low > np.median(low), 1, -1).astype(np.int8)


def near_duplicates(
    looks: Sequence[Look],
    overlaps: bool = True,
    progress: Callable[[int, int], None] | None = None,
    parts: Sequence[Hashable] | None = None,
) -> list[Pair]:
    """Pairs that show the same, in order.

    Args:
        looks: of the images of a set, one each.
        overlaps: also look for crops that overlap; the time grows with the square of the number of images, about 1.5 ms
            a pair on one core.
        progress: is told (pairs compared, pairs in all) while overlaps are looked for.
        parts: of each image the part it is in; then only pairs of two parts are looked for.
    """
    found = [pair for pair in _copies(looks) if parts is None or parts[pair.first] != parts[pair.second]]
    if overlaps:
        known = {(pair.first, pair.second) for pair in found}
        overlapping = _overlaps(looks, progress, parts)
        found += [pair for pair in overlapping if (pair.first, pair.second) not in known]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _copies(looks: Sequence[Look]) -> list[Pair]:
    if len(looks) < 2:
        return []
    straight = np.stack([look.hashes[0] for look in looks]).astype(np.float32)
    bits = straight.shape[1]
    found = []
    for i, look in enumerate(looks):
        if look.flat:
            continue
        differs = (bits - straight[i + 1 :] @ look.hashes.astype(np.float32).T) / 2 / bits  # (n - i - 1, 8)
        for j in np.flatnonzero((differs <= SAME_HASH).any(1)).tolist():
            if not looks[i + 1 + j].flat:
                kind = "copy" if differs[j, 0] <= SAME_HASH else "turned copy"
                found.append(Pair(i, i + 1 + j, kind))
    return found


def _overlaps(
    looks: Sequence[Look], progress: Callable[[int, int], None] | None, parts: Sequence[Hashable] | None
) -> list[Pair]:
    usable = [k for k, look in enumerate(looks) if not look.flat]
    if len(usable) < 2:
        return []
    long_side = float(np.median([max(looks[k].picture.shape) / looks[k].scale for k in usable]))
    coarse = [_detail(looks[k], COARSE_SIDE / long_side, 4.0, 2 * COARSE_SIDE) for k in usable]
    size = [fft.next_fast_len(2 * max(c.shape[axis] for c in coarse) - 1) for axis in (0, 1)]
    spectra = [_Spectra.of(image, size) for image in coarse]
    pairs = [
        (i, j)
        for i in range(len(usable))
        for j in range(i + 1, len(usable))
        if parts is None or parts[usable[i]] != parts[usable[j]]
    ]
    best: list[list[tuple[float, int]]] = [[] for _ in usable]
    for done, (i, j) in enumerate(pairs, start=1):
        likeness, _, _ = _best_shift(spectra[i], spectra[j])
        if likeness >= LEAST_COARSE:
            best[i].append((likeness, j))
            best[j].append((likeness, i))
        if progress is not None and (done % 50 == 0 or done == len(pairs)):
            progress(done, len(pairs))
    chosen = {
        (min(k, other), max(k, other))
        for k, candidates in enumerate(best)
        for _, other in sorted(candidates, reverse=True)[:CANDIDATES]
    }
    fine = {k: _detail(looks[usable[k]], FINE_SIDE / long_side, 2.0, 2 * FINE_SIDE) for pair in chosen for k in pair}
    found = []
    for i, j in sorted(chosen):
        shape = [fft.next_fast_len(fine[i].shape[axis] + fine[j].shape[axis] - 1) for axis in (0, 1)]
        _, shift, share = _best_shift(_Spectra.of(fine[i], shape), _Spectra.of(fine[j], shape))
        if _agreement(fine[i], fine[j], shift) >= LEAST_AGREEMENT:
            found.append(Pair(usable[i], usable[j], "overlap", share))
    return found


def _detail(look: Look, factor: float, sigma: float, longest: int) -> np.ndarray:
    """The picture at ``factor`` px per px of the image, without slow changes of brightness; mean 0, deviation 1."""
    shape = [max(8, min(longest, round(side / look.scale * factor))) for side in look.picture.shape]
    image = _resized(look.picture, (shape[0], shape[1]))
    image = image - ndimage.gaussian_filter(image, sigma)
    return ((image - image.mean()) / (image.std() + 1e-6)).astype(np.float32)


@dataclass(frozen=True)
class _Spectra:
    """Fourier transforms of an image, its square and its area, with which all shifts are judged at once."""

    shape: tuple[int, int]
    size: list[int]
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, image: np.ndarray, size: list[int]) -> _Spectra:
        parts = (image, image * image, np.ones_like(image))
        return cls(image.shape, size, tuple(fft.rfft2(part, size) for part in parts))


def _best_shift(a: _Spectra, b: _Spectra) -> tuple[float, tuple[int, int], float]:
    """The shift at which two images correlate best, over those with enough in common.

    Returns:
        correlation; (dy, dx): ``a[y + dy, x + dx]`` lies on ``b[y, x]``; share of the smaller image that is common.
    """
    image, square, ones = a.parts
    other, other_square, other_ones = (part.conj() for part in b.parts)
    stack = np.stack([image * other, square * other_ones, ones * other_square, ones * other_ones])
    product, energy_a, energy_b, common = fft.irfft2(stack, a.size)
    smaller = min(a.shape[0] * a.shape[1], b.shape[0] * b.shape[1])
    # where one of the two is empty, noise of the other decides
    usable = (common >= LEAST_OVERLAP * smaller) & (energy_a > 0.3 * common) & (energy_b > 0.3 * common)
    score = np.where(usable, product / np.sqrt(np.maximum(energy_a * energy_b, 1)), -1)
    place = int(score.argmax())
    dy, dx = (int(v) for v in np.unravel_index(place, score.shape))
    dy -= a.size[0] if dy >= a.shape[0] else 0
    dx -= a.size[1] if dx >= a.shape[1] else 0
    return float(score.flat[place]), (dy, dx), float(min(1.0, common.flat[place] / smaller))


def _agreement(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> float:
    """The correlation that three quarters of the places of an overlap exceed."""
    dy, dx = shift
    rows = slice(max(0, dy), min(a.shape[0], b.shape[0] + dy))
    columns = slice(max(0, dx), min(a.shape[1], b.shape[1] + dx))
    first = a[rows, columns]
    second = b[rows.start - dy : rows.stop - dy, columns.start - dx : columns.stop - dx]
    if min(first.shape) < 2 * _PLACES:
        return 0.0
    found = []
    for band, other in zip(np.array_split(first, _PLACES), np.array_split(second, _PLACES), strict=True):
        pieces = zip(np.array_split(band, _PLACES, 1), np.array_split(other, _PLACES, 1), strict=True)
        for u, v in pieces:
            energy = float(np.sqrt((u * u).sum() * (v * v).sum()))
            found.append(float((u * v).sum()) / energy if energy > 0 else 0.0)
    return float(np.quantile(found, 0.25))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Which group each of ``count`` images is in, images of one pair being in one; groups are named by their first
    image."""
    leader = list(range(count))

    def first(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    for a, b in pairs:
        low, high = sorted((first(a), first(b)))
        leader[high] = low
    return [first(k) for k in range(count)]
