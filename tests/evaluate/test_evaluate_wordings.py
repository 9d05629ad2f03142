"""Suite ``wordings`` with stand-ins, and the file of meanings that belongs to the project."""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from lisa_micro.evaluate import EvaluationSettings, evaluate, meanings, suite_names
from lisa_micro.evaluate.composed import measures_of
from lisa_micro.evaluate.programs import LEAST_IOU, judge, overlap
from lisa_micro.evaluate.scenes import scene_with_everything
from lisa_micro.execution import execute
from lisa_micro.language.program import parse_program, render_program
from lisa_micro.types import InputError

FILE = Path(__file__).parents[1] / "data" / "wordings.yaml"
FREE, WIDTH, ALL = "particles [SEG]<where>isolated</where>", "necks [SEG]<value>mean neck width</value>", "pores [SEG]"
ASKED = {FREE: ["free", "alone"], WIDTH: ["how wide", "neck width"]}

one_scene = cache(scene_with_everything)


@pytest.fixture(autouse=True)
def simulated_once(monkeypatch):
    monkeypatch.setattr(meanings, "scene_with_everything", one_scene)


class Parrot:
    """Replies with what each wording means, but for some."""

    def __init__(self, asked, **other):
        self.replies = {wording: meaning for meaning, say in asked.items() for wording in say} | other

    def parse(self, micrograph, prompt):
        assert micrograph.shape == (512, 512) and micrograph.pixel_size_nm
        return self.replies[prompt]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "meanings.yaml"
    file.write_text(yaml.safe_dump([{"meaning": meaning, "say": say} for meaning, say in ASKED.items()]))
    return file


def scores(path, limit=None, **other):
    result = evaluate("wordings", Parrot(ASKED, **other), EvaluationSettings(prompts=path, limit=limit)).results[0]
    return result, tuple(result[key].value for key in ("right_mask", "same_mask", "right"))


def test_all_right(path):
    result, found = scores(path)
    assert found == (1, 1, 1) and not result.notes and not result.details["wordings-failures.csv"]
    assert result["right_mask"].n == 4 and result["same_mask"].n == 2
    assert result["right_mask"].limit(result["right_mask"].must) == ">= 97 %" and result["same_mask"].aim == 0.995
    assert scores(path, limit=1)[0]["right_mask"].n == 2


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"free": "particles [SEG]<where>in contact</where>"}, (0.75, 0.5, 0.75)),
        # another program for the same mask
        ({"free": "particles [SEG]<where>except touching {particle}</where>"}, (1, 1, 1)),
        # consistently wrong
        (dict.fromkeys(("free", "alone"), ALL), (0.5, 1, 0.5)),
        # the mask without its number, or with another one
        ({"how wide": "necks [SEG]"}, (1, 1, 0.75)),
        ({"how wide": "necks [SEG]<value>max neck width</value>"}, (1, 1, 0.75)),
        ({"free": "<cannot>other"}, (0.75, 0.5, 0.75)),
        # no mask is not the same mask
        (dict.fromkeys(("free", "alone"), "<unknown>twins"), (0.5, 0.5, 0.5)),
        (dict.fromkeys(("free", "alone"), ""), (0.5, 0.5, 0.5)),
    ],
)
def test_by_hand(path, other, expected):
    assert scores(path, **other)[1] == expected


def test_failures_are_listed(path):
    result, _ = scores(path, free=ALL)
    (row,) = result.details["wordings-failures.csv"]
    assert row["prompt"] == "free" and row["meaning"] == FREE and row["read"] == ALL
    table = result.tables["By meaning"]
    assert [(row["right mask"], row["same mask"]) for row in table] == [(1, "no"), (2, "yes")]


def test_a_meaning_that_selects_nothing_is_noted(tmp_path):
    file = tmp_path / "meanings.yaml"
    huge = "particles [SEG]<where>diameter > 900 nm</where>"
    file.write_text(yaml.safe_dump([{"meaning": huge, "say": ["free", "alone"]}]))
    other = {"free": huge, "alone": "particles [SEG]<where>diameter > 800 nm</where>"}
    result, found = scores(file, **other)
    assert found == (0.5, 0, 0.5) and "1 of the meanings" in result.notes[0]


def test_a_file_is_needed():
    with pytest.raises(InputError, match="'wordings' needs a YAML file"):
        evaluate("wordings", Parrot({}))
    assert "wordings" not in suite_names("all") and "language" in suite_names("all")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no list"),
        ("- particles", "request 1: it needs"),
        ("- {say: a, expect: 'pores [SEG]'}", "request 1: it needs"),
        ("- {meaning: 3, say: [a, b]}", "'meaning' must be a text, not 3"),
        ("- {meaning: 'pores [SEG]', say: [a]}", "at least two"),
        ("- {meaning: 'pores [SEG]', say: [a, 3]}", "at least two"),
        ("- {meaning: 'pores [SEG]<where>foo</where>', say: [a, b]}", "not in the reply language"),
        ("- {meaning: '<cannot>other', say: [a, b]}", "segments nothing"),
        ("- {say", "cannot be read"),
    ],
)
def test_bad_files(tmp_path, text, said):
    path = tmp_path / "meanings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        evaluate("wordings", Parrot({}), EvaluationSettings(prompts=path))


# -------------------------------------------------------------------------------------- the file of the project


def test_the_file_has_forty_meanings_of_eight_wordings():
    entries = yaml.safe_load(FILE.read_text("utf-8"))
    assert len(entries) == 40 and all(len(entry["say"]) == 8 for entry in entries)
    for entry in entries:
        program = parse_program(entry["meaning"])
        assert not program.notes and render_program(program) == entry["meaning"]
    words = [" ".join(re.findall(r"\w+", wording.lower())) for entry in entries for wording in entry["say"]]
    assert len(set(words)) == len(words)


@pytest.mark.slow
def test_the_scene_tells_the_meanings_of_the_file_apart():
    scene = measures_of(one_scene(meanings.SEED))
    programs = [meaning.expected for meaning in meanings.read_meanings(FILE)]
    for program in programs:
        selection = execute(program, scene).selections[0]
        everything = overlap(selection.labels() > 0, selection.instances.indexed > 0) >= LEAST_IOU
        assert selection.count and everything == (not program.targets[0].pipeline), render_program(program)
    for one, other in combinations(programs, 2):
        assert not judge(one, other, [scene]).right, (render_program(one), render_program(other))
