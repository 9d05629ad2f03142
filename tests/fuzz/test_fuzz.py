"""Changed files of every kind give a result or one sentence, within bounded memory and time.

``benchmarks/fuzz.py`` does the same for hours; what it found has a test where the reader is tested.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fuzz_mutations import mutated
from fuzz_seeds import TARGETS, Target
from fuzzing import fuzz, inputs, read

from lisa_micro.types import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and time are bounded as on Linux")
NAMES = [name for name, target in TARGETS.items() if target.available]
EACH = 10
"""Inputs of each kind."""


@pytest.mark.slow
def test_changed_files_are_handled(tmp_path):
    found = [f"{one.target}: {one.problem}" for one in fuzz(NAMES, 20, tmp_path, count=EACH * len(NAMES))]
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_unchanged_file_is_read(tmp_path, name):
    TARGETS[name].make(tmp_path)
    TARGETS[name].read(tmp_path)


def test_an_input_is_the_same_each_time(tmp_path):
    def first(folder) -> list[bytes]:
        (tmp_path / folder).mkdir()
        made = inputs(["boxes", "reply"], 3, tmp_path / folder)
        return [next(path.iterdir()).read_bytes() for _, (_, path) in zip(range(12), made, strict=False)]

    one, other = first("a"), first("b")
    assert one == other
    assert len(set(one)) > 6


def test_mutations_change_and_never_fail():
    rng = np.random.default_rng(0)
    seeds = [b'{"a": [1, 2, {"b": "x"}]}', b'{"a": 1}\n{"a": 2}\n', b"{broken", bytes(range(256)) * 3, b"\x00", b""]
    for data in seeds:
        made = [mutated(data, rng, seeds[3]) for _ in range(200)]
        assert len(set(made)) > 20 or len(data) < 2
        assert max(map(len, made)) < 2**20


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "raised KeyError"),
        (MemoryError(), "memory"),
        (InputError("two\nlines."), "one sentence"),
        (InputError(""), "one sentence"),
        (InputError("It is damaged. " * 90), "characters"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path, monkeypatch, error, words):
    def fail(_: object) -> None:
        raise error

    monkeypatch.setitem(TARGETS, "failing", Target(lambda _: None, fail))
    assert words in read("failing", tmp_path)


def test_memory_that_was_caught_is_still_too_much(tmp_path, monkeypatch):
    def fail(_: object) -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise InputError("It is damaged.") from error

    monkeypatch.setitem(TARGETS, "failing", Target(lambda _: None, fail))
    assert "memory" in read("failing", tmp_path)
