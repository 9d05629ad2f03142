"""Handlers of the page Chat, without a browser: a stand-in for the model segments squares."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from stand_in_app import StandIn, film, squares

from lisa_micro.types import InputError
from lisa_micro_app import archives, exports, handlers
from lisa_micro_app.__main__ import main
from lisa_micro_app.jobs import Cancelled, JobQueue
from lisa_micro_app.limits import SAMPLES, Limits
from lisa_micro_app.serve import AppSettings, parse_users
from lisa_micro_app.state import comparison as comparing
from lisa_micro_app.state import conversation as state
from lisa_micro_app.state import session
from lisa_micro_app.state.session import Sessions, Upload
from lisa_micro_app.views import comparison as comparison_views
from lisa_micro_app.views import conversation as views
from lisa_micro_app.views import tables
from lisa_micro_app.views.charts import bin_edges, chart_choices, distribution
from lisa_micro_app.views.masks import display_shape, labels_png, shades

LIMITS, STAND_IN = Limits(display_px=64), StandIn


def send(user, content: bytes, name: str, kind: str = "image") -> str:
    path = user.new_file(handlers.safe_suffix(name))
    path.write_bytes(content)
    user.uploads["key"] = Upload(path, name, kind)
    return "key"


def opened(user, queue, tmp_path, name="film.tif", **settings):
    handlers.open_upload(user, queue, send(user, film(tmp_path / "f.tif", **settings).read_bytes(), name), LIMITS)
    return user.state.picture


def ask(user, queue, words, limits=LIMITS):
    return list(handlers.ask(user, queue, words, limits))


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


# -------------------------------------------------------------------------------------------------------- queue


def test_the_desk_takes_only_so_many_and_gives_up_what_takes_too_long():
    queue, gate = JobQueue(waiting=2, seconds=0.15), threading.Event()
    first = queue.submit(lambda job: gate.wait(5))
    while first.started is None:
        time.sleep(0.01)
    second, third = queue.submit(lambda job: 2), queue.submit(lambda job: 3)
    assert (second.place, third.place) == (1, 2)
    with pytest.raises(InputError, match="Too many requests"):
        queue.submit(lambda job: 4)
    assert queue.submit(lambda job: 5, background=True).cancelled
    second.cancel()
    gate.set()
    assert third.wait(5) and third.result == 3 and second.result is None

    def long(job):
        while True:
            job.step("working")
            time.sleep(0.02)

    job = queue.submit(long)
    assert job.wait(5) and "took longer" in str(job.error)
    queue.close()


def test_requests_wait_for_the_model_and_are_told_when_it_cannot_be_loaded(capsys):
    def fails():
        raise InputError("no preset called 'x'")

    queue = JobQueue(load=fails)
    job = queue.submit(lambda job: 1)
    assert job.wait(5) and "no preset" in str(job.error) and queue.state == "failed"
    queue.close()
    gate = threading.Event()
    queue = JobQueue(load=lambda: gate.wait(5) and StandIn())
    job = queue.submit(lambda job: queue.assistant.preset)
    assert queue.state == "loading" and not job.wait(0.05)
    gate.set()
    assert job.wait(5) and job.result == "micro" and queue.state == "ready"
    queue.close()
    with pytest.raises(Cancelled):
        job.cancel()
        job.step("x")


# ---------------------------------------------------------------------------------------------------- sessions


def test_sessions_end_with_their_files_and_keep_apart():
    now = [0.0]
    sessions = Sessions(replace(LIMITS, sessions=2), clock=lambda: now[0])
    one, two = sessions.get("one"), sessions.get("two")
    with pytest.raises(InputError, match="Too many sessions"):
        sessions.get("three")
    file = one.new_file(".tif")
    file.write_bytes(b"x")
    url = one.put(b"picture", "image/png")
    assert two.asset(url.rsplit("/", 1)[1]) is None and sessions.by_token(one.token) is one
    sessions.leave("one")
    now[0] = LIMITS.leave_seconds - 1
    assert sessions.sweep() == 0
    sessions.get("one")  # the page came back
    now[0] += LIMITS.leave_seconds + 1
    assert sessions.sweep() == 0
    sessions.leave("one")
    now[0] += LIMITS.leave_seconds + 1
    assert sessions.sweep() == 1
    assert not one.folder.exists() and sessions.by_token(one.token) is None
    now[0] += LIMITS.idle_seconds + 1
    assert sessions.sweep() == 1
    root = sessions.root
    sessions.close()
    assert not root.exists()


def test_folders_of_killed_apps_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(session.tempfile, "gettempdir", lambda: str(tmp_path))
    gone, other = tmp_path / "lisa-micro-app-999999999-x", tmp_path / "lisa-micro-app-mine"
    gone.mkdir()
    other.mkdir()
    session.remove_leftovers()
    assert not gone.exists() and other.exists()


def test_old_assets_go_when_there_are_many(user):
    first = user.put(b"0", "image/png", key="first")
    for k in range(200):
        user.put(str(k).encode(), "image/png")
    assert user.asset(first.rsplit("/", 1)[1]) is None


def test_clear_leaves_nothing(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    handlers.clear(user)
    assert user.state.pictures == () and user.state.turns == () and list(user.folder.iterdir()) == []
    assert user.conversation is None


# ------------------------------------------------------------------------------------------------ measurements


def test_labels_reach_the_browser_exactly():
    labels = np.zeros((5, 7), np.int32)
    labels[0, :3] = (1, 300, 70000)
    rgb = np.asarray(Image.open(io.BytesIO(labels_png(labels, 64)))).astype(int)
    assert np.array_equal(rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2], labels)
    assert display_shape((100, 50), 64) == (64, 32) and display_shape((10, 20), 64) == (10, 20)
    touching = shades(squares((48, 64)))
    assert touching[0] != touching[1] and max(touching) < 4


def test_summary_and_distribution_are_those_of_the_values(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "both")
    turn = user.state.turn
    values = tables.values_of(turn.answer.segments[0], "area")
    assert values.tolist() == [25.0, 25.0, 28.0]
    lines = dict(tables.summary(turn.answer.segments[0]))
    assert lines["number"] == "3" and lines["area fraction"] == f"{100 * 312 / (48 * 64):.1f} %"
    assert chart_choices(turn)[0] == ("diameter", "diameter") and ("neck width", "neck_width") in chart_choices(turn)
    figure = distribution(turn, "area")
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [sum(bar.y) for bar in bars] == [3, 1]
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    assert lines[0].y[-1] == 100 and list(lines[0].x[1:]) == [25.0, 25.0, 28.0]
    assert "nm²" in figure.layout.xaxis.title.text
    assert len(distribution(None, None).data) == 0 and len(bin_edges(np.array([2.0]))) == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (0.123456, "0.1235"),
        (12.3456, "12.35"),
        (float("inf"), "–"),
        (True, "yes"),
        (0, "0"),
        (1e-9, "0.000000"),
    ],
)
def test_numbers_of_a_table(value, text):
    assert tables.number(value) == text


def test_a_long_table_is_cut_and_says_so(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    view = views.measure_view(user, replace(LIMITS, table_rows=2))["table"]
    assert len(view["rows"]) == 2 and view["note"].startswith("1 more")


def test_colours_are_kept_and_checked(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "both")
    user.state = state.recoloured(user.state, 1, 1, state.checked_colour("#a1B2c3"))
    assert views.viewer_view(user, LIMITS)["layers"][1]["colour"] == "#a1B2c3"
    assert state.recoloured(user.state, 1, 7, "#000000").turns == user.state.turns
    for wrong in ("red", "#12345", None, "#000000;x"):
        with pytest.raises(InputError):
            state.checked_colour(wrong)


def test_what_a_user_wrote_goes_out_as_plain_text(user, queue, tmp_path):
    opened(user, queue, tmp_path, "<script>alert(1)</script>.tif")
    ask(user, queue, "<b>particles</b> ${value} {{value}}")
    turn = views.chat_view(user)["turns"][0]
    assert turn["prompt"] == "<b>particles</b> ${value} {{value}}"
    assert json.loads(json.dumps(views.viewer_view(user, LIMITS)))["name"] == "script>.tif"


# -------------------------------------------------------------------------------------- comparison and exports


def test_boxes_from_the_page_are_checked():
    shape = (48, 64)
    assert comparing.clean_boxes("[[10, 12, 4, 2], [1, 1, 1.2, 9], [60, 40, 90, 90]]", shape, 9) == [
        [4, 2, 10, 12],
        [60, 40, 64, 48],
    ]
    assert comparing.clean_boxes("", shape, 9) == [] and comparing.clean_boxes("[]", shape, 9) == []
    for wrong in ("{", "[[1,2,3]]", '[["a",1,2,3]]', "[[NaN,1,2,3]]", "[" * 5000, "null"):
        with pytest.raises(InputError, match="could not be read"):
            comparing.clean_boxes(wrong, shape, 9)
    with pytest.raises(InputError, match="too many"):
        comparing.clean_boxes([[1, 1, 5, 5]] * 10, shape, 9)


def compared(user, queue, words="segment all particles", boxes="[[4, 4, 14, 14], [30, 20, 38, 34]]"):
    return list(comparing.compare(user, queue, words, boxes, LIMITS))


def test_an_object_has_one_number_in_all_pictures():
    reference = np.array([[1, 1, 0, 2, 2, 0, 3]])
    labels = np.array([[0, 4, 0, 1, 7, 9, 0]])  # 1 and 7 lie on the same object, 9 on none
    assert comparison_views.numbered_as(labels, reference).tolist() == [[0, 1, 0, 2, 6, 7, 0]]
    assert comparison_views.numbered_as(reference, reference).tolist() == reference.tolist()
    nothing = np.zeros_like(labels)
    assert comparison_views.numbered_as(nothing, reference).tolist() == nothing.tolist()
    assert len(np.unique(comparison_views.numbered_as(labels, nothing))) == 5


def test_words_and_boxes_are_compared(user, queue, tmp_path):
    with pytest.raises(InputError, match="Open a micrograph"):
        compared(user, queue)
    opened(user, queue, tmp_path)
    with pytest.raises(InputError, match="at least one box"):
        compared(user, queue, boxes="[]")
    compared(user, queue)
    view = comparison_views.comparison_view(user)
    assert view["ready"] and view["against"] == "boxes"
    assert [p["name"] for p in view["pictures"]] == ["words", "boxes", "detected boxes"]
    assert view["difference"]["one"] == "words" and view["difference"]["other"] == "boxes"
    row = view["scores"]["rows"][0]
    assert row[view["scores"]["columns"].index("IoU")] == tables.number(212 / 312)
    assert comparison_views.comparison_view(user)["pictures"] == view["pictures"]
    assert comparison_views.comparison_view(user, handlers.Pending("x", "f", place=1))["pending"]["stage"].startswith(
        "In the queue"
    )


def test_true_labels_can_be_given_and_must_fit(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, squares((48, 64)).astype(np.uint8))
    said = comparing.read_truth(user, send(user, buffer.getvalue(), "t.tif", "truth"))
    assert said == "t.tif: 3 true objects."
    compared(user, queue, boxes="[]")
    assert comparison_views.comparison_view(user)["against"] == "truth"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ones((5, 5), np.uint8))
    for content, wrong in ((buffer.getvalue(), "same size"), (b"nothing", "not an image|cannot be read|t.tif")):
        with pytest.raises(InputError, match=wrong) as error:
            comparing.read_truth(user, send(user, content, "t.tif", "truth"))
        assert str(user.folder) not in str(error.value)
    archive = zipfile.ZipFile(exports.pack_comparison(user, user.comparison.compared, "micro"))
    assert {"truth.tif", "input/film.tif", "comparison/report.html"} <= set(archive.namelist())
    command = archive.read("repeat.sh").decode().splitlines()[-1]
    assert command == (
        "lisa-micro compare input/film.tif 'segment all particles' --truth truth.tif --out again --force"
    )


def test_the_download_holds_what_the_command_line_writes_and_the_command(user, queue, tmp_path):
    with pytest.raises(InputError, match="Nothing to download"):
        exports.pack(user, "micro", None)
    opened(user, queue, tmp_path, "../my film's.tif")
    ask(user, queue, "the grain's necks")
    ask(user, queue, "both")
    user.state = handlers.set_pixel_size(user.state, "0.25")
    ask(user, queue, "x")
    archive = zipfile.ZipFile(exports.pack(user, "micro", "12" * 32, "cpu"))
    names = archive.namelist()
    files = {"overlay.png", "mask.png", "labels.tif", "instances.csv", "coco.json", "answer.json"}
    for folder, extra in (
        ("my_film_s/1", set()),
        ("my_film_s/2", {"mask_2.png", "labels_2.tif"}),
        ("my_film_s_2/1", set()),
    ):
        assert {n.rsplit("/", 1)[1] for n in names if n.startswith(folder + "/")} == files | extra
    assert not any(".." in n or n.startswith("/") for n in names)
    record = json.loads(archive.read("my_film_s/1/answer.json"))
    assert record["image"]["source"] == "my film's.tif" and record["weights_sha256"] == "12" * 32
    script = archive.read("repeat.sh").decode()
    assert (
        "printf '%s\\n' 'the grain'\"'\"'s necks' both | lisa-micro chat input/my_film_s.tif "
        "--out again/my_film_s --force" in script
    )
    assert "--out again/my_film_s_2 --pixel-size 0.25 --force" in script
    assert archive.read("input/my_film_s.tif") == (tmp_path / "f.tif").read_bytes()


def test_large_micrographs_are_repeated_as_they_were_seen():
    turn = SimpleNamespace(
        micrograph=SimpleNamespace(shape=(3000, 100)), answer=SimpleNamespace(prompt="necks"), given_nm=None
    )
    command = exports.chat_command([turn], "a.tif", "again/a", "folder x")
    assert command == "lisa-micro segment a.tif necks --out again/a/1 --preset 'folder x' --force"


# --------------------------------------------------------------------------------------------- starting the app


def test_options(capsys):
    assert parse_users([]) is None
    assert parse_users(["a:b:c"], "d:e") == [("a", "b:c"), ("d", "e")]
    for wrong in ("a", "a:", ":b"):
        with pytest.raises(InputError, match="USER:PASSWORD"):
            parse_users([wrong])
    assert main(["--auth", "x"]) == 2 and main(["--upload-mib", "0"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_the_command_line_serves_the_app_in_its_own_process(monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr("lisa_micro_app.serve.serve", served.append)
    monkeypatch.setenv("LISA_MICRO_APP_AUTH", "c:d")
    options = ["--port", "9000", "--share", "--auth", "a:b", "--preset", "x", "--device", "cpu", "--upload-mib", "7"]
    assert main([*options, "--teach", str(tmp_path)]) == 0
    assert served == [
        AppSettings(
            port=9000, preset="x", device="cpu", share=True, auth=[("a", "b"), ("c", "d")], upload_mib=7, teach=tmp_path
        )
    ]


def test_samples_are_where_the_app_looks():
    assert SAMPLES.is_dir()
