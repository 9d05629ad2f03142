"""``--like`` on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from cli_calls import call, failed
from exemplar_model import RidgeAssistant, box, hits, squares_image

import lisa_micro
from lisa_micro.io import read_labels

BRIGHT, DARK = [(16, 16), (64, 24), (120, 40), (32, 96)], [(40, 56), (144, 80)]


def text(x, y) -> str:
    return ",".join(map(str, box(x, y)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, seed in (("film.tif", 0), ("other.tif", 4)):
        tifffile.imwrite(tmp_path / name, squares_image(BRIGHT, DARK, seed=seed).pixels)
    assistant = RidgeAssistant(raw="The particles are [SEG]<where>largest 2</where>.")
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda *_, **__: assistant)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_example_of_one_micrograph_is_saved_and_used_on_another(here, capsys):
    out = ["--preset", "ridge", "--out"]
    code = call(
        "segment",
        "film.tif",
        "--like",
        text(*BRIGHT[0]),
        "--unlike",
        text(*DARK[0]),
        "--save-like",
        "e.json",
        *out,
        "a",
    )
    assert code == 0
    assert "Found 4 objects like the example." in capsys.readouterr().out
    assert hits(read_labels("a/labels.tif").pixels, BRIGHT) == 4
    record = json.loads((here / "a" / "answer.json").read_text())
    assert record["like_px"] == [box(*BRIGHT[0])] and record["unlike_px"] == [box(*DARK[0])]
    assert "score" in (here / "a" / "instances.csv").read_text().splitlines()[0]
    assert call("segment", "other.tif", "the two largest", "--like", "e.json", "--json", *out, "b") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["reply"] == "Found 2 objects like the example (largest 2)."
    assert printed["exemplar"]["source"] == "film.tif" and printed["exemplar"]["like"] == 1


def test_a_video_is_tracked_by_the_example(here, capsys):
    assert (
        call(
            "segment",
            "film.tif",
            "--preset",
            "ridge",
            "--like",
            text(*BRIGHT[0]),
            "--save-like",
            "e.json",
            "--out",
            "a",
        )
        == 0
    )
    frames = [squares_image([(x + k, y) for x, y in BRIGHT], DARK, seed=k).pixels for k in range(5)]
    tifffile.imwrite("v.tif", np.stack(frames), photometric="minisblack")
    quick = ("--no-plots", "--no-movie", "--average", "0")
    assert call("track", "v.tif", "--preset", "ridge", "--like", "e.json", "--out", "t", *quick) == 0
    assert "4 tracks in 5 frames" in capsys.readouterr().out


def test_wrong_examples_are_told_in_one_line(here, capsys):
    start = ("segment", "film.tif", "--preset", "ridge")
    assert "not x0,y0,x1,y1" in failed(capsys, *start, "--like", "1,2,3")
    assert "outside the image" in failed(capsys, *start, "--like", "900,900,950,950")
    assert "has no area" in failed(capsys, *start, "--like", "20,20,20,40")
    assert "both as like and as unlike" in failed(
        capsys, *start, "--like", text(*BRIGHT[0]), "--unlike", text(*BRIGHT[0])
    )
    assert "--unlike needs --like" in failed(capsys, *start, "--unlike", text(*BRIGHT[0]))
    assert "--save-like needs --like" in failed(capsys, *start, "particles", "--save-like", "e.json")
    assert "cannot be combined" in failed(capsys, *start, "--like", text(*BRIGHT[0]), "--box", text(*BRIGHT[0]))
    assert "cannot be read" in failed(capsys, *start, "--like", "missing.json")
    (here / "wrong.json").write_text("{}")
    assert "not an exemplar" in failed(capsys, *start, "--like", "wrong.json")
    assert not (here / "film-lisa" / "answer.json").exists()
