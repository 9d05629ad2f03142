"""Variations of written requests: words and program stay together."""

import numpy as np
import pytest

from lisa_micro.datasets.texts.programs import variation
from lisa_micro.datasets.texts.programs.sample import sample
from lisa_micro.datasets.texts.programs.written import read_line
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language.program import parse_program, render_program, same_program


def voice(seed=0):
    return Voice(np.random.default_rng(seed))


def text_of(conversation):
    return [(turn.user, turn.reply) for turn in conversation.exchanges]


def several(function, *lines):
    return [function(voice(seed), *map(read_line, lines)) for seed in range(40)]


def test_another_noun_goes_into_words_and_program():
    found = several(
        variation.other_nouns, "the three largest pores => pore[largest 3] >> how many? => pore[largest 3] : count"
    )
    concepts = set()
    for conversation in found:
        targets = [exchange.program.targets[0] for exchange in conversation.exchanges]
        assert len({target.concept for target in targets}) == 1
        assert variation.named_concepts(conversation.exchanges[0].user) == {targets[0].concept}
        assert "<where>largest 3</where>" in conversation.exchanges[0].reply
        concepts.add(targets[0].concept)
    assert len(concepts) > 3


@pytest.mark.parametrize(
    "line",
    [
        "isolated particles => particle[isolated]",
        "particles with two necks => particle[with = 2 {neck}]",
        "mean number of contacts of the particles => particle : mean contacts",
        "particles touching the largest pore => particle[touching {pore largest 1}]",
    ],
)
def test_what_only_one_concept_has_stays_with_it(line):
    given = read_line(line)
    for conversation in several(variation.other_nouns, line):
        assert same_program(conversation.exchanges[0].program, given.exchanges[0].program)


def test_a_noun_that_no_list_has_stays():
    line = "the three biggest blobs => particle[largest 3]"
    assert all(c == read_line(line) for c in several(variation.other_nouns, line))


def test_two_requests_in_one_ask_for_both():
    first, second = (
        "particles and pores => particle + pore",
        "ratio of necks to fibres => neck + fibre : count of 1 / count of 2",
    )
    wanted = "particles [SEG] pores [SEG] necks [SEG] fibres [SEG]<value>count of 3 / count of 4</value>"
    for conversation in several(variation.joined, first, second):
        (exchange,) = conversation.exchanges
        assert same_program(exchange.program, parse_program(wanted))
        assert "particles and pores" in exchange.user.lower() and "ratio of necks to fibres" in exchange.user.lower()


def test_sets_of_earlier_targets_and_plots_move_along():
    first = "the largest pore => pore[largest 1]"
    second = "widest neck, particles touching it => neck[largest 1] + particle[touching {1}] : histogram diameter of 2"
    assert variation.joined(voice(), read_line(first), read_line(second)) == read_line(first)  # "it" says what
    program = variation.behind(read_line(second).exchanges[0].program, 1)
    assert program.targets[1].pipeline[0].filters[0].of.number == 2 and program.plots[0].of == (3,)


def test_what_is_refused_is_said_last():
    first, second = "what are the pores made of? => cannot composition", "the two largest necks => neck[largest 2]"
    for conversation in several(variation.joined, first, second):
        (exchange,) = conversation.exchanges
        assert same_program(exchange.program, parse_program("necks [SEG]<where>largest 2</where> <cannot>composition"))


@pytest.mark.parametrize(
    "alone", ["only the largest pore => pore[largest 1]", "the rest of them => particle[except largest 1]"]
)
def test_requests_that_need_to_stand_alone_are_not_joined(alone):
    other = "segment the necks => neck"
    assert all(c == read_line(alone) for c in several(variation.joined, alone, other))


def test_a_fresh_request_keeps_nothing_of_what_was_before():
    before = "isolated particles => particle[isolated] >> how many? => particle[isolated] : count"
    fresh = "histogram of the pore areas => pore : histogram area"
    lengths = set()
    for conversation in several(variation.afresh, before, fresh):
        *earlier, last = text_of(conversation)
        assert earlier and earlier == text_of(read_line(before))[: len(earlier)]
        assert last[1] == read_line(fresh).exchanges[0].reply and last[0].lower().endswith(
            "histogram of the pore areas"
        )
        lengths.add(len(earlier))
    assert lengths == {1, 2}
    follow_up = "the isolated ones => particle[isolated]"
    assert all(c == read_line(follow_up) for c in several(variation.afresh, before, follow_up))


def test_drawn_conversations_are_programs_that_can_be_written_and_read():
    rng = np.random.default_rng(3)
    for exchange in (exchange for _ in range(400) for exchange in sample(Voice(rng))):
        assert same_program(parse_program(exchange.reply), exchange.program), exchange
        assert render_program(parse_program(exchange.reply)) == exchange.reply
        assert not parse_program(exchange.reply).notes
