"""The system's Chromium, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
"""Marks of tests that drive it."""
PATIENCE = 60_000
"""Timeout, ms, for slow machines."""


@contextmanager
def launched() -> Iterator[Any]:
    """A browser without a window; the test is skipped without playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def first_page(context: Any, url: str) -> Iterator[Any]:
    """The app's first page, ready; it fails the test if a script failed meanwhile."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    defects: list[str] = []
    page.on("pageerror", lambda error: defects.append(str(error)))
    page.goto(url)
    page.wait_for_selector(".lm-empty [data-sample]")
    yield page
    page.close()
    assert defects == []
