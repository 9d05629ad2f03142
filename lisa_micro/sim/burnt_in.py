"""Pictures as a microscope or a journal gives them: with a scale bar and its length, a data bar, letters, compression.

The truth is the pixel size that the bar states. They test what reads it (:mod:`lisa_micro.io.scalebar`), so nothing
here uses that.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lisa_micro.sim.materials import simulate_material
from lisa_micro.sim.overlay import load_font
from lisa_micro.sim.scene import simulate_scene
from lisa_micro.types import Box

BAR_FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSans-BoldOblique.ttf",
    "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf",
)  # fmt: skip
"""The twelve fonts of the lengths; matplotlib brings them."""
BAR_STYLES = ("above", "below", "beside", "ends", "ticks", "box", "banner", "split text")
"""How a bar is drawn: with its length above, below or beside it; with end ticks; as a row of eleven ticks; in a box; in
a data bar over the whole width; with its length between its two halves."""
LETTER_PX = (6.0, 40.0)
"""Range of the height of a digit."""
LENGTHS_NM = (
    0.5, 1, 2, 5, 10, 20, 25, 30, 50, 100, 200, 250, 300, 400, 500,
    1e3, 2e3, 2.5e3, 3e3, 4e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
)  # fmt: skip
_WORDS = (
    "Pt/C",
    "25 °C",
    "800 °C",
    "10 min",
    "t = 0 s",
    "200 kV",
    "before",
    "BF",
    "sample 3",
    "A",
    "(b)",
    "c2",
    "x50k",
)


@dataclass(frozen=True, eq=False)
class BurntInPicture:
    """A picture with what is burnt into it.

    Attributes:
        pixels: ``(H, W)`` uint8.
        pixel_size_nm: as the bar states it; ``None`` without a bar.
        text: the length as written. style, font: as drawn. letter_px: height of its digits.
        ends: left and right end of the bar, px, between pixels.
        field: XYXY px of the picture without its data bar.
        jpeg: quality of the compression, or ``None``. noise: standard deviation of the noise added to it, grey levels.
    """

    pixels: np.ndarray
    pixel_size_nm: float | None
    text: str
    style: str
    font: str
    letter_px: float
    ends: tuple[float, float]
    field: Box
    jpeg: int | None
    noise: float


def simulate_burnt_in(seed: int, bar: bool = True, banner: bool | None = None) -> BurntInPicture:
    """A micrograph with burnt-in marks.

    Args:
        seed: the same seed and arguments give the same picture.
        bar: whether there is a scale bar. Panel letters and labels may be there either way.
        banner: whether there is a data bar; ``None``: only where the style of the scale bar asks for it.
    """
    rng = np.random.default_rng([seed, 4711])
    style = str(rng.choice(BAR_STYLES))
    if banner is not None and bar:
        style = "banner" if banner else ("box" if style == "banner" else style)
    banner = style == "banner" if banner is None else banner
    page = _Page(_background(seed, rng), rng)
    if rng.random() < 0.5:
        page.label()
    if banner:
        page.data_bar()
    if not bar:
        return page.finished("none" if not banner else "banner")
    return page.bar("banner" if banner else style)


def _background(seed: int, rng: np.random.Generator) -> np.ndarray:
    shape = [(512, 512), (480, 640), (512, 700), (600, 800)][int(rng.integers(4))]
    if rng.random() < 0.5:
        pixels = simulate_scene(seed, shape, annotate=False).pixels
    else:
        pixels = simulate_material(seed, shape=shape, annotate=False, noise=float(rng.uniform(2, 30))).pixels
    low, high = np.percentile(pixels, (0.5, 99.5))
    dark, bright = rng.uniform(0, 60), rng.uniform(170, 255)
    return np.clip(dark + (pixels - low) / max(high - low, 1e-6) * (bright - dark), 0, 255)


class _Page:
    """A picture being drawn on, in grey levels 0..255."""

    def __init__(self, pixels: np.ndarray, rng: np.random.Generator):
        self.rng = rng
        self.image = Image.fromarray(pixels.round().astype(np.uint8))
        self.draw = ImageDraw.Draw(self.image)
        self.width, self.height = self.image.size
        self.bottom = self.height
        low, high = LETTER_PX
        self.letter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        self.font_name = str(rng.choice(BAR_FONTS))
        self.ink = self.paper = 0
        self.ends, self.words, self.length_nm, self.ticked = (0.0, 0.0), "", 0.0, False

    def font(self, digit_px: float):
        """The font in which a digit has this height."""
        size = 1.38 * digit_px
        for _ in range(3):
            box = load_font(self.font_name, max(5, round(size))).getbbox("0")
            size *= digit_px / max(box[3] - box[1], 1)
        return load_font(self.font_name, max(5, round(size)))

    def label(self) -> None:
        """A panel letter or a few words."""
        rng = self.rng
        font = load_font(str(rng.choice(BAR_FONTS)), int(rng.uniform(14, 48)))
        grey = int(rng.choice([0, 255]))
        self.draw.text((rng.uniform(3, 30), rng.uniform(3, 20)), str(rng.choice(_WORDS)), font=font, fill=grey)

    def data_bar(self) -> None:
        """A band over the whole width with words."""
        rng = self.rng
        self.letter = float(np.clip(self.letter, 6, 22))
        tall = int(max(2.6 * self.letter, rng.uniform(0.045, 0.12) * self.height))
        self.paper, self.ink = (0, 255) if rng.random() < 0.7 else (255, 0)
        self.bottom = self.height - tall
        self.draw.rectangle((0, self.bottom, self.width, self.height), fill=self.paper)
        if rng.random() < 0.3:
            self.draw.line((0, self.bottom, self.width, self.bottom), fill=self.ink)
        fields = [
            f"{rng.choice([2, 5, 10, 15, 20, 200])}.0kV", f"WD {rng.uniform(3, 12):.1f}mm",
            f"x{rng.integers(1, 90)}.0k",
            str(rng.choice(["SE(M)", "InLens", "ETD", "BSE"])), f"Mag = {rng.integers(1, 90)}.00 K X",
            f"{rng.integers(1, 28)} Sep {rng.integers(2005, 2024)}",
        ]  # fmt: skip
        font = self.font(min(self.letter, 0.4 * tall))
        x, limit = 6.0, 0.55 * self.width
        for word in rng.permutation(fields):
            wide = self.draw.textlength(str(word), font=font)
            if x + wide > limit:
                break
            self.draw.text((x, self.bottom + tall / 2), str(word), font=font, fill=self.ink, anchor="lm")
            x += wide + 2 * self.letter

    def bar(self, style: str) -> BurntInPicture:
        """Draw the scale bar and its length, then finish the picture."""
        rng = self.rng
        self.length_nm = float(rng.choice(LENGTHS_NM))
        self.words = length_words(rng, self.length_nm)
        font = self.font(self.letter)
        text = self.draw.textlength(self.words, font=font)
        longest = 0.4 if style == "banner" else 0.8
        length = int(np.clip(rng.uniform(0.1, 0.38) * self.width, 40, longest * self.width))
        if style == "split text":
            length = int(min(max(length, text + 50), 0.7 * self.width))
        thick = int(max(1, round(self.letter * rng.uniform(0.12, 0.5))))
        self.ticked = style == "ends" or (style in ("banner", "split text") and rng.random() < 0.5)
        if self.ticked or style in ("ticks", "split text"):
            thick = int(max(1, min(thick, 3)))
        gap = 0.35 * self.letter + 2
        self._choose_ink(style)
        wide = length + gap + text if style == "beside" else max(length, text)
        tall = {"beside": max(self.letter, thick), "split text": self.letter}.get(style, self.letter + gap + thick)
        if style in ("ends", "ticks"):
            tall += self.letter * 0.5
        margin = rng.uniform(0.02, 0.05) * self.height
        x0 = margin if rng.random() < 0.35 else self.width - margin - wide
        y0 = self.bottom - margin - tall
        if style == "banner":
            x0 = self.width - 12 - wide
            y0 = self.bottom + (self.height - self.bottom - tall) / 2
        if style == "box":
            pad = 4 + 0.3 * self.letter
            self.draw.rectangle((x0 - pad, y0 - pad, x0 + wide + pad, y0 + tall + pad), fill=self.paper)
        left = round(x0 if style == "beside" else x0 + (wide - length) / 2)
        below = style == "below" or (style in ("ends", "ticks", "box", "banner") and rng.random() < 0.4)
        bar_y = round(y0 + (0.25 * self.letter if style in ("ends", "ticks") else 0) if below else y0 + tall - thick)
        if style in ("beside", "split text"):
            bar_y = round(y0 + (tall - thick) / 2)
        elif style in ("ends", "ticks") and not below:
            bar_y = round(y0 + tall - thick - 0.25 * self.letter)
        self._strokes(style, left, bar_y, length, thick, text)
        middle = left + length / 2
        if style == "beside":
            self._write((left + length + gap, y0 + tall / 2), font, "lm")
        elif style == "split text":
            self._write((middle, y0 + tall / 2), font, "mm")
        elif below:
            drop = 0.3 * self.letter if style in ("ends", "ticks") else 0
            self._write((middle, bar_y + thick + gap + drop), font, "mt")
        else:
            rise = 0.3 * self.letter if style in ("ends", "ticks") else 0
            self._write((middle, bar_y - gap - rise), font, "mb")
        # between ticks the length counts from middle to middle
        inset = thick / 2 if self.ticked else 0.0
        self.ends = (left + inset, left + length - inset)
        return self.finished(style)

    def _choose_ink(self, style: str) -> None:
        if style == "banner":
            return
        if style == "box":
            self.paper, self.ink = (255, 0) if self.rng.random() < 0.7 else (0, 255)
            return
        corner = np.asarray(self.image)[-self.height // 4 :]
        bright = float(np.median(corner)) > 128
        self.ink = 0 if bright else 255
        self.paper = 255 - self.ink

    def _write(self, place: tuple[float, float], font, anchor: str) -> None:
        rim = int(self.rng.random() < 0.15 and self.paper != self.ink)
        self.draw.text(
            place, self.words, font=font, fill=self.ink, anchor=anchor, stroke_width=rim, stroke_fill=self.paper
        )

    def _strokes(self, style: str, x: int, y: int, length: int, thick: int, text: float) -> None:
        def box(x0: float, y0: float, x1: float, y1: float) -> None:
            self.draw.rectangle((round(x0), round(y0), round(x1) - 1, round(y1) - 1), fill=self.ink)

        reach = max(3.0, 0.25 * self.letter)
        if style == "ticks":  # the length is that from the middle of the first to the middle of the last tick
            for k in range(11):
                at, tall = round(x + length * k / 10 - thick / 2), reach * (1.5 if k in (0, 5, 10) else 1)
                box(at, y - tall, at + thick, y + tall)
            return
        if style == "split text":
            half = (length - text) / 2 - 5
            box(x, y, x + half, y + thick)
            box(x + length - half, y, x + length, y + thick)
        else:
            box(x, y, x + length, y + thick)
        if self.ticked:
            box(x, y - reach, x + thick, y + thick + reach)
            box(x + length - thick, y - reach, x + length, y + thick + reach)

    def finished(self, style: str) -> BurntInPicture:
        """Scale, noise and compression of a publication."""
        rng, image = self.rng, self.image
        scale = float(rng.uniform(0.8, 1.0)) if rng.random() < 0.3 and self.letter * 0.8 >= LETTER_PX[0] else 1.0
        if scale < 1:
            size = (round(self.width * scale), round(self.height * scale))
            image, scale = image.resize(size, Image.Resampling.BICUBIC), size[0] / self.width
        noise = float(rng.uniform(1, 8)) if rng.random() < 0.3 else 0.0
        pixels = np.asarray(image, np.float32) + (rng.normal(0, noise, image.size[::-1]) if noise else 0)
        image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
        quality = int(rng.integers(50, 96)) if rng.random() < 0.5 else None
        if quality is not None:
            file = io.BytesIO()
            image.save(file, format="JPEG", quality=quality)
            image = Image.open(file)
        first, last = (end * scale for end in self.ends)
        return BurntInPicture(
            pixels=np.asarray(image.convert("L")),
            pixel_size_nm=self.length_nm / (last - first) if self.words else None,
            text=self.words,
            style=style,
            font=self.font_name,
            letter_px=self.letter * scale,
            ends=(first, last),
            field=(0, 0, image.size[0], round(self.bottom * image.size[1] / self.height)),
            jpeg=quality,
            noise=noise,
        )


def length_words(rng: np.random.Generator, nm: float) -> str:
    """A length as microscopes and authors write it: ``200 nm``, ``0.2 µm``, ``1,0 μm``, ``500 pm`` ..."""
    if nm >= 1e6:
        value, unit = nm / 1e6, "mm"
    elif nm >= 1000 or (nm >= 100 and rng.random() < 0.15):
        value, unit = nm / 1000, str(rng.choice(["µm", "μm", "um"], p=[0.6, 0.25, 0.15]))
    elif nm < 5 and rng.random() < 0.15:
        value, unit = nm * 10, "Å"
    else:
        value, unit = nm, "nm"
    digits = f"{value:g}"
    if "." not in digits and value < 10 and rng.random() < 0.2:
        digits += ".0"
    if "." in digits and rng.random() < 0.1:
        digits = digits.replace(".", ",")
    return digits + (" " if rng.random() < 0.7 else "") + unit
