"""The scale bar of the page Chat: marked by the user, removed, read again; what answers and downloads make of it."""

from __future__ import annotations

import io
import zipfile

import pytest
from app_requests import LIMITS, ask, opened, send
from bar_pictures import Scripted, picture
from PIL import Image
from stand_in_app import StandIn

from lisa_micro.types import InputError
from lisa_micro_app import exports, handlers, scale_bars
from lisa_micro_app.api.programs import Programs
from lisa_micro_app.api.scale_bars import set_scale_bar
from lisa_micro_app.state import conversation as state
from lisa_micro_app.views import turns as views

STAND_IN = StandIn
ENDS = [300.0, 322.5, 400.0, 322.5]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def misread(user, queue, monkeypatch):
    """A session with a picture whose bar of 100 px is labelled 200 nm and read as 50 nm."""
    monkeypatch.setattr("lisa_micro.io.survey.text_reader", lambda: Scripted("50 nm"))
    handlers.open_upload(user, queue, send(user, png(), "sem.png"), LIMITS)
    return user


def test_a_marked_bar_sets_the_pixel_size_of_the_next_answers(misread, queue):
    user = misread
    view = views.viewer_view(user, LIMITS)
    assert view["bar"]["told"].startswith("Read from the picture: 50 nm") and not view["bar"]["changed"]
    ask(user, queue, "segment")
    before = user.state
    user.state = scale_bars.mark(before, ENDS, "0,2 µm")
    image = user.state.picture.micrograph
    assert (image.pixel_size_nm, image.pixel_size_origin) == (2.0, "user")
    assert image.pixels is before.picture.micrograph.pixels  # the micrograph is not encoded again
    assert "marked: 0.2 µm = 100.0 px" in views.pixel_size_words(user.state)
    bar = views.viewer_view(user, LIMITS)["bar"]
    assert bar == {"ends": ENDS, "length": "0.2 µm", "told": "Marked by you: 0.2 µm = 100.0 px.", "changed": True}
    # as with a pixel size that is typed: earlier answers keep theirs, and are not shown
    assert user.state.shown is None and user.state.turns[0].answer.segments[0].pixel_size_nm == pytest.approx(0.5, 0.02)
    ask(user, queue, "again")
    first, second = user.state.turns
    assert second.answer.segments[0].pixel_size_nm == 2.0 and second.answer.text.endswith(", 1.")
    sizes = [turn.answer.segments[0].table()["diameter_nm"].iloc[0] for turn in (first, second)]
    assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.02)


def test_the_picture_of_another_bar_has_another_address(misread):
    user = misread
    one = views.viewer_view(user, LIMITS)["image"]
    user.state = scale_bars.mark(user.state, [20, 30, 90, 30], "20 nm")
    other = views.viewer_view(user, LIMITS)["image"]
    assert one["url"] != other["url"] and one["key"] == other["key"]
    user.state = scale_bars.as_read(user.state)
    assert views.viewer_view(user, LIMITS)["image"] == one


def test_there_may_be_no_bar_and_it_may_be_read_again(misread):
    user = misread
    user.state = scale_bars.without(user.state)
    image = user.state.picture.micrograph
    assert image.pixel_size_nm is None and image.scale_bar is None and image.notes == ()
    assert "Unknown" in views.pixel_size_words(user.state)
    assert scale_bars.told(user.state.picture) == "You said that there is none."
    assert scale_bars.without(user.state) is user.state
    assert handlers.set_pixel_size(user.state, "") is user.state  # leaving the empty field brings nothing back
    user.state = handlers.set_pixel_size(user.state, "3")
    assert user.state.picture.micrograph.pixel_size_nm == 3.0 and user.state.picture.micrograph.scale_bar is None
    user.state = scale_bars.as_read(handlers.set_pixel_size(user.state, ""))
    assert user.state.picture.micrograph.pixel_size_origin == "scale bar"


def test_a_typed_pixel_size_counts_more_than_the_bar_and_gives_way_to_it(misread):
    user = misread
    typed = handlers.set_pixel_size(scale_bars.mark(user.state, ENDS, "200 nm"), "3")
    assert typed.picture.micrograph.pixel_size_nm == 3.0 and "Typed by you" in views.pixel_size_words(typed)
    back = handlers.set_pixel_size(typed, "")
    assert back.picture.micrograph.pixel_size_nm == 2.0
    assert scale_bars.without(typed).picture.micrograph.pixel_size_nm == 3.0
    assert scale_bars.mark(typed, ENDS, "20 nm").picture.micrograph.pixel_size_nm == pytest.approx(0.2)


def test_leaving_the_field_with_a_rounded_pixel_size_changes_nothing(misread):
    marked = scale_bars.mark(misread.state, [0, 5, 300, 5], "200 nm")  # 0.6666... nm
    shown = handlers.shown_pixel_size(marked.picture.micrograph.pixel_size_nm)
    assert handlers.set_pixel_size(marked, shown) is marked


@pytest.mark.parametrize(
    ("ends", "length", "said"),
    [([10, 10, 10, 10], "20 nm", "same place"), (ENDS, "20", "no unit"), (ENDS, "long", "no length"),
     (ENDS, "", "Type the length"), ([10, 10, 900, 10], "20 nm", "within the picture"), ([], "20 nm", "Mark both ends"),
     (None, "20 nm", "Mark both ends"), ("abcd", "20 nm", "Mark both ends"), ([1, 2, 3], "20 nm", "four numbers"),
     ([[1], {}, None, 2], "20 nm", "four numbers"), (list(range(9999)), "20 nm", "four numbers"),
     (ENDS, None, "Type the length"), (ENDS, "<b>1</b> nm", "no length")],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_changes_nothing(misread, ends, length, said):
    before = misread.state
    with pytest.raises(InputError, match=said) as error:
        scale_bars.change(before, "mark", ends, length)
    assert (
        str(error.value).count(". ") == 0
        and len(str(error.value)) < 200
        and str(misread.folder) not in str(error.value)
    )
    assert misread.state is before


def test_other_actions_and_no_micrograph_are_refused(misread):
    with pytest.raises(InputError, match="Unknown action"):
        scale_bars.change(misread.state, "paint")
    for act in ("mark", "none", "read"):
        with pytest.raises(InputError, match="Open a micrograph"):
            scale_bars.change(state.State(), act, ENDS, "20 nm")


def test_a_file_with_a_pixel_size_of_its_own_tells_both(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    user.state = scale_bars.mark(user.state, [4, 40, 44, 40], "80 nm")
    assert user.state.picture.micrograph.pixel_size_nm == 2.0
    assert "the file states 500 pm per pixel" in views.viewer_view(user, LIMITS)["notes"][0]


def test_the_download_repeats_each_answer_with_its_bar(misread, queue):
    user = misread
    ask(user, queue, "first")
    user.state = scale_bars.mark(user.state, ENDS, "0,2 µm")
    ask(user, queue, "second")
    user.state = scale_bars.without(user.state)
    ask(user, queue, "third")
    archive = zipfile.ZipFile(exports.pack(user, "micro", None))
    commands = [line for line in archive.read("repeat.sh").decode().splitlines() if "lisa-micro chat" in line]
    assert len(commands) == 3 and "scale-bar" not in commands[0] and "--no-scale-bar" in commands[2]
    assert "--scale-bar '300.0,322.5,400.0,322.5,0,2 µm'" in commands[1]


def test_programs_mark_and_remove_bars(misread, sessions, queue):
    programs = Programs(sessions, queue)
    key = misread.state.current
    made = set_scale_bar(programs, misread, key, "mark", ENDS, "200 nm")
    assert (made["pixel_size_nm"], made["pixel_size_origin"], made["scale_bar"]["text"]) == (2.0, "user", "200 nm")
    assert made["image"] == key and made["text"].startswith("Marked by you")
    gone = set_scale_bar(programs, misread, key, "none", [], "")
    assert gone["pixel_size_nm"] is None and gone["scale_bar"] is None
    with pytest.raises(InputError, match="no unit"):
        set_scale_bar(programs, misread, key, "mark", ENDS, "200")
