"""Handlers of the page Correct, without a browser: steps, undo, acceptance, training examples, downloads."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from app_requests import run_script
from stand_in_app import SQUARES, StandIn, film, squares

from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.geometry import rle_encode
from lisa_micro.types import InputError
from lisa_micro_app import exports, handlers
from lisa_micro_app.__main__ import main
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state.session import Upload
from lisa_micro_app.views import tables
from lisa_micro_app.views import turns as views
from lisa_micro_app.views.correction import correct_view, corrected_measures

LIMITS, STAND_IN = Limits(display_px=64), StandIn
SHAPE = (48, 64)


def ask(user, queue, tmp_path, words="segment", name="film.tif", seed=0):
    path = user.new_file(".tif")
    path.write_bytes(film(tmp_path / "f.tif", SHAPE, seed).read_bytes())
    user.uploads["key"] = Upload(path, name, "image")
    handlers.open_upload(user, queue, "key", LIMITS)
    list(handlers.ask(user, queue, words, LIMITS))


def act(user, queue, limits=LIMITS, **action):
    return list(correct.act(user, queue, action, limits))


def numbers(user):
    return sorted(set(np.unique(correct.current(user)[2].correction.labels)) - {0})


def test_every_action_changes_picture_and_table_and_can_be_undone(user, queue, tmp_path):
    assert correct_view(user, LIMITS)["image"] is None and corrected_measures(user, LIMITS)["summary"] == []
    ask(user, queue, tmp_path)
    urls = [correct_view(user, LIMITS)["layer"]["url"]]
    act(user, queue, action="merge", instances=[1, 2])
    assert numbers(user) == [1, 3]
    act(user, queue, action="split", line=[[14, 0], [14, 30]])  # the line alone says which
    assert numbers(user) == [1, 3, 4]
    act(user, queue, action="remove", instances=[3])
    act(user, queue, action="add", box=[44, 4, 56, 12])
    view = correct_view(user, LIMITS)
    assert view["steps"] == ["Merged 1 and 2 into 1", "Split 1 into 1 and 4", "Removed 3", "Added 5"]
    assert view["layer"]["count"] == 3 and view["undo"] and not view["redo"] and not view["accepted"]
    table = corrected_measures(user, LIMITS)["table"]
    assert [row["label"] for row in table["rows"]] == [1, 4, 5]
    assert all(row["layer"] == view["layer"]["id"] for row in table["rows"])
    assert set(view["layer"]["boxes"]) == {"1", "4", "5"} and view["layer"]["boxes"]["5"] == [44, 4, 56, 12]
    for way, left in (("undo", [1, 4]), ("undo", [1, 3, 4]), ("redo", [1, 4]), ("reset", [1, 2, 3]), ("redo", [1, 3])):
        correct.step(user, way)
        assert numbers(user) == left
        urls.append(correct_view(user, LIMITS)["layer"]["url"])
    assert len(set(urls)) == 4  # the same labels have one picture, others another
    act(user, queue, action="remove", instances=[3])
    for way, said in (("redo", "nothing to redo"), ("fly", "Unknown step")):
        with pytest.raises(InputError, match=said):
            correct.step(user, way)
    correct.step(user, "reset")
    with pytest.raises(InputError, match="nothing to undo"):
        correct.step(user, "undo")


def test_points_are_outlined_by_the_model_and_kept_in_the_log(user, queue, tmp_path):
    ask(user, queue, tmp_path)
    act(user, queue, action="remove", instances=[1])
    stages = act(user, queue, action="add", points=[[8, 8], [40, 40]], point_labels=[1, 0])
    assert stages and numbers(user) == [2, 3, 4]
    (added,) = [a for a in correct.current(user)[2].correction.actions if a.action == "add"]
    assert added.points == ((8, 8), (40, 40)) and added.point_labels == (1, 0)


def test_what_cannot_be_done_is_said_and_nothing_changes(user, queue, tmp_path):
    with pytest.raises(InputError, match="Open a micrograph"):
        act(user, queue, action="remove", instances=[1])
    ask(user, queue, tmp_path, "none")
    with pytest.raises(InputError, match="nothing to correct"):
        correct.accept(user)
    list(handlers.ask(user, queue, "segment", LIMITS))
    cases = [
        ({"action": "remove", "instances": [9]}, "no instance 9"),
        ({"action": "remove", "instances": ["<b>"]}, "no action"),
        ({"action": "explode"}, "no action"),
        ({}, "no action"),
        ({"action": "add"}, "Draw a box"),
        ({"action": "add", "box": [1, 1, 1, 1]}, "no area"),
        ({"action": "add", "box": "x"}, "could not be read"),
        ({"action": "add", "points": [[900, 1]]}, "outside"),
        ({"action": "add", "points": [[9, 9]], "point_labels": [0]}, "No point is on"),
        ({"action": "add", "points": [[9, 9]] * 33}, "too many"),
        ({"action": "add", "points": [[8, 8]]}, "belong to other"),
        ({"action": "split", "line": [[0, 47], [63, 47]]}, "crosses no instance"),
        ({"action": "split", "line": "x"}, "two points"),
        ({"action": "split", "instance": 3}, "does not show where"),
    ]
    for action, said in cases:
        with pytest.raises(InputError, match=said):
            act(user, queue, **action)
    for wanted in (None, 5, [1], "remove"):
        with pytest.raises(InputError, match="no action"):
            list(correct.act(user, queue, wanted, LIMITS))
    assert numbers(user) == [1, 2, 3]
    act(user, queue, action="remove", instances=[1])
    with pytest.raises(InputError, match="limit of 1 steps"):
        act(user, queue, replace(LIMITS, corrections=1), action="remove", instances=[2])
    assert numbers(user) == [2, 3]


def test_layers_are_corrected_apart_and_follow_the_answer_that_is_shown(user, queue, tmp_path):
    ask(user, queue, tmp_path, "both")
    view = correct_view(user, LIMITS)
    assert [(layer["phrase"], layer["current"]) for layer in view["layers"]] == [("particles", True), ("necks", False)]
    correct.choose_layer(user, 1)
    act(user, queue, action="remove", instances=[1])
    assert numbers(user) == []
    correct.choose_layer(user, 0)
    assert numbers(user) == [1, 2, 3]
    for wrong in (7, None, "0", -1):
        with pytest.raises(InputError, match="no such layer"):
            correct.choose_layer(user, wrong)
    list(handlers.ask(user, queue, "segment", LIMITS))
    assert correct_view(user, LIMITS)["steps"] == [] and len(correct.edits_of(user)) == 2 + 1
    handlers.undo(user)
    handlers.undo(user)
    assert correct.edits_of(user) == {}


def test_what_is_accepted_becomes_the_answer_everywhere(user, queue, tmp_path):
    ask(user, queue, tmp_path)
    old = views.viewer_view(user, LIMITS)["layers"][0]["url"]
    act(user, queue, action="remove", instances=[2])
    assert views.viewer_view(user, LIMITS)["layers"][0]["url"] == old
    assert correct.accept(user) == "Accepted: 1 removed."
    assert correct_view(user, LIMITS)["accepted"]
    layer = views.viewer_view(user, LIMITS)["layers"][0]
    assert layer["count"] == 2 and layer["url"] != old
    assert "Corrected by hand: 1 removed." in views.chat_view(user)["turns"][0]["notes"]
    turn = user.state.turn
    assert np.array_equal(turn.answer.segments[0].labels, squares(SHAPE, (SQUARES[0], SQUARES[2])))
    assert tables.values_of(turn.answer.segments[0], "area").tolist() == [25.0, 28.0]
    correct.step(user, "undo")  # still possible: back to what the model outlined
    assert not correct_view(user, LIMITS)["accepted"]
    assert correct.accept(user) == "Accepted without changes."
    assert np.array_equal(user.state.turn.answer.segments[0].labels, squares(SHAPE))
    assert user.state.turn.answer.segments[0].notes == ()
    list(handlers.ask(user, queue, "next", LIMITS))
    assert user.state.turn.answer.text.endswith(", 1.")


def test_accepted_answers_become_a_training_example(user, queue, tmp_path):
    folder = tmp_path / "teach"
    with pytest.raises(InputError, match="Open a micrograph"):
        correct.teach(user, folder, LIMITS)
    ask(user, queue, tmp_path, name="../<b>my film</b>.tif")
    with pytest.raises(InputError, match="Accept the segmentation first"):
        correct.teach(user, folder, LIMITS)
    act(user, queue, action="remove", instances=[2])
    correct.accept(user)
    list(handlers.ask(user, queue, "not looked at", LIMITS))
    said = correct.teach(user, folder, LIMITS)
    assert said == "Saved b-1 with 1 request in the training folder “teach”: 1 example in total."
    (example,) = read_record_folder(folder)
    assert example.labels.max() == 2 and example.micrograph.pixel_size_nm == pytest.approx(0.5)
    assert [turn.user for turn in example.turns] == ["segment"]
    correct.accept(user)
    assert "replacing the earlier version: 1 example in total" in correct.teach(user, folder, LIMITS)
    (example,) = read_record_folder(folder)
    assert [turn.user for turn in example.turns] == ["segment", "not looked at"]
    ask(user, queue, tmp_path, "two", name="other.tif", seed=3)
    correct.accept(user)
    with pytest.raises(InputError, match="limit of 1 examples"):
        correct.teach(user, folder, replace(LIMITS, examples=1))
    assert "other-1" in correct.teach(user, folder, LIMITS)
    assert len(read_record_folder(folder)) == 2


def test_without_a_folder_of_the_operator_the_examples_are_a_download(user, queue, tmp_path):
    with pytest.raises(InputError, match="no examples yet"):
        correct.examples_zip(user)
    ask(user, queue, tmp_path)
    correct.accept(user)
    assert "your examples: 1 example in total" in correct.teach(user, None, LIMITS)
    handlers.clear(user)  # examples are collected over several conversations
    ask(user, queue, tmp_path, seed=1)
    correct.accept(user)
    assert "2 examples in total" in correct.teach(user, None, LIMITS)
    archive = zipfile.ZipFile(correct.examples_zip(user))
    archive.extractall(tmp_path / "unpacked")
    assert [example.name for example in read_record_folder(tmp_path / "unpacked")] == ["film-1", "film-2"]


def test_the_download_repeats_the_correction(user, queue, tmp_path):
    ask(user, queue, tmp_path, name="my film's.tif")
    act(user, queue, action="merge", instances=[1, 2])
    act(user, queue, action="add", mask=rle_encode(squares(SHAPE, ((44, 4, 56, 12),)) > 0))
    archive = zipfile.ZipFile(correct.pack_correction(user))
    done = run_script(archive, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    again = tmp_path / "run" / "again"
    for name in ("labels.tif", "mask.png", "instances.csv", "overlay.png"):
        assert (again / name).read_bytes() == archive.read(f"corrected/{name}"), name
    with tifffile.TiffFile(io.BytesIO(archive.read("labels_before.tif"))) as before:
        assert np.array_equal(before.asarray(), squares(SHAPE))
    log = json.loads(archive.read("corrections.json"))
    assert [action["action"] for action in log["actions"]] == ["merge", "add"] and log["image"] == "my film's.tif"


def test_the_download_of_a_conversation_has_its_corrections(user, queue, tmp_path):
    ask(user, queue, tmp_path)
    act(user, queue, action="remove", instances=[2])
    correct.accept(user)
    archive = zipfile.ZipFile(exports.pack(user, "micro", None))
    assert {"film/1/labels_before.tif", "film/1/corrections.json", "film/1/labels.tif"} <= set(archive.namelist())
    last = archive.read("repeat.sh").decode().strip().splitlines()[-1]
    assert last == (
        "lisa-micro correct input/film.tif film/1/labels_before.tif film/1/corrections.json "
        "--out again/film/1/corrected --force"
    )


def test_a_folder_for_examples_must_be_one(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["--teach", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
