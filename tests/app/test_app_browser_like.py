"""The page Find all like this in Chromium, with a stand-in with known masks."""

from __future__ import annotations

import json

import pytest
from app_server import running
from browsers import NEEDS_CHROMIUM, first_page
from stand_in_app import SQUARES
from test_app_browser import at, browser, context, give, opened  # noqa: F401  (fixtures)

pytestmark = NEEDS_CHROMIUM
STAGE = "#lm-like"


@pytest.fixture(scope="module")
def url():
    with running() as address:
        yield address


@pytest.fixture
def page(context, url, tmp_path):  # noqa: F811
    with first_page(context, url) as page:
        opened(page, tmp_path=tmp_path)
        page.get_by_role("tab", name="Find all like this").click()
        page.wait_for_selector(f"{STAGE} .lm-canvas", state="visible")
        yield page


def draw(page, box):
    x0, y0, x1, y1 = box
    page.mouse.move(*at(page, x0, y0, STAGE))
    page.mouse.down()
    page.mouse.move(*at(page, (x0 + x1) / 2, (y0 + y1) / 2, STAGE))
    page.mouse.move(*at(page, x1, y1, STAGE))
    page.mouse.up()


def find(page, said):
    page.click("#lm-find")
    page.wait_for_function("said => document.querySelector('#lm-likeoutcome').textContent.includes(said)", arg=said)


def test_examples_are_drawn_corrected_downloaded_and_loaded(page, tmp_path):
    find(page, "Draw at least one box")
    draw(page, SQUARES[0])
    find(page, "Found 3 objects like the example.")
    page.wait_for_selector(f'{STAGE} [data-count="3"]')
    page.click(f'{STAGE} [data-kind="unlike"]')
    draw(page, SQUARES[2])
    page.wait_for_selector(f'{STAGE} [data-like="1"][data-unlike="1"]')
    find(page, "Found 2 objects like the example.")
    page.wait_for_selector(f'{STAGE} [data-count="2"]')
    assert page.locator("#lm-likemeasures tbody tr").count() == 2
    with page.expect_download() as download:
        page.click("#lm-likekeep")
    path = tmp_path / "exemplar.json"
    download.value.save_as(path)
    assert json.loads(path.read_text())["unlike"] == 1
    with page.expect_download() as download:
        page.click("#lm-likesave")
    assert download.value.suggested_filename == "lisa-micro-alike.zip"
    page.get_by_role("button", name="Swap").click()  # the selected box becomes an example
    page.wait_for_selector(f'{STAGE} [data-like="2"][data-unlike="0"]')
    page.get_by_role("button", name="Remove all boxes").last.click()
    give(page, path.read_bytes(), "mine.json", "exemplar")
    page.wait_for_function(
        "() => document.querySelector('#lm-like').textContent.includes('mine.json: learnt from 1 box')"
    )
    find(page, "Found 3 objects like the example.")
