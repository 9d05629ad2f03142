"""Read what is written in a part of a picture, and put together what was read in pieces."""

from __future__ import annotations

import re

import numpy as np

from lisa_micro.io.scalebar.lengths import parse_length
from lisa_micro.io.scalebar.text import TextLine, TextReader
from lisa_micro.types import Box

BEGUN = re.compile(r"\W{0,2}\d{1,4}([.,]\d{0,3})?\s*[pnmµμuÅA]{0,2}")
"""A number, perhaps with the beginning of a unit."""
MOST_COMPLETED = 8
"""Lines that are looked at for a missing number or unit, the most certain ones."""
UNIT = re.compile(r"\W{0,2}([pnmµμu]\s?m|Å)\W{0,2}")


def lines_in(picture: np.ndarray, part: Box, scale: float, reader: TextReader) -> list[TextLine]:
    """Lines in a part of the picture, which is enlarged before it is read; boxes in px of the picture."""
    x0, y0, x1, y1 = part
    scale = min(scale, 1200 / max(x1 - x0, y1 - y0))
    enlarged = resized(picture[y0:y1, x0:x1], scale)
    lines = []
    for line in reader.lines(enlarged):
        a, b, c, d = (v / scale for v in line.box)
        lines.append(TextLine((int(x0 + a), int(y0 + b), round(x0 + c), round(y0 + d)), line.text, line.certainty))
    return [*lines, *_joined(lines)]


def is_clipped(box: Box, part: Box, shape: tuple[int, ...]) -> bool:
    """Whether a line reaches the edge of the part of the picture that was read, where the picture goes on."""
    height, width = shape
    edges = (part[0] > 0 and box[0] <= part[0] + 1, part[1] > 0 and box[1] <= part[1] + 1,
             part[2] < width and box[2] >= part[2] - 1, part[3] < height and box[3] >= part[3] - 1)  # fmt: skip
    return any(edges)


def completed(lines: list[TextLine], picture: np.ndarray, reader: TextReader) -> list[TextLine]:
    """Numbers and units that are no length, read again with what stands to the right or to the left of them."""
    found = []
    for line in sorted(lines, key=lambda line: -line.certainty)[:MOST_COMPLETED]:
        x0, y0, x1, y1 = line.box
        tall, text = y1 - y0, line.text.strip()
        number, unit = BEGUN.fullmatch(text) is not None, UNIT.fullmatch(text) is not None
        if not (number or unit) or parse_length(text) is not None or tall < 6:
            continue
        left = 2 * tall if unit else tall if text[0] in ".," else tall // 4
        right = 2 * tall if number else tall // 4
        box = (max(0, x0 - left), y0, min(picture.shape[1], x1 + right), y1)
        part = picture[box[1] : box[3], box[0] : box[2]]
        text, certainty = reader.read(resized(part, 48 / part.shape[0]))
        if parse_length(text) is not None:
            found.append(TextLine(box, text, certainty))
    return found


def widened(lines: list[TextLine], picture: np.ndarray, reader: TextReader) -> list[TextLine]:
    """Lengths that reach the edge of what was read, read again with what surrounds them."""
    found = []
    height, width = picture.shape
    for line in lines:
        x0, y0, x1, y1 = line.box
        tall = y1 - y0
        if parse_length(line.text) is None or tall < 6:
            continue
        box = (max(0, x0 - tall), max(0, y0 - tall // 4), min(width, x1 + tall), min(height, y1 + tall // 4))
        part = picture[box[1] : box[3], box[0] : box[2]]
        text, certainty = reader.read(resized(part, 64 / part.shape[0]))
        if parse_length(text) is not None:
            found.append(TextLine(line.box, text, certainty))
    return found


def between(
    gaps: list[tuple[float, float]], lines: list[TextLine], picture: np.ndarray, reader: TextReader
) -> list[TextLine]:
    """What stands between the halves of bars, read again without the halves, of which a line may hold parts.

    Args:
        gaps: inner ends of the halves, px. lines: as read so far.
    """
    found = []
    for start, stop in gaps:
        for line in lines:
            x0, y0, x1, y1 = line.box
            box = (int(start) + 1, y0, int(stop), y1)
            if not (x0 < (start + stop) / 2 < x1 and (x0 < start or x1 > stop) and y1 - y0 >= 6 and stop - start >= 6):
                continue
            part = picture[y0:y1, box[0] : box[2]]
            text, certainty = reader.read(resized(part, 48 / part.shape[0]))
            if parse_length(text) is not None:
                found.append(TextLine(box, text, certainty))
    return found


def _joined(lines: list[TextLine]) -> list[TextLine]:
    """Numbers and units that were read as two lines side by side, as one."""
    found = []
    for left in lines:
        for right in lines:
            (a0, b0, a1, b1), (c0, d0, c1, d1) = left.box, right.box
            tall = max(4, min(b1 - b0, d1 - d0))
            if not (abs((b0 + b1) - (d0 + d1)) <= tall and -0.6 * tall <= c0 - a1 <= 1.2 * tall and c1 > a1):
                continue
            text = f"{left.text} {right.text}"
            if parse_length(text) is not None and parse_length(right.text) is None:
                box = (min(a0, c0), min(b0, d0), max(a1, c1), max(b1, d1))
                found.append(TextLine(box, text, min(left.certainty, right.certainty)))
    return found


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    from PIL import Image

    height, width = picture.shape
    size = max(8, round(width * scale)), max(8, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
