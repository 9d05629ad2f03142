"""The grammar of version 2: which programs it accepts, and which tokens it allows while decoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from program_strategies import programs

from lisa_micro.language import DEFAULT_VOCABULARY
from lisa_micro.language.program import PROGRAM_TOKENS, parse_program, render_program, same_program
from lisa_micro.language.program.automaton import ProgramAutomaton, marked, walk
from lisa_micro.language.program.decoding import FREE, TALK, ProgramGrammar

AUTOMATON = ProgramAutomaton()


@settings(max_examples=300, deadline=None)
@given(programs())
def test_the_grammar_accepts_what_is_rendered(program):
    assert AUTOMATON.accepts_text(render_program(program)), render_program(program)


def random_walk(rng: np.random.Generator, automaton=AUTOMATON) -> str:
    """A text of the grammar: likes to close what is open, so that it ends."""
    written = 0

    def choose(following: str, ends: bool) -> str:
        nonlocal written
        written += 1
        if ends and (rng.random() < 0.3 or written > 400):
            return ""
        closing = [c for c in following if c == "}" or ord(c) >= 0xE100]
        if closing and written > 60:
            return str(rng.choice(closing))
        return following[int(rng.integers(len(following)))] if following else ""

    return walk(automaton, choose)


def test_every_walk_through_the_grammar_reads_without_notes():
    rng = np.random.default_rng(1)
    seen = ""
    for _ in range(1500):
        text = random_walk(rng)
        program = parse_program(text)
        if "<unknown>" not in text:
            assert not program.notes, (text, program.notes)
            assert all(not t.problem for t in program.targets) and all(v.first is not None for v in program.values)
        canonical = render_program(program)
        assert AUTOMATON.accepts_text(canonical), (text, canonical)
        assert same_program(parse_program(canonical), program)
        seen += text
    for piece in ("except ", " | ", "; ", "{", "<plot>", "<value>", " std", "list ", "closest", "among {", "<cannot>"):
        assert piece in seen


@pytest.mark.parametrize(
    "text",
    [
        "", "particles", "particle [SEG]", "unicorns [SEG]", "particles [SEG]<where></where>",
        "particles [SEG]<where>largest",
        "particles [SEG]<where>largest</where>", "particles [SEG]<where>largest 03</where>", "the particles [SEG]",
        "particles [SEG]<where>diameter > 5.0 nm</where>", "particles [SEG]<where>circularity > 5 nm</where>",
        "particles [SEG]<where>touching {1}</where>", "particles [SEG]<value>count of 2</value>",
        "particles [SEG]<where>touching {neck touching {neck touching {neck}}}</where>", "<cannot>anything",
        "<unknown>",
        "particles [SEG]<where>" + "; ".join(["isolated"] * 7) + "</where>", "5 particles [SEG]",
        "<value>count</value>",
        "particles [SEG]<where>not isolated</where>", "particles [SEG] There are 5.",
    ],
)  # fmt: skip
def test_the_grammar_refuses(text):
    assert not AUTOMATON.accepts_text(text)


def test_earlier_targets_can_be_named_at_any_depth():
    text = "particles [SEG] necks [SEG]<where>touching {particle touching {particle among {1}}}</where>"
    assert AUTOMATON.accepts_text(text) and not parse_program(text).notes
    assert not AUTOMATON.accepts_text(text.replace("{1}", "{2}"))


def test_a_vocabulary_limits_the_nouns():
    five = ProgramAutomaton(DEFAULT_VOCABULARY)
    assert five.accepts_text("necks [SEG]") and not five.accepts_text("cracks [SEG]")
    assert not five.accepts_text("necks [SEG]<where>touching {crack}</where>")


@pytest.fixture(scope="module")
def tokenizer():
    """A byte-level BPE tokenizer with few merges, so that words are spelled in several tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    model.decoder = tokenizers.decoders.ByteLevel()
    rng = np.random.default_rng(0)
    corpus = [random_walk(rng) for _ in range(300)] + ["You are welcome. Thanks for asking."] * 3
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<eos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    model.train_from_iterator(corpus, trainer)
    model.add_tokens([tokenizers.AddedToken(t, lstrip=True, normalized=False) for t in PROGRAM_TOKENS])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<eos>")


@pytest.fixture(scope="module")
def grammar(tokenizer):
    return ProgramGrammar(tokenizer, tokenizer.eos_token_id)


def test_tokens_of_programs_are_allowed_and_forced_ones_are_theirs(tokenizer, grammar):
    rng = np.random.default_rng(2)
    forced_tokens = asked = 0
    for _ in range(60):
        text = random_walk(rng)
        if "<unknown>" in text:
            continue
        ids = tokenizer.encode(text, add_special_tokens=False)
        at, k = grammar.start(), 0
        while k < len(ids):
            forced = grammar.forced(at)
            assert list(forced) == ids[k : k + len(forced)], (text, tokenizer.decode(forced))
            for token in forced or ids[k : k + 1]:
                assert token in grammar.allowed(at)
                at = grammar.advance(at, token)
            forced_tokens += len(forced)
            asked += not forced
            k += len(forced) or 1
        assert grammar.end in grammar.allowed(at) and grammar.read(ids) == at
    assert forced_tokens > 0.15 * (forced_tokens + asked)


def test_a_random_model_writes_programs(tokenizer, grammar):
    rng = np.random.default_rng(3)
    for _ in range(60):
        at, ids = grammar.start(), []
        while len(ids) < 300:
            allowed = grammar.allowed(at)
            assert len(allowed)
            closing = [
                t for t in allowed if t == grammar.end or tokenizer.decode([t]).strip() in ("}", *PROGRAM_TOKENS)
            ]
            token = int(rng.choice(closing if closing and len(ids) > 20 else allowed))
            if token == grammar.end:
                break
            ids.append(token)
            at = grammar.advance(at, token)
        if at.mode == "program" and token == grammar.end:
            program = parse_program(tokenizer.decode(ids))
            assert not program.notes, tokenizer.decode(ids)


def test_modes_of_a_reply(tokenizer, grammar):
    def texts(ids):
        return {tokenizer.decode([int(i)]) for i in ids}

    def after(text):
        return grammar.read(tokenizer.encode(text, add_special_tokens=False))

    start = texts(grammar.allowed(grammar.start()))
    assert {"<unknown>", "<cannot>"} <= {t.strip() for t in start} and "Y" in start and "5" not in start
    assert not any(t.strip() in ("[SEG]", "<where>", "<value>", "<absent>") for t in start)
    talk = after("You are")
    assert talk.mode == TALK and grammar.end in grammar.allowed(talk)
    assert not any(any(c.isdigit() for c in t) or "[SEG]" in t for t in texts(grammar.allowed(talk)))
    unknown = after("<unknown>C6")
    assert unknown.mode == FREE and "0" in texts(grammar.allowed(unknown))
    assert after("<absent>There").mode == FREE
    assert grammar.end not in grammar.allowed(after("particles"))
    with pytest.raises(ValueError, match="does not go on"):
        grammar.advance(after("particles [SEG]<where>"), tokenizer.convert_tokens_to_ids("[SEG]"))


def test_a_tokenizer_without_the_tokens_is_refused():
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()))
    with pytest.raises(ValueError, match="lacks the special tokens"):
        ProgramGrammar(bare, 0)


def test_masks_are_found_in_few_steps(tokenizer):
    """Bounded in steps of the automaton, not in seconds."""
    fresh = ProgramGrammar(tokenizer, tokenizer.eos_token_id)
    steps = 0
    original = fresh.automaton.step

    def counted(state, character):
        nonlocal steps
        steps += 1
        return original(state, character)

    fresh.automaton.step = counted
    at = fresh.start()
    ids = tokenizer.encode("particles [SEG]<where>touching {neck largest 1}; diameter > 2 mean</where>")
    for token in ids:
        fresh.allowed(at)
        at = fresh.advance(at, token)
    assert steps < 3000 * len(ids)
    before = steps
    at = fresh.start()
    for token in ids:
        fresh.allowed(at)
        at = fresh.advance(at, token)
    assert steps - before < 40 * len(ids)  # masks are kept


def test_marks_stand_for_tokens():
    assert len(marked("particles [SEG]<where>largest 1</where>")) == len("particles") + 3 + len("largest 1")
