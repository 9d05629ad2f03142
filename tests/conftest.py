"""Checks on the whole test run: the memory of the test process is bounded, and long files come first."""

import pytest
from memory_limit import (
    pytest_addoption,
    pytest_configure,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_protocol",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]

FIRST = (
    "test_wheel",
    "test_int8",
    "test_finetune_guide",
    "test_app_browser_correct",
    "test_engines",
    "test_adapt_processes",
    "test_app_repeat",
    "test_shipped_preset",
    "test_like",
    "test_conversations",
    "test_memory_limit",
    "test_adapt_run",
    "test_app_browser",
    "test_docs",
)
"""Files that take longest, longest first, since one that begins last is waited for by the other process, and one that
has two models in memory, before other files leave theirs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files of :data:`FIRST` to the front; the others stay in their order."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
