"""Overlays: instances in colour on the micrograph, with thin contours and a scale bar.

Neighbouring instances have different colours. Only Pillow and NumPy are needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.io.contrast import to_unit_range
from lisa_micro.io.memory import MicrographLike
from lisa_micro.io.reader import pixels_of
from lisa_micro.io.units import format_length
from lisa_micro.scale_bar import DEFAULT_FONT, load_font, scale_bar
from lisa_micro.types import Micrograph

if TYPE_CHECKING:
    from PIL import ImageDraw

Colour = tuple[int, int, int]
"""RGB, 0..255."""

PALETTE: tuple[Colour, ...] = (
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
"""Colours that can be told apart on grey, also by colour-blind readers."""

READ_COLOUR: Colour = (255, 60, 220)
"""Colour of what was read from a picture: scale bar, edge of the field of view."""

MAX_SIDE = 4096
"""Longer side of the largest overlay in px; a larger micrograph is scaled down."""

MIN_SIDE = 1024
"""A micrograph with a longer side below this is enlarged by a whole number, so that contours stay thin."""

_NEIGHBOUR_PX = 4


def segment_colours(count: int) -> list[Colour]:
    """One colour for each segment of a reply, in order."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def instance_colours(labels: np.ndarray, palette: Sequence[Colour] = PALETTE, varied: bool = True) -> np.ndarray:
    """Choose colours so that instances less than 4 px apart differ, as far as the palette allows.

    Args:
        labels: ``(H, W)`` integers, 0 = background.
        palette: colours to choose from.
        varied: whether isolated instances take the colours in turn; otherwise all of them take the first.

    Returns:
        ``(labels.max() + 1, 3)`` uint8 RGB; row 0 is not used.
    """
    count = int(labels.max(initial=0))
    neighbours: list[set[int]] = [set() for _ in range(count + 1)]
    for first, second in close_pairs(labels):
        neighbours[first].add(second)
        neighbours[second].add(first)
    chosen = np.full(count + 1, -1)
    # greedy colouring, starting with the instances that have the most neighbours
    for k in sorted(range(1, count + 1), key=lambda k: (-len(neighbours[k]), k)):
        taken = {chosen[other] for other in neighbours[k]}
        first = k - 1 if varied else 0
        order = [(first + step) % len(palette) for step in range(len(palette))]
        chosen[k] = next((colour for colour in order if colour not in taken), order[0])
    return np.array(palette, dtype=np.uint8)[np.maximum(chosen, 0)]


def close_pairs(labels: np.ndarray) -> np.ndarray:
    """``(n, 2)`` pairs of instances that are at most 4 px apart along a row, column or diagonal."""
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
    """Draw segments in colour on the micrograph in grey.

    Args:
        pixels: ``(H, W)`` intensities of any range, or any other micrograph.
        labels: ``(H, W)`` instance labels of one segment, or a list of them. With one segment, each instance has its
            own colour. With several, each segment has its own colour, neighbouring instances differ in shade, and a
            legend is drawn; where segments overlap, the smaller one is shown.
        pixel_size_nm: for the scale bar; none is drawn if ``None``.
        names: names of the segments in the legend.
        fill: opacity inside an instance, 0..1; the contour is nearly opaque.
        enlarge: whether a small micrograph is enlarged (see :data:`MIN_SIDE`). Otherwise the overlay has the size of
            the micrograph, up to :data:`MAX_SIDE`.
        colours: ``(labels.max() + 1, 3)`` uint8 RGB for the instances of a single segment; chosen automatically if
            ``None``.

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
    # where segments overlap the smaller one is shown, so that a part of a set can be told from the set
    taken = np.zeros(canvas.shape[:2], bool)
    order = sorted(range(len(segments)), key=lambda k: (np.count_nonzero(segments[k]), -k))
    for colour, segment in ((base[k], segments[k]) for k in order):
        if segment.max(initial=0) == 0:
            continue
        if len(segments) == 1:
            of_instances = instance_colours(segment) if colours is None else colours
        else:
            of_instances = instance_colours(segment, _shades(colour), varied=False)
        shown = resizing.labels(segment)
        _paint(canvas, shown, taken, of_instances, fill, thickness)
        taken |= shown > 0

    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture, "RGBA")
    scale = resizing.resized[1] / width
    burnt_in = None
    if isinstance(pixels, Micrograph):
        draw_burnt_in(draw, pixels, scale)
        burnt_in = pixels.scale_bar
    if pixel_size_nm is not None and burnt_in is None:  # a picture has its own scale bar, which must stay visible
        draw_scale_bar(draw, picture.size, pixel_size_nm / scale)
    if len(segments) > 1:
        counts = [int(np.count_nonzero(np.bincount(segment.ravel())[1:])) for segment in segments]
        titles = names if names is not None else [f"segment {i + 1}" for i in range(len(segments))]
        lines = [f"{title} ({count})" for title, count in zip(titles, counts, strict=True)]
        _legend(draw, picture.size, lines, base)
    return np.asarray(picture)


def _shades(colour: Colour) -> list[Colour]:
    """Four shades of a colour, for instances that touch."""
    shades = []
    for towards, amount in ((0, 0.0), (255, 0.35), (0, 0.3), (255, 0.6)):
        red, green, blue = (round(value + (towards - value) * amount) for value in colour)
        shades.append((red, green, blue))
    return shades


def _paint(
    canvas: np.ndarray, labels: np.ndarray, taken: np.ndarray, colours: np.ndarray, fill: float, thickness: int
) -> None:
    """Blend instances into ``canvas`` ``(h, w, 3)`` in place where it is not ``taken``, in bands of rows to bound the
    memory."""
    edge = _contour(labels, thickness)
    for start in range(0, labels.shape[0], 512):
        rows = slice(start, start + 512)
        inside = (labels[rows] > 0) & ~taken[rows]
        alpha = np.where(edge[rows], 0.92, fill)[inside][:, None]
        colour = colours[labels[rows][inside]]
        band = canvas[rows]
        band[inside] = (band[inside] * (1 - alpha) + colour * alpha).round().astype(np.uint8)


def _contour(labels: np.ndarray, thickness: int) -> np.ndarray:
    """``(H, W)`` bool: pixels of an instance within ``thickness`` px of another value.

    The border of the image is not a contour.
    """
    edge = np.zeros(labels.shape, dtype=bool)
    for step in range(1, thickness + 1):
        differ = labels[step:] != labels[:-step]
        edge[step:] |= differ
        edge[:-step] |= differ
        differ = labels[:, step:] != labels[:, :-step]
        edge[:, step:] |= differ
        edge[:, :-step] |= differ
    return edge & (labels > 0)


def draw_scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], pixel_nm: float) -> None:
    """Draw a scale bar of a round length with its label at the bottom right; none on very small pictures.

    Args:
        draw: drawing context of the picture.
        size: width and height of the picture in px.
        pixel_nm: edge length of a pixel of the picture.
    """
    width, height = size
    if width < 80 or height < 60:
        return
    bar = scale_bar(width * 0.28, pixel_nm)
    text_px = max(11, min(48, round(min(width, height) / 32)))
    font = load_font(DEFAULT_FONT, text_px)
    label = format_length(bar.nm)
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    text_width, text_height = right - left, bottom - top
    pad, bar_height = round(text_px * 0.55), max(3, round(text_px * 0.28))
    box_width = max(bar.px, text_width) + 2 * pad
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
    bar_x = x0 + (box_width - bar.px) / 2
    bar_y = y0 + box_height - pad - bar_height
    draw.rectangle([bar_x, bar_y, bar_x + bar.px - 1, bar_y + bar_height - 1], fill=(255, 255, 255, 255))


def draw_burnt_in(draw: ImageDraw.ImageDraw, image: Micrograph, scale: float) -> None:
    """Show what was read from a picture: the edge of its field of view, and the ends of its scale bar.

    Args:
        draw: drawing context of the picture.
        image: the micrograph.
        scale: px of the picture per px of the micrograph.
    """
    width = max(1, round(scale * max(image.shape) / 700))
    if image.field is not None:
        x0, y0, x1, y1 = (value * scale for value in image.field)
        draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=(*READ_COLOUR, 255), width=width)
    bar = image.scale_bar
    if bar is not None:
        reach = max(5.0, 1.2 * bar.height) * scale
        ends = [(x * scale, (bar.y + side * bar.drop / 2) * scale) for side, x in ((-1, bar.x0), (1, bar.x1))]
        # across the bar
        dx, dy = -reach * bar.drop / bar.length_px, reach * (bar.x1 - bar.x0) / bar.length_px
        for x, y in ends:
            draw.line([x - dx, y - dy, x + dx, y + dy], fill=(*READ_COLOUR, 255), width=width)
        draw.line(ends, fill=(*READ_COLOUR, 255), width=width)
        if bar.text_box is not None:
            a, b, c, d = (value * scale for value in bar.text_box)
            draw.rectangle([a, b, c, d], outline=(*READ_COLOUR, 255), width=width)


def _legend(draw: ImageDraw.ImageDraw, size: tuple[int, int], lines: list[str], colours: list[Colour]) -> None:
    """Draw a coloured square and a line of text for each segment at the top left."""
    text_px = max(11, min(40, round(min(size) / 38)))
    font = load_font(DEFAULT_FONT, text_px)
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
