"""Handlers of the page Chat, without a browser: a stand-in for the model segments squares."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace

import pytest
import torch
from app_requests import LIMITS, ask, opened, send
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from stand_in_app import StandIn, film

from lisa_micro.assistant.prompted import WordlessAssistant
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.types import InputError
from lisa_micro_app import archives, handlers
from lisa_micro_app.state import conversation as state
from lisa_micro_app.views import turns as views

STAND_IN = StandIn

# ------------------------------------------------------------------------------------------------- micrographs


def test_a_16_bit_tiff_is_opened_with_its_pixel_size_and_where_that_came_from(user, queue, tmp_path):
    picture = opened(user, queue, tmp_path)
    assert picture.micrograph.pixel_size_nm == pytest.approx(0.5)
    assert views.pixel_size_words(user.state).startswith("From the file (ImageJ)")
    view = views.viewer_view(user, LIMITS)
    assert view["image"]["width"] == 64 and view["image"]["nm"] == pytest.approx(0.5)
    assert view["facts"] == "64 × 48 px · 32 nm × 24 nm"
    assert view["layers"] == [] and view["pictures"][0]["current"]
    name = view["image"]["url"].rsplit("/", 1)[1]
    assert Image.open(io.BytesIO(user.asset(name).content)).size == (64, 48)


@pytest.mark.parametrize(
    ("name", "shown", "suffix"),
    [
        ("../../etc/passwd.tif", "passwd.tif", ".tif"),
        ("..\\..\\boot.TIF", "boot.TIF", ".tif"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png", ".png"),
        ("a\x00\nb.dm4", "ab.dm4", ".dm4"),
        ("", "micrograph", ""),
        ("x.t/../../y", "y", ""),
        ("x" * 500, "x" * 120, ""),
    ],
)
def test_names_of_files_are_shown_but_never_become_paths(name, shown, suffix):
    assert handlers.shown_name(name) == shown
    assert handlers.safe_suffix(name) == suffix


@given(st.text())
def test_any_name_gives_a_harmless_archive_name(name):
    plain = archives.plain_name(name)
    assert plain and not plain.startswith((".", "-")) and plain.isascii()
    assert not set(plain) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@pytest.mark.parametrize("content", [b"", b"II*\x00 broken", b"\x89PNG nothing", b"some text", b"\x00" * 4000])
def test_what_is_no_micrograph_is_refused_by_name_and_removed(user, queue, content):
    key = send(user, content, "../<b>bad</b>.tif")
    with pytest.raises(InputError) as error:
        handlers.open_upload(user, queue, key, LIMITS)
    assert str(user.folder) not in str(error.value) and user.folder.name not in str(error.value)
    assert user.state.pictures == () and list(user.folder.iterdir()) == []


def test_a_file_is_opened_once_and_only_for_what_it_was_sent(user, queue, tmp_path):
    key = send(user, film(tmp_path / "f.tif").read_bytes(), "f.tif", "truth")
    with pytest.raises(InputError, match="did not arrive"):
        handlers.open_upload(user, queue, key, LIMITS)
    for forged in ("../../etc/passwd", None, 7, ["x"], "key"):
        with pytest.raises(InputError, match="did not arrive"):
            handlers.open_upload(user, queue, forged, LIMITS)


def test_there_are_limits_on_micrographs(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    with pytest.raises(InputError, match="limit of 1 micrographs"):
        handlers.check_room(user.state, (10, 10), replace(LIMITS, images=1))
    with pytest.raises(InputError, match="million px"):
        handlers.check_room(user.state, (1000, 1000), replace(LIMITS, megapixels=1))


def test_samples_are_opened_once_and_only_by_their_names(user, queue):
    assert len(handlers.sample_names()) == 4
    handlers.open_sample(user, queue, "sintering_tem", LIMITS)
    handlers.open_sample(user, queue, "sintering_sem", LIMITS)
    handlers.open_sample(user, queue, "sintering_tem", LIMITS)
    assert [p.key for p in user.state.pictures] == ["sample-sintering_tem", "sample-sintering_sem"]
    assert user.state.current == "sample-sintering_tem"
    for name in ("../MODEL_CARD", "/etc/passwd", None, ["sintering_tem"]):
        with pytest.raises(InputError, match="no sample"):
            handlers.open_sample(user, queue, name, LIMITS)


def test_the_pixel_size_can_be_typed_and_taken_back(user, queue, tmp_path):
    picture = opened(user, queue, tmp_path)
    typed = handlers.set_pixel_size(user.state, " 0,25 nm ")
    assert typed.picture.micrograph.pixel_size_nm == 0.25 and typed.picture.given_nm == 0.25
    assert views.pixel_size_words(typed).startswith("Typed by you")
    back = handlers.set_pixel_size(typed, "")
    assert back.picture.micrograph.pixel_size_nm == picture.micrograph.pixel_size_nm
    assert handlers.set_pixel_size(user.state, "0.5") is user.state
    for wrong in ("0", "-1", "nan", "many", "1e999"):
        with pytest.raises(InputError, match="positive number"):
            handlers.set_pixel_size(user.state, wrong)
    with pytest.raises(InputError, match="Open a micrograph"):
        handlers.set_pixel_size(state.State(), "1")


# ------------------------------------------------------------------------------------------------------ asking


def test_an_answer_brings_coloured_words_layers_and_a_table(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    assert ask(user, queue, "  both ")[0].words == "both"
    chat = views.chat_view(user)["turns"][0]
    assert [part["layer"] for part in chat["parts"]] == [None, 0, None, 1, None]
    assert "".join(part["text"] for part in chat["parts"]) == "Here are the particles and the necks."
    view = views.viewer_view(user, LIMITS)
    assert [layer["colour"] for layer in view["layers"]] == [chip["colour"] for chip in chat["chips"]]
    assert [layer["count"] for layer in view["layers"]] == [3, 1]
    table = views.measure_view(user, LIMITS)["table"]
    assert table["columns"][:4] == ["#", "of", "diameter (nm)", "area (nm²)"]
    assert len(table["rows"]) == 4 and {row["layer"] for row in table["rows"]} == {v["id"] for v in view["layers"]}
    first = table["rows"][0]
    assert first["sort"][3] == pytest.approx(100 * 0.25) and first["text"][3] == "25"
    assert view["layers"][0]["lines"]["1"][1] == ["area", "25 nm²"]


def test_nothing_there_is_said_and_no_mask_is_shown(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "none")
    view = views.viewer_view(user, LIMITS)
    assert view["layers"] == [] and view["nothing"] == "There are no pores in this micrograph."
    assert views.chat_view(user)["turns"][0]["nothing"]
    assert views.measure_view(user, LIMITS)["summary"] == []


def test_follow_ups_go_on_with_the_conversation_and_undo_goes_back(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "first")
    kept = user.conversation
    ask(user, queue, "second")
    assert user.conversation is kept and user.state.turns[-1].answer.text.endswith(", 1.")
    assert handlers.undo(user) == "second"
    assert user.state.shown == 1
    ask(user, queue, "third")
    assert user.conversation is not kept  # it had heard "second"
    assert user.state.turns[-1].answer.text.endswith(", 1.")
    assert [turn.number for turn in user.state.turns] == [1, 3]


def test_every_micrograph_of_a_conversation_has_its_own_past(user, queue, tmp_path):
    opened(user, queue, tmp_path, "a.tif")
    first = user.state.current
    ask(user, queue, "x")
    opened(user, queue, tmp_path, "b.tif", seed=1)
    assert user.state.shown is None
    ask(user, queue, "y")
    assert user.state.turns[-1].answer.text == "Here are the particles of b.tif, 0."
    user.state = state.choose_picture(user.state, first)
    assert user.state.shown == 1
    ask(user, queue, "z")
    assert user.state.turns[-1].answer.text == "Here are the particles of a.tif, 1."
    user.state = state.choose_turn(user.state, 2)
    assert user.state.picture.name == "b.tif" and views.chat_view(user)["several"]
    with pytest.raises(InputError):
        state.choose_turn(user.state, 9)
    with pytest.raises(InputError):
        state.choose_picture(user.state, "sample-x")


def test_what_cannot_be_answered_leaves_the_conversation_as_it_was(user, queue, tmp_path, capsys):
    with pytest.raises(InputError, match="Open a micrograph"):
        ask(user, queue, "x")
    opened(user, queue, tmp_path)
    with pytest.raises(InputError, match="empty"):
        ask(user, queue, " \n ")
    for words, said in (("refuse", "cannot be answered"), ("break", "Internal error")):
        with pytest.raises(InputError, match=said):
            ask(user, queue, words)
    assert user.state.turns == ()
    ask(user, queue, "x")
    assert len(user.state.turns) == 1
    capsys.readouterr()


class BoxesOnly(PromptedSegmenter):
    """A segmenter without a language model."""

    def __init__(self):
        super().__init__("boxes-only", torch.nn.Identity(), torch.device("cpu"), "00")

    def extract(self, pixels):
        return None, pixels.shape[-2:]


def test_a_model_without_words_refuses_them_in_one_sentence(user, queue, tmp_path):
    queue.assistant = WordlessAssistant(BoxesOnly())
    assert not queue.assistant.capabilities.words
    opened(user, queue, tmp_path)
    with pytest.raises(InputError, match="'boxes-only' takes no words; give boxes or points") as error:
        ask(user, queue, "segment the necks")
    assert "\n" not in str(error.value) and user.state.turns == () and user.conversation is None


def test_a_request_can_be_stopped_and_another_one_asked(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    steps = handlers.ask(user, queue, "slow", LIMITS)
    next(steps)
    with pytest.raises(InputError, match="still being answered"):
        ask(user, queue, "x")
    assert handlers.stop(user)
    assert list(steps) == [] and user.state.turns == ()
    assert not handlers.stop(user)
    ask(user, queue, "x")
    assert user.state.turns[0].answer.text.endswith(", 0.")


def test_undo_takes_back_a_request_on_its_way_and_not_the_answer_before_it(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "first")
    steps = handlers.ask(user, queue, "slow", LIMITS)
    next(steps)
    assert handlers.undo(user) == "slow"
    assert list(steps) == [] and [turn.answer.prompt for turn in user.state.turns] == ["first"]


def test_a_page_that_is_gone_calls_its_request_off(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    steps = handlers.ask(user, queue, "slow", LIMITS)
    next(steps)
    steps.close()
    assert user.job.cancelled


def test_the_place_in_the_queue_is_told(sessions, queue, tmp_path):
    one, two = sessions.get("one"), sessions.get("two")
    opened(one, queue, tmp_path)
    opened(two, queue, tmp_path)
    first = handlers.ask(one, queue, "slow", LIMITS)
    next(first)
    time.sleep(0.1)
    places = [pending.place for pending in handlers.ask(two, queue, "x", LIMITS)]
    assert places[0] == 1 and two.state.turns
    pending = handlers.Pending("x", "film.tif", place=2)
    assert "2 requests ahead" in views.chat_view(two, pending)["pending"]["stage"]
    list(first)
    assert one.state.turns


def test_four_users_at_once_get_their_own_answers(sessions, queue, tmp_path):
    queue.waiting = 8
    wrong = []

    def work(k):
        user = sessions.get(f"user {k}")
        path = film(tmp_path / f"{k}.tif", (40 + k, 60), seed=k)
        handlers.open_upload(user, queue, send(user, path.read_bytes(), f"{k}.tif"), LIMITS)
        for n in range(20):
            ask(user, queue, f"request {n} of {k}")
            answer = user.state.turns[-1].answer
            if answer.text != f"Here are the particles of {k}.tif, {n}." or answer.prompt != f"request {n} of {k}":
                wrong.append(answer)
            if answer.segments[0].labels.shape != (40 + k, 60):
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(len(sessions.get(f"user {k}").state.turns) == 20 for k in range(4))
