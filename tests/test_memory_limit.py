"""A test that takes too much memory fails the run, which names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_test_that_takes_the_memory_is_named(tmp_path):
    (tmp_path / "test_sizes.py").write_text(
        "def test_small():\n    assert bytearray(10)\n\n\n"
        "def test_large():\n    block = bytearray(b'x') * 600_000_000\n    assert len(block)\n\n\n"
        "def test_small_again():\n    pass\n"
    )

    def run(limit: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(HELPERS)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "memory_limit", "-p", "no:cacheprovider"]
        command += ["--memory-limit", limit, str(tmp_path)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("0.5")
    assert done.returncode == 1
    assert "3 passed" in done.stdout
    first = done.stdout.split("memory above 0.5 GB")[1].splitlines()[1]
    assert "test_large" in first and "+0.6" in first
    assert run("2").returncode == 0
