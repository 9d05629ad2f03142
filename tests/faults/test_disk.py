"""A full disk and folders that cannot be written: one sentence, nothing half-written, and a second start works."""

from __future__ import annotations

import errno
import json
import os
import resource
from contextlib import contextmanager

import pytest
from cli_calls import call, failed
from kill_works import WORKS, Assistant, differences
from paths import ROOT

import lisa_micro
from lisa_micro.correction.examples import save_example
from lisa_micro.datasets.records import FILE_NAME, read_records
from lisa_micro.io import read_micrograph
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError

SAMPLE = ROOT / "data" / "samples" / "sintering_tem.tif"


@contextmanager
def largest_file(size: int):
    """Let no file grow beyond a number of bytes, as on a disk that fills up while it is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def assistant(monkeypatch):
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Assistant(), raising=False)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Inputs of the commands, written once."""
    made = {}
    for name in ("track", "batch", "correct"):
        made[name] = tmp_path_factory.mktemp(name)
        WORKS[name].prepare(made[name])
    return made


@pytest.mark.parametrize("name", ["track", "batch", "correct"])
def test_a_disk_that_fills_up_is_one_sentence_and_the_next_start_completes_the_run(
    places, tmp_path, assistant, capsys, name
):
    work, inputs = WORKS[name], places[name]
    words = work.command(inputs, tmp_path / "whole", False)
    assert call(*words) == 0
    capsys.readouterr()
    for size in (0, 900):
        out = tmp_path / f"full-{size}"
        with largest_file(size):
            said = failed(capsys, *work.command(inputs, out, False))
        assert "cannot be written" in said.lower() or "cannot write" in said.lower()
        assert os.strerror(errno.EFBIG) in said or "the disk may be full" in said
        assert call(*work.command(inputs, out, True)) == 0
        assert differences(work, out, tmp_path / "whole") == []
        capsys.readouterr()


def commands(place, out) -> dict[str, list[object]]:
    """Commands that write, and what they need; ``out`` is where they write."""
    image = ("segment", SAMPLE, "all particles", "--out", out)
    return {
        "segment": [*image, "--export", "roi,geojson,zarr,xlsx"],
        "simulate": ["simulate", "--out", out, "--size", 64, "--frames", 2],
        "measure": ["measure", place / "before.tif", "--out", out],
        **{name: WORKS[name].command(place, out, False) for name in ("track", "batch", "correct")},
    }


@pytest.mark.parametrize("name", ["segment", "simulate", "measure", "track", "batch", "correct"])
def test_a_folder_that_cannot_be_made_is_one_sentence(places, tmp_path, assistant, capsys, name):
    (tmp_path / "file").write_text("no folder")
    place = places.get(name, places["correct"])
    out = tmp_path / "file" / "results"
    said = failed(capsys, *commands(place, out)[name])
    assert str(tmp_path / "file") in said
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.parametrize("name", ["segment", "simulate", "measure"])
def test_a_full_disk_leaves_no_part_of_a_result(places, tmp_path, assistant, capsys, name):
    out = tmp_path / "out"
    with largest_file(300):
        failed(capsys, *commands(places["correct"], out)[name])
    left = [path.name for path in out.rglob("*") if path.is_file()] if out.exists() else []
    assert [name for name in left if name.startswith(".") or name.endswith(".part")] == []
    assert call(*commands(places["correct"], out)[name], "--force") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", ["segment", "simulate", "measure", "track", "batch", "correct"])
def test_a_read_only_folder_is_one_sentence(places, tmp_path, assistant, capsys, name):
    out = tmp_path / "locked"
    out.mkdir()
    out.chmod(0o555)
    try:
        said = failed(capsys, *commands(places.get(name, places["correct"]), out)[name])
    finally:
        out.chmod(0o755)
    assert os.strerror(errno.EACCES) in said and not any(out.iterdir())


def test_an_example_that_does_not_fit_on_the_disk_leaves_the_others_readable(tmp_path):
    image = read_micrograph(SAMPLE)
    answer = Assistant().open_conversation(image).ask("all particles")
    segment = answer.segments[0]
    found = Segmentation(segment.labels, concept="particle", phrase="particles")
    kept = Answer("Here they are.", (found,), "particles")
    save_example(tmp_path, image, [kept])
    before = (tmp_path / FILE_NAME).read_bytes()
    # the images fit, the line about them does not
    wordy = Answer("Here they are.", kept.segments, "particles " * 1_000_000)
    with largest_file(len(before) + 5_000_000), pytest.raises(InputError, match="File too large"):
        save_example(tmp_path, image, [wordy])
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert len(read_records(tmp_path / FILE_NAME)) == 1 and json.loads(before)
