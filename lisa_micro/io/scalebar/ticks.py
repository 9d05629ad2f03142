"""Find rows of ticks at equal distances that stand for a length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from lisa_micro.io.scalebar.bar import FAINTEST, LONGEST_SHARE, Bar

TICKS = 11
"""Number of ticks in a row that stands for a length."""
LEAST_TICKS = 7
"""Number of them that have to be found one by one."""
MISSING_TICKS = 2
"""Number of them that may be hidden by the specimen."""
MOST_TICKS = 40
"""More marks in a line are a texture."""
LEAST_STEP = 4.0
"""px: least distance of ticks."""
TICK_CONTRAST = 50.0
"""Grey levels by which a tick differs from its surroundings."""
MOST_UNEVEN = 0.5
"""px: standard deviation of ticks from their places; those that were drawn at whole pixels have 0.3, letters more."""
LEVELS = ((FAINTEST, 60.0), (200.0, 60.0), (225.0, 45.0), (245.0, 30.0))
"""Grey level that the pixels of a tick have at least, and by how much they exceed their surroundings: on a texture
ticks stand apart only at their own grey value."""


def tick_rows(image: np.ndarray, light: bool) -> list[Bar]:
    """Rows of light vertical ticks at equal distances."""
    width = image.shape[1]
    thick = 9
    hat = image - ndimage.maximum_filter1d(ndimage.minimum_filter1d(image, thick, axis=1), thick, axis=1)
    found: list[Bar] = []
    tried: set[bytes] = set()
    seen = np.zeros((0, 4), int)
    for level, contrast in LEVELS:
        table = _ticks((hat >= contrast) & (image >= level))
        seen = _with_new(seen, table)
        # some ticks may stand apart at one level, the others at another one
        for ticks in (table, seen):
            for group in _aligned(ticks):
                if group.tobytes() not in tried:
                    tried.add(group.tobytes())
                    found += _even_rows(image, group, light)
    return [bar for bar in found if bar.length <= LONGEST_SHARE * width]


def _ticks(mask: np.ndarray) -> np.ndarray:
    """``(n, 4)`` y0, y1, x0, x1 of the upright marks of a mask ``(H, W)``."""
    marks, count = ndimage.label(mask)
    if not LEAST_TICKS <= count <= 20_000:
        return np.zeros((0, 4), int)
    boxes = np.array([(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(marks)])
    high, wide = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    upright = (high >= 3) & (high <= 0.08 * len(mask)) & (wide <= 5) & (high >= 1.2 * wide)
    full = np.bincount(marks.ravel(), minlength=count + 1)[1:] >= 0.75 * high * wide
    return boxes[upright & full]


def _with_new(ticks: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Ticks ``(n, 4)``, and those of ``more`` that share no pixel with them."""
    if not len(ticks) or not len(more):
        return more if len(more) else ticks
    a, b = more[:, None], ticks[None]
    apart = (a[..., 0] >= b[..., 1]) | (b[..., 0] >= a[..., 1]) | (a[..., 2] >= b[..., 3]) | (b[..., 2] >= a[..., 3])
    return np.concatenate([ticks, more[apart.all(axis=1)]])


def _aligned(ticks: np.ndarray) -> Iterator[np.ndarray]:
    """Groups ``(m, 4)`` of ticks that are aligned at their middles, their upper or their lower ends."""
    if len(ticks) < LEAST_TICKS:
        return
    for aligned in ((ticks[:, 0] + ticks[:, 1]) / 2, ticks[:, 0], ticks[:, 1]):
        lines, counts = np.unique(aligned.round(), return_counts=True)
        for line in lines[counts >= 2]:
            group = ticks[np.abs(aligned - line) <= 1]
            if LEAST_TICKS <= len(group) <= MOST_TICKS:
                yield group


def _even_rows(image: np.ndarray, ticks: np.ndarray, light: bool) -> list[Bar]:
    """The row of :data:`TICKS` ticks at equal distances, most of which are among ``(n, 4)`` ticks (y0, y1, x0, x1)."""
    place = np.array([_tick_centre(image, *(int(v) for v in row)) for row in ticks])
    order = np.argsort(place)
    place, ticks = place[order], ticks[order]
    numbers, members = _even(place)
    between = np.count_nonzero((place >= place[members].min()) & (place <= place[members].max())) if len(members) else 0
    if len(numbers) < LEAST_TICKS or between > len(numbers) + 1:  # strokes of letters stand at all distances
        return []
    step, start = (float(v) for v in np.polyfit(numbers, place[members], 1))
    if float(np.std(place[members] - start - step * numbers)) > MOST_UNEVEN:
        return []
    y0, y1 = (int(np.median(ticks[members, k])) for k in (0, 1))
    # nearly every number between the first and the last has a tick, and none stands beyond them
    first, last = 0, int(numbers[-1])
    profile = image[y0:y1].mean(axis=0)
    level = float(np.median(profile[place[members].astype(int)]))

    def seen(number: int) -> bool:
        return _has_tick(image, (y0, y1), start + step * number, step, level)

    if sum(not seen(number) for number in range(last) if number not in numbers) > MISSING_TICKS:
        return []
    while seen(first - 1):
        first -= 1
    while seen(last + 1):
        last += 1
    if last - first != TICKS - 1:
        return []
    rows = int(ticks[members, 0].min()), int(ticks[members, 1].max())
    return [Bar(start + step * first, start + step * last, *rows, light, "ticks", score=50.0)]


def _even(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest set of ticks at equal distances, some of which may be missing.

    Args:
        place: ``(n,)`` px, ascending.

    Returns:
        their numbers, from 0, and their indices, both ``(m,)``.
    """
    i, k = np.triu_indices(len(place), LEAST_TICKS - 1)
    steps = np.arange(LEAST_TICKS - 1, TICKS)
    step = ((place[k] - place[i])[:, None] / steps).ravel()  # the distance, if so many of them lie between two ticks
    start = np.repeat(place[i], len(steps))
    start, step = start[step >= LEAST_STEP], step[step >= LEAST_STEP]
    if not len(step):
        return np.zeros(0, int), np.zeros(0, int)
    numbers = np.rint((place - start[:, None]) / step[:, None]).astype(int)  # (candidates, n)
    off = np.abs(place - start[:, None] - numbers * step[:, None])
    near = (off <= np.maximum(1.3, 0.06 * step)[:, None]) & (numbers >= 0) & (numbers < TICKS)
    best = int(near.sum(axis=1).argmax())
    members = np.flatnonzero(near[best])
    _, first = np.unique(numbers[best, members], return_index=True)
    return numbers[best, members[first]], members[first]


def _has_tick(image: np.ndarray, rows: tuple[int, int], at: float, step: float, level: float) -> bool:
    """Whether a tick stands at a place: as light as the others, darker on both sides, above and below.

    Args:
        rows: of the ticks. at: px. step: distance of the ticks. level: grey value of the others.
    """
    (y0, y1), width = rows, image.shape[1]
    if at < 0 or at >= width:
        return False
    profile = image[y0:y1].mean(axis=0)
    columns = slice(max(0, int(at - 1.5)), int(at + 1.5) + 1)
    half = max(2.0, step / 2)
    gaps = [profile[int(x)] for x in (at - half, at + half) if 0 <= x < width]
    peak = float(profile[columns].max())
    if peak - max(gaps) <= TICK_CONTRAST or peak < level - TICK_CONTRAST:
        return False
    # a mark of the specimen goes on beyond the ticks
    tall = y1 - y0
    above = image[max(0, y0 - tall // 2 - 3) : max(0, y0 - tall // 2 - 1), columns]
    below = image[y1 + tall // 2 + 1 : y1 + tall // 2 + 3, columns]
    return all(peak - float(part.mean()) > TICK_CONTRAST for part in (above, below) if part.size)


def _tick_centre(image: np.ndarray, y0: int, y1: int, x0: int, x1: int) -> float:
    """Middle of a tick, weighted by its contrast, px from the left edge of the picture."""
    left, right = max(x0 - 2, 0), min(x1 + 2, image.shape[1])
    profile = image[y0:y1, left:right].mean(axis=0)
    weight = np.clip(profile - (profile.min() + 0.25 * np.ptp(profile)), 0, None)
    if weight.sum() <= 0:
        return (x0 + x1) / 2
    return float((weight * (np.arange(left, right) + 0.5)).sum() / weight.sum())
