"""Tracking what is like an example."""

from __future__ import annotations

import json

import numpy as np
import pytest
from exemplar_model import RidgeAssistant, box, hits, squares_image

import lisa_micro as lm
from lisa_micro.protocols import Capabilities
from lisa_micro.types import InputError
from lisa_micro.video.like import LikeDetector

BRIGHT, DARK = [(20, 20), (80, 40), (40, 96)], [(110, 100), (120, 20)]
SHAPE = (128, 160)


def frame(number: int):
    """The scene moved by 2 px a frame to the right."""
    moved = [(x + 2 * number, y) for x, y in BRIGHT]
    return squares_image(moved, [(x + 2 * number, y) for x, y in DARK], SHAPE, seed=number), moved


def test_boxes_of_the_first_frame_find_what_is_alike_in_later_ones():
    detector = LikeDetector(RidgeAssistant(), like=[box(*BRIGHT[0])])
    for number in range(3):
        image, places = frame(number)
        found = detector.detect(image, number)
        assert hits(found.labels, places) == 3 == found.labels.max() and found.selected is None


def test_words_select_and_are_read_once():
    assistant = RidgeAssistant(raw="The particles are [SEG]<where>in left half</where>.")
    detector = LikeDetector(assistant, "those on the left", like=[box(*BRIGHT[0])])
    image, _ = frame(0)
    found = detector.detect(image, 0)
    chosen = np.isin(found.labels, found.selected)
    assert len(found.selected) == 2 and not chosen[:, SHAPE[1] // 2 + 10 :].any()
    detector.detect(frame(1)[0], 1)
    assert assistant.read == ["those on the left"] and detector.state.where == "in left half"


def test_a_restored_detector_learns_nothing_again():
    first = LikeDetector(RidgeAssistant(), like=[box(*BRIGHT[0])])
    first.detect(frame(0)[0], 0)
    memory = json.loads(json.dumps(first.memory()))  # as in the checkpoint
    second = LikeDetector(RidgeAssistant(), like=[[0, 0, 1, 1]])
    second.restore(memory)
    image, _ = frame(1)
    np.testing.assert_array_equal(second.detect(image, 1).labels, first.detect(image, 1).labels)


def test_track_follows_what_is_like_an_exemplar_of_another_micrograph():
    assistant = RidgeAssistant()
    exemplar = assistant.learn_exemplar(squares_image([(30, 30), (90, 90)], DARK[:1], SHAPE, seed=9), [box(30, 30)])
    video = np.stack([frame(number)[0].pixels for number in range(4)])
    tracks = lm.track(assistant, video, exemplar=exemplar, average=0)
    assert len(tracks) == 4 and len(tracks.lineage) == 3
    assert tracks.record["exemplar"] == exemplar.digest() and tracks.record["reply"].startswith("Tracking objects like")


def test_examples_that_cannot_be_used_are_refused_before_anything_long():
    video = np.zeros((2, *SHAPE), np.float32)
    assistant = RidgeAssistant()
    with pytest.raises(InputError, match="outside the image"):
        lm.track(assistant, video, like=[[900, 900, 950, 950]])
    with pytest.raises(InputError, match="exactly one of the four"):
        lm.track(assistant, video, like=[box(20, 20)], boxes=[box(20, 20)])
    assistant.capabilities = Capabilities(words=True, video=True)
    with pytest.raises(InputError, match="no exemplar encoder"):
        lm.track(assistant, video, like=[box(20, 20)])
