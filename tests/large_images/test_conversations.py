"""Large micrographs with the shipped weights: every way to ask follows one tiling rule, and follow-ups work."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import tifffile

import lisa_micro as lm
from lisa_micro.assistant.tiling import TILED_ABOVE
from lisa_micro.cli.main import main
from lisa_micro.metrics import match
from lisa_micro.sim import simulate_large
from lisa_micro.types import Micrograph

pytestmark = pytest.mark.slow
REQUESTS = ("segment all particles", "only the three largest")


@pytest.fixture(scope="module")
def assistant():
    return lm.load_assistant("micro", device="cpu")


@pytest.fixture(scope="module")
def truth():
    return simulate_large(3, (600, 2500), 60, 18, modality="SEM")


@pytest.fixture(scope="module")
def answers(assistant, truth):
    chat = assistant.open_conversation(Micrograph(truth.pixels, truth.pixel_size_nm))
    return [chat.ask(request) for request in REQUESTS]


def command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 0


def test_a_follow_up_narrows_a_tiled_answer(answers, truth):
    assert max(truth.pixels.shape) > TILED_ABOVE
    every, three = (answer.segments[0] for answer in answers)
    assert all(any("tiles of" in note for note in answer.notes) for answer in answers)
    assert len(match(every.labels, truth.particles)) >= 0.8 * truth.particles.max()
    assert three.count == 3 and three.where == "largest 3"
    areas = np.sort(np.bincount(every.labels.ravel())[1:])[::-1]
    # another request is another prompt of the decoder: the same particles, a few pixels more or less
    assert sorted(np.bincount(three.labels.ravel())[1:], reverse=True) == pytest.approx(areas[:3], rel=0.05)


def test_segment_and_chat_give_what_a_conversation_gives(answers, assistant, truth, tmp_path, monkeypatch):
    tifffile.imwrite(
        tmp_path / "film.tif",
        truth.pixels.astype(np.float32),
        imagej=True,
        resolution=(1 / truth.pixel_size_nm,) * 2,
        metadata={"unit": "nm"},
    )
    monkeypatch.setattr(lm, "load_assistant", lambda preset, **options: assistant, raising=False)
    command("segment", str(tmp_path / "film.tif"), REQUESTS[0], "--out", str(tmp_path / "segment"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(REQUESTS)))
    command("chat", str(tmp_path / "film.tif"), "--out", str(tmp_path / "chat"))
    for folder, answer in (("segment", answers[0]), ("chat/1", answers[0]), ("chat/2", answers[1])):
        labels = tifffile.imread(tmp_path / folder / "labels.tif")
        assert (labels == answer.labels(truth.pixels.shape)).all(), folder
        written = json.loads((tmp_path / folder / "answer.json").read_text())
        assert any("tiles of" in note for note in written["notes"])
