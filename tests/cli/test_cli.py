"""The command line: exit codes, one line an error, results kept, and what the assistant is asked. The
assistant here is a stand-in that outlines a square; the real one has its own tests."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from cli_calls import StandIn, call, failed
from PIL import Image

import lisa_micro
from lisa_micro.cli.main import main
from lisa_micro.io import write_labels

# ---------------------------------------------------------------------------------------------------- segment


def test_segment_writes_everything(assistant, image, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("segment", image, "  outline the particle ", "--out", out) == 0
    assert assistant.asked == ["outline the particle"]
    shown = capsys.readouterr()
    assert "There is 1 particle" in shown.out
    assert "A notice." in shown.err
    names = ["overlay.png", "mask.png", "labels.tif", "instances.csv", "coco.json", "answer.json"]
    for name in names:
        assert f"wrote {out / name}" in shown.out
        assert (out / name).stat().st_size > 0
    record = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    assert record["preset"] == "stand-in"
    assert record["weights_sha256"] == "12" * 32
    assert record["device"] == "cpu"
    assert record["image"]["pixel_size_nm"] == 0.5
    assert record["image"]["pixel_size_origin"] == "imagej"


def test_how_a_model_is_loaded_is_said_on_the_command_line(monkeypatch, image, tmp_path):
    loaded = []
    monkeypatch.setattr(
        lisa_micro, "load_assistant", lambda *a, **b: loaded.append((*a, b)) or StandIn(), raising=False
    )
    how = ("--preset", "xinlai/LISA-7B-v1", "--device", "cpu", "--precision", "4bit", "--projectors", tmp_path)
    assert call("segment", image, "outline the particle", "--out", tmp_path / "out", *how) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("list the particles\n"))
    assert call("chat", image, *how) == 0
    assert loaded == [("xinlai/LISA-7B-v1", {"device": "cpu", "precision": "4bit", "projectors": tmp_path})] * 2


def test_micro_takes_neither_four_bits_nor_projectors(image, tmp_path, capsys):
    command = ("segment", image, "outline the particle", "--out", tmp_path / "out")
    assert "has no precision '4bit'; choose auto" in failed(capsys, *command, "--precision", "4bit")
    assert "smollm2-360m and smollm2-1.7b" in failed(capsys, *command, "--projectors", tmp_path)


def test_results_are_kept_without_force(assistant, image, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("segment", image, "particles", "--out", out) == 0
    before = (out / "answer.json").read_bytes()
    capsys.readouterr()
    assert "--force" in failed(capsys, "segment", image, "necks", "--out", out)
    assert (out / "answer.json").read_bytes() == before
    assert assistant.asked == ["particles"]  # refused before the work, not after
    assert call("segment", image, "necks", "--out", out, "--force", "--pixel-size", "0.25") == 0
    record = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    assert record["prompt"] == "necks"
    assert record["image"]["pixel_size_nm"] == 0.25
    assert record["image"]["pixel_size_origin"] == "user"


def test_a_long_prompt_is_cut_with_a_notice(assistant, image, tmp_path, capsys):
    assert call("segment", image, "x" * 100_000, "--out", tmp_path / "out") == 0
    assert assistant.asked == ["x" * 2000]
    assert "100000 characters; the first 2000 are used" in capsys.readouterr().err
    record = json.loads((tmp_path / "out/answer.json").read_text(encoding="utf-8"))
    assert any("2000" in note for note in record["notes"])


def test_boxes(assistant, image, tmp_path, capsys):
    boxes = ("--box", "20,10,5,2", "--box", "22,1,99,9")  # swapped corners; beyond the border
    assert call("segment", image, *boxes, "--out", tmp_path / "a") == 0
    np.testing.assert_array_equal(assistant.boxes, [[5, 2, 20, 10], [22, 1, 30, 9]])
    assert assistant.asked == []
    assert "2 objects" in capsys.readouterr().out
    assert tifffile.imread(tmp_path / "a/labels.tif").max() == 2
    assert call("segment", image, "particles", *boxes, "--out", tmp_path / "b") == 0
    assert tifffile.imread(tmp_path / "b/labels_2.tif").max() == 2
    record = json.loads((tmp_path / "b/answer.json").read_text(encoding="utf-8"))
    assert record["prompt_boxes_px"][0] == [5, 2, 20, 10]


def test_bad_requests(assistant, image, tmp_path, capsys):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "cut.tif").write_bytes(Path(image).read_bytes()[:300])
    (tmp_path / "file").write_text("x")
    Image.fromarray(np.zeros((1, 16385), np.uint8)).save(tmp_path / "wide.png")
    out = ("--out", tmp_path / "out")
    for arguments, what in [
        ((tmp_path / "none.tif", "x", *out), "does not exist"),
        ((tmp_path / "empty.png", "x", *out), "empty"),
        ((tmp_path / "text.txt", "x", *out), "not an image"),
        ((tmp_path / "cut.tif", "x", *out), "cut short"),
        ((tmp_path / "wide.png", "x", *out), "limit"),
        ((tmp_path, "x", *out), "folder"),
        ((image, "", *out), "prompt is empty"),
        ((image, " \n\t", *out), "prompt is empty"),
        ((image, *out), "prompt is empty"),
        ((image, "x", *out, "--pixel-size", "0"), "positive"),
        ((image, "x", *out, "--pixel-size=-1"), "positive"),
        ((image, "x", *out, "--pixel-size", "nan"), "positive"),
        ((image, "x", *out, "--pixel-size", "wide"), "number"),
        ((image, "x", *out, "--page", "7"), "no page 7"),
        ((image, "x", *out, "--box", "1,2,3"), "four numbers"),
        ((image, "x", *out, "--box", "a,b,c,d"), "four numbers"),
        ((image, "x", *out, "--box", "100,100,200,200"), "no area"),
        ((image, "x", "--out", tmp_path / "file/below"), "cannot be written"),
        ((image, "x", *out, "--bogus"), "bogus"),
        ((image, "x", "y", *out), "unexpected"),
    ]:
        assert what in failed(capsys, "segment", *arguments)
    assert not (tmp_path / "out").exists()
    assert assistant.asked == []


def test_a_defect_is_one_line_too(assistant, image, tmp_path, capsys, monkeypatch):
    def fall(*arguments):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(assistant, "ask", fall)
    assert "RuntimeError: first line second line" in failed(
        capsys, "segment", image, "x", "--out", tmp_path / "out", code=1
    )
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setenv("LISA_MICRO_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(["segment", image, "x", "--out", str(tmp_path / "out")])

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(assistant, "ask", interrupt)
    assert call("segment", image, "x", "--out", tmp_path / "out") == 130


# ------------------------------------------------------------------------------------------------------- chat


def test_chat_reads_lines_and_outlives_a_bad_one(assistant, image, tmp_path, capsys, monkeypatch):
    lines = iter(["segment the particles", "", "only those wider than 5 nm"])

    def read(prompt=""):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    assert call("chat", image, "--out", tmp_path / "out") == 0
    assert assistant.asked == ["segment the particles", "only those wider than 5 nm"]
    assert capsys.readouterr().out.count("There is 1 particle") == 2
    assert json.loads((tmp_path / "out/2/answer.json").read_text(encoding="utf-8"))["turn"] == 2
    assert "--force" in failed(capsys, "chat", image, "--out", tmp_path / "out")


def typed(monkeypatch, *lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_a_plot_is_written_and_named(assistant, image, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert call("segment", image, "plot", "--out", out) == 0
    shown = capsys.readouterr().out
    assert f"plot: {out / 'plot_1.png'} (numbers in plot_1.csv)" in shown
    assert Image.open(out / "plot_1.png").width > 400
    table = pd.read_csv(out / "plot_1.csv")
    assert table.to_dict("records") == [{"target": 1, "series": "the particle", "diameter_nm": 2.76}]
    record = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    assert record["plots"][0]["series"][0]["D50"] == 2.76
    typed(monkeypatch, "plot")
    assert call("chat", image, "--out", tmp_path / "talk") == 0
    assert f"plot: {tmp_path / 'talk' / '1' / 'plot_1.png'}" in capsys.readouterr().out
    # the plots of an earlier answer do not stay beside a later one
    assert call("segment", image, "particles", "--out", out, "--force") == 0
    assert not list(out.glob("plot_*"))


@pytest.mark.parametrize("line", ["?", "/other", " /Other "])
def test_the_other_reading_of_a_request_replaces_its_answer(assistant, image, tmp_path, capsys, monkeypatch, line):
    out = tmp_path / "out"
    typed(monkeypatch, "unsure", line, "particles")
    assert call("chat", image, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "Did you mean: the necks? If so, type ? for that reading." in shown
    assert "Here are the necks." in shown
    assert sorted(folder.name for folder in out.iterdir()) == ["1", "2"]
    assert json.loads((out / "1/answer.json").read_text(encoding="utf-8"))["raw"] == "b"
    assert assistant.asked == ["unsure", "particles"]


def test_there_may_be_no_other_reading(assistant, image, capsys, monkeypatch):
    typed(monkeypatch, "?", "particles", "?")
    assert call("chat", image) == 0
    error = capsys.readouterr().err
    assert "There is no request yet" in error and "There is no other reading of the last request" in error
    assert assistant.asked == ["particles"]


def test_an_unsure_answer_of_segment_is_told_and_recorded(assistant, image, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("segment", image, "unsure", "--out", out) == 0
    assert "Did you mean: the necks?" in capsys.readouterr().out
    record = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    assert record["confidence"] == 0.4 and record["alternative"] == {"raw": "b", "text": "the necks"}


# ------------------------------------------------------------------------------------------ measure, simulate


def test_measure(image, tmp_path, capsys):
    labels = np.zeros((20, 30), np.int32)
    labels[2:10, 2:10], labels[2:10, 10:18], labels[14:19, 20:29] = 1, 2, 3
    write_labels(tmp_path / "labels.tif", labels, 0.5)
    out = tmp_path / "out"
    assert call("measure", tmp_path / "labels.tif", "--image", image, "--out", out) == 0
    table = pd.read_csv(out / "instances.csv")
    assert list(table["label"]) == [1, 2, 3]
    assert table["area_nm2"][0] == 16.0
    assert table["mean_intensity"].notna().all()
    assert len(pd.read_csv(out / "necks.csv")) == 1
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["count"], summary["necks"], summary["pixel_size_nm"]) == (3, 1, 0.5)
    assert Image.open(out / "histogram.png").width > 300
    capsys.readouterr()
    assert "--force" in failed(capsys, "measure", tmp_path / "labels.tif", "--out", out)
    assert call("measure", tmp_path / "labels.tif", "--out", out, "--force", "--pixel-size", "2") == 0
    assert pd.read_csv(out / "instances.csv")["area_nm2"][0] == 256.0
    capsys.readouterr()

    tifffile.imwrite(tmp_path / "other.tif", np.zeros((5, 5), np.uint8))
    other = tmp_path / "other.tif"
    assert "must have the same size" in failed(
        capsys, "measure", tmp_path / "labels.tif", "--image", other, "--out", tmp_path / "o2"
    )
    assert "does not exist" in failed(capsys, "measure", tmp_path / "none.tif", "--out", tmp_path / "o2")
    assert "positive" in failed(capsys, "measure", other, "--out", tmp_path / "o2", "--pixel-size", "0")
    assert call("measure", other, "--out", tmp_path / "o3") == 0  # nothing to measure is no error


def test_simulate(tmp_path, capsys):
    out = tmp_path / "out"
    assert call("simulate", "--out", out, "--size", "96", "--seed", "5", "--particles", "4") == 0
    image = tifffile.imread(out / "image.tif")
    assert image.shape == (96, 96)
    assert lisa_micro.read_micrograph(out / "image.tif").pixel_size_nm == pytest.approx(0.2)
    capsys.readouterr()
    assert "--force" in failed(capsys, "simulate", "--out", out)
    for bad in (("--size", "3"), ("--modality", "X-ray"), ("--pixel-size", "0"), ("--mechanism", "magic")):
        failed(capsys, "simulate", "--out", tmp_path / "bad", *bad)
    failed(capsys, "simulate", "--out", tmp_path / "bad", "--kind", "any", "--particles", "3")


def test_evaluate_lists_its_suites_and_refuses_others(tmp_path, capsys, monkeypatch):
    assert call("evaluate", "list") == 0
    assert "emps" in capsys.readouterr().out
    assert "'nonsense' is not one of 'list', 'all', 'speed'" in failed(capsys, "evaluate", "nonsense")
    monkeypatch.delenv("LISA_MICRO_DATA", raising=False)
    failed(capsys, "evaluate", "emps")
    failed(capsys, "evaluate", "emps", "--data", tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    assert "--force" in failed(capsys, "evaluate", "values", "--out", tmp_path)


# ------------------------------------------------------------------------------------------------ the program


def run(*arguments: str, **settings) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lisa_micro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **settings)


def test_no_arguments_and_unknown_commands():
    result = run()
    assert result.returncode == 2
    result = run("nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith("error: No such command")
    assert result.stderr.count("\n") == 1
    assert run("--version").stdout == f"lisa-micro {lisa_micro.__version__}\n"


def test_a_terminal_without_the_micro_sign(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "µ.png")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = run("measure", str(tmp_path / "µ.png"), "--out", str(tmp_path / "µ"), env=environment)
    assert result.returncode == 0, result.stderr


def test_public_names():
    # load_assistant needs the model, and is tested with it
    for name in set(lisa_micro.__all__) - {"load_assistant"}:
        assert getattr(lisa_micro, name) is not None
    assert set(lisa_micro.__all__) <= set(dir(lisa_micro))
    with pytest.raises(AttributeError):
        lisa_micro.nonsense  # noqa: B018
