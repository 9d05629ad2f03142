"""A second reading of the length beside a bar, whose letters are cut out by their ink: they have the bar's grey value.

The network that finds lines of text misses small letters, and letters on a texture. Here letters are found as marks of
the bar's grey value that stand side by side near it, and each line is read several times: as it is, without its ground,
stretched and set upright. What most of these readings say is its text.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import ndimage

from lisa_micro.geometry import box_iou
from lisa_micro.io.scalebar.bar import Bar
from lisa_micro.io.scalebar.lengths import parse_length, repaired
from lisa_micro.io.scalebar.nearby import resized
from lisa_micro.io.scalebar.text import TextLine, TextReader
from lisa_micro.types import Box

BELOW = (70.0, 25.0)
"""Grey levels by which ink may fall short of the bar: small letters are never drawn in full, a texture comes close."""
LOWEST = 10
"""px: least height of a line; in a lower one all readings may make the same mistake."""
MOST_INK = 0.35
"""Largest share of ink in the box of a line and around it."""
SAME_LINE = 0.6
"""IoU from which two boxes are taken for the same line."""
MOST_LINES = 3
"""Lines beside a bar that are read, the nearest first."""
LEAST_AGREEING = 4
"""Readings of :data:`VARIANTS` that have to say the same length."""
MOST_DIFFERING = 1
"""Readings that may say another length."""
VARIANTS = (
    # padding as a share of the height, factor of the width, slant, grey levels below the bar (None: as it is)
    (0.2, 1.0, 0.0, None),
    (0.2, 1.0, 0.0, 110.0),
    (0.35, 1.25, 0.21, None),
    (0.35, 1.25, 0.0, None),
    (0.35, 1.25, 0.0, 110.0),
    (0.2, 1.0, 0.0, 60.0),
    (0.3, 1.1, 0.21, 60.0),
)
"""How a line is read."""
FIRST_LOOK = 3
"""Variants of which one at least has to be a length; otherwise the others are not tried."""
LEAST_CERTAINTY = 0.6
"""Least certainty of a reading that counts."""
_HEIGHT = 48


def read_by_ink(bar: Bar, level: float, picture: np.ndarray, reader: TextReader) -> list[TextLine]:
    """Lines near a bar that most readings find to be one length.

    Args:
        bar: a candidate. level: its grey value, inverted if it is dark.
        picture: ``(H, W)`` uint8.
    """
    image = picture if bar.light else 255 - picture
    found = []
    for box in lines_beside(bar, level, image):
        said: Counter[float] = Counter()
        texts: dict[float, TextLine] = {}
        for number, variant in enumerate(VARIANTS):
            text, certainty = reader.read(_drawn(image, box, level, *variant))
            text = repaired(text)
            nm = parse_length(text)
            if nm is not None and certainty >= LEAST_CERTAINTY:
                said[nm] += 1
                if nm not in texts or certainty > texts[nm].certainty:
                    texts[nm] = TextLine(box, text, certainty)
            if number == FIRST_LOOK - 1 and not said:
                break
        if not said:
            continue
        nm, agreeing = said.most_common(1)[0]
        if agreeing >= LEAST_AGREEING and said.total() - agreeing <= MOST_DIFFERING:
            found.append(texts[nm])
    return found


def lines_beside(bar: Bar, level: float, image: np.ndarray) -> list[Box]:
    """Boxes of marks of a bar's ink that stand side by side above, below or beside it, the nearest first.

    Args:
        image: ``(H, W)`` uint8 in which the bar is light.
    """
    height, width = image.shape
    tallest = 0.12 * height
    x0, y0, x1, y1 = bar.box
    top, bottom = max(0, int(y0 - 2.2 * tallest)), min(height, int(y1 + 2.2 * tallest))
    left, right = max(0, int(x0 - 5 * tallest)), min(width, int(x1 + 5 * tallest))
    part = image[top:bottom, left:right]
    found: dict[Box, float] = {}
    for below in BELOW:
        ink = part >= level - below
        ink[max(0, y0 - 1 - top) : y1 + 1 - top, max(0, x0 - 2 - left) : x1 + 2 - left] = False
        marks, count = ndimage.label(ink, np.ones((3, 3)))
        if not 2 <= count <= 4000:
            continue
        boxes = np.array([(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(marks)])
        wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        letters = boxes[(high >= 4) & (high <= tallest) & (wide <= 5 * high) & (wide >= 0.1 * high)]
        for line in _side_by_side(letters):
            a, b, c, d = (int(v) for v in line)
            tall = d - b
            box = (a + left, b + top, c + left, d + top)
            gap = max(box[1] - y1, y0 - box[3], 0) + max(box[0] - x1, x0 - box[2], 0)
            p = max(2, tall // 3)
            share = float(ink[max(0, b - p) : d + p, max(0, a - p) : c + p].mean())  # around letters there is ground
            if tall >= LOWEST and 1.2 * tall <= c - a <= 9 * tall and gap <= 2 * tall and share <= MOST_INK:
                found.setdefault(box, gap / tall)
    kept: list[Box] = []
    for box in sorted(found, key=lambda box: found[box]):
        if not kept or float(box_iou(np.array([box]), np.array(kept)).max()) <= SAME_LINE:
            kept.append(box)
    return kept[:MOST_LINES]


def _side_by_side(letters: np.ndarray) -> list[np.ndarray]:
    """Boxes of lines, XYXY, from boxes of letters ``(n, 4)``: at least two on common rows, close to one another."""
    lines: list[np.ndarray] = []
    members: list[int] = []
    for box in letters[np.argsort(letters[:, 0], kind="stable")]:
        for k, line in enumerate(lines):
            tall, high = line[3] - line[1], box[3] - box[1]
            common = min(line[3], box[3]) - max(line[1], box[1])
            if common >= 0.5 * min(tall, high) and box[0] - line[2] <= 1.1 * tall and 0.35 * tall <= high <= 2.2 * tall:
                lines[k] = np.concatenate([np.minimum(line[:2], box[:2]), np.maximum(line[2:], box[2:])])
                members[k] += 1
                break
        else:
            lines.append(box)
            members.append(1)
    return [line for line, number in zip(lines, members, strict=True) if number >= 2]


def _drawn(
    image: np.ndarray, box: Box, level: float, pad: float, stretch: float, slant: float, below: float | None
) -> np.ndarray:
    """A line as it is read: dark letters on a light ground, ``(h, w)`` uint8.

    Args:
        image: ``(H, W)`` uint8 in which the letters are light.
        pad, stretch, slant, below: see :data:`VARIANTS`.
    """
    x0, y0, x1, y1 = box
    p = max(2, round(pad * (y1 - y0)))
    part = image[max(0, y0 - p) : y1 + p, max(0, x0 - 2 * p) : x1 + 2 * p]
    if below is not None:
        share = np.clip((part.astype(np.float32) - (level - below)) / (0.7 * below), 0, 1)
        part = np.rint(255 * share).astype(np.uint8)
    part = 255 - resized(part, _HEIGHT / part.shape[0])
    high, wide = part.shape
    if stretch != 1.0 or slant:
        from PIL import Image

        size = (round(stretch * wide + slant * high), high)
        # where a pixel comes from; italics lean to the right, by the slant times the height over the middle of the line
        matrix = (1 / stretch, -slant, slant * high / 2 * (1 - 1 / stretch), 0, 1, 0)
        picture = Image.fromarray(part)
        part = np.asarray(
            picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=int(part[0, 0]))
        )
    return part
