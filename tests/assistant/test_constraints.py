"""Clauses and measures on instances with hand-written properties."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_micro.assistant.constraints import apply
from lisa_micro.assistant.values import evaluate, significant, subset
from lisa_micro.language import parse_clauses, parse_measure

SHAPE = (100, 200)  # H, W


@pytest.fixture
def props():
    """Six particles; 3 and 4 and 5 in contact, 6 alone at the border and without intensity."""
    area = np.array([100.0, 400.0, 900.0, 900.0, 1600.0, 25.0])
    return {
        "label": np.arange(1, 7),
        "x": np.array([10.0, 99.0, 99.5, 150.0, 199.0, 100.0]),
        "y": np.array([10.0, 49.0, 49.5, 90.0, 0.0, 50.0]),
        "area": area,
        "diameter": np.array([10.0, 20.0, 30.0, 30.0, 40.0, 5.0]),
        "length": np.array([12.0, 22.0, 31.0, 60.0, 41.0, 5.0]),
        "width": np.array([9.0, 19.0, 29.0, 20.0, 39.0, 5.0]),
        "circularity": np.array([0.9, 0.95, 0.99, 0.4, 0.8, 1.01]),
        "aspect_ratio": np.array([1.3, 1.1, 1.0, 3.0, 1.05, 1.0]),
        "intensity": np.array([5.0, 4.0, 3.0, 2.0, 1.0, np.nan]),
        "touches_border": np.array([False, False, False, False, True, True]),
        "contacts": np.array([0, 0, 1, 2, 1, 0]),
        "agglomerate": np.array([0, 0, 1, 1, 1, 0]),
        "gap": np.array([7.0, 7.0, 0.0, 0.0, 0.0, np.inf]),
        "neck_width": np.array([0.0, 0.0, 8.0, 12.0, 12.0, 0.0]),
        "neck_ratio": np.array([0.0, 0.0, 0.2, 0.4, 0.4, 0.0]),
    }


def kept(text, props, pixel_size_nm=None, concept="particle"):
    clauses, bad = parse_clauses(text)
    assert not bad
    keep, notes = apply(clauses, props, SHAPE, pixel_size_nm, concept)
    return list(props["label"][keep]), notes


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("largest 1", [5]),
        ("largest 2", [3, 5]),  # 3 and 4 are equal: the lower label comes first
        ("smallest 2", [1, 6]),
        ("longest 1", [4]),
        ("roundest 1", [6]),
        ("darkest 2", [4, 5]),  # an instance without intensity is never ranked
        ("brightest 1", [1]),
        ("largest 50 %", [3, 4, 5]),
        ("smallest 1 %", [6]),
        ("diameter > 20 px", [3, 4, 5]),
        ("diameter >= 20 px", [2, 3, 4, 5]),
        ("diameter < 10 px", [6]),
        ("diameter <= 10 px", [1, 6]),
        ("diameter ~ 19 px", [2]),
        ("area >= 900 px", [3, 4, 5]),
        ("area between 100 and 400 px2", [1, 2]),
        ("circularity < 0.9", [4, 5]),
        ("aspect ratio > 2", [4]),
        ("gap > 5 px", [1, 2, 6]),
        ("contacts >= 1", [3, 4, 5]),
        ("contacts ~ 2", [4]),
        ("diameter > mean", [3, 4, 5]),  # mean 22.5
        ("diameter < median", [1, 2, 6]),  # median 25
        ("intensity > mean", [1, 2]),
        ("touching border", [5, 6]),
        ("not touching border", [1, 2, 3, 4]),
        ("in contact", [3, 4, 5]),
        ("isolated", [1, 2, 6]),
        ("in agglomerate", [3, 4, 5]),
        ("not in agglomerate", [1, 2, 6]),
        ("in left half", [1, 2]),  # 99.5 is the middle of 0..199 and belongs to the right
        ("in right half", [3, 4, 5, 6]),
        ("in top half", [1, 2, 5]),
        ("in bottom half", [3, 4, 6]),
        ("in top left quadrant", [1, 2]),
        ("in bottom right quadrant", [3, 4, 6]),
        ("in centre", [2, 3, 6]),
        ("nearest 1 to centre", [3]),
        ("nearest 2 to top right corner", [4, 5]),
        ("nearest 1 to bottom right corner", [4]),
        ("nearest 1 to 12,8", [1]),
        ("isolated; largest 1", [2]),
        ("largest 1; isolated", []),
        ("neck width > 10 px", [4, 5]),
        ("neck ratio < 0.3; in contact", [3]),
    ],
)
def test_clauses(text, labels, props):
    assert kept(text, props)[0] == labels


def test_every_pair_of_opposites_splits_the_set(props):
    for one, other in [("in left half", "in right half"), ("in top half", "in bottom half"),
                       ("isolated", "in contact"), ("diameter > 20 px", "diameter <= 20 px")]:  # fmt: skip
        a, b = kept(one, props)[0], kept(other, props)[0]
        assert sorted([*a, *b]) == [1, 2, 3, 4, 5, 6]


def test_units(props):
    assert kept("diameter > 10 nm", props, 0.5)[0] == [3, 4, 5]  # 20 px are exactly 10 nm
    assert kept("diameter >= 0.3 nm", props, 0.1)[0] == [1, 2, 3, 4, 5, 6]
    assert kept("diameter > 0.02 um", props, 1.0)[0] == [3, 4, 5]
    assert kept("diameter > 150 A", props, 0.5)[0] == [5]
    assert kept("area > 100 nm2", props, 0.5)[0] == [3, 4, 5]
    labels, notes = kept("diameter > 10 nm", props, None)
    assert labels == [1, 2, 3, 4, 5, 6] and "pixel size is unknown" in notes[0]
    labels, notes = kept("diameter > 20", props, None)
    assert labels == [3, 4, 5] and "px" in notes[0]
    labels, notes = kept("diameter > 10", props, 0.5)
    assert labels == [3, 4, 5] and "nm" in notes[0]
    assert kept("diameter > 20 px", props, 0.5) == ([3, 4, 5], ())


def test_three_pixels_of_a_tenth_are_not_more_than_three_tenths(props):
    props["diameter"] = np.array([3.0, 3.0, 3.0, 4.0, 4.0, 4.0])
    assert kept("diameter > 0.3 nm", props, 0.1)[0] == [4, 5, 6]
    assert kept("diameter <= 0.3 nm", props, 0.1)[0] == [1, 2, 3]


def test_too_few_and_unmeasured(props):
    labels, notes = kept("largest 9", props)
    assert labels == [1, 2, 3, 4, 5, 6] and "only 6" in notes[0]
    props["intensity"][:] = np.nan
    labels, notes = kept("darkest 1", props)
    assert len(labels) == 6 and "not measured" in notes[0]
    del props["contacts"]
    assert "not measured" in kept("isolated", props)[1][0]


def test_empty(props):
    nothing = subset(props, np.zeros(6, bool))
    for text in (
        "largest 3",
        "diameter > mean",
        "in centre",
        "isolated",
        "nearest 2 to centre",
        "gap < 3 px",
    ):
        assert kept(text, nothing)[0] == []
    assert evaluate(parse_measure("count"), nothing, SHAPE, None)[0].text == "0"
    value, _ = evaluate(parse_measure("mean diameter"), nothing, SHAPE, 0.5)
    assert np.isnan(value.value) and "nothing was found" in value.text


def test_necks_are_ranked_by_width():
    necks = {
        "label": np.arange(1, 4),
        "x": np.zeros(3),
        "y": np.zeros(3),
        "area": np.array([8.0, 32.0, 18.0]),
    }
    assert kept("largest 1", necks, concept="neck")[0] == [2]
    assert kept("neck width > 5 px", necks, concept="neck")[0] == [2, 3]  # sqrt(2 * area): 4, 8, 6
    necks["neck_width"] = np.array([9.0, 3.0, 6.0])
    assert kept("largest 1", necks, concept="neck")[0] == [1]
    assert kept("neck width >= 6 px", necks, concept="neck")[0] == [1, 3]


@pytest.mark.parametrize(
    ("measure", "value", "unit", "text"),
    [
        ("count", 6, "", "6"),
        ("area fraction", 100 * 3925 / 20000, "%", "19.6 %"),
        ("number density", 6 / (20000 * 0.25e-6), "1/um2", "1200 per µm²"),
        ("mean diameter", 11.25, "nm", "11.2 nm"),
        ("median diameter", 12.5, "nm", "12.5 nm"),
        ("min diameter", 2.5, "nm", "2.50 nm"),
        ("max area", 400, "nm2", "400 nm²"),
        ("total area", 3925 / 4, "nm2", "981 nm²"),
        ("std contacts", np.std([0, 0, 1, 2, 1, 0], ddof=1), "", "0.816"),
        ("mean gap", 2.8 / 2, "nm", "1.40 nm"),  # the infinite gap is left out
        ("mean intensity", 3, "", "3.00"),
        ("D10 diameter", 3.75, "nm", "3.75 nm"),
        ("D90 diameter", 17.5, "nm", "17.5 nm"),
    ],
)
def test_values(measure, value, unit, text, props):
    got, notes = evaluate(parse_measure(measure), props, SHAPE, 0.5)
    assert got.value == pytest.approx(value) and got.unit == unit and got.text == text and notes == ()


def test_values_in_px_say_so(props):
    got, notes = evaluate(parse_measure("mean diameter"), props, SHAPE, None, target=2)
    assert got.text == "22.5 px" and got.target == 2 and "px" in notes[0]
    got, notes = evaluate(parse_measure("number density"), props, SHAPE, None)
    assert got.unit == "1/px2" and got.text == "3.00e-04 per px²" and notes
    one = subset(props, np.arange(6) == 0)
    assert "too few" in evaluate(parse_measure("std diameter"), one, SHAPE, None)[0].text
    del props["intensity"]
    assert "not measured" in evaluate(parse_measure("mean intensity"), props, SHAPE, None)[0].text


def test_significant():
    assert [significant(v) for v in (0, 0.031, 12.44, 1239.6, 0.5, 100.0, -3.14159)] == [
        "0", "0.031", "12.4", "1240", "0.5", "100", "-3.14",
    ]  # fmt: skip


def test_one_micrograph_and_a_video_question(props):
    now, notes = evaluate(parse_measure("count at end"), props, SHAPE, 0.5)
    assert now.value == len(props["area"]) and now.measure == "count at end"
    assert "only point in time" in notes[0]
    for measure in ("mean diameter rate", "count change", "first coalescence time", "growth exponent"):
        value, notes = evaluate(parse_measure(measure), props, SHAPE, 0.5)
        assert np.isnan(value.value) and "video" in value.text and "video" in notes[0]
