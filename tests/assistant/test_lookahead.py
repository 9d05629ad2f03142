"""Where a reply is not sure, the most probable one as a whole is taken."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from lisa_micro.assistant.choices import Choice, total
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.language_engine import KVCache, LanguageEngine, RawReply

END = 0


def reply(ids, *choices):
    return RawReply(" ".join(map(str, ids)), list(ids), torch.zeros(0, 2), choices=tuple(Choice(*c) for c in choices))


class Scripted(Engine):
    """Writes replies that are given: the first one, and one for each beginning."""

    def __init__(self, first, others, requested=None):
        self.first, self.others, self.asked, self.kept = first, others, [], []
        self.chat = SimpleNamespace(end=END)
        self.refusals = {"7"}
        self.way_back, self.requested = (0.0, {}) if requested is None else (0.5, requested)

    def _meaning(self, raw):
        return raw, None if raw in self.refusals else frozenset()

    def request_logp(self, replies, words):
        return [self.requested[reply] for reply in replies]

    def regenerate(self, cache, start, beginning):
        self.asked.append(tuple(beginning))
        return self.others[tuple(beginning)]

    def _read_ids(self, cache, start, ids):
        self.kept.append(list(ids))
        return reply(ids)


@pytest.fixture
def answer(monkeypatch):
    monkeypatch.setattr(LanguageEngine, "generate", lambda self, cache, text, first: (self.first, 7))

    def ask(first, others, requested=None, is_first=True):
        engine = Scripted(first, others, requested)
        best, start = engine.generate(KVCache(None), "words", is_first)
        assert start == 7
        return engine, best

    return ask


def test_a_sure_reply_is_taken_at_once(answer):
    first = reply([1, 2], (0, -0.1, 5, -2.4))
    engine, best = answer(first, {})
    assert best is first and engine.asked == engine.kept == []


def test_another_beginning_whose_rest_is_more_certain_wins(answer):
    first = reply([1, 2, 3], (0, -0.6, 5, -0.9), (2, -2.0, 6, -2.1))
    other = reply([5, 8], (1, -0.2, 9, -3.0))
    engine, best = answer(first, {(5,): other})
    assert engine.asked == [(5,)]  # from position 2 on nothing can get better than the first reply
    assert best.ids == [5, 8] and engine.kept == [[5, 8]]
    assert total(best.choices) == pytest.approx(-1.1)
    assert best.choices[0] == Choice(0, -0.9, 1, -0.6)
    assert best.others == {(5,): "5 8"}  # another reading that begins so is not written a second time


def test_a_reply_may_go_on_where_the_first_one_ended(answer):
    first = reply([1], (0, -0.1, 5, -3.0), (1, -0.8, 4, -0.7))
    _, best = answer(first, {(1, 4): reply([1, 4, 3], (2, 0.0, 9, -9.0))})
    assert best.ids == [1, 4, 3] and best.choices[1] == Choice(1, -0.7, END, -0.8)


def test_the_first_reply_stays_where_no_other_is_more_probable(answer):
    first = reply([1, 2, 3], (0, -0.6, 5, -0.9), (2, -1.0, END, -1.0))
    engine, best = answer(first, {(5,): reply([5, 4], (1, -3.0, 9, -3.1))})
    assert best.ids == [1, 2, 3] and best.choices == first.choices
    assert engine.asked == [(5,)] and engine.kept == [[1, 2, 3]]  # the conversation goes on from it


def test_a_request_judges_the_replies_to_it(answer):
    first = reply([1, 2], (0, -0.6, 5, -0.9))
    others = {(5,): reply([5, 8], (1, -0.2, 9, -3.0))}
    requested = {"1 2": -20.0, "5 8": -17.0}
    _, best = answer(first, others, requested)
    assert best.ids == [5, 8] and total(best.choices) == pytest.approx(-1.1)
    assert best.agreement == pytest.approx(-math.log1p(math.exp(-1.0)))  # -1.1 - 8.5 against -0.6 - 10
    engine, best = answer(first, others, {"1 2": -17.0, "5 8": -17.5})
    assert best.ids == [1, 2] and engine.kept == [[1, 2]]


def test_replies_that_are_a_little_less_probable_are_tried_where_requests_judge(answer):
    first = reply([1, 2, 3], (0, -0.6, 5, -0.9), (2, -2.0, 6, -2.1))
    others = {(5,): reply([5, 8], (1, -0.2, 9, -3.0)), (1, 2, 6): reply([1, 2, 6])}
    engine, best = answer(first, others, {"1 2 3": -9.0, "5 8": -9.0, "1 2 6": 0.0})
    assert engine.asked == [(1, 2, 6), (5,)] and best.ids == [1, 2, 6]


def test_in_a_conversation_requests_do_not_judge(answer):
    first = reply([1, 2], (0, -0.6, 5, -0.7))
    others = {(5,): reply([5, 8], (1, -0.2, 9, -3.0))}
    _, best = answer(first, others, {"1 2": -20.0, "5 8": 0.0}, is_first=False)
    assert best.ids == [1, 2]


def test_whether_to_refuse_is_decided_without_the_request(answer):
    first = reply([7], (0, -0.6, 5, -0.9))  # a refusal, which makes no request probable
    others = {(5,): reply([5, 8], (1, -0.2, 9, -3.0))}
    _, best = answer(first, others, {"7": -40.0, "5 8": -10.0})
    assert best.ids == [7] and best.agreement == pytest.approx(-math.log1p(math.exp(-0.5)))
    first = reply([7], (0, -0.9, 5, -0.6))
    _, best = answer(first, {(5,): reply([5, 8], (1, -0.1, 9, -3.0))}, {"7": 0.0, "5 8": -40.0})
    assert best.ids == [5, 8]
