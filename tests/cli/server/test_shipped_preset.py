"""The shipped preset through a server: files are those of a command that loads it itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from served import REAL, Commands

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "samples" / "sintering_tem.tif"

pytestmark = pytest.mark.slow


def test_served_files_are_byte_for_byte_those_without_a_server(tmp_path):
    commands = Commands(tmp_path, REAL, model=())
    try:
        request = (SAMPLE, "segment all sintering necks", "--export", "roi,geojson")
        own = commands.segment(*request, "--out", "own", "--no-server")
        assert own.returncode == 0, own.stderr
        commands.serve()
        expected = results(tmp_path / "own")
        for name in ("served1", "served2"):
            result = commands.segment(*request, "--out", name)
            assert result.stdout.replace(name, "own") == own.stdout
            assert result.stderr == own.stderr
            assert results(tmp_path / name) == expected
        assert "2 requests" in commands.run("serve", "--status").stdout
    finally:
        commands.close()


def results(folder: Path) -> dict[str, object]:
    """All files of an answer; the record without the seconds that it took."""
    files: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    del record["seconds"]
    return {**files, "answer.json": record}
