"""Other readings of a request: the last answer is replaced, and later requests go on from the new one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_engine import KnownEngine, discs

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.choices import Choice
from lisa_micro.assistant.conversation import BaseConversation, ConversationStart
from lisa_micro.assistant.language_engine import KVCache, RawReply
from lisa_micro.models.lisa.config import Confidence
from lisa_micro.results.answer import UNDERSTOOD, Answer, Reading
from lisa_micro.types import InputError, Micrograph

FIRST, SECOND = "particles[SEG]<where>largest 2</where>", "particles[SEG]<where>smallest 1</where>"


class Unsure(KnownEngine):
    """Understands every request as the two largest particles, and next as the smallest one."""

    def __init__(self, unsure=0.6):
        super().__init__(FIRST)
        self.model.config.confidence = Confidence(intercept=2.0, total=1.0, worst=1.0, unsure=unsure)
        self.chat.end = 0
        self.turns: list[tuple[str, str]] = []

    def generate(self, cache, text, first):
        return self.read_reply(cache, 0, FIRST), 0

    def read_reply(self, cache, start, raw):
        choices = (Choice(0, -1.5, 7, -1.6),)
        return RawReply(raw, [5], torch.zeros(raw.count("[SEG]"), 4), choices=choices)

    def regenerate(self, cache, start, ids):
        return self.read_reply(cache, start, SECOND)

    def prefill_words(self, cache, words, first):
        pass

    def prefill_turn(self, cache, words, reply, first):
        self.turns.append((words, reply))


@pytest.fixture
def chat():
    pixels = discs((128, 128), (30, 30, 16), (90, 30, 10), (60, 90, 22))
    return Assistant(Unsure(), "unsure", "").open_conversation(Micrograph(pixels, 1.0), "off")


def test_an_unsure_answer_offers_the_next_reading_and_takes_it(chat):
    answer = chat.ask("some particles")
    assert answer.segments[0].count == 2 and answer.confidence < 0.6
    assert answer.text.startswith(f"{UNDERSTOOD}{answer.understood}. ")
    assert answer.alternative == Reading(SECOND, "the smallest particle")
    other = chat.reinterpret(answer.alternative)
    assert chat.answers == [other] and other.prompt == "some particles"
    assert other.segments[0].count == 1 and other.segments[0].labels[30, 90] == 1
    assert not other.text.startswith(UNDERSTOOD)
    # the new answer offers the one that it replaced, and so on
    assert other.alternative == Reading(FIRST, answer.understood)
    back = chat.reinterpret(other.alternative)
    assert np.array_equal(back.segments[0].labels, answer.segments[0].labels)


def test_a_sure_answer_offers_nothing():
    pixels = discs((128, 128), (30, 30, 16), (90, 30, 10))
    answer = Assistant(Unsure(0.1), "sure", "").open_conversation(Micrograph(pixels, 1.0), "off").ask("particles")
    assert answer.alternative is None and not answer.text.startswith(UNDERSTOOD) and answer.confidence > 0.1


def test_there_must_be_an_answer_to_replace(chat):
    with pytest.raises(InputError, match="no answer to replace"):
        chat.reinterpret(Reading(SECOND, "the smallest particle"))


def test_a_model_without_the_reply_language_says_so_in_one_sentence():
    class Other(BaseConversation):
        def _has_room(self, cache, prompt):
            return True

        def _restarted(self, image_cache, prompt):
            return KVCache(None)

        def _answer(self, prompt, prepared, cache, clock):
            return Answer("x")

    chat = Other(None, Micrograph(np.zeros((4, 4), np.float32)), ConversationStart((Answer("x"),)))
    with pytest.raises(InputError, match="no other reading of a request") as error:
        chat.reinterpret(Reading("", ""))
    assert "\n" not in str(error.value) and len(chat.answers) == 1
