"""Results drawn over the micrograph: instances in colours that differ between neighbours, a thin contour, a
scale bar where the pixel size is known. Pillow and NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.io.contrast import to_unit_range
from lisa_micro.io.memory import MicrographLike
from lisa_micro.io.reader import pixels_of
from lisa_micro.io.units import format_length

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 170, 255),
    (255, 136, 20),
    (60, 205, 90),
    (240, 70, 95),
    (165, 120, 255),
    (250, 210, 50),
    (25, 215, 205),
    (245, 115, 205),
    (160, 210, 60),
    (115, 150, 255),
)
"""Colours that stay apart on grey, for sighted and colour-blind eyes."""

MAX_SIDE = 4096
"""Longer side of the largest picture drawn, in px; a larger micrograph is shown smaller."""

MIN_SIDE = 1024
"""A micrograph with a longer side below this is shown enlarged by a whole number, so that contours stay
thin."""

_NEIGHBOUR_PX = 4


def segment_colours(count: int) -> list[tuple[int, int, int]]:
    """One colour per segment of a reply, in order: RGB 0..255."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def instance_colours(
    labels: np.ndarray, palette: Sequence[tuple[int, int, int]] = PALETTE, varied: bool = True
) -> np.ndarray:
    """Colours in which instances closer than 4 px to each other differ (as long as the palette lasts).

    Args:
        labels: ``(H, W)`` integer, 0 = background.
        palette: RGB colours 0..255.
        varied: whether lone instances take turns with the colours, or all have the first.

    Returns:
        ``(labels.max() + 1, 3)`` uint8 RGB; row 0 is not used.
    """
    count = int(labels.max(initial=0))
    neighbours: list[set[int]] = [set() for _ in range(count + 1)]
    for first, second in _close_pairs(labels):
        neighbours[first].add(second)
        neighbours[second].add(first)
    chosen = np.full(count + 1, -1)
    # greedily, those with the most neighbours first
    for k in sorted(range(1, count + 1), key=lambda k: (-len(neighbours[k]), k)):
        taken = {chosen[other] for other in neighbours[k]}
        first = k - 1 if varied else 0
        order = [(first + step) % len(palette) for step in range(len(palette))]
        chosen[k] = next((colour for colour in order if colour not in taken), order[0])
    return np.array(palette, dtype=np.uint8)[np.maximum(chosen, 0)]


def _close_pairs(labels: np.ndarray) -> np.ndarray:
    """``(n, 2)``: pairs of instances with pixels at most a few px apart along a row, column or diagonal."""
    found = []
    for reach in (1, 2, _NEIGHBOUR_PX):
        for dy, dx in ((0, reach), (reach, 0), (reach, reach), (reach, -reach)):
            height, width = labels.shape[0] - dy, labels.shape[1] - abs(dx)
            if height < 1 or width < 1:
                continue
            a = labels[:height, max(0, -dx) : max(0, -dx) + width]
            b = labels[dy : dy + height, max(0, dx) : max(0, dx) + width]
            differ = (a != b) & (a > 0) & (b > 0)
            pairs = np.stack([a[differ], b[differ]], axis=1)
            found.append(np.unique(np.sort(pairs, axis=1), axis=0))
    return np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), dtype=np.int64)


def draw_overlay(
    pixels: MicrographLike,
    labels: np.ndarray | Sequence[np.ndarray],
    pixel_size_nm: float | None = None,
    names: Sequence[str] | None = None,
    fill: float = 0.34,
    enlarge: bool = True,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """The micrograph in grey with its segments in colour.

    Args:
        pixels: ``(H, W)`` intensities of any range.
        labels: ``(H, W)`` instance labels of one segment, or a list of such. One segment shows every instance
            in a colour of its own; several show a colour each, with shades for neighbouring instances, and a
            legend.
        pixel_size_nm: for the scale bar; none is drawn where it is ``None``.
        names: what the legend calls the segments.
        fill: opacity of the colour inside an instance, 0..1; its contour is nearly opaque.
        enlarge: show a small micrograph enlarged (see :data:`MIN_SIDE`); where false, the picture has the
            micrograph's own size, unless that is above :data:`MAX_SIDE`.
        colours: ``(labels.max() + 1, 3)`` uint8 RGB, for the instances of one segment; ``None``: chosen here.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    from PIL import Image, ImageDraw

    segments = [labels] if isinstance(labels, np.ndarray) else list(labels)
    intensities = pixels_of(pixels)
    height, width = intensities.shape
    long_side = max(height, width)
    target = min(long_side, MAX_SIDE)
    if enlarge and long_side < MIN_SIDE:
        target = long_side * min(8, math.ceil(MIN_SIDE / long_side))
    resizing = resize_long_side((height, width), target)

    grey = (np.clip(resizing.image(to_unit_range(intensities)), 0, 1) * 255).round().astype(np.uint8)
    canvas = np.repeat(grey[..., None], 3, axis=2)
    thickness = max(1, round(max(resizing.resized) / 650))
    base = segment_colours(len(segments))
    for colour, segment in zip(base, segments, strict=True):
        if segment.max(initial=0) == 0:
            continue
        if len(segments) == 1:
            of_instances = instance_colours(segment) if colours is None else colours
        else:
            of_instances = instance_colours(segment, _shades(colour), varied=False)
        _paint(canvas, resizing.labels(segment), of_instances, fill, thickness)

    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture, "RGBA")
    scale = resizing.resized[1] / width
    if pixel_size_nm is not None:
        _scale_bar(draw, picture.size, pixel_size_nm / scale)
    if len(segments) > 1:
        counts = [int(np.count_nonzero(np.bincount(segment.ravel())[1:])) for segment in segments]
        titles = names if names is not None else [f"segment {i + 1}" for i in range(len(segments))]
        lines = [f"{title} ({count})" for title, count in zip(titles, counts, strict=True)]
        _legend(draw, picture.size, lines, base)
    return np.asarray(picture)


def _shades(colour: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Four shades of one colour, for instances that touch."""
    shades = []
    for towards, amount in ((0, 0.0), (255, 0.35), (0, 0.3), (255, 0.6)):
        shades.append(tuple(round(value + (towards - value) * amount) for value in colour))
    return shades


def _paint(canvas: np.ndarray, labels: np.ndarray, colours: np.ndarray, fill: float, thickness: int) -> None:
    """Blends instances into ``canvas`` ``(h, w, 3)`` in place; a band of rows at a time, to bound the
    memory."""
    edge = _contour(labels, thickness)
    for start in range(0, labels.shape[0], 512):
        rows = slice(start, start + 512)
        inside = labels[rows] > 0
        alpha = np.where(edge[rows], 0.92, fill)[inside][:, None]
        colour = colours[labels[rows][inside]]
        band = canvas[rows]
        band[inside] = (band[inside] * (1 - alpha) + colour * alpha).round().astype(np.uint8)


def _contour(labels: np.ndarray, thickness: int) -> np.ndarray:
    """``(H, W)`` bool: pixels of an instance within ``thickness`` px of another value; the image's edge is
    none."""
    edge = np.zeros(labels.shape, dtype=bool)
    for step in range(1, thickness + 1):
        differ = labels[step:] != labels[:-step]
        edge[step:] |= differ
        edge[:-step] |= differ
        differ = labels[:, step:] != labels[:, :-step]
        edge[:, step:] |= differ
        edge[:, :-step] |= differ
    return edge & (labels > 0)


def nice_length(longest_nm: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is at most ``longest_nm``, in nm."""
    power = 10.0 ** math.floor(math.log10(longest_nm))
    return next(factor * power for factor in (5, 2, 1, 0.5) if factor * power <= longest_nm * (1 + 1e-9))


@lru_cache(maxsize=1)
def _font_file() -> str | None:
    """A font that has the micro sign and the scripts of Europe, which Pillow's own has not: the one that
    comes with matplotlib, found without importing it."""
    package = find_spec("matplotlib")
    for location in (package.submodule_search_locations or []) if package else []:
        path = Path(location) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return str(path)
    return None


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    from PIL import ImageFont

    try:
        file = _font_file()
        return ImageFont.truetype(file, size) if file else ImageFont.load_default(size=size)
    except (OSError, ImportError):  # a Pillow that was built without FreeType has one small font
        return ImageFont.load_default()


def _scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], pixel_nm: float) -> None:
    """Bottom right: a bar of a round length with its length above; left out where the picture has no room."""
    width, height = size
    if width < 80 or height < 60:
        return
    nm = nice_length(pixel_nm * width * 0.28)
    bar = nm / pixel_nm
    text_px = max(11, min(48, round(min(width, height) / 32)))
    font = _font(text_px)
    label = format_length(nm)
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    text_width, text_height = right - left, bottom - top
    pad, bar_height = round(text_px * 0.55), max(3, round(text_px * 0.28))
    box_width = max(bar, text_width) + 2 * pad
    box_height = text_height + bar_height + 2.4 * pad
    margin = round(text_px * 0.6)
    x0, y0 = width - margin - box_width, height - margin - box_height
    draw.rounded_rectangle([x0, y0, x0 + box_width, y0 + box_height], radius=round(pad * 0.7), fill=(10, 12, 16, 190))
    draw.text(
        (x0 + (box_width - text_width) / 2 - left, y0 + pad * 0.8 - top),
        label,
        font=font,
        fill=(255, 255, 255),
    )
    bar_x = x0 + (box_width - bar) / 2
    bar_y = y0 + box_height - pad - bar_height
    draw.rectangle([bar_x, bar_y, bar_x + bar - 1, bar_y + bar_height - 1], fill=(255, 255, 255, 255))


def _legend(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], lines: list[str], colours: list[tuple[int, int, int]]
) -> None:
    """Top left: a coloured square and a line of text per segment."""
    text_px = max(11, min(40, round(min(size) / 38)))
    font = _font(text_px)
    pad, line_height, square = round(text_px * 0.6), round(text_px * 1.5), round(text_px * 0.9)
    lines = [line if len(line) <= 60 else line[:57] + "..." for line in lines]
    box_width = max(draw.textlength(line, font=font) for line in lines) + square + 3 * pad
    box_height = line_height * len(lines) + pad
    draw.rounded_rectangle(
        [pad, pad, pad + box_width, pad + box_height], radius=round(pad * 0.7), fill=(10, 12, 16, 190)
    )
    for i, (line, colour) in enumerate(zip(lines, colours, strict=True)):
        y = 1.5 * pad + i * line_height
        top = y + (line_height - square) / 2
        draw.rounded_rectangle([2 * pad, top, 2 * pad + square, top + square], radius=3, fill=(*colour, 255))
        middle = (3 * pad + square, y + line_height / 2)
        draw.text(middle, line, font=font, fill=(255, 255, 255), anchor="lm")
