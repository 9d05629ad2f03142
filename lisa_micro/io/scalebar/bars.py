"""Find what may be a scale bar: a horizontal stroke of one grey value with straight ends, or a row of ticks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.io.scalebar.bar import FAINTEST, LONGEST_SHARE, Bar
from lisa_micro.io.scalebar.ticks import tick_rows

LEAST_CONTRAST = 30.0
"""Grey levels by which a bar differs from what is above and below it."""
LEAST_SHARE = 0.025
"""Least length of a bar as a share of the width of the picture."""
THICKEST_SHARE = 0.05
"""Thickest bar as a share of the height of the picture."""
UNSURE = 0.02
"""Share of the length of a bar that a tick at only one of its ends may have."""
SLIMMEST = 2.6
"""Least ratio of length to thickness."""


def find_bars(grey: np.ndarray) -> list[Bar]:
    """All candidates in a picture.

    Args:
        grey: ``(H, W)`` float32, 0..255.
    """
    found: list[Bar] = []
    for light in (True, False):
        image = grey if light else 255 - grey
        strokes = _distinct(_strokes(image, light))
        found += [bar for bar in strokes if not _is_unsure(bar)]
        found += _halves(strokes, grey.shape[1]) + tick_rows(image, light)
    return _distinct(found)


def _is_unsure(bar: Bar) -> bool:
    """Whether a bar has a tick at one end only: the other may be hidden, or this one be a part of the specimen."""
    return min(bar.ticks) == 0 and max(bar.ticks) > UNSURE * bar.length


# ---------------------------------------------------------------------------------------------------- filled bars


def _strokes(image: np.ndarray, light: bool) -> list[Bar]:
    """Light horizontal strokes of ``image``."""
    height, width = image.shape
    least = max(12, round(LEAST_SHARE * width))
    thickest = max(6, round(THICKEST_SHARE * height))
    # what is lighter than the darkest pixels of a window above and below it, i.e. the white top-hat along columns;
    # beyond the picture it is dark
    size = 2 * thickest + 3
    padded = np.pad(image, ((size, size), (0, 0)))
    opened = ndimage.maximum_filter1d(ndimage.minimum_filter1d(padded, size, axis=0), size, axis=0)
    hat = image - opened[size:-size]
    found: list[Bar] = []
    bright = image >= FAINTEST
    masks = [bright & (hat >= contrast) for contrast in (LEAST_CONTRAST, 80.0, 150.0)]
    # on a bright ground only the grey value tells the bar, which is as bright as the picture gets
    masks += [image >= 248, image >= 253]
    for mask in masks:
        # only runs of at least `least` px along a row are kept
        runs = _runs(mask, least)
        if not runs.any():
            continue
        marks, _ = ndimage.label(runs)
        for place in ndimage.find_objects(marks):
            bar = _stroke(image, mask, place, thickest, light)
            if bar is not None:
                found.append(bar)
    return found


def _runs(mask: np.ndarray, least: int) -> np.ndarray:
    """The runs of at least ``least`` px along the rows of ``(H, W)`` bool."""
    count = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int32)
    np.cumsum(mask, axis=1, out=count[:, 1:])
    starts = count[:, least:] - count[:, :-least] == least  # a run of that length starts here
    if not starts.any():
        return np.zeros_like(mask)
    covered = np.zeros((mask.shape[0], mask.shape[1] + least + 1), np.int32)
    np.cumsum(starts, axis=1, out=covered[:, 1 : 1 + starts.shape[1]])
    covered[:, 1 + starts.shape[1] :] = covered[:, starts.shape[1]][:, None]
    before = np.zeros_like(covered[:, : mask.shape[1]])
    before[:, least:] = covered[:, 1 : mask.shape[1] - least + 1]
    return np.asarray(covered[:, 1 : mask.shape[1] + 1] - before > 0)


def _quantile(values: np.ndarray, share: float) -> float:
    """The value below which a share of the values lies."""
    flat = np.sort(values, axis=None)
    return float(flat[int(share * (len(flat) - 1))])


def _stroke(image: np.ndarray, mask: np.ndarray, place: tuple[slice, slice], thickest: int, light: bool) -> Bar | None:
    """The bar in a bounding box of horizontal runs, if these have common ends and one grey value."""
    rows, columns = place
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    if high > thickest or wide < SLIMMEST * high or wide > LONGEST_SHARE * image.shape[1]:
        return None
    piece = mask[place]
    first = piece.argmax(axis=1)
    last = wide - piece[:, ::-1].argmax(axis=1)
    slack = max(2.0, 0.03 * wide)
    straight = (first <= slack) & (last >= wide - slack) & piece.any(axis=1)
    if straight.mean() < 0.6:
        return None
    top = rows.start + int(straight.argmax())
    bottom = rows.stop - int(straight[::-1].argmax())
    contrast, spread = _profile(image, top, bottom, columns)
    if contrast < LEAST_CONTRAST or spread > max(6.0, 0.12 * contrast):
        return None
    ends = ends_of(image, slice(top, bottom), columns, contrast)
    if ends is None:
        return None
    if bottom - top >= 4:  # the ends of a bar are straight; those of what lies beside it are not
        half = (top + bottom) // 2
        parts = [ends_of(image, rows, columns, contrast) for rows in (slice(top, half), slice(half, bottom))]
        if any(part is None or max(abs(part[0] - ends[0]), abs(part[1] - ends[1])) > 1.5 for part in parts):
            return None
    x0, x1 = ends
    if x0 <= 0 or x1 >= image.shape[1]:  # a frame, or a bar that is cut off
        return None
    if not max(10.0, SLIMMEST * (bottom - top)) <= x1 - x0 <= LONGEST_SHARE * image.shape[1]:
        return None
    # between end ticks the length counts from middle to middle, as Zeiss's pixel sizes show
    left, right = (_end_tick(image, top, bottom, end, step, contrast) for end, step in ((x0, 1), (x1, -1)))
    if left and right:
        x0, x1 = x0 + left / 2, x1 - right / 2
    return Bar(x0, x1, top, bottom, light, score=contrast / (spread + 4), ticks=(left, right))


def _end_tick(image: np.ndarray, top: int, bottom: int, end: float, step: int, contrast: float) -> float:
    """Width in px of the tick at an end of a light bar, above or below it; 0 without one.

    Args:
        image: ``(H, W)``. top, bottom: rows of the bar. end: px. step: inwards, 1 or -1. contrast: of the bar.
    """
    first = round(end) if step > 0 else round(end) - 1
    columns = np.arange(first, first + step * 9, step)
    columns = columns[(columns >= 0) & (columns < image.shape[1])]
    level = float(np.median(image[top:bottom, columns]))
    widths = []
    for rows in (slice(max(0, top - 3), max(0, top - 1)), slice(bottom + 1, bottom + 3)):
        beside = image[rows][:, columns]
        if not beside.size:
            continue
        profile = beside.mean(axis=0)
        ink = profile > level - 0.5 * contrast
        start = int(ink.argmax())  # scaling may have mixed the first column with the ground
        width = int((~ink[start:]).argmax())
        if start > 1 or not 0 < width <= 6:
            widths.append(0.0)
            continue
        stop = start + width
        ground = float(profile[stop : stop + 3].min())
        share = np.clip((profile[max(0, start - 1) : stop + 1] - ground) / max(level - ground, 1.0), 0, 1)
        widths.append(float(share.sum()))
    return max(widths, default=0.0)


def _profile(image: np.ndarray, top: int, bottom: int, columns: slice) -> tuple[float, float]:
    """Contrast of a light stroke with what is above and below it, and spread of its own grey value along it."""
    middle = image[top:bottom, columns]
    along = middle.max(axis=0) if bottom - top < 3 else np.median(middle[1:-1], axis=0)
    level = float(np.median(along))
    inner = along[2:-2] if len(along) > 12 else along
    spread = (_quantile(inner, 0.85) - _quantile(inner, 0.15)) / 2
    sides = []
    for rows in (slice(max(0, top - 4), max(0, top - 2)), slice(bottom + 2, bottom + 4)):
        beside = image[rows, columns]
        # beyond the picture, or where a letter touches, nothing can be said
        sides.append(_quantile(level - beside, 0.25) if beside.size else level)
    return (max(sides) if min(sides) < 0.3 * max(sides) and level > 245 else min(sides)), spread


def ends_of(image: np.ndarray, rows: slice, columns: slice, contrast: float) -> tuple[float, float] | None:
    """Ends of a light bar to a fraction of a pixel, where its profile is half-way between bar and surroundings.

    A bar was drawn: it has its grey value up to its end, and the ground begins within two pixels.

    Args:
        image: ``(H, W)``. rows, columns: of the bar, approximately. contrast: with what is above and below it.

    Returns:
        px from the left edge of the picture; ``None`` if the ground beyond an end is as light as the bar, or turns so
        gradually, so that its end cannot be told.
    """
    middle = (rows.start + rows.stop) // 2
    inner_rows = image[middle : middle + 1] if rows.stop - rows.start < 3 else image[rows.start + 1 : rows.stop - 1]
    profile = inner_rows.mean(axis=0)
    level = float(np.median(profile[columns]))
    inset = (columns.stop - columns.start) // 4
    # white clips its noise, so only what is below the level tells it
    deviation = float(np.median(np.abs(profile[columns] - level))) / 0.6745
    noise = max(deviation, level - _quantile(profile[columns], 0.16))
    within = level - max(12.0, min(20.0, 0.15 * contrast), 4 * noise)
    found = []
    for at, step in ((columns.start + inset, -1), (columns.stop - 1 - inset, 1)):
        line = profile[at::step] if step > 0 else profile[: at + 1][::-1]  # from inside the bar outwards
        below = line < within
        below[:-1] &= line[1:] < within  # a single pixel may be noise
        reach = int(below.argmax()) if below.any() else len(line)
        beyond = line[reach + 1 : reach + 6]
        ground = _quantile(beyond, 0.25) if len(beyond) else 0.0
        drop = level - ground
        if drop < max(15.0, 6 * noise):
            return None
        # on a ground that is almost as light, only a sharp end can be told
        sharp = len(beyond) and line[max(0, reach - 5) : max(1, reach - 1)].mean() > level - max(4.0, 3 * noise)
        if drop < max(60.0, 0.35 * contrast) and not (sharp and beyond[0] <= level - 0.6 * drop):
            return None
        k = at + step * (reach - 1)
        # what lies at the end counts, not what lies farther out: a ground may begin almost as light as the bar
        half = (level + (float(beyond[:2].mean()) if len(beyond) else ground)) / 2
        while 0 <= k + step < len(profile) and profile[k + step] > half:
            k += step
        if not 0 <= k + step < len(profile):
            found.append(k + 1.0 if step > 0 else float(k))
            continue
        part = (float(profile[k]) - half) / max(float(profile[k] - profile[k + step]), 1e-6)
        found.append(k + 0.5 + step * min(max(part, 0.0), 1.0))  # centres of pixels lie at k + 0.5
    return found[0], found[1]


def _halves(bars: list[Bar], width: int) -> list[Bar]:
    """Bars whose length stands between two equal halves on the same rows."""
    found = []
    for k, one in enumerate(bars):
        for other in bars[k + 1 :]:
            a, b = (one, other) if one.x0 < other.x0 else (other, one)
            gap = b.x0 - a.x1
            if abs((a.y0 + a.y1) - (b.y0 + b.y1)) > 3 or not 0 < gap < 0.5 * width:
                continue
            if abs(a.length - b.length) <= max(3.0, 0.08 * a.length) and gap > 3 * (a.y1 - a.y0):
                # one of the two outer ticks may be hidden by the specimen
                left, right = a.ticks[0] or b.ticks[1], b.ticks[1] or a.ticks[0]
                inset = (0.0, 0.0) if a.ticks[1] or b.ticks[0] else (left / 2, right / 2)
                rows = min(a.y0, b.y0), max(a.y1, b.y1)
                score = min(a.score, b.score)
                found.append(Bar(a.x0 + inset[0], b.x1 - inset[1], *rows, a.light, "halves", score, gap=(a.x1, b.x0)))
    return [bar for bar in found if bar.length <= LONGEST_SHARE * width]


def _distinct(bars: list[Bar]) -> list[Bar]:
    """The bars without parts of one another: where several lie on the same rows, the longest that is clear enough."""
    kept: list[Bar] = []
    # of the same length, the thickest is the whole bar
    for bar in sorted(bars, key=lambda bar: (-round(bar.length / 3), bar.y0 - bar.y1)):
        rivals = [other for other in kept if _overlap(bar, other)]
        if not any(bar.kind == "bar" or other.kind == bar.kind for other in rivals):
            kept.append(bar)
    return sorted(kept, key=lambda bar: -bar.score)


def _overlap(bar: Bar, longer: Bar) -> bool:
    """Whether a bar is a part of a longer one of the same ink, of a score that is not much lower."""
    if bar.light != longer.light or longer.y0 >= bar.y1 + 2 or bar.y0 >= longer.y1 + 2:
        return False
    if longer.kind == "halves":  # its halves are no bars of their own, but may be one if it is not confirmed
        return False
    common = min(bar.x1, longer.x1) - max(bar.x0, longer.x0)
    return common > 0.5 * bar.length and longer.score > 0.35 * bar.score
