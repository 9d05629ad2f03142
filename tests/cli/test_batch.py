"""`lisa-micro batch`: what it prints, its lists on standard input, its exit codes."""

from __future__ import annotations

import io
import json

import pytest
from batch_images import make_folder
from batch_stand_in import Thresholding
from cli_calls import call, failed

import lisa_micro


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Thresholding(), raising=False)
    monkeypatch.chdir(tmp_path)
    return make_folder(tmp_path / "films", 4, 2)


def test_a_folder_gives_tables_and_a_summary(images, tmp_path, capsys):
    assert call("batch", "films", "all particles", "--engine", "serial", "--no-report", "--also", "nothing") == 0
    shown = capsys.readouterr().out
    assert "4 images with" in shown and "wrote" in shown and "films-batch" in shown
    record = json.loads((tmp_path / "films-batch" / "run.json").read_text())
    assert [one["words"] for one in record["requests"]] == ["all particles", "nothing"]
    asked = "films 'all particles' --engine serial --no-report --also nothing"
    assert record["command"] == f"lisa-micro batch {asked}"
    error = failed(capsys, "batch", "films", "all particles", "--engine", "serial", "--no-report")
    assert "--resume" in error


def test_files_that_the_shell_lists_and_a_list_on_standard_input(images, tmp_path, capsys, monkeypatch):
    files = sorted(str(path) for path in images.rglob("*.tif"))
    common = ("--engine", "serial", "--no-report", "--json", "--overlays", "none")
    assert call("batch", *files[:3], "particles", "--out", "a", *common) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files[1:]) + "\n"))
    assert call("batch", "-", "particles", "--out", "b", *common) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "empty" in failed(capsys, "batch", "-", "particles", "--out", "c", *common)


def test_a_dry_run_writes_nothing(images, tmp_path, capsys):
    assert call("batch", "films", "particles", "--dry-run", "--group-by", "folder", "--limit", "3") == 0
    shown = capsys.readouterr().out
    assert "3 images in 3 files" in shown and "group A: 2 images" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films"]


def test_what_cannot_be_used_is_one_line(images, tmp_path, capsys):
    for arguments in (
        ("batch", "nowhere", "particles"),
        ("batch", "films", ""),
        ("batch", "films", "particles", "--scheduler", "tcp://a:1"),
        ("batch", "films", "particles", "--group-by", "colour"),
        ("batch", "films", "particles", "--pixel-size", "-1"),
        ("batch", "films", "particles", "--engine", "dask", "--slurm", "missing.yaml"),
    ):
        failed(capsys, *arguments)


def test_nothing_that_could_be_used_is_no_success(tmp_path, capsys, images):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.tif").write_bytes(b"")
    assert call("batch", "bad", "particles", "--engine", "serial", "--no-report") == 2
    assert "failed.csv" in capsys.readouterr().err
