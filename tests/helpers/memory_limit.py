"""Pytest hooks that bound the memory of the test process and name the tests that need it.

The peak resident memory is measured for each test. If one exceeds the limit, the run fails at its end, and the tests
with the highest peaks are listed with the memory that they added.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LIMIT_GB = 4.0
_SHOWN = 5
_KEY = pytest.StashKey["list[Usage]"]()


@dataclass(frozen=True)
class Usage:
    """Memory of one test in GB (1e9 bytes): before it, its peak, and after it."""

    test: str
    before: float
    peak: float
    after: float

    def __str__(self) -> str:
        added, kept = self.peak - self.before, self.after - self.before
        return f"{self.peak:.2f} GB at its peak, {added:+.2f} GB by itself, {kept:+.2f} GB kept: {self.test}"


def memory_gb(name: str) -> float:
    """``VmRSS`` or ``VmHWM`` (peak) of this process in GB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith(f"{name}:")), 0.0)


def reset_peak() -> None:
    """Let the peak start again at the present memory; where that is not allowed it grows over the whole run."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def return_freed_memory() -> None:
    """Return freed memory to the system. The library keeps it for speed (:mod:`lisa_micro.models.memory`), and what one
    module freed would count for all later ones."""
    gc.collect()
    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--memory-limit", type=float, default=LIMIT_GB, metavar="GB", help="most resident memory of the test process"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    reset_peak()
    before = memory_gb("VmRSS")
    try:
        return (yield)
    finally:
        item.config.stash[_KEY].append(Usage(item.nodeid, before, memory_gb("VmHWM"), memory_gb("VmRSS")))
        if nextitem is None or nextitem.path != item.path:
            return_freed_memory()


def worst(config: pytest.Config) -> list[Usage]:
    """Tests above the limit, the highest peak first."""
    limit = config.getoption("--memory-limit")
    return sorted((use for use in config.stash[_KEY] if use.peak > limit), key=lambda use: -use.peak)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if worst(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = config.stash[_KEY]
    if used:
        terminalreporter.write_line(f"peak memory of the test process: {max(use.peak for use in used):.2f} GB")
    above = worst(config)
    if above:
        limit = config.getoption("--memory-limit")
        terminalreporter.section(f"memory above {limit:g} GB", red=True)
        growing = sorted(used, key=lambda use: use.before - use.peak)[:_SHOWN]
        for use in dict.fromkeys((*above[:_SHOWN], *growing)):
            terminalreporter.write_line(str(use))
