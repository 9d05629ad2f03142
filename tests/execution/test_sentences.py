"""Readings of programs and replies told from results: English that is right for none, one and many."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_strategies import programs
from test_execution import CONCEPTS, labels_of, random_scene

from lisa_micro.execution import LabelledScene, execute, tell
from lisa_micro.execution.topics import INSTEAD
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.language.program import describe, parse_program, terms


def reading(where, noun="particles"):
    return describe(parse_program(f"{noun} [SEG]<where>{where}</where>"))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("largest 3; except touching {neck}; except touching border",
         "the three largest particles, without those that touch a neck, without those that touch the border"),
        ("largest 1", "the largest particle"),
        ("largest 2-2", "the second largest particle"),
        ("smallest 2-4", "the second to fourth smallest particles"),
        ("largest 23-23", "the 23rd largest particle"),
        ("largest 10 %", "the largest 10 % of the particles"),
        ("highest gap 1", "the particle with the highest gap"),
        ("lowest circularity 3", "the three particles with the lowest circularity"),
        ("highest aspect ratio 2-2", "the particle with the second highest aspect ratio"),
        ("except largest 1", "the particles except the largest one"),
        ("except largest 2 | smallest 2", "the particles except the two largest and the two smallest"),
        ("largest 1 | smallest 1", "the largest particle and the smallest particle"),
        ("diameter > 5 nm", "the particles that have a diameter above 5 nm"),
        ("area between 5 and 9 um2", "the particles that have an area between 5 and 9 µm²"),
        ("diameter > 1.5 mean", "the particles that have a diameter above 1.5 times the mean"),
        ("diameter < mean - 2 std", "the particles that have a diameter below the mean minus 2 standard deviations"),
        ("diameter >= 2 {pore}.max",
         "the particles that have a diameter of at least twice the largest diameter of the pores"),
        ("contacts = 3", "the particles that have exactly 3 contacts"),
        ("isolated", "the isolated particles"),
        ("isolated; in left half", "the isolated particles that lie in the left half"),
        ("isolated; largest 2", "the two largest isolated particles"),
        ("not touching border", "the particles that do not touch the border"),
        ("except not touching border", "the particles that touch the border"),
        ("in agglomerate", "the particles that belong to an agglomerate"),
        ("not in agglomerate", "the particles that do not belong to any agglomerate"),
        ("in middle row", "the particles that lie in the middle row"),
        ("in centre", "the particles that lie in the centre of the image"),
        ("in box 1,2,30,40", "the particles that lie in the box from (1, 2) to (30, 40) px"),
        ("in left half; nearest 1 to centre",
         "the particle nearest to the centre of the image, of those that lie in the left half"),
        ("in left half; isolated; highest gap 1",
         "the isolated particle with the highest gap, of those that lie in the left half"),
        ("nearest 1 to left edge", "the particle nearest to the left edge"),
        ("nearest 2 to image edge", "the two particles nearest to the image's nearest edge"),
        ("farthest 3 to {neck largest 1}", "the three particles farthest from the largest neck"),
        ("nearest 1 to 10,20", "the particle nearest to the point (10, 20)"),
        ("closest pair", "the two particles closest to each other"),
        ("closest separate pair", "the two particles closest to each other without being in contact"),
        ("touching {particle}", "the particles that touch another particle"),
        ("touching {neck}", "the particles that touch a neck"),
        ("except touching {neck}", "the particles that do not touch any neck"),
        ("touching {particle largest 1}", "the particles that touch the largest particle"),
        ("touching {particle largest 3}", "the particles that touch one of the three largest particles"),
        ("touching >= 2 {neck}", "the particles that touch at least two necks"),
        ("with = 1 {core}", "the particles that have exactly one core"),
        ("touching > 1 {particle largest 5}", "the particles that touch more than one of the five largest particles"),
        ("left of {neck}", "the particles that lie left of every neck"),
        ("above {pore largest 1}", "the particles that lie above the largest pore"),
        ("larger than {particle touching border}",
         "the particles that are larger than every particle that touches the border"),
        ("inside {agglomerate}", "the particles that lie inside an agglomerate"),
        ("within 20 nm of {grain boundary}", "the particles that lie within 20 nm of the grain boundary"),
        ("among {particle largest 5}", "the particles that are among the five largest particles"),
        ("touching {particle touching {pore largest 1}}",
         "the particles that touch a particle that touches the largest pore"),
        ("largest 3; in left half", "those of the three largest particles that lie in the left half"),
        ("largest 1; in left half", "the largest particle, if it lies in the left half"),
        ("largest 5; darkest 1", "the darkest of the five largest particles"),
        ("largest 5; nearest 2 to centre", "the two of the five largest particles nearest to the centre of the image"),
        ("largest 5; highest gap 1", "the one of the five largest particles with the highest gap"),
        ("largest 1; nearest 1 to centre", "the largest particle"),
        ("except farthest 5 to centre", "the particles except the five farthest from the centre of the image"),
        ("except closest pair", "the particles except the two closest to each other"),
        ("except largest 10 %", "the particles except the largest 10 %"),
        ("isolated | touching {neck}", "the particles that are isolated or touch a neck"),
        ("except isolated | touching {neck}", "the particles that are not isolated and do not touch any neck"),
    ],
)  # fmt: skip
def test_readings(where, said):
    assert reading(where) == said


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("necks [SEG] pores [SEG]", "the necks and the pores"),
        ("particles [SEG]<value>mean diameter</value>", "the mean diameter of the particles"),
        ("particles [SEG]<value>count</value>", "the number of particles"),
        ("particles [SEG]<where>isolated</where> particles [SEG]<value>count of 1 / count of 2</value>",
         "the percentage of particles that are isolated"),
        ("necks [SEG] particles [SEG]<value>count of 1 / count of 2</value>",
         "the ratio of the number of necks to the number of particles"),
        ("particles [SEG]<value>list area</value>", "the area of each of the particles"),
        ("particles [SEG]<plot>scatter area against gap</plot>", "a plot of area against gap of the particles"),
        ("particles [SEG] pores [SEG]<plot>cumulative area of 1 and 2</plot>",
         "the cumulative distribution of the area of the particles and the pores"),
        ("<unknown>twins", "something that was never learnt (twins)"),
        ("<cannot>cause", "something that cannot be asked (why something is as it is)"),
        ("You are welcome.", ""),
        ("particles [SEG]<where>among {1}</where>", "something whose constraint 'among {1}' was not understood"),
    ],
)  # fmt: skip
def test_readings_of_whole_replies(reply, said):
    assert describe(parse_program(reply)) == said


@pytest.fixture
def scene() -> LabelledScene:
    particles = labels_of((2, 2, 6, 6), (8, 2, 12, 6), (30, 18, 36, 24), (50, 30, 52, 32), (20, 0, 29, 3))
    crack = labels_of((0, 35, 60, 37))
    return LabelledScene({"particle": particles, "crack": crack, "substrate": (particles == 0).astype(np.int32)}, 2.0)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("particles [SEG]", "5 particles, mean diameter 9.57 nm (4.51 to 13.5)."),
        ("cracks [SEG]", "1 crack, length 120 nm."),
        ("necks [SEG]", "There are no necks in this micrograph."),
        ("substrate [SEG]", "The substrate covers 95.9 % of the image."),
        ("particles [SEG]<where>largest 3</where>",
         "The three largest particles: 3 of 5, mean diameter 11.4 nm (9.03 to 13.5)."),
        ("particles [SEG]<where>largest 2-2</where>", "The second largest particle: 1 of 5, diameter 11.7 nm."),
        ("particles [SEG]<where>diameter > 50 nm</where>", "None of the 5 particles found has a diameter above 50 nm."),
        ("particles [SEG]<where>largest 1; isolated; touching border</where>",
         "None of the 5 particles found matches: the largest particle, if it is isolated, if it touches the border."),
        ("cracks [SEG]<where>length < 5 nm</where>",
         "The only crack found does not match: the cracks that have a length below 5 nm."),
        ("particles [SEG]<value>count</value>", "There are 5 particles."),
        ("cracks [SEG]<value>count</value>", "There is 1 crack."),
        ("necks [SEG]<value>count</value>", "There are no necks in this micrograph."),
        ("particles [SEG]<where>isolated</where><value>count</value>", "3 of the 5 particles found are isolated."),
        ("particles [SEG]<where>in bottom third</where><value>count</value>",
         "1 of the 5 particles found lies in the bottom third."),
        ("particles [SEG]<value>mean diameter</value><value>std diameter</value>",
         "The mean diameter of the particles is 9.57 nm and the standard deviation of the diameter is 3.41 nm."),
        ("particles [SEG]<where>isolated</where> particles [SEG]<value>count of 1 / count of 2</value>",
         "3 of 5 particles (60 %) are isolated."),
        ("particles [SEG]<where>in bottom third</where> particles [SEG]<where>isolated</where>"
         "<value>count of 1 / count of 2</value>",
         "1 of 3 (33.3 %) of the isolated particles lies in the bottom third."),
        ("particles [SEG]<where>isolated</where> particles [SEG]<value>max area of 1 - max area of 2</value>",
         "The largest area of the isolated particles is 144 nm² and the largest area of the particles is 144 nm²: "
         "no difference."),
        ("cracks [SEG] particles [SEG]<value>count of 1 / count of 2</value>",
         "The number of cracks is 1 and the number of particles is 5: a ratio of 0.2."),
        ("particles [SEG]<where>largest 2</where><value>list diameter</value>",
         "The diameter of the two largest particles: 13.5, 11.7 nm."),
        ("particles [SEG] cracks [SEG]<value>distance from 1 to 2</value>",
         "The distance between the particles and the crack is 6 nm."),
        ("particles [SEG]<value>mean thickness</value>",
         "The mean thickness of the particles is unknown (the thickness was not measured)."),
        ("particles [SEG]<value>mean diameter rate</value>",
         "The rate of change in the mean diameter of the particles is unknown (it needs a video)."),
        ("particles [SEG]<value>gibberish</value>",
         "5 particles, mean diameter 9.57 nm (4.51 to 13.5). I did not understand what to measure ('gibberish')."),
        ("particles [SEG]<where>gibberish</where>",
         "I could not select the particles: the constraint 'gibberish' was not understood."),
        ("particles [SEG]<where>gibberish</where><value>count</value>",
         "I could not select that: the constraint 'gibberish' was not understood."),
        ("particles [SEG]<plot>histogram diameter</plot>",
         "Here is a histogram of the diameter of the particles (n = 5, D10 6.32, D50 9.03, D90 12.8 nm)."),
        ("particles [SEG]<plot>scatter area against diameter</plot>",
         "Here is a plot of area against diameter of the particles (5 points)."),
        ("You are welcome.", "You are welcome."),
        ("<absent>There are no pores in this micrograph.", "There are no pores in this micrograph."),
        ("", "I found nothing to do in that request; ask for something to segment, measure or plot."),
    ],
)  # fmt: skip
def test_replies(scene, reply, told):
    if "distance" in reply:
        told = told.replace("the particles and the crack", "the particles and the cracks")
    assert tell(execute(parse_program(reply), scene)) == told


def test_unknown_things_are_not_said_to_be_absent(scene):
    told = tell(execute(parse_program("<unknown>dislocations"), scene))
    assert told.startswith("I have not learnt to see dislocations.") and "no dislocations" not in told
    both = tell(execute(parse_program("particles [SEG]<unknown>dislocations"), scene))
    assert both.startswith("5 particles") and "I have not learnt to see dislocations" in both


def test_every_refusal_offers_something_else():
    assert INSTEAD.keys() == terms.CANNOT_TOPICS.keys()
    scene = LabelledScene({}, shape=(5, 5))
    for topic, text in INSTEAD.items():
        told = tell(execute(parse_program(f"<cannot>{topic}"), scene))
        assert told == text and re.search(r"\b(can|run)\b", told) and told.count(".") >= 2


def test_px_are_told_where_the_pixel_size_is_unknown(scene):
    scene.pixel_size_nm = None
    told = tell(execute(parse_program("particles [SEG]"), scene))
    assert told == (
        "5 particles, mean diameter 4.78 px (2.26 to 6.77). The pixel size is unknown, so lengths and areas are in px."
    )
    assert "px" not in tell(execute(parse_program("particles [SEG]<value>count</value>"), scene))


@settings(max_examples=80, deadline=None)
@given(programs(CONCEPTS), st.integers(0, 60))
def test_any_program_is_told_in_clean_sentences(program, seed):
    scene, _ = random_scene(seed)
    for text in (describe(program), tell(execute(program, scene))):
        assert not re.search(r"[{}<>\[\]]|  | ,|,,|\.\.|nan|inf\b|None of the 0|\ba a\b|the the", text), text
        assert text == text.strip() and not text.endswith(",")
    told = tell(execute(program, scene))
    assert told and told[0] == told[0].upper() and told[-1] in ".!?)"


@settings(max_examples=60, deadline=None)
@given(programs(CONCEPTS), st.integers(0, 60))
def test_every_number_in_a_reply_is_asked_for_or_measured(program, seed):
    scene, _ = random_scene(seed)
    if program.plots or len(program.targets) != 1 or program.values or program.refusals:
        return
    result = execute(program, scene)
    told, asked = tell(result), describe(program)
    numbers = set(re.findall(r"\d+(?:\.\d+)?", told)) - set(re.findall(r"\d+(?:\.\d+)?", asked))
    for problem in (result.selections[0].problem,):
        numbers -= set(re.findall(r"\d+(?:\.\d+)?", problem))
    (selection,) = result.selections
    table = selection.table()
    known = {selection.count, selection.found}
    size = scene.pixel_size_nm or 1.0
    for name in ("diameter", "length"):
        values = table[name].to_numpy() * size
        if len(values):
            known |= {float(f"{v:.3g}") for v in (values.mean(), values.min(), values.max())}
    widths = np.sqrt(2 * table["area"].to_numpy()) * size
    if len(widths):
        known |= {float(f"{v:.3g}") for v in (widths.mean(), widths.min(), widths.max())}
    assert {float(n) for n in numbers} <= known


def test_nouns_of_all_concepts_read_well():
    for name in FULL_VOCABULARY.names:
        singular, plural = FULL_VOCABULARY.nouns(name)
        said = reading(f"touching {{{singular}}}", plural)
        assert said.startswith(f"the {plural} that touch")
