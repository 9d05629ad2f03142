"""Data bars and scale bars: what is found in pictures, what is made of it, and what is never guessed."""

from dataclasses import replace

import numpy as np
import pytest
from bar_pictures import Scripted, ground, picture
from PIL import Image

from lisa_micro.io import Looking, read_micrograph
from lisa_micro.io.scalebar.banner import find_covered
from lisa_micro.io.scalebar.bars import find_bars
from lisa_micro.io.scalebar.lengths import parse_length, printed_pixel_size
from lisa_micro.io.scalebar.reading import read_scale_bar
from lisa_micro.io.survey import NO_READER
from lisa_micro.sim.burnt_in import simulate_burnt_in
from lisa_micro.types import BurntInScale, InputError, Micrograph


@pytest.mark.parametrize(
    ("text", "nm"),
    [("200 nm", 200), ("200nm", 200), ("1 µm", 1000), ("1 μm*", 1000), ("2.5um", 2500), ("0,5 µm", 500), ("5 Å", 0.5),
     ("500 pm", 0.5), ("1 mm", 1e6), ("-100 nm-", 100), ("1100.0 nm", None), ("110 nm", None), ("17 nm", None),
     ("200", None), ("nm", None), ("05 nm", None), ("2 pm", None), ("50 mm", None), ("200 nm x", None),
     ("x20.0k", None), ("15.0kV", None)],
)  # fmt: skip
def test_lengths_are_parsed_and_what_cannot_be_believed_is_not(text, nm):
    assert parse_length(text) == (None if nm is None else pytest.approx(nm))


def test_the_words_of_a_data_bar_state_a_pixel_size():
    assert printed_pixel_size(["EHT = 10 kV", "Pixel Size = 11.16 nm"], 1024) == pytest.approx(11.16)
    assert printed_pixel_size(["HFW 7.46 µm"], 1000) == pytest.approx(7.46)
    assert printed_pixel_size(["WD = 5.0 mm"], 1000) is None


@pytest.mark.parametrize("ink", [0, 255])
def test_a_bar_is_found_with_its_ends(ink):
    bars = find_bars(picture(ink=ink).astype(np.float32))
    best = max(bars, key=lambda bar: bar.length)
    assert (best.x0, best.x1) == (pytest.approx(300, abs=0.3), pytest.approx(400, abs=0.3))
    assert best.light == (ink == 255)


def test_a_data_bar_is_found_and_nothing_else_is_taken_for_one():
    assert find_covered(picture(banner=40)).field == (0, 0, 480, 320)
    assert find_covered(picture()).field == (0, 0, 480, 360)
    dark = ground()
    dark[300:] = 0  # vacuum: flat, but without letters
    assert find_covered(dark).field == (0, 0, 480, 360)
    for flat in (np.zeros((200, 200)), np.full((200, 200), 7.0), np.full((200, 200), np.nan)):
        assert find_covered(flat).field == (0, 0, 200, 200)


@pytest.mark.parametrize("seed", [900_001, 900_002, 900_003, 900_004])
def test_data_bars_of_simulated_pictures_are_found_to_the_pixel_row(seed):
    drawn = simulate_burnt_in(seed, banner=True)
    _, _, _, bottom = find_covered(drawn.pixels).field
    assert abs(bottom - drawn.field[3]) <= 3


def test_a_scale_bar_is_read_where_the_reader_is_sure():
    reading = read_scale_bar(picture().astype(np.float32), Scripted("200 nm"))
    assert reading.scale is not None
    assert reading.scale.pixel_size_nm == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    "reader",
    [Scripted("1200 nm"), Scripted("200 nm", again="700 nm"), Scripted("200 nm", again="100 nm"), Scripted("sample 3"),
     Scripted("200 nm", certainty=0.3)],
)  # fmt: skip
def test_an_unsure_reading_gives_no_pixel_size(reader):
    assert read_scale_bar(picture().astype(np.float32), reader).scale is None


def test_reading_a_picture_file(tmp_path):
    pytest.importorskip("rapidocr"), pytest.importorskip("onnxruntime")
    path = tmp_path / "a.png"
    Image.fromarray(picture(banner=36, bars=((300, 270, 100),))).save(path)
    image = read_micrograph(path)
    assert image.pixel_size_origin == "scale bar"
    assert image.pixel_size_nm == pytest.approx(2.0, rel=0.01)
    assert image.scale_bar is not None and image.scale_bar.text == "200 nm"
    assert image.field == (0, 0, 480, 324) and image.field_area == 480 * 324
    assert any("data bar" in note for note in image.notes)
    # the user's value counts more, and the contradiction is told
    given = read_micrograph(path, pixel_size_nm=3.0)
    assert given.pixel_size_nm == 3.0 and any("the latter is used" in note for note in given.notes)
    plain = read_micrograph(path, looking=Looking(banner=False, scale_bar=False))
    assert plain.pixel_size_nm is None and plain.field is None and not plain.notes


def test_without_the_extra_a_note_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lisa_micro.io.survey.text_reader", lambda: None)
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    image = read_micrograph(path)
    assert image.pixel_size_nm is None and NO_READER in image.notes
    Image.fromarray(ground()).save(path)
    assert not read_micrograph(path).notes


@pytest.mark.parametrize("field", [(0, 0, 10), (5, 5, 5, 20), (0, 0, 999, 20), (0.5, 0, 10, 10), ("a", 0, 1, 1)])
def test_a_field_that_cannot_be_is_refused_in_one_sentence(field, tmp_path):
    Image.fromarray(ground()).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="field") as error:
        read_micrograph(tmp_path / "a.png", looking=Looking(field=field))
    assert str(error.value).count(". ") == 0


def test_the_field_of_the_user_counts_for_images_in_memory_too():
    image = read_micrograph(ground(), looking=Looking(field=(0, 0, 480, 200)))
    assert image.field_shape == (200, 480) and image.shape == (360, 480)


def test_the_area_of_the_field_leaves_out_boxes_with_letters():
    image = Micrograph(ground(), field=(0, 0, 480, 300), covers=((0, 0, 50, 20), (400, 290, 480, 340)))
    assert image.field_area == 480 * 300 - 50 * 20 - 80 * 10


def test_the_pixel_size_of_a_scale_bar_is_its_length_over_its_pixels():
    bar = BurntInScale(10.0, 110.0, 50.0, 4.0, "1 µm", 1000.0, (40, 20, 80, 40))
    assert bar.pixel_size_nm == 10.0
    assert replace(bar, x1=60.0).pixel_size_nm == 20.0
