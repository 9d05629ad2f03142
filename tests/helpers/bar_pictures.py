"""Pictures with scale bars and data bars, and a reader of letters that reads what it is told."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from lisa_micro.io.scalebar.text import TextLine
from lisa_micro.scale_bar import load_font


def ground(seed=0, shape=(360, 480)):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(120, 12, shape), 0, 255).astype(np.uint8)


def picture(words="200 nm", bars=((300, 320, 100),), letter=22, banner=0, ink=255, seed=0):
    """A picture with bars (x, y, length) and words above the first one; a black data bar of ``banner`` px."""
    image = Image.fromarray(ground(seed))
    draw = ImageDraw.Draw(image)
    width, height = image.size
    font = load_font("DejaVuSans.ttf", letter)
    if banner:
        draw.rectangle((0, height - banner, width, height), fill=0)
        draw.text((8, height - banner / 2), "15.0kV WD 7.1mm x20.0k", font=load_font("DejaVuSans.ttf", 14), fill=255,
                  anchor="lm")  # fmt: skip
    for x, y, length in bars:
        draw.rectangle((x, y, x + length - 1, y + 4), fill=ink)
    x, y, length = bars[0]
    draw.text((x + length / 2, y - 6), words, font=font, fill=ink, anchor="mb")
    return np.asarray(image)


class Scripted:
    """A reader that returns the same lines, in the px of the picture it was made for, wherever it looks."""

    def __init__(self, text, again=None, certainty=0.95):
        self.text, self.again, self.certainty = text, again or text, certainty

    def lines(self, image):
        height, width = image.shape
        return [TextLine((width // 2 - 30, height // 4, width // 2 + 30, height // 4 + 20), self.text, self.certainty)]

    def read(self, line):
        return self.again, self.certainty
