"""Find near-duplicate images: copies and overlapping crops.

Copies may be rotated, mirrored, or have another contrast or file format. If one image of such a pair is trained on and
the other evaluated, the scores are too good. Copies are found by a perceptual hash: the signs of the lowest frequencies
of a cosine transform. Overlaps are found by cross-correlation of thumbnails; since nearly empty micrographs correlate
as soon as one edge matches, a pair must also agree in most places of the overlap, at a finer scale.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range

KEPT_SIDE = 384
"""px, longer side of the thumbnail of an image."""
HASH_SIDE = 12
"""Number of frequencies per axis whose signs form the hash, without the mean."""
SAME_HASH = 0.08
"""Largest share of signs in which two copies differ. Among the 66 795 pairs of EMPS the next pair differs in 0.11."""
COARSE_SIDE, FINE_SIDE = 64, 192
"""px, to which the median longer side of a set is resized to find and to confirm overlaps."""
LEAST_OVERLAP = 0.2
"""Smallest share of the smaller image that overlapping crops have in common."""
LEAST_COARSE = 0.3
LEAST_AGREEMENT = 0.1
"""Correlation that three quarters of the blocks of an overlap must reach. In tem-sintering and EMPS pairs of one area
reach 0.11 and more, all others 0.03 and less."""
CANDIDATES = 3
"""Number of candidates per image, those that correlate best, that are checked at the finer scale."""
_BLOCKS = 6
_LEAST_CONTRAST = 0.02


@dataclass(frozen=True)
class Signature:
    """Thumbnail and perceptual hashes of an image.

    Attributes:
        picture: ``(h, w)`` uint8 thumbnail with robust contrast, longer side at most :data:`KEPT_SIDE`.
        scale: px of the thumbnail per px of the image.
        hashes: ``(8, 143)`` int8, -1 or 1: of the image in its eight orientations.
        flat: whether the image has too little contrast to be compared.
    """

    picture: np.ndarray
    scale: float
    hashes: np.ndarray
    flat: bool


@dataclass(frozen=True)
class Pair:
    """Two near-duplicate images.

    Attributes:
        first, second: their indices.
        kind: ``"copy"``, ``"turned copy"`` or ``"overlap"``.
        share: of the smaller image that both have in common, 0..1.
    """

    first: int
    second: int
    kind: str
    share: float = 1.0


def image_signature(pixels: np.ndarray) -> Signature:
    """Compute the signature of an image.

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
    return Signature((picture * 255).round().astype(np.uint8), max(resizing.resized) / max(unit.shape), hashes, flat)


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BOX))


def _hash(square: np.ndarray) -> np.ndarray:
    low = fft.dctn(square, norm="ortho")[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.where(low > np.median(low), 1, -1).astype(np.int8)


def near_duplicates(
    signatures: Sequence[Signature],
    overlaps: bool = True,
    progress: Callable[[int, int], None] | None = None,
    parts: Sequence[Hashable] | None = None,
) -> list[Pair]:
    """Find near-duplicate pairs, in order.

    Args:
        signatures: one per image.
        overlaps: also search for overlapping crops; the time grows with the square of the number of images, about
            1.5 ms per pair on one core.
        progress: called with (pairs compared, pairs in all) during the search for overlaps.
        parts: the part of each image; then only pairs from two parts are compared.
    """
    found = [pair for pair in _copies(signatures) if parts is None or parts[pair.first] != parts[pair.second]]
    if overlaps:
        known = {(pair.first, pair.second) for pair in found}
        overlapping = _overlaps(signatures, progress, parts)
        found += [pair for pair in overlapping if (pair.first, pair.second) not in known]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _copies(signatures: Sequence[Signature]) -> list[Pair]:
    if len(signatures) < 2:
        return []
    straight = np.stack([signature.hashes[0] for signature in signatures]).astype(np.float32)
    bits = straight.shape[1]
    found = []
    for i, signature in enumerate(signatures):
        if signature.flat:
            continue
        differs = (bits - straight[i + 1 :] @ signature.hashes.astype(np.float32).T) / 2 / bits  # (n - i - 1, 8)
        for j in np.flatnonzero((differs <= SAME_HASH).any(1)).tolist():
            if not signatures[i + 1 + j].flat:
                kind = "copy" if differs[j, 0] <= SAME_HASH else "turned copy"
                found.append(Pair(i, i + 1 + j, kind))
    return found


def _overlaps(
    signatures: Sequence[Signature], progress: Callable[[int, int], None] | None, parts: Sequence[Hashable] | None
) -> list[Pair]:
    usable = [k for k, signature in enumerate(signatures) if not signature.flat]
    if len(usable) < 2:
        return []
    long_side = float(np.median([max(signatures[k].picture.shape) / signatures[k].scale for k in usable]))
    coarse = [_detail(signatures[k], COARSE_SIDE / long_side, 4.0, 2 * COARSE_SIDE) for k in usable]
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
        correlation, _, _ = _best_shift(spectra[i], spectra[j])
        if correlation >= LEAST_COARSE:
            best[i].append((correlation, j))
            best[j].append((correlation, i))
        if progress is not None and (done % 50 == 0 or done == len(pairs)):
            progress(done, len(pairs))
    chosen = {
        (min(k, other), max(k, other))
        for k, candidates in enumerate(best)
        for _, other in sorted(candidates, reverse=True)[:CANDIDATES]
    }
    fine = {
        k: _detail(signatures[usable[k]], FINE_SIDE / long_side, 2.0, 2 * FINE_SIDE) for pair in chosen for k in pair
    }
    found = []
    for i, j in sorted(chosen):
        shape = [fft.next_fast_len(fine[i].shape[axis] + fine[j].shape[axis] - 1) for axis in (0, 1)]
        _, shift, share = _best_shift(_Spectra.of(fine[i], shape), _Spectra.of(fine[j], shape))
        if _agreement(fine[i], fine[j], shift) >= LEAST_AGREEMENT:
            found.append(Pair(usable[i], usable[j], "overlap", share))
    return found


def _detail(signature: Signature, factor: float, sigma: float, longest: int) -> np.ndarray:
    """The thumbnail resized to ``factor`` px per px of the image, high-pass filtered, with mean 0 and standard
    deviation 1."""
    shape = [max(8, min(longest, round(side / signature.scale * factor))) for side in signature.picture.shape]
    image = _resized(signature.picture, (shape[0], shape[1]))
    image = image - ndimage.gaussian_filter(image, sigma)
    return ((image - image.mean()) / (image.std() + 1e-6)).astype(np.float32)


@dataclass(frozen=True)
class _Spectra:
    """Fourier transforms of an image, its square and its area, from which the correlation at all shifts is computed."""

    shape: tuple[int, int]
    size: list[int]
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, image: np.ndarray, size: list[int]) -> _Spectra:
        parts = (image, image * image, np.ones_like(image))
        return cls(image.shape, size, tuple(fft.rfft2(part, size) for part in parts))


def _best_shift(a: _Spectra, b: _Spectra) -> tuple[float, tuple[int, int], float]:
    """Find the shift at which two images correlate best, among those with enough overlap.

    Returns:
        correlation; (dy, dx): ``a[y + dy, x + dx]`` lies on ``b[y, x]``; share of the smaller image that is in common.
    """
    image, square, ones = a.parts
    other, other_square, other_ones = (part.conj() for part in b.parts)
    stack = np.stack([image * other, square * other_ones, ones * other_square, ones * other_ones])
    product, energy_a, energy_b, common = fft.irfft2(stack, a.size)
    smaller = min(a.shape[0] * a.shape[1], b.shape[0] * b.shape[1])
    # where one of the two is empty, the noise of the other would decide
    usable = (common >= LEAST_OVERLAP * smaller) & (energy_a > 0.3 * common) & (energy_b > 0.3 * common)
    score = np.where(usable, product / np.sqrt(np.maximum(energy_a * energy_b, 1)), -1)
    place = int(score.argmax())
    dy, dx = (int(v) for v in np.unravel_index(place, score.shape))
    dy -= a.size[0] if dy >= a.shape[0] else 0
    dx -= a.size[1] if dx >= a.shape[1] else 0
    return float(score.flat[place]), (dy, dx), float(min(1.0, common.flat[place] / smaller))


def _agreement(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> float:
    """The correlation that three quarters of the blocks of an overlap exceed."""
    dy, dx = shift
    rows = slice(max(0, dy), min(a.shape[0], b.shape[0] + dy))
    columns = slice(max(0, dx), min(a.shape[1], b.shape[1] + dx))
    first = a[rows, columns]
    second = b[rows.start - dy : rows.stop - dy, columns.start - dx : columns.stop - dx]
    if min(first.shape) < 2 * _BLOCKS:
        return 0.0
    found = []
    for band, other in zip(np.array_split(first, _BLOCKS), np.array_split(second, _BLOCKS), strict=True):
        pieces = zip(np.array_split(band, _BLOCKS, 1), np.array_split(other, _BLOCKS, 1), strict=True)
        for u, v in pieces:
            energy = float(np.sqrt((u * u).sum() * (v * v).sum()))
            found.append(float((u * v).sum()) / energy if energy > 0 else 0.0)
    return float(np.quantile(found, 0.25))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Group ``count`` images so that the images of each pair share a group.

    Returns:
        index of the first image of each image's group.
    """
    leader = list(range(count))

    def first(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    for a, b in pairs:
        low, high = sorted((first(a), first(b)))
        leader[high] = low
    return [first(k) for k in range(count)]
