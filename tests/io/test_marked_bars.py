"""Scale bars that a person marks: lengths with units, ends, what follows from them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from bar_pictures import Scripted, ground, picture
from cli_calls import call, failed
from PIL import Image

from lisa_micro.io import Looking, MarkedBar, read_micrograph
from lisa_micro.io.scalebar.marked import marked_scale, stated_length
from lisa_micro.io.survey import burnt_in_boxes, view_of_field
from lisa_micro.types import InputError
from lisa_micro.viz.browser import grey_picture

ENDS = (300.0, 322.5, 400.0, 322.5)
"""Of the bar of ``picture()``."""


@pytest.mark.parametrize(
    ("text", "nm"),
    [("20 nm", 20), ("0,5 µm", 500), (" 0.5µm ", 500), ("17 nm", 17), ("1500 nm", 1500), ("5 Å", 0.5), (".5 um", 500),
     ("2 microns", 2000), ("+3 mm", 3e6), ("0,125 µm", 125)],
)  # fmt: skip
def test_a_person_may_type_any_length(text, nm):
    assert stated_length(text)[1] == pytest.approx(nm)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "with its unit"), ("  ", "with its unit"), ("20", "has no unit"), ("nm", "no length"), ("x nm", "no length"),
     ("20 px", "no unit of length"), ("20 1/nm", "no unit of length"), ("0 nm", "positive"), ("-5 nm", "positive"),
     ("1,000 nm", "thousands or decimals"), ("2 0 nm", "no unit of length"), ("n" * 500, "no length")],
)  # fmt: skip
def test_what_is_no_length_is_one_sentence(text, said):
    with pytest.raises(InputError, match=said) as error:
        stated_length(text)
    assert str(error.value).count(". ") == 0 and len(str(error.value)) < 160


@pytest.mark.parametrize(
    ("ends", "said"),
    [((5, 5, 5, 5), "same place"), ((5, 5, 5.5, 5.2), "same place"), ((-1, 5, 50, 5), "within the picture"),
     ((5, 5, 50, 361), "within the picture"), ((5, 5, 50), "four numbers"), ((5, 5, float("nan"), 5), "four numbers"),
     (("a", 5, 50, 5), "four numbers"), ((5, 5, 50, None), "four numbers"), ((), "four numbers")],
)  # fmt: skip
def test_ends_that_cannot_be_are_one_sentence(ends, said):
    with pytest.raises(InputError, match=said) as error:
        read_micrograph(ground(), looking=Looking(mark=MarkedBar(ends, "20 nm")))
    assert str(error.value).count(". ") == 0


def test_a_pixel_size_that_no_micrograph_can_have_is_refused():
    with pytest.raises(InputError, match="no micrograph can have"):
        marked_scale(MarkedBar((0, 5, 2, 5), "90 mm"), (360, 480))


def test_the_ends_may_be_in_any_order_and_the_bar_may_stand():
    one, other = (marked_scale(MarkedBar(ends, "50 nm"), (360, 480)) for ends in ((10, 7, 110, 7), (110, 7, 10, 7)))
    assert one == other and one.pixel_size_nm == pytest.approx(0.5)
    upright = marked_scale(MarkedBar((20, 300, 20, 100), "50 nm"), (360, 480))
    assert upright.pixel_size_nm == pytest.approx(0.25) and (upright.y, upright.drop) == (200, 200)
    slanted = marked_scale(MarkedBar((0, 0, 30, 40), "50 nm"), (360, 480))
    assert slanted.length_px == pytest.approx(50)


@pytest.fixture
def misread(tmp_path, monkeypatch):
    """A picture whose bar of 100 px is labelled 200 nm and read as 50 nm."""
    monkeypatch.setattr("lisa_micro.io.survey.text_reader", lambda: Scripted("50 nm"))
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    return path


def test_a_marked_bar_counts_more_than_what_was_read(misread):
    read = read_micrograph(misread)
    assert read.pixel_size_nm == pytest.approx(0.5, rel=0.02) and read.pixel_size_origin == "scale bar"
    image = read_micrograph(misread, looking=Looking(mark=MarkedBar(ENDS, "0,2 µm")))
    assert image.pixel_size_nm == pytest.approx(2.0) and image.pixel_size_origin == "user"
    assert image.scale_bar.text == "0.2 µm" and image.scale_bar.text_box == read.scale_bar.text_box
    assert image.notes == ("The pixel size follows from the marked scale bar (0.2 µm = 100.0 px).",)
    # what is burnt into the picture stays hidden from the model
    assert burnt_in_boxes(image)[1] == burnt_in_boxes(read)[1]
    assert view_of_field(image.pixels, image)[318:327, 300:400].max() < 200
    none = read_micrograph(misread, looking=Looking(scale_bar=False))
    assert none.pixel_size_nm is None and none.scale_bar is None and none.notes == ()


def test_a_bar_that_could_not_be_read_is_hidden_too(tmp_path, monkeypatch):
    monkeypatch.setattr("lisa_micro.io.survey.text_reader", lambda: None)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    image = read_micrograph(tmp_path / "a.png", looking=Looking(mark=MarkedBar((301, 324, 399, 324), "20 nm")))
    assert image.scale_bar.height == pytest.approx(5) and image.scale_bar.text_box is None
    assert view_of_field(image.pixels, image)[318:327, 300:400].max() < 200


def test_the_pixel_sizes_of_file_and_user_are_told_where_they_contradict(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ground(), imagej=True, resolution=(2.0, 2.0), metadata={"unit": "nm"})
    mark = Looking(mark=MarkedBar(ENDS, "200 nm"))
    image = read_micrograph(path, looking=mark)
    assert image.pixel_size_nm == 2.0 and "500 pm per pixel (imagej)" in image.notes[-1]
    given = read_micrograph(path, 3.0, looking=mark)
    assert given.pixel_size_nm == 3.0 and "the latter is used" in given.notes[-1]
    assert read_micrograph(path, 2.0, looking=mark).notes == ()


def test_the_marked_bar_is_drawn(tmp_path):
    plain = read_micrograph(ground())
    marked = read_micrograph(ground(), looking=Looking(mark=MarkedBar((100, 60, 100, 200), "20 nm")))
    drawn = grey_picture(marked, 480)
    changed = np.argwhere((drawn != grey_picture(plain, 480)[..., None]).any(axis=2))
    assert (np.abs(changed - [130, 100]).max(axis=0) <= [72, 8]).all() and len(changed) > 140


def test_the_command_line_takes_a_marked_bar(misread, capsys):
    assert call("info", misread, "--scale-bar", "300,322.5,400,322.5,0,2 µm") == 0
    shown = capsys.readouterr().out
    assert "2 nm (user)" in shown and "0.2 µm from x = 300.0 to 400.0 px" in shown
    for wrong, said in (("1,2,3,20 nm", "ends in px"), ("1,2,x,4,20 nm", "ends in px"), ("1,2,30,2,20", "no unit")):
        assert said in failed(capsys, "info", misread, "--scale-bar", wrong)
