"""Replies judged by what they do on scenes."""

from __future__ import annotations

import pytest
from test_execution import labels_of

from lisa_micro.evaluate.programs import judge
from lisa_micro.execution import LabelledScene
from lisa_micro.language.program import parse_program


def scene() -> LabelledScene:
    particles = labels_of((2, 2, 6, 6), (8, 2, 12, 6), (30, 18, 36, 24), (50, 30, 52, 32), (20, 0, 29, 3))
    return LabelledScene({"particle": particles}, 2.0)


def verdict(expected: str, read: str):
    return judge(parse_program(expected), parse_program(read), [scene()])


@pytest.mark.parametrize(
    ("expected", "read"),
    [
        ("particles [SEG]<where>isolated</where>", "particles [SEG]<where>isolated</where>"),
        ("particles [SEG]<where>isolated</where>", "particles [SEG]<where>except touching {particle}</where>"),
        ("particles [SEG]<where>largest 1</where>", "particles [SEG]<where>area >= {particle}.max</where>"),
        ("particles [SEG]<where>in contact</where> particles [SEG]<value>count of 1 / count of 2</value>",
         "particles [SEG]<where>except isolated</where> particles [SEG]<value>count of 1 / count of 2</value>"),
        ("<cannot>cause", "<cannot>other"),
        ("<unknown>twins", "<cannot>structure"),
    ],
)  # fmt: skip
def test_right(expected, read):
    assert verdict(expected, read).right


@pytest.mark.parametrize(
    ("expected", "read"),
    [
        ("particles [SEG]<where>isolated</where>", "particles [SEG]<where>in contact</where>"),
        ("particles [SEG]<where>largest 2-2</where>", "particles [SEG]<where>largest 2</where>"),
        ("particles [SEG]<value>mean diameter</value>", "particles [SEG]<value>max diameter</value>"),
        ("particles [SEG]<value>mean diameter</value>", "particles [SEG]"),
        ("particles [SEG]<plot>histogram area</plot>", "particles [SEG]<plot>histogram diameter</plot>"),
        ("<cannot>cause", "particles [SEG]"),
        ("particles [SEG]<where>diameter > 900 nm</where>", "particles [SEG]<where>diameter > 800 nm</where>"),
    ],
)
def test_silently_wrong(expected, read):
    found = verdict(expected, read)
    assert not found.right and found.silently_wrong


@pytest.mark.parametrize(
    "read", ["<cannot>other", "<unknown>particles", "particles [SEG]<where>largest", "I do not know."]
)
def test_a_refusal_of_what_can_be_asked_is_wrong_but_not_silent(read):
    found = verdict("particles [SEG]<where>largest 1</where>", read)
    assert not found.right and found.refused and not found.silently_wrong
