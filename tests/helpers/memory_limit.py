"""Pytest hooks that bound the memory of the test processes and name the tests that need it.

The peak resident memory is measured for each test. If one exceeds the limit, the run fails at its end, and the tests
with the highest peaks are listed with the memory that they added.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LIMIT_GB = 3.0
_GROWTH_GB = 0.2
"""Growth at which freed memory is returned before the next test, so that it does not count for that one."""
_SHOWN = 5
_KEY = pytest.StashKey["dict[str, list[Usage]]"]()
"""Name of a process, ``""`` for this one -> what its tests needed."""
_LEFT = pytest.StashKey[float]()
"""GB in use when memory was last returned."""


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
        "--memory-limit", type=float, default=LIMIT_GB, metavar="GB", help="most resident memory of each test process"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = {}
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(Collector(config))


class Collector:
    """Takes over what the worker processes of pytest-xdist measured.

    Args:
        config: of the process that they report to.
    """

    def __init__(self, config: pytest.Config):
        self.config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        measured = getattr(node, "workeroutput", {}).get("memory", ())
        self.config.stash[_KEY][node.gateway.id] = [Usage(*values) for values in measured]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    reset_peak()
    before = memory_gb("VmRSS")
    try:
        return (yield)
    finally:
        usage = Usage(item.nodeid, before, memory_gb("VmHWM"), memory_gb("VmRSS"))
        item.config.stash[_KEY].setdefault("", []).append(usage)
        last = nextitem is None or nextitem.path != item.path
        if last or usage.after > item.config.stash.get(_LEFT, 0.0) + _GROWTH_GB:
            return_freed_memory()
            item.config.stash[_LEFT] = memory_gb("VmRSS")


def peaks(config: pytest.Config) -> list[Usage]:
    """The test with the highest peak of each process."""
    return [max(used, key=lambda use: use.peak) for used in config.stash[_KEY].values() if used]


def too_much(config: pytest.Config) -> bool:
    """Whether a process needed more than the limit at its peak."""
    return any(use.peak > config.getoption("--memory-limit") for use in peaks(config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # a worker: whoever collects decides
        used = session.config.stash[_KEY].get("", [])
        chosen = {*sorted(used, key=_peak)[:_SHOWN], *sorted(used, key=_added)[:_SHOWN]}
        output["memory"] = [dataclasses.astuple(use) for use in chosen]
    elif too_much(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = peaks(config)
    if len(found) == 1:
        terminalreporter.write_line(f"peak memory of the test process: {found[0].peak:.2f} GB")
    elif found:
        each = " and ".join(f"{use.peak:.2f}" for use in found)
        terminalreporter.write_line(f"peak memory of the test processes, not at the same time: {each} GB")
    if too_much(config):
        limit = config.getoption("--memory-limit")
        terminalreporter.section(f"memory above {limit:g} GB", red=True)
        used = [use for measured in config.stash[_KEY].values() for use in measured]
        for use in dict.fromkeys((*sorted(used, key=_peak)[:_SHOWN], *sorted(used, key=_added)[:_SHOWN])):
            terminalreporter.write_line(str(use))


def _peak(use: Usage) -> float:
    """Sorts the highest peak first."""
    return -use.peak


def _added(use: Usage) -> float:
    """Sorts the test that added most first."""
    return use.before - use.peak
