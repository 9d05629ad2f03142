"""Find what covers the specimen: a data bar over the whole width at the upper or lower edge, and boxes with letters.

A data bar has a background of one grey value, with letters on it, and ends at a straight line over the whole width.
Flat regions of a specimen (vacuum, saturated contrast) have no letters or no straight edge, and are not taken for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lisa_micro.types import Box

LEAST_SIDE = 64
"""px: smaller micrographs carry no readable letters, and are not searched."""
HIGHEST_BAND = 0.3
"""Largest share of the height that a data bar has."""
LOWEST_BAND = 7
"""px: least height of a data bar."""
FLAT_SHARE = 0.3
"""Least share of a row of a data bar that has its background's grey value."""
EDGE_SHARE = 0.5
"""Least share of the columns in which the grey value changes at the inner edge of a data bar."""
LINE_CONTRAST = 24.0
"""Grey levels by which a line that closes a data bar differs from the specimen."""
FRAME = 6
"""px: a frame or a line of another grey value around a data bar is at most this wide."""


@dataclass(frozen=True)
class Covered:
    """What is not specimen.

    Attributes:
        field: the part of the picture that shows the specimen; the whole picture if there is no data bar.
        boxes: boxes with letters inside the field.
    """

    field: Box
    boxes: tuple[Box, ...] = ()


def find_covered(pixels: np.ndarray) -> Covered:
    """Find the data bar and the boxes with letters of a micrograph.

    Args:
        pixels: ``(H, W)`` intensities of any range.
    """
    height, width = pixels.shape
    if min(height, width) < LEAST_SIDE:
        return Covered((0, 0, width, height))
    grey = grey_levels(pixels)
    bottom = height - _band(grey[::-1])
    top = _band(grey[:bottom]) if bottom == height else 0
    boxes = []
    for box in _boxes(grey, (0, top, width, bottom)):
        if box[2] - box[0] < 0.97 * width:
            boxes.append(box)
        elif box[3] >= bottom - FRAME:  # a data bar with a single word
            bottom = box[1]
    return Covered((0, top, width, bottom), tuple(boxes))


def grey_levels(pixels: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32 in 0..255, linear between the least and the greatest finite intensity.

    Burnt-in letters have the extreme values of a picture, so no part of the range is cut off.
    """
    values = np.asarray(pixels, np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.float32(values[finite].min() if finite.any() else 0))
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.float32)
    if low >= 0 and high <= 255 and high > 200:  # 8 bits as they are: nothing is gained by stretching
        return values
    return ((values - low) * np.float32(255 / (high - low))).astype(np.float32)


# ------------------------------------------------------------------------------------------------------ data bars


def _band(grey: np.ndarray) -> int:
    """Height in px of the data bar at the first rows of ``grey``; 0 without one."""
    limit = int(HIGHEST_BAND * len(grey))
    part = grey[: limit + 8]
    best = 0
    for level in _levels(part[: max(LOWEST_BAND, limit // 2)]):
        height = _band_of(part, level, limit)
        best = max(best, height)
    return best


def _levels(rows: np.ndarray) -> list[float]:
    """The most frequent grey values of the rows, at most four that differ."""
    counts = np.bincount(np.clip(rows.round(), 0, 255).astype(np.uint8).ravel(), minlength=256).astype(float)
    counts = ndimage.uniform_filter1d(counts, 3, mode="constant")
    found: list[float] = []
    while len(found) < 4 and counts.max() * 3 > 0.08 * rows.size:
        level = int(counts.argmax())
        found.append(float(level))
        counts[max(0, level - 8) : level + 9] = 0
    return found


def _band_of(part: np.ndarray, level: float, limit: int) -> int:
    """Height of the data bar with the background ``level``; 0 if there is none."""
    away = np.abs(part - level)
    spread = _spread(away[: max(LOWEST_BAND, limit // 4)])
    tolerance = max(3.0, 4 * spread)
    if tolerance > 32:
        return 0
    flat = away <= tolerance
    share = flat.mean(axis=1)
    uniform = part.max(axis=1) - part.min(axis=1) <= max(24.0, 6 * spread)  # a line over the whole width
    inside = (share >= FLAT_SHARE) | uniform
    # a row of dense letters or a logo may have less background, and so has a frame; a few such rows are bridged
    inside = ndimage.binary_closing(np.pad(inside, 5, mode="edge"), np.ones(9))[5:-5]
    if not inside[:FRAME].any():
        return 0
    start = int(inside[:FRAME].argmax())
    end = start + int((~inside[start:]).argmax()) if not inside[start:].all() else len(inside)
    for height in _edges(part, flat, min(end + 3, limit, len(part) - 4)):
        if _has_letters(part[start:height], flat[start:height], tolerance):
            return height + _line(part, height)
    return 0


def _line(part: np.ndarray, height: int) -> int:
    """Rows of a line over the whole width that closes a data bar of ``height`` rows; 0 without one.

    Three quarters of its last row are lighter, or darker, than three quarters of the rows beyond, and the rows before
    it are so too, or of one grey value. Rows that scaling has mixed with the line or the data bar count as its own.
    """
    for rows in range(min(FRAME, len(part) - height - 3), 0, -1):
        low, first, third, high = np.percentile(part[height : height + rows], (2, 25, 75, 98), axis=1)
        dark, light = np.percentile(part[height + rows : height + rows + 3], (25, 75))
        apart = (first >= light + LINE_CONTRAST) | (third <= dark - LINE_CONTRAST)
        if apart[-1] and (apart | (high - low <= LINE_CONTRAST)).all():
            return rows
    return 0


def _spread(away: np.ndarray) -> float:
    """Noise of the background: half of the distances from its level that are within 16 are below 0.67 of it."""
    near = away[away <= 16]
    return float(np.median(near)) / 0.6745 if len(near) else 0.0


def _edges(part: np.ndarray, flat: np.ndarray, last: int) -> list[int]:
    """Heights, up to ``last``, at which the band may end, the best first: flat on its side, not so beyond."""
    found = []
    for height in range(LOWEST_BAND, last + 1):
        before, beyond = flat[max(0, height - 3) : height].any(axis=0), ~flat[height : height + 3]
        columns = before & beyond[0] & beyond[1]
        changed = float(columns.mean())
        if changed >= max(EDGE_SHARE, 0.8 * float(before.mean())) and _over_whole_width(columns):
            # at the edge itself the last row is flat; beyond it, the background does not come back
            sharp = float((flat[height - 1] & beyond[0] & beyond[1]).mean())
            found.append((sharp - float(flat[height : height + 8].mean()), height))
    return [height for _, height in sorted(found, reverse=True)[:3]]


LEAST_STROKES = 16
"""Strokes of letters that a row of a data bar has at least, where the letters cannot be told apart."""


def _over_whole_width(columns: np.ndarray) -> bool:
    """Whether ``(W,)`` bool is true in a part of each eighth but one, where a bar may lie: a wide box is no band."""
    return sum(part.mean() < 0.1 for part in np.array_split(columns, 8)) <= 1


def _has_letters(band: np.ndarray, flat: np.ndarray, tolerance: float) -> bool:
    """Whether a band holds letters: several marks of high contrast, of about one height, much lower than wide rows."""
    if len(band) < LOWEST_BAND:
        return False
    background = flat.mean()
    if background < 0.4:
        return False
    ink = ~flat
    contrast = float(np.abs(band[ink].mean() - band[flat].mean())) if ink.any() else 0.0
    strong = np.percentile(np.abs(band[ink] - np.median(band[flat])), 90) if ink.any() else 0.0
    if strong < max(60.0, 5 * tolerance / 4) or contrast < 15:
        return False
    strokes = (np.diff(ink.astype(np.int8), axis=1) == 1).sum(axis=1)
    if strokes.max() >= LEAST_STROKES:  # letters that touch the lines of a table are one mark, but many strokes
        return True
    marks, _ = ndimage.label(ink, np.ones((3, 3)))
    lefts = []
    for rows, columns in ndimage.find_objects(marks):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        if 4 <= high <= len(band) and wide <= 6 * max(high, 8):
            lefts.append(columns.start)
    return len(lefts) >= 4 and bool(np.ptp(lefts) > 0.1 * band.shape[1])


# ---------------------------------------------------------------------------------------------- boxes with letters


def _boxes(grey: np.ndarray, field: Box) -> list[Box]:
    """Rectangles of one grey value with letters on them, near the edges of the field."""
    x0, y0, x1, y1 = field
    inner = grey[y0:y1, x0:x1]
    area = inner.size
    found: list[Box] = []
    for extreme in (inner >= 250, inner <= 5):
        if not 0.001 < extreme.mean() < 0.6:
            continue
        marks, count = ndimage.label(extreme)
        if count == 0:
            continue
        sizes = np.bincount(marks.ravel())
        for number, place in enumerate(ndimage.find_objects(marks), 1):
            rows, columns = place
            high, wide = rows.stop - rows.start, columns.stop - columns.start
            if high < 10 or wide < 10 or not 0.0008 * area < high * wide < 0.15 * area:
                continue
            if sizes[number] < 0.35 * high * wide or not _near_edge(place, inner.shape):
                continue
            piece = marks[place] == number
            if _is_rectangle(piece) and _is_written(inner[place], piece):
                found.append((x0 + columns.start, y0 + rows.start, x0 + columns.stop, y0 + rows.stop))
    return sorted(found)


def _near_edge(place: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    rows, columns = place
    gap = min(rows.start, columns.start, shape[0] - rows.stop, shape[1] - columns.stop)
    return gap <= 0.05 * min(shape)


def _is_rectangle(piece: np.ndarray) -> bool:
    """Whether the outer rim of a piece is complete but for 6 %: letters never reach the rim of their box."""
    rim = np.concatenate([piece[0], piece[-1], piece[:, 0], piece[:, -1]])
    inner = np.concatenate([piece[1], piece[-2], piece[:, 1], piece[:, -2]])
    return bool(max(rim.mean(), inner.mean()) >= 0.94) and bool(rim.mean() > 0.6)


def _is_written(grey: np.ndarray, piece: np.ndarray) -> bool:
    """Whether there is ink of high contrast in the box, and not too much of it."""
    ink = ~piece
    share = float(ink.mean())
    if not 0.02 <= share <= 0.6:
        return False
    return bool(np.percentile(np.abs(grey[ink] - np.median(grey[piece])), 75) > 90)
