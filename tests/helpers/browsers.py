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
LOADING = "[data-testid='status-tracker'].full.translucent"
"""Gradio's veil over a page whose parts are still being fetched."""


@contextmanager
def launched() -> Iterator[Any]:
    """A browser without a window; the test is skipped without playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def open_ready(page: Any, url: str) -> None:
    """Open the app and wait until its page takes clicks.

    Raises:
        AssertionError: it was not ready in time; the message names the requests still open and what the console said.
    """
    pending: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: pending.append(request.url))
    page.on("requestfinished", lambda request: _discard(pending, request.url))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.goto(url)
    page.wait_for_selector(".lm-empty [data-sample]")
    try:
        page.wait_for_selector(LOADING, state="hidden", timeout=PATIENCE)
    except Exception as error:  # of playwright, which is imported only where it is used
        raise AssertionError(f"The page still loads; open requests: {pending}; the console: {said}") from error


def _discard(pending: list[str], url: str) -> None:
    if url in pending:
        pending.remove(url)


@contextmanager
def first_page(context: Any, url: str) -> Iterator[Any]:
    """The app's first page, ready; it fails the test if a script failed meanwhile."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    defects: list[str] = []
    page.on("pageerror", lambda error: defects.append(str(error)))
    open_ready(page, url)
    yield page
    page.close()
    assert defects == []
