"""Requests written by hand, each with its meaning."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from paths import ROOT

from lisa_micro.datasets.texts import SceneFacts, held_out_suite, sample_conversation, written
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import parse_reply, render_reply, same_meaning

EVERYTHING = SceneFacts.with_everything()
FILES = (*written.SINGLE, *written.RECENT, *written.DESCRIBED, *written.VIDEOS, *written.DIALOGUES)


def voice(seed: int = 0, split: str = "train") -> Voice:
    return Voice(np.random.default_rng(seed), split)


@pytest.mark.parametrize("name", FILES)
def test_every_line_has_a_meaning_in_the_reply_language(name):
    assert written.lines(name)
    for line in written.lines(name):
        for words, meaning in written.split_line(line):
            turn = written.turn_of(voice(), EVERYTHING, words, written.read_meaning(meaning))
            reply = parse_reply(turn.reply)
            assert not reply.notes and render_reply(reply) == turn.reply, line
            assert [(t.concept, t.clauses) for t in reply.targets] == [(t.concept, t.clauses) for t in turn.targets]


def test_no_request_is_written_twice_with_two_meanings():
    known: dict[str, str] = {}
    for name in (*written.SINGLE, *written.RECENT, *written.DESCRIBED):
        for line in written.lines(name):
            ((words, meaning),) = written.split_line(line)
            turn = written.turn_of(voice(), EVERYTHING, words, written.read_meaning(meaning))
            first = known.setdefault(written.plain(words), turn.reply)
            assert same_meaning(parse_reply(first), parse_reply(turn.reply)), (words, first, turn.reply)


def test_the_independent_prompts_are_not_in_the_handwritten_files():
    data = ROOT / "tests" / "data"
    judged = {
        written.plain(item["say"])
        for file in data.glob("judge_prompts*.yaml")
        for item in yaml.safe_load(file.read_text("utf-8"))
    }
    firsts = {written.plain(line.split("=>")[0]) for name in FILES for line in written.lines(name)}
    assert len(judged) > 300 and not judged & firsts


def test_a_fifth_is_held_out_and_never_trained_on():
    train, held = written.halves(FILES)
    assert 0.16 < len(held) / (len(train) + len(held)) < 0.24
    rng = np.random.default_rng(0)
    firsts = {written.plain(line.split("=>")[0]) for line in held}
    for _ in range(1500):
        first = sample_conversation(rng, EVERYTHING)[0]
        assert written.plain(first.user) not in firsts or first.category != "written"
    suite = held_out_suite(300)
    assert sum("written" in item.novel for item in suite) > 60


REPLIES = {
    "particle[isolated; largest 5] + neck": (
        "Here are the particles [SEG]<where>isolated; largest 5</where> and the necks [SEG]."
    ),
    "yes pore": "Yes, here are the pores [SEG].",
    "mean diameter, std diameter of particle": (
        "The mean diameter of the particles [SEG] is <value>mean diameter</value> and the standard deviation of the "
        "diameter <value>std diameter</value>."
    ),
    "count of particle[isolated] + count of neck": (
        "The number of particles [SEG]<where>isolated</where> is <value>count</value> and the number of necks [SEG] is "
        "<value>count</value>."
    ),
    "absent cracks": "<absent>There are no cracks in this micrograph.",
    "absent cat": "<absent>There is no cat in this micrograph.",
    "particle + absent bacteria": "Here are the particles [SEG]. There are no bacteria in this micrograph.",
    "chat thanks": "You are welcome.",
    "scene": "A BF-TEM micrograph with many particles, most of them in contact.",
}


@pytest.mark.parametrize(("meaning", "reply"), REPLIES.items())
def test_every_meaning_has_its_reply(meaning, reply):
    assert written.turn_of(voice(), EVERYTHING, "a", written.read_meaning(meaning)).reply == reply


def test_requests_for_absent_objects_get_an_absent_reply():
    bare = SceneFacts("SEM", {"particle": 3, "substrate": 1}, 0.0)
    turn = written.turn_of(voice(), bare, "a", written.read_meaning("neck + absent cracks"))
    assert turn.forced_absent and turn.targets == ()
    assert turn.reply == "<absent>There are no necks in this micrograph. There are no cracks in this micrograph."


@pytest.mark.parametrize(
    "meaning",
    [
        "",
        "bead",
        "particle[big]",
        "particle[neck width > 3 nm",
        "neck[circularity > 0.3]",
        "substrate[largest 1]",
        "chat",
        "chat tea",
        "mean diameter of neck",
        "mean size of particle",
        "mean diameter of particle + count of neck",
        "absent cats + particle",
        "count of particle + neck",
        "particle[largest 1; in centre; isolated; diameter > 1; diameter < 9]",
    ],
)
def test_an_invalid_meaning_is_refused(meaning):
    with pytest.raises(ValueError):
        written.read_meaning(meaning)


@pytest.mark.parametrize("line", ["no arrow", "two => neck => pore", " => neck"])
def test_an_invalid_line_is_refused(line):
    with pytest.raises(ValueError):
        written.split_line(line)


def test_numbers_are_replaced_in_words_and_meanings_alike():
    turns = written.split_line(
        "the 5 largest above 20,5 nm => particle[diameter > 20.5 nm; largest 5]"
        " >> how many? => count of particle[diameter > 20.5 nm; largest 5]"
    )
    seen = set()
    for seed in range(20):
        (words, meaning), (_, later) = written.other_numbers(voice(seed), turns)
        n, size = re.fullmatch(r"the (\d+) largest above (\d+,\d) nm", words).groups()
        inside = f"[diameter > {size.replace(',', '.')} nm; largest {n}]"
        assert meaning == f"particle{inside}" and later == f"count of particle{inside}"
        seen.add((n, size))
    assert len(seen) > 10


@pytest.mark.parametrize(
    "line",
    [
        "twenty-five nm and more => particle[diameter >= 25 nm]",
        "larger than 5 nm, 5 of them at most => particle[diameter > 5 nm; largest 5]",
        "top 10 % => particle[largest 10 %]",
        "the one => particle[largest 1]",
        "the grain at 310,92 => particle[nearest 1 to 310,92]",
    ],
)
def test_ambiguous_numbers_stay(line):
    for seed in range(10):
        assert written.other_numbers(voice(seed), written.split_line(line)) == written.split_line(line)


def test_ranges_keep_their_order():
    turns = written.split_line("5 to 9 nm => particle[diameter between 5 and 9 nm]")
    for seed in range(60):
        ((_, meaning),) = written.other_numbers(voice(seed), turns)
        low, high = re.search(r"between (\S+) and (\S+) nm", meaning).groups()
        assert float(low) < float(high)
