"""Bars where they are hard to tell: on bright ground, as rows of ticks, in two halves, beside letters."""

from itertools import cycle

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lisa_micro.io.scalebar.bars import find_bars
from lisa_micro.io.scalebar.reading import read_scale_bar
from lisa_micro.io.scalebar.text import TextLine
from lisa_micro.scale_bar import load_font

rng = np.random.default_rng(5)


def canvas(level=110, shape=(300, 480)):
    image = Image.fromarray(np.clip(rng.normal(level, 6, shape), 0, 255).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def box(draw, x0, y0, x1, y1, fill=255):
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=fill)


def best(image, kind="bar", near=None):
    bars = [bar for bar in find_bars(np.asarray(image, np.float32)) if bar.kind == kind]
    if near is not None:
        bars = [bar for bar in bars if abs(bar.y0 - near) < 5]
    return max(bars, key=lambda bar: bar.length, default=None)


class Reader:
    """A reader that finds given lines in the first part that it sees, and nothing later."""

    def __init__(self, *lines, again=None):
        self.known, self.again = list(lines), again

    def lines(self, image):
        found, self.known = [TextLine(box, text, 0.95) for box, text in self.known], []
        return found

    def read(self, line):
        return self.again, 0.95


@pytest.mark.parametrize("ground", [150, 200, 225])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_end_on_a_bright_ground_is_found_where_it_is(ground, side):
    image, draw = canvas()
    draw.ellipse((60, 200, 140, 280) if side == "left" else (260, 200, 340, 280), fill=ground)
    box(draw, 100, 238, 300, 244)
    bar = best(image, near=238)
    assert (bar.x0, bar.x1) == (pytest.approx(100, abs=0.5), pytest.approx(300, abs=0.5))


def test_a_bar_that_fades_into_its_ground_has_no_end():
    image, draw = canvas()
    ramp = np.asarray(image).copy()
    ramp[230:252, 200:400] = np.linspace(255, 110, 200).astype(np.uint8)
    image = Image.fromarray(ramp)
    box(ImageDraw.Draw(image), 100, 238, 202, 244)
    assert best(image, near=238) is None


@pytest.mark.parametrize("step", [8, 15.4, 25])
@pytest.mark.parametrize("hidden", [(), (4,), (3, 7)])
def test_a_row_of_eleven_ticks(step, hidden):
    image, draw = canvas()
    places = [round(40 + k * step) for k in range(11)]
    for k, x in enumerate(places):
        if k not in hidden:
            box(draw, x, 240 - (8 if k % 5 == 0 else 5), x + 2, 240 + (8 if k % 5 == 0 else 5))
    bar = best(image, "ticks")
    assert (bar.x0, bar.x1) == (pytest.approx(41, abs=0.8), pytest.approx(41 + 10 * step, abs=0.8))


@pytest.mark.parametrize("spread", [25, 45])
def test_ticks_on_a_texture(spread):
    texture = np.random.default_rng(1).normal(150, spread, (300, 480))
    image = Image.fromarray(np.clip(texture, 0, 240).astype(np.uint8))
    for k in range(11):
        box(ImageDraw.Draw(image), 40 + 22 * k, 232, 43 + 22 * k, 248)
    bar = best(image, "ticks")
    assert (bar.x0, bar.x1) == (pytest.approx(41.5, abs=0.8), pytest.approx(261.5, abs=0.8))


@pytest.mark.parametrize("beyond", [70, 30])
def test_an_end_beside_a_patch_of_nearly_its_own_grey_value(beyond):
    image, draw = canvas(190)
    draw.rectangle((190, 225, 202, 260), fill=beyond)  # the patch ends a few px behind the bar
    box(draw, 100, 238, 198, 242, fill=0)
    bar = best(image, near=238)
    assert (bar.x0, bar.x1) == (pytest.approx(100, abs=0.4), pytest.approx(198, abs=0.4))


@pytest.mark.parametrize("count", [9, 10, 12, 21])
def test_other_numbers_of_ticks_stand_for_no_length(count):
    image, draw = canvas()
    for k in range(count):
        box(draw, 30 + 18 * k, 234, 32 + 18 * k, 246)
    assert best(image, "ticks") is None


def test_letters_are_no_ticks():
    image, draw = canvas(0)
    words = "EHT = 10.00 kV   WD = 5.0 mm   Signal A = InLens   Mag = 10.00 K X"
    draw.text((5, 250), words, font=load_font("DejaVuSans.ttf", 13), fill=255)
    assert best(image, "ticks") is None


@pytest.mark.parametrize("ticks", [False, True])
def test_two_halves_count_from_the_middle_of_their_end_ticks(ticks):
    image, draw = canvas()
    box(draw, 100, 240, 160, 243)
    box(draw, 240, 240, 300, 243)
    if ticks:
        box(draw, 100, 234, 104, 249)
        box(draw, 296, 234, 300, 249)
    bar = best(image, "halves")
    inset = 2 if ticks else 0
    assert (bar.x0, bar.x1) == (pytest.approx(100 + inset, abs=0.4), pytest.approx(300 - inset, abs=0.4))


def scene(words="200 nm", letter=20):
    image, draw = canvas()
    box(draw, 200, 260, 300, 265)
    draw.text((250, 254), words, font=load_font("DejaVuSans.ttf", letter), fill=255, anchor="mb")
    return np.asarray(image, np.float32)


def parts(scale=3.0):
    """Boxes of the number and the unit in the part of :func:`scene` that is enlarged and read, in its px."""
    unit = 400 / 512  # see _around
    x0, y0 = 200 - 70 * unit, 260 - 34 * unit
    number, unit_box = (212, 239, 250, 255), (256, 239, 288, 255)
    return [
        tuple(int((v - o) * scale) for v, o in zip(one, (x0, y0, x0, y0), strict=True)) for one in (number, unit_box)
    ]


def test_a_number_and_its_unit_that_are_read_apart_are_one_length():
    number, unit = parts()
    reading = read_scale_bar(scene(), Reader((number, "200"), (unit, "nm"), again="200 nm"))
    assert reading.scale is not None and reading.scale.pixel_size_nm == pytest.approx(2.0, rel=0.01)
    # the same pieces the other way round are no length
    assert read_scale_bar(scene(), Reader((number, "nm"), (unit, "200"), again="nm 200")).scale is None


def test_a_bar_and_letters_of_the_opposite_ink_do_not_belong_together():
    image, draw = canvas(200)
    box(draw, 200, 260, 300, 265, fill=0)
    draw.rectangle((190, 228, 310, 256), fill=60)
    draw.text((250, 254), "200 nm", font=load_font("DejaVuSans.ttf", 20), fill=255, anchor="mb")
    number, unit = parts()
    whole = (number[0], number[1], unit[2], unit[3])
    reading = read_scale_bar(np.asarray(image, np.float32), Reader((whole, "200 nm"), again="200 nm"))
    assert reading.scale is None


class Blind:
    """A reader that finds no lines; it reads the given texts one after the other, again and again."""

    def __init__(self, *texts):
        self.texts = cycle(texts)

    def lines(self, image):
        return []

    def read(self, line):
        return next(self.texts), 0.9


@pytest.mark.parametrize("words", ["200 nm", "2 nm"])
@pytest.mark.parametrize("letter", [14, 24])
def test_letters_that_were_not_found_are_read_by_their_ink(words, letter):
    reading = read_scale_bar(scene(words, letter), Blind("200 nm"))
    assert reading.scale is not None and reading.scale.pixel_size_nm == pytest.approx(2.0, rel=0.01)
    x0, y0, x1, y1 = reading.scale.text_box
    assert 190 < x0 < 250 < x1 < 310 and 220 < y0 < y1 <= 255


def test_letters_so_small_that_each_reading_may_be_wrong_alike_are_not_read_by_their_ink():
    assert read_scale_bar(scene("200 nm", 9), Blind("200 nm")).scale is None


def test_what_is_read_differently_each_time_is_no_length():
    assert read_scale_bar(scene(), Blind("200 nm", "20 nm", "200 nm", "200 nm")).scale is None
    assert read_scale_bar(scene(), Blind("200 um", "200 jm", "200jm", "200 μm")).scale.length_nm == 200_000
    assert read_scale_bar(scene(), Blind("sample 3")).scale is None


def test_a_dark_particle_behind_the_text_is_not_the_other_half_of_a_bar():
    image, draw = canvas(200)
    box(draw, 60, 250, 140, 256, fill=0)
    draw.text((150, 253), "10 nm", font=load_font("DejaVuSans.ttf", 20), fill=0, anchor="lm")
    end = 150 + round(draw.textlength("10 nm", font=load_font("DejaVuSans.ttf", 20)))
    draw.ellipse((end + 4, 200, end + 120, 299), fill=5)
    unit, scale = 400 / 512, 3.0
    line = tuple(
        int((v - o) * scale) for v, o in zip((150, 244, end, 262), (60 - 70 * unit, 250 - 34 * unit) * 2, strict=True)
    )
    reading = read_scale_bar(np.asarray(image, np.float32), Reader((line, "10 nm"), again="10 nm"))
    assert reading.scale is not None and reading.scale.pixel_size_nm == pytest.approx(10 / 80, rel=0.01)
