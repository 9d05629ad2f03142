"""Requests of version 2: written by hand, put together, held back, and independent ones to check with."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import yaml
from paths import ROOT

from lisa_micro.datasets.texts import SceneFacts, sample_conversation
from lisa_micro.datasets.texts.programs import (
    all_pairs,
    as_program,
    compose,
    conversations,
    from_turns,
    picture_kinds,
    sample,
    sample_about,
)
from lisa_micro.datasets.texts.programs import frames as frame_store
from lisa_micro.datasets.texts.programs.meanings import read_short
from lisa_micro.datasets.texts.programs.written import FILES, PICTURES, halves, read_line
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.datasets.texts.written import plain
from lisa_micro.execution import LabelledScene, execute, tell
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.language.program import CONSTRUCTS, constructs_of, parse_program, render_program, same_program
from lisa_micro.language.program.automaton import ProgramAutomaton

AUTOMATON = ProgramAutomaton()
CHECKS = [
    check
    for name in ("program_prompts", "program_prompts_2")
    for check in yaml.safe_load((ROOT / "tests" / "data" / f"{name}.yaml").read_text("utf-8"))
]


def voice(seed: int = 0, split: str = "train") -> Voice:
    return Voice(np.random.default_rng(seed), split)


@pytest.mark.parametrize("name", (*FILES, PICTURES))
def test_every_line_has_a_program_that_the_grammar_accepts(name):
    assert conversations(name)
    for conversation in conversations(name):
        for exchange in conversation.exchanges:
            assert AUTOMATON.accepts_text(exchange.reply), exchange
            read = parse_program(exchange.reply)
            assert not read.notes and same_program(read, exchange.program)


def test_every_construct_has_sixty_requests_written_by_hand():
    found = Counter(
        construct
        for name in FILES
        for conversation in conversations(name)
        for exchange in conversation.exchanges
        for construct in constructs_of(exchange.program)
    )
    assert {construct: found[construct] for construct in CONSTRUCTS if found[construct] < 60} == {}


def test_no_words_have_two_meanings():
    known = {}
    for name in FILES:
        for conversation in conversations(name):
            first = conversation.exchanges[0]
            meaning = known.setdefault(plain(first.user), first.program)
            assert same_program(meaning, first.program), first.user


def test_the_same_words_mean_different_things_on_different_pictures():
    meanings: dict[str, set] = {}
    for conversation in conversations(PICTURES):
        meanings.setdefault(plain(conversation.exchanges[0].user), set()).add(conversation.exchanges[0].reply)
    assert sum(len(replies) > 1 for replies in meanings.values()) >= 25
    assert {"powder", "polycrystal", "alloy", "dense", "lacey", "cross-section"} <= set(picture_kinds())
    drawn = {sample_about(voice(k), "polycrystal")[0].reply for k in range(30)}
    assert any(reply.startswith("grains") for reply in drawn)
    assert sample_about(voice(), "moon") is None


@pytest.mark.parametrize(
    "line",
    ["words", "words => nothing", "words => particle[", "words => particle[gibberish]", "a => cannot fly",
    "a => b => c",
     "words => particle : count of 3", " => particle"],
)  # fmt: skip
def test_a_bad_line_is_told(line):
    with pytest.raises(ValueError, match="words|a =>|particle"):
        read_line(line, "ranks")


def test_short_forms():
    program = read_short(
        "grain_boundary + precipitate[touching {grain_boundary}] : count of 2, histogram diameter of 2"
    )
    assert render_program(program) == (
        "grain boundaries [SEG] precipitates [SEG]<where>touching {grain boundary}</where>"
        "<value>count</value><plot>histogram diameter</plot>"
    )
    assert render_program(read_short("particle + unknown ice")) == "particles [SEG]<unknown>ice"
    assert render_program(read_short("cannot cause")) == "<cannot>cause"


def test_a_fifth_is_held_back_and_never_trained_on():
    train, held = halves(FILES)
    assert 0.16 < len(held) / (len(train) + len(held)) < 0.24
    firsts = {plain(c.exchanges[0].user) for c in train} & {plain(c.exchanges[0].user) for c in held}
    assert not firsts
    kept, gone = Counter(), Counter()
    for path in frame_store.all_paths():
        half = frame_store.halves(path)
        assert half[0] and not set(half[0]) & set(half[1])
        kept[path], gone[path] = len(half[0]), len(half[1])
    assert 0.1 < sum(gone.values()) / (sum(gone.values()) + sum(kept.values())) < 0.25
    for concept in FULL_VOCABULARY.names:
        half = frame_store.nouns(concept)
        assert half[0] and not set(half[0]) & set(half[1])


def test_training_never_draws_what_is_held_back():
    _, held = halves(FILES)
    forbidden = {plain(exchange.user) for c in held for exchange in c.exchanges[:1]}
    for k in range(40):
        v = voice(k)
        for _ in range(10):
            assert plain(sample(v)[0].user) not in forbidden
        assert not v.novel
    v = voice(1, "held_out")
    for _ in range(40):
        sample(v)
    assert len(v.novel) > 20


def test_every_pair_of_constructs_is_composed_and_reads_back():
    v = voice(7)
    missing = []
    for pair in all_pairs():
        exchange = compose(v, pair)
        if exchange is None:
            missing.append(pair)
            continue
        assert AUTOMATON.accepts_text(exchange.reply), exchange
        assert same_program(parse_program(exchange.reply), exchange.program)
        assert set(pair) <= constructs_of(exchange.program)
        assert "{" not in exchange.user and "}" not in exchange.user, exchange.user
    assert not missing and len(all_pairs()) > 900


def test_composed_requests_are_various_and_executable():
    v, seen = voice(11), set()
    scene = LabelledScene({"particle": np.eye(30, dtype=np.int32)}, 1.0)
    depths = Counter()
    for _ in range(300):
        exchange = sample(v)[0]
        seen.add(plain(exchange.user))
        depths[min(3, len(constructs_of(exchange.program)))] += 1
        assert tell(execute(exchange.program, scene))
    assert len(seen) > 285 and min(depths[1], depths[2], depths[3]) > 20


def test_the_same_seed_draws_the_same():
    assert [sample(voice(3)) for _ in range(2)][0] == sample(voice(3))


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("Here are the necks [SEG]<where>neck width > 5 nm</where>.", "necks [SEG]<where>neck width > 5 nm</where>"),
        ("The mean diameter of the particles [SEG] is <value>mean diameter</value>.",
         "particles [SEG]<value>mean diameter</value>"),
        ("<absent>There are no cats in this micrograph.", "<unknown>cats"),
        ("Here are the particles [SEG]. There are no cats in this micrograph.", "particles [SEG]<unknown>cats"),
        ("<absent>There are no necks in this micrograph.", "necks [SEG]"),
        ("<absent>There are no necks or pores in this micrograph.", "necks [SEG] pores [SEG]"),
        ("<absent>There are no cracks in this micrograph.", "cracks [SEG]"),
        ("You are welcome.", "You are welcome."),
    ],
)  # fmt: skip
def test_version_1_becomes_programs(reply, program):
    assert render_program(as_program(reply)) == program


def test_what_version_1_took_for_something_else_is_left_out():
    facts = SceneFacts.with_everything()
    said = []
    for k in range(400):
        turns = sample_conversation(np.random.default_rng(k), facts, "train")
        exchanges = from_turns(turns)
        said += [(e.user.lower(), e.program) for e in exchanges or ()]
    assert not [words for words, _ in said if "precipitate" in words or "histogram" in words]
    assert any("grain" in words and p.targets and p.targets[0].concept == "particle" for words, p in said)
    unknown = {r.subject for _, p in said for r in p.refusals if r.kind == "unknown"}
    assert unknown and not unknown & {"nanowires", "nanorods", "grain boundaries", "cracks", "fibers", "carbides"}


def test_conversations_of_version_1_become_canonical_programs():
    rng, facts = np.random.default_rng(0), SceneFacts.with_everything()
    turned = dropped = 0
    for _ in range(300):
        turns = sample_conversation(rng, facts, "train")
        exchanges = from_turns(turns)
        if exchanges is None:
            dropped += 1
            continue
        turned += 1
        for turn, exchange in zip(turns, exchanges, strict=True):
            named = [t.concept for t in turn.targets]
            assert [t.concept for t in exchange.program.targets][: len(named)] == named
            if exchange.program.targets or exchange.program.refusals:
                assert AUTOMATON.accepts_text(exchange.reply), exchange.reply
    assert turned > 220 and dropped < 80


# the independent set


def test_independent_requests_are_in_the_language():
    outside = [c for c in CHECKS if c["expect"].startswith(("<unknown>", "<cannot>"))]
    assert len(outside) == 90 and len(CHECKS) - len(outside) == 300
    assert len({c["about"] for c in CHECKS if c not in outside}) >= 20
    for check in CHECKS:
        program = parse_program(check["expect"])
        assert not program.notes and render_program(program) == check["expect"]
        assert AUTOMATON.accepts_text(check["expect"])
        for turn in check.get("before", ()):
            assert not parse_program(turn["reply"]).notes


def test_independent_requests_are_not_among_the_texts():
    said = {plain(c["say"]) for c in CHECKS if not c.get("before")}
    written = {plain(e.user) for name in (*FILES, PICTURES) for c in conversations(name) for e in c.exchanges}
    assert not said & written
    assert len(said) > 350
