"""Panel letters, scale bars and instrument banners, as figures have them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lisa_micro import scale_bar

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneral.ttf",
)


@dataclass(frozen=True)
class Overlay:
    """What lies on an image, all ``(H, W)``: ``ink`` float32 grey value 0..1, ``cover`` float32 0..1 how far
    it hides the image, ``opaque`` bool: boxes and banners, below which nothing is seen and no particle is
    labelled."""

    ink: np.ndarray
    cover: np.ndarray
    opaque: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """``(H, W)`` bool: everything that was put on the image."""
        return (self.cover > 0.3) | self.opaque

    def over(self, image: np.ndarray) -> np.ndarray:
        """The image with the overlay on it."""
        return image + self.cover * (self.ink - image)


@lru_cache(maxsize=256)
def load_font(name: str, size: int):
    """A font of matplotlib's (found without importing it), or Pillow's own where it is not installed."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.exists():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def nice_length(nm: float) -> float:
    """The largest of 1, 2, 5 x 10^k nm that is at most ``nm``."""
    return scale_bar.nice_length(nm, tolerance=1e-4)


def length_text(nm: float) -> str:
    """A length with its unit, in nm, or in µm from 1000 nm."""
    value, unit = (nm / 1000, "µm") if nm >= 1000 else (nm, "nm")
    return f"{value:g} {unit}"


class Canvas:
    """Ink, cover and boxes being drawn; grey values 0..255, coordinates x, y in px.

    Args:
        shape: ``(H, W)`` px.
    """

    def __init__(self, shape: tuple[int, int]):
        self.ink = Image.new("L", (shape[1], shape[0]), 0)
        self.cover = Image.new("L", (shape[1], shape[0]), 0)
        self.opaque = np.zeros(shape, bool)
        self._ink, self._cover = ImageDraw.Draw(self.ink), ImageDraw.Draw(self.cover)

    def box(self, x0: float, y0: float, x1: float, y1: float, grey: int, opaque: bool) -> None:
        """Draw a filled rectangle; an opaque one hides what is below it."""
        x0, y0, x1, y1 = (int(round(v)) for v in (x0, y0, x1, y1))
        self._ink.rectangle((x0, y0, x1, y1), fill=grey)
        self._cover.rectangle((x0, y0, x1, y1), fill=255)
        if opaque:
            self.opaque[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = True

    def text(self, x: float, y: float, words: str, font, grey: int, anchor: str = "la") -> None:
        """Draw a line of text; ``anchor`` as in Pillow."""
        # the ink is widened by a stroke, so that soft edges of the glyph mix its own grey with the image
        self._ink.text((x, y), words, font=font, fill=grey, anchor=anchor, stroke_width=1)
        self._cover.text((x, y), words, font=font, fill=255, anchor=anchor)

    def width(self, words: str, font) -> float:
        """Width of a line of text in px."""
        return float(self._ink.textlength(words, font=font))

    def done(self) -> Overlay:
        """What was drawn so far."""

        def grey(image: Image.Image) -> np.ndarray:
            return np.asarray(image, dtype=np.float32) / 255

        return Overlay(grey(self.ink), grey(self.cover), self.opaque)


def random_overlay(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size_nm: float, bright: bool, sem: bool
) -> Overlay | None:
    """What a figure of this image might carry; ``None`` for a bare image (and for images below 96 px).

    Args:
        shape: ``(H, W)`` px.
        pixel_size_nm: for a scale bar of the right length.
        bright: whether the image is bright, so that its ink is mostly dark.
        sem: whether instrument banners are likely.
    """
    if min(shape) < 96:
        return None
    banner, bar, letter = rng.random(3) < ((0.3 if sem else 0.08), 0.4, 0.3)
    if not (banner or bar or letter):
        return None
    canvas = Canvas(shape)
    bold = str(rng.choice(FONTS))
    bottom = float(shape[0])
    if banner:
        bottom -= _banner(rng, canvas, shape, pixel_size_nm, sem)
    elif bar:
        _scale_bar(rng, canvas, shape, pixel_size_nm, bright, bold)
    if letter:
        _letter(rng, canvas, shape, bright, bold)
    return canvas.done()


def _banner(rng, canvas: Canvas, shape, pixel_size_nm: float, sem: bool) -> float:
    height = int(shape[0] * rng.uniform(0.06, 0.11))
    back, front = (0, 255) if rng.random() < 0.75 else (255, 0)
    top = shape[0] - height
    canvas.box(0, top, shape[1], shape[0], back, opaque=True)
    font = load_font(str(rng.choice(FONTS)), max(7, int(height * rng.uniform(0.35, 0.55))))
    fields = [
        f"{rng.choice([2, 3, 5, 10, 15, 20] if sem else [80, 100, 120, 200, 300])}.0kV",
        f"{rng.uniform(3, 12):.1f}mm",
        f"x{rng.choice([5, 10, 20, 40, 50, 100])}.0k",
        str(rng.choice(["SE(M)", "SE(U)", "InLens", "ETD", "TLD", "SE2"] if sem else ["TEM", "STEM", "CCD"])),
        f"WD {rng.uniform(3, 12):.1f} mm",
        f"Mag {rng.choice([10, 25, 50, 80, 120])} kX",
        f"{rng.integers(1, 29)}/{rng.integers(1, 13)}/{rng.integers(2005, 2024)}",
    ]
    words = "  ".join(fields[k] for k in rng.permutation(len(fields))[: int(rng.integers(2, 5))])
    middle = top + height / 2
    length = nice_length(0.25 * shape[1] * pixel_size_nm)
    pixels = length / pixel_size_nm
    x1 = shape[1] * 0.97
    while words and 8 + canvas.width(words, font) > x1 - pixels - 12:
        words = words.rpartition("  ")[0]
    canvas.text(6, middle, words, font, front, anchor="lm")
    canvas.box(x1 - pixels, middle - height * 0.28, x1, middle - height * 0.22, front, opaque=False)
    canvas.text(x1 - pixels / 2, middle + height * 0.2, length_text(length), font, front, anchor="mm")
    return height


def _scale_bar(rng, canvas: Canvas, shape, pixel_size_nm: float, bright: bool, font_name: str) -> None:
    length = nice_length(rng.uniform(0.12, 0.35) * shape[1] * pixel_size_nm)
    pixels = length / pixel_size_nm
    size = max(9, int(min(shape) * rng.uniform(0.03, 0.07)))
    thick = max(1.0, size * rng.uniform(0.08, 0.4))
    font, words = load_font(font_name, size), length_text(length)
    width = max(pixels, canvas.width(words, font))
    margin = min(shape) * rng.uniform(0.02, 0.05)
    left = rng.random() < 0.4
    x0 = margin if left else shape[1] - margin - width
    y1 = shape[0] - margin
    grey = 0 if bright == (rng.random() < 0.85) else 255
    boxed = rng.random() < 0.2
    if boxed:
        canvas.box(x0 - 5, y1 - thick - 1.5 * size, x0 + width + 5, y1 + 5, 255 - grey, opaque=True)
    x = x0 + (width - pixels) / 2
    canvas.box(x, y1 - thick, x + pixels, y1, grey, opaque=False)
    canvas.text(x0 + width / 2, y1 - thick - 0.3 * size, words, font, grey, anchor="ms")


def _letter(rng, canvas: Canvas, shape, bright: bool, font_name: str) -> None:
    letter = str(rng.choice(list("abcdefgABCDEF")))
    words = str(rng.choice([letter, f"({letter})", f"{letter})", f"{letter}{rng.integers(1, 4)}"]))
    size = max(10, int(min(shape) * rng.uniform(0.05, 0.12)))
    font = load_font(font_name, size)
    margin = min(shape) * rng.uniform(0.01, 0.03)
    right = rng.random() < 0.15
    width = canvas.width(words, font)
    x = shape[1] - margin - width if right else margin
    grey = 0 if bright == (rng.random() < 0.8) else 255
    if rng.random() < 0.3:
        canvas.box(x - margin, 0, x + width + margin, margin + 1.25 * size, 255 - grey, opaque=True)
    canvas.text(x, margin, words, font, grey)
