"""A clock that is set back while a command runs changes no result and no duration."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from cli_calls import call
from kill_works import WORKS, Assistant, differences

import lisa_micro
from lisa_micro.cli import serve


@pytest.fixture
def backwards(monkeypatch):
    """Each look at the clock shows an hour less."""
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Assistant(), raising=False)
    hours = itertools.count()

    def set_back():
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))

    return set_back


@pytest.mark.parametrize("name", ["track", "batch", "correct"])
def test_results_are_the_same(backwards, tmp_path, name):
    work = WORKS[name]
    (tmp_path / "inputs").mkdir()
    work.prepare(tmp_path / "inputs")
    assert call(*work.command(tmp_path / "inputs", tmp_path / "whole", False)) == 0
    backwards()
    assert call(*work.command(tmp_path / "inputs", tmp_path / "back", False)) == 0
    assert differences(work, tmp_path / "back", tmp_path / "whole") == []
    for path in (tmp_path / "back").rglob("*.json"):
        assert all(value >= 0 for value in _durations(json.loads(path.read_bytes()))), path
    if name == "batch":
        record = json.loads((tmp_path / "back" / "run.json").read_text())
        assert record["finished"] >= record["started"]


def _durations(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("seconds", "seconds_left", "total"):
                yield from (item.values() if isinstance(item, dict) else [item or 0])
            yield from _durations(item)
    elif isinstance(value, list):
        for item in value:
            yield from _durations(item)


def test_a_server_is_never_younger_than_nothing(monkeypatch, capsys):
    class Connection:
        def close(self):
            pass

    model = {"preset": "micro", "device": "cpu", "precision": "auto", "weights_sha256": "12" * 32}
    greeting = {"version": "0", "process": 1, "since": time.time() + 7200, "requests": 0, "busy": False, "model": model}
    monkeypatch.setattr(serve, "_greeted", lambda: (Connection(), greeting))
    serve._show()
    assert ", 0 min, " in capsys.readouterr().out
