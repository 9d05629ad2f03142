"""Frame detectors: which one a model gets, by its capabilities, and their state over interrupted runs."""

from __future__ import annotations

import numpy as np
import pytest
from known_engine import KnownEngine, discs
from official_lisa_layout import Tiny, write_lisa

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.protocols import Capabilities
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.detectors import BoxDetector, WordDetector
from lisa_micro.video.track import track

SHAPE = (64, 96)
EMPTY = np.zeros(SHAPE, np.float32)
PAIR = discs(SHAPE, (24, 32, 10), (70, 30, 14))


def detector(reply: str) -> WordDetector:
    return WordDetector(Assistant(KnownEngine(reply), "known", ""), "segment the particles")


def test_a_request_is_read_again_until_it_names_something_then_once_for_all():
    words = detector("There is nothing here.")
    engine = words.assistant.engine
    assert not words.detect(Micrograph(EMPTY), 0).labels.any() and engine.prefilled == 1
    assert words.state.reply == "There is nothing here." and words.memory()["states"] == {}
    engine.reply = "The particles are [SEG]<where>largest 1</where>."
    found = words.detect(Micrograph(PAIR), 1)
    assert found.labels.max() == 2 and engine.prefilled == 2
    assert len(found.selected) == 1 and found.labels[30, 70] == found.selected[0]
    assert (words.state.concept, words.state.where) == ("particle", "largest 1")
    words.detect(Micrograph(PAIR), 2)
    assert engine.prefilled == 2


def test_a_restored_detector_needs_no_words():
    first = detector("The particles are [SEG]<where>largest 1</where>.")
    expected = first.detect(Micrograph(PAIR), 0)
    second = detector("never written")
    second.restore(first.memory())
    found = second.detect(Micrograph(PAIR), 1)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.selected == expected.selected and second.assistant.engine.prefilled == 0
    assert (second.state.reply, second.state.raw, second.state.where) == (
        first.state.reply,
        first.state.raw,
        first.state.where,
    )


def test_a_box_without_a_particle_is_noted():
    class Marking(Assistant):
        def segment_boxes(self, image, boxes):
            labels = np.zeros(image.shape, np.int32)
            for k, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, int), 1):
                labels[y0:y1, x0:x1] = np.where(image.pixels[y0:y1, x0:x1] > 0, k, 0)
            return Segmentation(labels)

    boxes = BoxDetector(Marking(KnownEngine(""), "known", ""), [[10, 18, 38, 46], [0, 0, 6, 6]], SHAPE)
    found = boxes.detect(Micrograph(PAIR), 0)
    assert found.selected == (found.labels[32, 24],)
    assert boxes.state.notes == ["No particle was detected in box 2."]
    assert boxes.detect(Micrograph(PAIR), 1).selected is None and boxes.memory() is None


def test_an_official_lisa_tracks_frame_by_frame(tmp_path):
    folder = tmp_path / "LISA-tiny"
    write_lisa(folder, Tiny(), chain=("▁Sure", ",", "[SEG]"))
    assistant = lm.load_assistant(str(folder), device="cpu", precision="fp32")
    assistant.engine.max_tokens = 4
    assert assistant.capabilities.words and not assistant.capabilities.video
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.float32)
    tracks = track(assistant, frames, "segment the particle")
    assert len(tracks) == 3 and tracks.record["preset"] == str(folder) and tracks.record["average"] == 0
    for t in range(3):
        mask = assistant.ask(Micrograph(frames[t]), "segment the particle").segments
        covered = mask[0].mask if mask else np.zeros((40, 50), bool)
        assert not tracks.labels[t][~covered].any()
    with pytest.raises(InputError, match="cannot track from boxes") as error:
        track(assistant, frames, boxes=[[1, 1, 9, 9]])
    assert "tiles" not in str(error.value) and "how=" not in str(error.value)
    with pytest.raises(InputError, match="cannot answer questions about videos"):
        tracks.ask(assistant, "how many?")


@pytest.mark.parametrize(
    ("able", "how", "says"),
    [
        (Capabilities(), {"words": "particles"}, "does not understand words"),
        (Capabilities(words=True), {"boxes": [[1, 1, 9, 9]]}, "cannot track from boxes"),
        (Capabilities(boxes=True, points=True), {"boxes": [[1, 1, 9, 9]]}, "cannot track from boxes"),
        (None, {"words": "particles"}, "needs an assistant"),
    ],
)
def test_a_model_without_the_capability_is_refused_in_one_sentence(able, how, says):
    class Model:
        preset, weights_sha256, device, capabilities = "tall", "", "cpu", able

    with pytest.raises(InputError, match=says) as error:
        track(Model() if able else None, np.zeros((3, 30, 40), np.float32), **how)
    assert "tiles" not in str(error.value)
