"""Read the scale bar of a picture: a bar, its length beside it, and whether both can be believed.

Whatever is unsure gives no pixel size: none is better than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lisa_micro.io.scalebar.bar import Bar
from lisa_micro.io.scalebar.bars import find_bars
from lisa_micro.io.scalebar.ink import read_by_ink
from lisa_micro.io.scalebar.lengths import clean_text, parse_length, printed_pixel_size
from lisa_micro.io.scalebar.nearby import between, completed, is_clipped, lines_in, resized, widened
from lisa_micro.io.scalebar.text import TextLine, TextReader
from lisa_micro.types import Box, BurntInScale

LARGEST_SIDE = 1600
"""px: a larger picture is scaled down by a whole number before bars are searched."""
USUAL_SHARE = 0.1
"""Share of the width of the picture from which a bar has a usual length; shorter ones are looked at later."""
MOST_BARS = 14
"""Candidates whose surroundings are looked at, the best first."""
MOST_REGIONS = 3
"""Regions of a picture that are read."""
AGREEMENT = 0.03
"""Two pixel sizes that differ by more than this contradict each other."""
COARSEST_NM = 30_000.0
"""Pixels larger than this belong to no micrograph: the unit was misread (mm for nm)."""
STROKE = 0.55
"""Longest stroke of a letter as a share of the height of its line."""
LETTERS_SHARE = (0.05, 0.5)
"""Share of the box of a line that its letters cover."""
MOST_REREAD = 3
"""Candidates beside which text is read a second time, by its ink."""
REREAD_SCORE = 0.3
"""Least score of these as a share of the best one."""
LEAST_CERTAINTY = 0.6
"""Least certainty of a reading."""


DASHED = re.compile(r"[-–—−_=→←<>»«|]")


@dataclass(frozen=True)
class Reading:
    """What was read of a picture's scale bar.

    Attributes:
        scale: the bar, or ``None``. notes: notices, one sentence each. texts: boxes of all lines that were read, px.
    """

    scale: BurntInScale | None = None
    notes: tuple[str, ...] = ()
    texts: tuple[Box, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """A bar and the text that may be its length. gap: distance in heights of the text."""

    bar: Bar
    line: TextLine
    nm: float
    gap: float

    @property
    def pixel_size(self) -> float:
        return self.nm / self.bar.length


def read_scale_bar(grey: np.ndarray, reader: TextReader) -> Reading:
    """Read the scale bar of a picture.

    Args:
        grey: ``(H, W)`` float32, 0..255, see :func:`lisa_micro.io.scalebar.banner.grey_levels`.
        reader: of letters.
    """
    small, factor = reduced(grey)
    bars = likely_bars(small)
    if not bars:
        return Reading()
    picture = np.clip(small.round(), 0, 255).astype(np.uint8)
    pairs: list[_Pair] = []
    lines: list[TextLine] = []
    for region, near in _regions(bars, picture.shape):
        if pairs and near[0].score < 0.6 * pairs[0].bar.score:
            continue
        clipped: list[TextLine] = []
        for margin, scale in ((0, 3.0), (1, 1.5)):
            part = region.small if margin == 0 else region.large
            found = lines_in(picture, part, scale, reader)
            lines += found
            whole = [line for line in found if not is_clipped(line.box, part, picture.shape)]
            clipped += [line for line in found if line not in whole]
            whole += between([bar.gap for bar in bars if bar.gap is not None], whole, picture, reader)
            fresh = [pair for bar in bars for line in whole if (pair := _paired(bar, line, small)) is not None]
            if not fresh and margin:
                more = completed(whole, picture, reader) + widened(clipped, picture, reader)
                fresh = [pair for bar in bars for line in more if (pair := _paired(bar, line, small)) is not None]
            if fresh:
                pairs += fresh
                break
    reading = _decided(pairs, lines, picture, factor, lambda pair: _confirmed(pair, picture, reader))
    if reading.scale is not None or reading.notes:
        return reading
    likely = [bar for bar in bars if bar.score >= REREAD_SCORE * max(bar.score for bar in bars)][:MOST_REREAD]
    again = [
        pair
        for bar in likely
        for line in read_by_ink(bar, _level(small, bar), picture, reader)
        if (pair := _paired(bar, line, small)) is not None
    ]
    return _decided(again, lines, picture, factor, lambda pair: not any(_contradicts(pair, one) for one in pairs))


def likely_bars(grey: np.ndarray) -> list[Bar]:
    """The candidates that have marks like letters beside them, the best first."""
    wide = USUAL_SHARE * grey.shape[1]
    # strokes of letters are short
    bars = sorted(find_bars(grey), key=lambda bar: -bar.score * min(1.0, bar.length / wide))[:MOST_BARS]
    return [bar for bar in bars if _letters_near(grey, bar)]


def reduced(grey: np.ndarray) -> tuple[np.ndarray, int]:
    """A picture scaled down to at most :data:`LARGEST_SIDE` px by means of blocks, and the side of a block."""
    factor = max(1, -(-max(grey.shape) // LARGEST_SIDE))
    if factor == 1:
        return grey, 1
    height, width = (side // factor * factor for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32), factor


# ------------------------------------------------------------------------------------------------- where to read


@dataclass(frozen=True)
class _Region:
    """Where the length of some bars may stand: near them, and farther around them; XYXY px."""

    small: Box
    large: Box


def _around(bar: Bar, shape: tuple[int, ...], near: bool) -> Box:
    height, width = shape
    unit = max(height, 400) / 512
    dx, dy = (70 * unit, 34 * unit) if near else (230 * unit, 88 * unit)
    x0, y0, x1, y1 = bar.box
    return (
        max(0, int(x0 - dx)), max(0, int(y0 - dy)), min(width, int(x1 + dx)), min(height, int(y1 + dy))
    )  # fmt: skip


def _regions(bars: Sequence[Bar], shape: tuple[int, ...]) -> list[tuple[_Region, list[Bar]]]:
    """At most :data:`MOST_REGIONS` regions; a bar belongs to the first one that holds it."""
    regions: list[tuple[_Region, list[Bar]]] = []
    for bar in bars:
        for region, members in regions:
            a, b, c, d = region.small
            x0, y0, x1, y1 = bar.box
            if a <= x0 and b <= y0 and x1 <= c and y1 <= d:
                members.append(bar)
                break
        else:
            if len(regions) < MOST_REGIONS:
                regions.append((_Region(_around(bar, shape, True), _around(bar, shape, False)), [bar]))
    return regions


def _letters_near(grey: np.ndarray, bar: Bar) -> bool:
    """Whether there are at least two marks of the bar's grey value near it, of the size of letters and side by side."""
    from scipy import ndimage

    x0, y0, x1, y1 = _around(bar, grey.shape, False)
    part = grey[y0:y1, x0:x1]
    level = _level(grey, bar)
    for light, least in (*((bar.light, level - below) for below in (100, 60, 25, 8)), (not bar.light, 190.0)):
        image = part if light else 255 - part
        marks, count = ndimage.label(image >= max(150.0, least))
        if not 2 <= count <= 3000:
            continue
        boxes = [
            (rows.start, rows.stop, columns.start)
            for rows, columns in ndimage.find_objects(marks)
            if 4 <= rows.stop - rows.start <= 0.16 * grey.shape[0]
            and columns.stop - columns.start <= 2.2 * (rows.stop - rows.start)
        ]
        bottoms = np.sort([bottom for _, bottom, _ in boxes])
        if len(bottoms) >= 2 and (np.diff(bottoms) <= 2).any():
            return True
    return False


def _level(grey: np.ndarray, bar: Bar) -> float:
    """Grey value of a bar, inverted if it is dark."""
    part = grey[bar.y0 : bar.y1, max(0, int(bar.x0) + 1) : max(1, int(bar.x1) - 1)]
    part = part if bar.light else 255 - part
    return float(np.median(part) if bar.kind == "bar" else np.percentile(part, 95))


# ------------------------------------------------------------------------------------------------ bars and texts


def _paired(bar: Bar, line: TextLine, grey: np.ndarray) -> _Pair | None:
    """A bar with a line that states a length, if they stand close together."""
    nm = parse_length(line.text)
    if nm is None or line.certainty < LEAST_CERTAINTY or nm / bar.length > COARSEST_NM:
        return None
    x0, y0, x1, y1 = line.box
    tall = max(4, y1 - y0)
    middle = (y0 + y1) / 2
    within, about = (
        x0 - slack < bar.x0 and bar.x1 < x1 + slack and y0 - slack < bar.y0 and bar.y1 < y1 + slack
        for slack in (2.0, 0.2 * tall)
    )
    dash = bar.kind == "bar" and DASHED.search(line.text) is not None and _is_the_dash(bar, line, grey)
    stroke = (within and bar.length < 0.8 * (x1 - x0) and not dash) or (about and bar.length < STROKE * tall)
    if bar.kind == "bar" and stroke:
        return None  # of one of its letters
    if bar.kind == "ticks" and bar.x0 < x1 and x0 < bar.x1 and y0 - 1 <= (bar.y0 + bar.y1) / 2 <= y1 + 1:
        return None  # strokes of its letters, or of those of its line
    across = max(bar.x0 - x1, x0 - bar.x1, 0.0)
    gap = max(y0 - bar.y1, bar.y0 - y1, 0.0)
    beside = bar.y0 - 0.4 * tall <= middle <= bar.y1 + 0.4 * tall
    if bar.kind == "halves":
        # the text stands in the gap; where it was read together with the halves, its box covers them
        start, stop = bar.gap or (bar.x0, bar.x1)
        level = abs((bar.y0 + bar.y1) / 2 - middle) <= 0.22 * tall  # feet of letters lie lower
        if not (level and start < (x0 + x1) / 2 < stop and bar.length > 0.8 * (x1 - x0)):
            return None
    elif beside and DASHED.search(line.text) and not dash:
        return None  # the text was read together with the halves of a bar
    elif beside and bar.length < 1.2 * tall:
        return None  # a stroke of a letter that was not read
    elif beside:
        apart = not x0 <= (bar.x0 + bar.x1) / 2 <= x1
        if across > 2.0 * tall or (apart and _continues(bar, line, grey, bar.x0 + bar.x1 < x0 + x1)):
            return None
    elif gap > 1.6 * tall or across > 1.2 * tall or not bar.x0 - 1.2 * tall < (x0 + x1) / 2 < bar.x1 + 1.2 * tall:
        return None
    return _Pair(bar, line, nm, (gap + across) / tall) if _same_ink(bar, line.box, grey) else None


def _is_the_dash(bar: Bar, line: TextLine, grey: np.ndarray) -> bool:
    """Whether a bar beside its length was read as the dash before or behind it, and is no half of a bar."""
    text = line.text.strip()
    before, behind = DASHED.match(text) is not None, DASHED.match(text[-1:]) is not None
    right = bar.x0 + bar.x1 < line.box[0] + line.box[2]  # the text stands to the right of the bar
    alone = len(DASHED.findall(text)) == 1 and (before if right else behind)
    return alone and not _continues(bar, line, grey, right)


def _continues(bar: Bar, line: TextLine, grey: np.ndarray, right: bool) -> bool:
    """Whether a stroke like the bar goes on beyond the text, at its right or left: then the bar is half of one.

    A part of the specimen of the bar's grey value goes on above and below it.
    """
    x0, y0, x1, y1 = line.box
    image = grey if bar.light else 255 - grey
    reach = 20 + (y1 - y0)
    start, stop = (x1 - 4, x1 + reach) if right else (x0 - reach, x0 + 4)
    columns = slice(max(0, start), max(0, stop))
    beyond = image[bar.y0 : bar.y1, columns]
    if not beyond.size:
        return False
    least = _level(grey, bar) - 40
    ink = beyond.max(axis=0) >= least
    for rows in (slice(max(0, bar.y0 - 5), max(0, bar.y0 - 2)), slice(bar.y1 + 2, bar.y1 + 5)):
        beside = image[rows, columns]
        ink &= (beside < least).any(axis=0) if beside.size else True
    return bool(np.convolve(ink, np.ones(10), "valid").max(initial=0) >= 10)


def _same_ink(bar: Bar, box: Box, grey: np.ndarray) -> bool:
    """Whether letters and bar are both light or both dark.

    The rim of the box of the letters mostly is ground; or they cover a share of the box with the grey value of the bar.
    """
    x0, y0, x1, y1 = box
    part = grey[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1]
    if part.size == 0:
        return False
    rim = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    ground = float(np.median(rim))
    if bool(part.max() - ground > ground - part.min()) == bar.light:
        return True
    inked = part if bar.light else 255 - part
    # the ground may have nearly the same grey value
    shares = [float((inked >= _level(grey, bar) - below).mean()) for below in (40, 12)]
    return any(LETTERS_SHARE[0] <= share <= LETTERS_SHARE[1] for share in shares)


# ------------------------------------------------------------------------------------------------------ decision


def _decided(
    pairs: list[_Pair],
    lines: list[TextLine],
    picture: np.ndarray,
    factor: int,
    sure: Callable[[_Pair], bool],
) -> Reading:
    """The scale that those of the pairs agree on whose text is sure."""
    texts = tuple(_times(line.box, factor) for line in lines)
    best = [_best_of(group) for group in _same_text(pairs)]
    confirmed = [pair for pair in best if pair is not None and sure(pair)]
    if not confirmed:
        return Reading(texts=texts)
    sizes = [pair.pixel_size for pair in confirmed]
    if max(sizes) > (1 + AGREEMENT) * min(sizes):
        both = " and ".join(f"{pair.line.text!r} ({pair.bar.length * factor:.0f} px)" for pair in confirmed[:2])
        return Reading(None, (f"Scale bars of different scales were found, {both}; none is used.",), texts)
    chosen = max(confirmed, key=lambda pair: pair.bar.length)
    printed = printed_pixel_size([line.text for line in lines], picture.shape[1] * factor)
    if printed is not None and abs(printed / (chosen.pixel_size / factor) - 1) > AGREEMENT:
        note = (
            f"The scale bar ({chosen.line.text!r}) gives {chosen.pixel_size / factor:.4g} nm per pixel, but the data "
            f"bar states {printed:.4g} nm; none is used."
        )
        return Reading(None, (note,), texts)
    bar = chosen.bar
    scale = BurntInScale(
        x0=bar.x0 * factor,
        x1=bar.x1 * factor,
        y=(bar.y0 + bar.y1) / 2 * factor,
        height=float((bar.y1 - bar.y0) * factor),
        text=clean_text(chosen.line.text),
        length_nm=chosen.nm,
        text_box=_times(chosen.line.box, factor),
    )
    return Reading(scale, (), texts)


def _same_text(pairs: list[_Pair]) -> list[list[_Pair]]:
    """Pairs in groups that share their text, which may have been found several times."""
    groups: list[list[_Pair]] = []
    for pair in pairs:
        a, b, c, d = pair.line.box
        for group in groups:
            x0, y0, x1, y1 = group[0].line.box
            if group[0].nm == pair.nm and a < x1 and x0 < c and b < y1 and y0 < d:
                group.append(pair)
                break
        else:
            groups.append([pair])
    return groups


def _best_of(own: list[_Pair]) -> _Pair | None:
    """The bar that a length belongs to, among the pairs of one text; ``None`` where two are equally likely."""
    for wanted in ("halves", "ticks"):
        kind = [pair for pair in own if pair.bar.kind == wanted]
        if kind:
            return max(kind, key=lambda pair: pair.bar.score)
    # a bar much shorter than its length is written is seldom one
    sure = [pair.bar.score * min(1.0, pair.bar.length / (pair.line.box[2] - pair.line.box[0])) for pair in own]
    own = [pair for pair, value in zip(own, sure, strict=True) if value > 0.35 * max(sure)]
    own.sort(key=lambda pair: pair.gap)
    first = own[0]
    for other in own[1:]:
        differs = abs(other.bar.length / first.bar.length - 1) > AGREEMENT
        if differs and other.gap < first.gap + 0.35 and other.bar.score > 0.5 * first.bar.score:
            return None
    return first


def _confirmed(pair: _Pair, picture: np.ndarray, reader: TextReader) -> bool:
    """Whether the text is read as the same length again, in other sizes and inverted."""
    x0, y0, x1, y1 = pair.line.box
    agree, differ = 1, 0
    tall = max(4, y1 - y0)
    for pad, height, inverted in ((0.15, 48, False), (0.3, 64, True), (0.05, 40, False)):
        p = max(1, round(pad * tall))
        part = picture[max(0, y0 - p) : y1 + p, max(0, x0 - 2 * p) : x1 + 2 * p]
        part = resized(part, height / part.shape[0])
        text, certainty = reader.read(255 - part if inverted else part)
        nm = parse_length(text)
        if nm == pair.nm:
            agree += 1
        elif nm is not None and certainty > 0.5:
            differ += 1
        if agree >= 2 and differ == 0 and inverted:
            return True
    return agree >= 3 > differ + 1


def _contradicts(pair: _Pair, other: _Pair) -> bool:
    """Whether the same place of the picture was read as another length before."""
    (a, b, c, d), (x0, y0, x1, y1) = pair.line.box, other.line.box
    return pair.nm != other.nm and a < x1 and x0 < c and b < y1 and y0 < d


def _times(box: Box, factor: int) -> Box:
    return box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor
