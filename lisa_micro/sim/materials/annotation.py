"""Burnt-in annotation of every style: letters, scale bars, tick rows, boxes, banners, labels, arrows.

Each element is one instance of the concept ``annotation``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from lisa_micro.sim.materials.painted import chance
from lisa_micro.sim.overlay import FONTS, Canvas, Overlay, length_text, load_font, nice_length
from lisa_micro.sim.texture import blur

COVER_SEEN = 0.25
"""A pixel is annotation where at least this share of it is ink."""
MORE_FONTS = (*FONTS, "DejaVuSansMono.ttf", "DejaVuSans-Oblique.ttf", "STIXGeneralBol.ttf")
WORDS = (
    "Pt/C", "TiO2", "25 °C", "800 °C", "10 min", "t = 0 s", "GB", "1", "2", "A", "B", "Au", "Al2O3", "before", "after",
    "200 kV", "substrate", "BF", "HAADF", "[110]", "pore", "x50k",
)  # fmt: skip


class Marks:
    """The annotation of one image while it is being drawn.

    Args:
        rng: source of all choices.
        shape: ``(H, W)`` px.
        pixel_size_nm: for scale bars of the right length.
        bright: whether the image is bright, so that most ink is dark.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], pixel_size_nm: float, bright: bool):
        self.rng, self.shape, self.pixel_size_nm = rng, shape, pixel_size_nm
        self.side = min(shape)
        self.ink_grey = int(rng.integers(0, 30)) if bright == (rng.random() < 0.8) else int(rng.integers(225, 256))
        self.paper_grey = 255 - self.ink_grey
        self.font_name = str(rng.choice(MORE_FONTS))
        self.bottom = shape[0]
        self.parts: list[Overlay] = []

    def font(self, size: float):
        """The image's font at ``size`` px."""
        return load_font(self.font_name, max(6, int(size)))

    def add(self, draw: Callable[[Canvas], None]) -> None:
        """Draw one element on a canvas of its own; it becomes one instance."""
        canvas = Canvas(self.shape)
        draw(canvas)
        self.parts.append(canvas.done())

    def outlined(self, canvas: Canvas, x: float, y: float, words: str, size: float, anchor: str) -> None:
        """Text with a rim in the opposite grey, as figures on uneven grounds have it."""
        font, rim = self.font(size), max(1, int(size / 12))
        ink, cover = ImageDraw.Draw(canvas.ink), ImageDraw.Draw(canvas.cover)
        ink.text((x, y), words, font=font, fill=self.paper_grey, anchor=anchor, stroke_width=rim + 1)
        ink.text((x, y), words, font=font, fill=self.ink_grey, anchor=anchor)
        cover.text((x, y), words, font=font, fill=255, anchor=anchor, stroke_width=rim)


def burn(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_nm: float, bright: bool, sem: bool, must: bool
) -> tuple[Overlay, np.ndarray]:
    """Annotation as a micrograph from an instrument or a figure carries it.

    Args:
        rng: source of all choices.
        shape: ``(H, W)`` px.
        pixel_size_nm: edge of a pixel in nm.
        bright: whether the image is bright.
        sem: whether banners are likely.
        must: draw something at least.

    Returns:
        ``(overlay, labels)``: what to lay over the image, and ``(H, W)`` int32 labels of its elements.
    """
    marks = Marks(rng, shape, pixel_size_nm, bright)
    wanted = rng.random(4) < ((0.35 if sem else 0.15), 0.5, 0.4, 0.2)
    if must and not wanted.any():
        wanted[int(rng.integers(0, 3))] = True
    if wanted[0]:
        _banner(marks)
    elif wanted[1]:
        _bar(marks)
    if wanted[2]:
        _panel_letter(marks)
    if wanted[3]:
        _pointers(marks)
    return _merge(marks)


def _merge(marks: Marks) -> tuple[Overlay, np.ndarray]:
    shape = marks.shape
    ink, cover = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    opaque, labels = np.zeros(shape, bool), np.zeros(shape, np.int32)
    soft = marks.rng.uniform(0.3, 0.7) if chance(marks.rng, 0.35) else 0.0
    kept = 0
    for part in marks.parts:
        part_cover = np.where(part.opaque, 1, blur(part.cover, soft))
        part_ink = part.ink
        seen = (part_cover > COVER_SEEN) | (part.cover > COVER_SEEN) | part.opaque
        if not seen.any():
            continue
        kept += 1
        ink = np.where(part_cover > cover, part_ink, ink)
        cover = np.maximum(cover, part_cover)
        opaque |= part.opaque
        labels[seen] = kept
    present = np.unique(labels)
    labels = np.searchsorted(present, labels).astype(np.int32) if present[0] == 0 else labels
    return Overlay(ink, cover.astype(np.float32), opaque), labels


def _bar(marks: Marks) -> None:
    """A scale bar with its length: filled, with end ticks, as a row of ticks, or in a box."""
    rng, width = marks.rng, marks.shape[1]
    length = nice_length(rng.uniform(0.1, 0.4) * width * marks.pixel_size_nm)
    pixels = length / marks.pixel_size_nm
    size = max(8, marks.side * rng.uniform(0.025, 0.075))
    words = length_text(length) if chance(rng, 0.8) else length_text(length).replace(" ", "")
    style = str(rng.choice(["filled", "ends", "ticks", "split"], p=[0.6, 0.2, 0.13, 0.07]))
    where = str(rng.choice(["above", "below", "beside", "none"], p=[0.5, 0.25, 0.15, 0.1]))
    boxed, rimmed = chance(rng, 0.22), chance(rng, 0.12)
    thick = max(1.0, size * (rng.uniform(0.08, 0.45) if style in ("filled", "split") else 0.1))
    font = marks.font(size)
    margin = marks.side * rng.uniform(0.015, 0.06)
    left, top = chance(rng, 0.35), chance(rng, 0.08)

    def draw(canvas: Canvas) -> None:
        text = canvas.width(words, font) if where != "none" else 0.0
        wide = pixels + 0.4 * size + text if where == "beside" else max(pixels, text)
        tall = thick + (1.25 * size if where in ("above", "below") else 0)
        tall = max(tall, size) if where == "beside" else tall
        x0 = margin if left else width - margin - wide
        y0 = margin if top else marks.bottom - margin - tall
        if boxed:
            pad = 0.3 * size + 2
            canvas.box(x0 - pad, y0 - pad, x0 + wide + pad, y0 + tall + pad, marks.paper_grey, opaque=True)
        bar_x = x0 if where == "beside" else x0 + (wide - pixels) / 2
        bar_y = {"above": y0 + tall - thick, "below": y0, "none": y0}.get(where, y0 + (tall - thick) / 2)
        _strokes(canvas, style, bar_x, bar_y, pixels, thick, size, marks.ink_grey)
        if where == "none":
            return
        x, y, anchor = {
            "above": (x0 + wide / 2, bar_y - 0.25 * size, "ms"),
            "below": (x0 + wide / 2, bar_y + thick + 0.2 * size, "mt"),
            "beside": (x0 + pixels + 0.4 * size, y0 + tall / 2, "lm"),
        }[where]
        if rimmed and not boxed:
            marks.outlined(canvas, x, y, words, size, anchor)
        else:
            canvas.text(x, y, words, font, marks.ink_grey, anchor)

    marks.add(draw)


def _strokes(
    canvas: Canvas, style: str, x: float, y: float, length: float, thick: float, size: float, grey: int
) -> None:
    """The bar itself, its left end at ``x``, its upper edge at ``y``."""
    if style == "ticks":  # a row of eleven ticks, the outer ones longer, as on Hitachi pictures
        for k in range(11):
            at, tall = x + length * k / 10, size * (0.55 if k in (0, 5, 10) else 0.35)
            canvas.box(at, y - tall / 2, at + max(1.0, thick) - 1, y + tall / 2, grey, opaque=False)
        return
    canvas.box(x, y, x + length, y + thick - 1, grey, opaque=False)
    if style == "ends":
        for at in (x, x + length):
            canvas.box(at, y - 0.3 * size, at + thick - 1, y + thick + 0.3 * size, grey, opaque=False)
    elif style == "split":
        for k in (1, 3):
            a = x + length * k / 4
            canvas.box(a, y + 1, a + length / 4, y + max(1, thick - 2), 255 - grey, opaque=False)


def _panel_letter(marks: Marks) -> None:
    rng, (_, width) = marks.rng, marks.shape
    letter = str(rng.choice(list("abcdefghiABCDEFGH")))
    words = str(rng.choice([letter, f"({letter})", f"{letter})", f"{letter}{rng.integers(1, 5)}", f"{letter}."]))
    size = max(9, marks.side * rng.uniform(0.04, 0.16))
    margin = marks.side * rng.uniform(0.005, 0.03)
    right, boxed, rimmed = chance(rng, 0.15), chance(rng, 0.3), chance(rng, 0.12)
    font = marks.font(size)

    def draw(canvas: Canvas) -> None:
        wide = canvas.width(words, font)
        x = width - margin - wide if right else margin
        if boxed:
            canvas.box(x - margin, 0, x + wide + margin, margin + 1.3 * size, marks.paper_grey, opaque=True)
        if rimmed and not boxed:
            marks.outlined(canvas, x, margin, words, size, "la")
        else:
            canvas.text(x, margin, words, font, marks.ink_grey)

    marks.add(draw)


def _pointers(marks: Marks) -> None:
    """Labels, arrows and marked regions within the picture."""
    rng, (height, width) = marks.rng, marks.shape
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.1, 0.85) * width, rng.uniform(0.1, 0.8) * marks.bottom
        style = str(rng.choice(["word", "arrow", "region"], p=[0.45, 0.35, 0.2]))
        size = max(8, marks.side * rng.uniform(0.025, 0.06))
        words, angle = str(rng.choice(WORDS)), rng.uniform(0, 2 * np.pi)
        length, stroke = marks.side * rng.uniform(0.05, 0.14), int(max(1, marks.side * rng.uniform(0.003, 0.009)))
        wide, tall, round_ = rng.uniform(0.08, 0.35) * width, rng.uniform(0.08, 0.3) * height, chance(rng, 0.4)

        def draw(
            canvas: Canvas, x=x, y=y, style=style, size=size, words=words, angle=angle, length=length, stroke=stroke,
            wide=wide, tall=tall, round_=round_,
        ) -> None:  # fmt: skip
            if style == "word":
                canvas.text(x, y, words, marks.font(size), marks.ink_grey)
                return
            for image, fill in ((canvas.ink, marks.ink_grey), (canvas.cover, 255)):
                pen = ImageDraw.Draw(image)
                if style == "arrow":
                    _arrow(pen, x, y, angle, length, stroke, fill)
                elif round_:
                    pen.ellipse((x, y, x + wide, y + tall), outline=fill, width=stroke + 1)
                else:
                    pen.rectangle((x, y, x + wide, y + tall), outline=fill, width=stroke + 1)

        marks.add(draw)


def _arrow(pen: ImageDraw.ImageDraw, x: float, y: float, angle: float, length: float, stroke: int, fill: int) -> None:
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]])
    tip, head = np.array([x, y]), max(4.0, 0.3 * length)
    tail, neck = tip - length * ahead, tip - head * ahead
    pen.line([tuple(tail), tuple(neck)], fill=fill, width=stroke + 1)
    pen.polygon([tuple(tip), tuple(neck + 0.45 * head * aside), tuple(neck - 0.45 * head * aside)], fill=fill)


def _banner(marks: Marks) -> None:
    """An instrument's data bar over the whole width: of one or two lines, in cells, or letters straight on the image
    above a row of ticks."""
    rng, (height, width) = marks.rng, marks.shape
    style = str(rng.choice(["line", "cells", "double", "bare"], p=[0.4, 0.25, 0.2, 0.15]))
    tall = int(max(12, height * rng.uniform(0.05, 0.09) * (1.7 if style == "double" else 1)))
    back, front = (int(rng.integers(0, 40)), 255) if chance(rng, 0.7) else (int(rng.integers(230, 256)), 0)
    if style == "bare":
        front = 255
    top = height - tall
    lines = 2 if style == "double" else 1
    size = max(7, tall / lines * rng.uniform(0.4, 0.62))
    font = marks.font(size)
    fields = [_field(rng) for _ in range(8)]
    order = rng.permutation(8)
    length = nice_length(rng.uniform(0.1, 0.28) * width * marks.pixel_size_nm)
    pixels = length / marks.pixel_size_nm
    bar_style, left = str(rng.choice(["filled", "ends", "ticks"])), chance(rng, 0.35)
    line_y = [top + tall * (k + 0.5) / lines for k in range(lines)]

    def draw(canvas: Canvas) -> None:
        if style != "bare":
            canvas.box(0, top, width, height, back, opaque=True)
        text = length_text(length)
        bar_x = 6.0 if left else width - 6 - pixels
        x0, x1 = (bar_x + pixels + 10, width - 6.0) if left else (6.0, bar_x - 10)
        _strokes(canvas, bar_style, bar_x, top + 0.28 * tall, pixels, max(1, tall * 0.06), 0.5 * size, front)
        canvas.text(
            bar_x + pixels / 2, top + 0.72 * tall, text, load_font(marks.font_name, int(0.9 * size)), front, "mm"
        )
        k = 0
        for y in line_y:
            x = x0
            while k < len(order):
                word = fields[order[k]]
                wide = canvas.width(word, font)
                if x + wide > x1:
                    break
                canvas.text(x, y, word, font, front, "lm")
                if style == "cells":
                    canvas.box(x + wide + 5, top, x + wide + 5, height, front, opaque=False)
                x, k = x + wide + size * (0.9 if style != "cells" else 1.2), k + 1

    marks.add(draw)
    marks.bottom = top


def _field(rng: np.random.Generator) -> str:
    """One entry of a data bar."""
    kilovolt, distance = rng.choice([2, 3, 5, 10, 15, 20, 30, 80, 200]), rng.uniform(3, 12)
    return str(
        rng.choice(
            [
                f"{kilovolt:.1f} kV",
                f"EHT = {kilovolt:.2f} kV",
                f"WD = {distance:.1f} mm",
                f"{distance:.1f}mm",
                f"Mag = {rng.integers(1, 400)}.00 K X",
                f"x{rng.choice([5, 10, 20, 40, 50, 100, 200])},000",
                f"Signal A = {rng.choice(['SE2', 'InLens', 'BSD', 'SE1'])}",
                str(rng.choice(["SE(M)", "SE(U)", "ETD", "TLD", "CBS", "LEI", "SEI", "STEM", "TEM Mode: Imaging"])),
                f"{rng.integers(1, 29)}/{rng.integers(1, 13)}/{rng.integers(2003, 2025)} {rng.integers(1, 13)}:08 PM",
                f"HFW {rng.uniform(0.5, 60):.1f} µm",
                f"spot {rng.uniform(2, 5):.1f}",
                f"Date :{rng.integers(1, 29)} Sep {rng.integers(2003, 2025)}",
                "Print Mag: 61200x @ 7.0 in",
            ]
        )
    )
