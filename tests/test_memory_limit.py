"""A test that takes too much memory fails the run, which names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"


def run(folder: Path, limit: str, *options: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(HELPERS)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "memory_limit", "-p", "no:cacheprovider", *options]
    command += ["--memory-limit", limit, str(folder)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def write_test(path: Path, name: str, megabytes: int) -> None:
    path.write_text(f"def {name}():\n    block = bytearray(b'x') * {megabytes * 10**6}\n    assert len(block)\n")


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_the_test_that_takes_the_memory_is_named(tmp_path):
    write_test(tmp_path / "test_1.py", "test_small", 1)
    write_test(tmp_path / "test_2.py", "test_large", 600)
    write_test(tmp_path / "test_3.py", "test_small_again", 1)
    done = run(tmp_path, "0.5")
    assert done.returncode == 1
    assert "3 passed" in done.stdout
    first = done.stdout.split("memory above 0.5 GB")[1].splitlines()[1]
    assert "test_large" in first and "+0.6" in first
    assert run(tmp_path, "2").returncode == 0


def test_every_process_of_those_that_run_together_is_measured(tmp_path):
    pytest.importorskip("xdist")
    write_test(tmp_path / "test_1.py", "test_one", 400)
    write_test(tmp_path / "test_2.py", "test_other", 300)
    together = ("-n", "2", "--dist", "loadfile")
    done = run(tmp_path, "0.25", *together)
    assert done.returncode == 1
    named = done.stdout.split("memory above 0.25 GB")[1].splitlines()[1:]
    assert "test_one" in named[0] and "test_other" in named[1]
    assert run(tmp_path, "2", *together).returncode == 0
