"""The download of a conversation repeats it, with the shipped weights: large micrographs and follow-ups included."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import tifffile
from app_requests import ask, run_script, send

import lisa_micro as lm
from lisa_micro.assistant.tiling import TILED_ABOVE
from lisa_micro.sim import simulate_large
from lisa_micro_app import exports, handlers
from lisa_micro_app.limits import Limits
from lisa_micro_app.views import turns as views

pytestmark = pytest.mark.slow
LIMITS = Limits(request_seconds=1800, display_px=64)
REQUESTS = ("segment all particles", "only the three largest")


def STAND_IN():
    return lm.load_assistant("micro", device="cpu")


@pytest.fixture
def queue(queue):
    queue.seconds = LIMITS.request_seconds
    return queue


def test_repeat_sh_gives_the_masks_of_the_app_on_a_micrograph_of_2500_px(user, queue, tmp_path):
    truth = simulate_large(3, (600, 2500), 60, 18, modality="SEM")
    assert max(truth.pixels.shape) > TILED_ABOVE
    pixels, nm = truth.pixels.astype(np.float32), truth.pixel_size_nm
    tifffile.imwrite(tmp_path / "f.tif", pixels, imagej=True, resolution=(1 / nm,) * 2, metadata={"unit": "nm"})
    handlers.open_upload(user, queue, send(user, (tmp_path / "f.tif").read_bytes(), "film.tif"), LIMITS)
    stages = [pending.stage for request in REQUESTS for pending in ask(user, queue, request, LIMITS)]
    assert any(" of " in stage for stage in stages)  # the tiles are counted
    assert all(any("tiles of" in note for note in turn["notes"]) for turn in views.chat_view(user)["turns"])
    every, three = (turn.answer.segments[0] for turn in user.state.turns)
    assert every.count > 3 and three.count == 3

    assistant = queue.assistant
    path = exports.pack(user, assistant.preset, assistant.weights_sha256, str(assistant.device))
    archive = zipfile.ZipFile(path)
    done = run_script(archive, tmp_path / "run", 1800)
    assert done.returncode == 0, done.stderr
    for number in ("1", "2"):
        again = tmp_path / "run" / "again" / "film" / number
        with tifffile.TiffFile(io.BytesIO(archive.read(f"film/{number}/labels.tif"))) as labels:
            assert np.array_equal(tifffile.imread(again / "labels.tif"), labels.asarray())
        ours, theirs = (
            json.loads(archive.read(f"film/{number}/answer.json")),
            json.loads((again / "answer.json").read_text()),
        )
        assert theirs["reply"] == ours["reply"] and theirs["weights_sha256"] == ours["weights_sha256"]
