"""The reply language: parser, renderer, grammar for decoding, display."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.language import (
    Between,
    Compare,
    Flag,
    Measure,
    Nearest,
    Rank,
    Region,
    normal,
    parse_clause,
    parse_clauses,
    parse_measure,
    parse_reply,
    render_clause,
    render_measure,
    render_reply,
    same_meaning,
)
from lisa_micro.language.clauses import moment
from lisa_micro.language.display import display, noun_phrase
from lisa_micro.language.grammar import DEAD, in_grammar, value_automaton, where_automaton
from lisa_micro.language.words import CORNERS, PROPERTIES, RANKS, REGIONS, SPECIAL_TOKENS, STATISTICS, UNITS
from lisa_micro.types import Value

NUMBERS = st.integers(0, 999_999).map(float) | st.integers(0, 99_999).map(lambda n: n / 100)

PLACES = st.integers(0, 9999).map(float)


@st.composite
def comparisons(draw):
    prop = draw(st.sampled_from(sorted(PROPERTIES)))
    unit = draw(st.sampled_from(("", *UNITS[PROPERTIES[prop].dimension])))
    if draw(st.booleans()):
        low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
        return Between(prop, low, high, unit)
    if draw(st.booleans()):
        return Compare(prop, draw(st.sampled_from((">", "<", ">=", "<=", "~"))), draw(NUMBERS), unit)
    return Compare(prop, draw(st.sampled_from((">", "<"))), draw(st.sampled_from(("mean", "median"))))


CLAUSES = st.one_of(
    comparisons(),
    st.builds(Rank, st.sampled_from(sorted(RANKS)), st.integers(1, 999)),
    st.builds(Rank, st.sampled_from(sorted(RANKS)), st.integers(1, 99), st.just(True)),
    st.builds(Region, st.sampled_from(REGIONS)),
    st.builds(Nearest, st.integers(1, 999), st.sampled_from(("centre", *CORNERS))),
    st.builds(Nearest, st.integers(1, 9), st.tuples(PLACES, PLACES)),
    st.sampled_from(
        [Flag("isolated"), Flag("in contact"), Flag("touching border"), Flag("touching border", True),
         Flag("in agglomerate"), Flag("in agglomerate", True)]
    ),
)  # fmt: skip


@given(CLAUSES)
def test_clause_round_trip_within_the_grammar(clause):
    text = render_clause(clause)
    assert parse_clause(text) == clause
    assert in_grammar(text, where_automaton()), text


@given(st.sampled_from(STATISTICS), st.sampled_from(sorted(PROPERTIES)))
def test_measure_round_trip_within_the_grammar(stat, prop):
    text = render_measure(Measure(stat, prop))
    assert parse_measure(text) == Measure(stat, prop)
    assert in_grammar(text, value_automaton()) and not in_grammar(text + " of 3", value_automaton())


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("diameter > 20 nm", Compare("diameter", ">", 20, "nm")),
        ("Diameter>=20µm", Compare("diameter", ">=", 20, "um")),
        ("gap ≤ 3,5 Å", Compare("gap", "<=", 3.5, "A")),
        ("area >= 500 px", Compare("area", ">=", 500, "px2")),
        ("area < 300 nm²", Compare("area", "<", 300, "nm2")),
        ("circularity < 0.8", Compare("circularity", "<", 0.8)),
        ("diameter between 9 and 3 nm", Between("diameter", 3, 9, "nm")),
        ("diameter between 3 nm and 9 nm", Between("diameter", 3, 9, "nm")),
        ("largest", Rank("largest", 1)),
        ("largest 10 %", Rank("largest", 10, True)),
        ("not in contact", Flag("isolated")),
        ("not isolated", Flag("in contact")),
        ("in upper left quadrant", Region("top left quadrant")),
        ("in the center", Region("centre")),
        ("nearest to centre", Nearest(1, "centre")),
        ("nearest 2 to 12, 40", Nearest(2, (12, 40))),
        ("neck width > mean", Compare("neck width", ">", "mean")),
    ],
)
def test_parser_is_lenient(text, clause):
    assert parse_clause(text) == clause


@pytest.mark.parametrize(
    "text",
    ["", "large", "largest 0", "largest 101 %", "diameter > nm", "diameter > 3 nm2", "circularity > 3 nm",
     "hue > 3", "in nowhere", "nearest 3 to you",
     "not largest 3", "diameter between 3 nm and 4 px", "9" * 5000,
     "largest " + "9" * 5000],
)  # fmt: skip
def test_what_is_no_clause_gives_none(text):
    assert parse_clause(text) is None


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "necks", " of 2", "largest 3", ";", "mean diameter", "\n", "x "])))
def test_parser_never_raises_on_tokens(pieces):
    reply = parse_reply("".join(pieces))
    again = parse_reply(render_reply(reply))
    assert len(again.targets) == len(reply.targets)
    display(reply)
    display(reply, [], {1, 2})


@given(st.text())
def test_parser_never_raises_on_text(text):
    display(parse_reply(text))
    assert parse_clauses(text) is not None


def test_long_output_takes_linear_time():
    reply = parse_reply("[SEG]<where>" * 20_000)
    assert len(reply.targets) == 20_000


def test_targets_values_and_notes():
    reply = parse_reply(
        "The mean diameter of the particles [SEG]<where>isolated; diameter > 20 nm</where> is "
        "<value>mean diameter</value> and there are <value>count of 2</value> necks [SEG]."
    )
    assert [t.concept for t in reply.targets] == ["particle", "neck"]
    assert reply.targets[0].clauses == (Flag("isolated"), Compare("diameter", ">", 20, "nm"))
    assert [(v.measure, v.of) for v in reply.values] == [
        (Measure("mean", "diameter"), 1),
        (Measure("count"), 2),
    ]
    assert not reply.notes
    broken = parse_reply("Here are the pores [SEG]<where>largest 3; purple</where> <value>mood</value>")
    assert broken.targets[0].clauses == () and "purple" in broken.notes[0] and "mood" in broken.notes[1]
    assert parse_reply("<value>count</value>").values[0].of == 0
    assert "cut off" in parse_reply("necks [SEG]<where>largest 3").notes[0]


def test_render_is_the_inverse_of_parse():
    text = "Here are the particles [SEG]<where>diameter > 0.5 um; largest 3</where> and the necks [SEG]."
    assert render_reply(parse_reply(text)) == text
    assert render_reply(parse_reply("<absent>There are no cats in this micrograph.")).startswith("<absent>There")


def test_same_meaning():
    def same(one, other):
        return same_meaning(parse_reply(one), parse_reply(other))

    assert same("The necks [SEG].", "Here are the necks [SEG]!")
    assert same("necks [SEG]<where>neck width > 0.5 um</where>", "necks [SEG]<where>neck width > 500 nm</where>")
    assert same("necks [SEG]<where>in centre; gap < 1 px</where>", "necks [SEG]<where>gap < 1 px; in centre</where>")
    assert not same("necks [SEG]<where>largest 3; in centre</where>", "necks [SEG]<where>in centre; largest 3</where>")
    assert not same("necks [SEG]", "pores [SEG]")
    assert not same("necks [SEG]", "<absent>There are no necks.")
    assert normal((Flag("isolated"), Flag("isolated"))) == (Flag("isolated"),)


def test_display():
    value = Value("mean diameter", 12.4, "nm", "12.4 nm", 1)
    reply = parse_reply(
        "The mean diameter of the particles [SEG]<where>isolated</where> is <value>mean diameter</value>."
    )
    assert display(reply, [value]) == "The mean diameter of the isolated particles is 12.4 nm."
    several = parse_reply("Here are the particles [SEG]<where>largest 3</where> and the necks [SEG].")
    assert display(several) == "Here are the 3 largest particles and the necks."
    assert display(several, absent={2}) == "Here are the 3 largest particles. There are no necks in this micrograph."
    assert display(several, absent={1, 2}) == "There are no particles or necks in this micrograph."
    assert noun_phrase("particle", parse_clauses("largest 3; isolated")[0]) == "particles (largest 3; isolated)"
    for clause in (
        "in top half",
        "nearest 2 to 3,4",
        "area between 3 and 4 px2",
        "not in agglomerate",
        "gap ~ 3 A",
    ):
        assert noun_phrase("particle", parse_clauses(clause)[0])


def test_automaton_gives_continuations():
    g = where_automaton()
    assert g.continuations("in top l") == ["eft quadrant"]
    assert g.continuations("purple") == [] and g.step(0, "purple") == DEAD
    assert not g.accepts(g.step(0, "largest ")) and g.accepts(g.step(0, "largest 3"))
    assert "; " in g.continuations("largest 3")


@pytest.fixture(scope="module")
def tokenizer():
    """Byte-level BPE with a few merged words, as small as can be."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    corpus = ["largest 3 diameter > 20 nm; mean diameter in top left quadrant Here are the necks"] * 20
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<eos>"],
    )
    model.train_from_iterator(corpus, trainer)
    model.add_special_tokens([tokenizers.AddedToken(token, lstrip=True) for token in SPECIAL_TOKENS])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<eos>")


def test_processor_holds_a_random_model_to_the_grammar(tokenizer):
    import torch

    from lisa_micro.language.decoding import GrammarProcessor

    processor = GrammarProcessor(tokenizer)
    generator = torch.Generator().manual_seed(0)
    start = tokenizer.encode("Here are the necks [SEG]")
    for opener, closer in (("<where>", "</where>"), ("<value>", "</value>")):
        close = tokenizer.convert_tokens_to_ids(closer)
        for _ in range(20):
            ids = [*start, tokenizer.convert_tokens_to_ids(opener)]
            for _ in range(200):
                scores = processor(torch.tensor([ids]), torch.randn(1, processor.size, generator=generator))
                scores[0, close] += 3  # or clauses would go on for ever
                ids.append(int(scores.argmax()))
                if ids[-1] == close:
                    break
            reply = parse_reply(tokenizer.decode(ids))
            assert not reply.notes, tokenizer.decode(ids)


def test_processor_outside_of_tags(tokenizer):
    import torch

    from lisa_micro.language.decoding import GrammarProcessor

    processor = GrammarProcessor(tokenizer)
    number = tokenizer.convert_tokens_to_ids

    def allowed(text):
        ids = tokenizer.encode(text) if text else []
        return {token for token in SPECIAL_TOKENS if processor.allowed(ids)[number(token)]}, processor.allowed(ids)

    assert allowed("")[0] == {"<absent>", "[SEG]"}
    assert allowed("Here are the necks [SEG]")[0] == {"<where>", "[SEG]", "<value>"}
    tokens, mask = allowed("Here are")
    assert tokens == {"[SEG]"} and not mask[number("3")] and mask[tokenizer.eos_token_id]
    assert allowed("<absent>There are no C")[1][number("6")]
    assert not allowed("necks [SEG]<where>largest 3")[1][tokenizer.eos_token_id]
    scores = processor(torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, processor.size + 5))
    assert torch.isinf(scores[:, processor.size :]).all()
    with pytest.raises(ValueError, match="lacks"):
        GrammarProcessor(type("T", (), {"get_vocab": lambda self: {"a": 0}})())
    assert np.isfinite(scores[0, number("[SEG]")].item())


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("count at end", Measure("count", when="at end")),
        ("mean diameter at frame 12", Measure("mean", "diameter", "at frame 12")),
        ("max diameter at 3,50 min", Measure("max", "diameter", "at 3.5 min")),
        ("mean neck width rate", Measure("mean", "neck width", "rate")),
        ("area fraction change", Measure("area fraction", when="change")),
        ("first coalescence time", Measure("first", event="coalescence")),
        ("neck formation count", Measure("count", event="neck formation")),
        ("growth exponent", Measure("growth exponent")),
    ],
)
def test_measures_of_videos(text, measure):
    assert parse_measure(text) == measure and measure.of_video
    canonical = render_measure(measure)
    assert parse_measure(canonical) == measure
    assert in_grammar(canonical, value_automaton())


@pytest.mark.parametrize("text", ["count at", "at end", "coalescence time", "count at 12", "growth exponent at end"])
def test_what_is_no_measure_of_a_video(text):
    assert parse_measure(text) is None
    assert not in_grammar(text, value_automaton())


def test_moments_are_frames_or_seconds():
    assert moment("at frame 12") == ("frame", 12)
    assert moment("at 2.5 min") == ("time", 150)
    assert moment("at end")[0] == "end"
    with pytest.raises(ValueError, match="not a moment"):
        moment("rate")
