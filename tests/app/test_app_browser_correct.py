"""The page Correct in Chromium, with a stand-in with known masks."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import tifffile
from app_server import running
from browsers import NEEDS_CHROMIUM, first_page
from stand_in_app import squares
from test_app_browser import ask, at, browser, context, layers, opened  # noqa: F401  (fixtures)

from lisa_micro.datasets.readers import read_record_folder

pytestmark = NEEDS_CHROMIUM
STAGE = "#lm-correct"


@pytest.fixture(scope="module")
def teach(tmp_path_factory):
    return tmp_path_factory.mktemp("taught")


@pytest.fixture(scope="module")
def url(teach):
    with running(teach=teach) as address:
        yield address


@pytest.fixture
def page(context, url, tmp_path):  # noqa: F811
    with first_page(context, url) as page:
        opened(page, tmp_path=tmp_path)
        ask(page, "segment")
        layers(page, 1)
        page.get_by_role("tab", name="Correct").click()
        page.wait_for_selector(f"{STAGE} .lm-canvas", state="visible")
        count(page, 3)
        yield page


def count(page, number):
    page.wait_for_selector(f'{STAGE} [data-count="{number}"][data-busy="false"]')
    page.wait_for_timeout(150)


def steps(page):
    return page.locator(".lm-steps li").all_inner_texts()


def drag(page, start, end):
    page.mouse.move(*at(page, *start, STAGE))
    page.mouse.down()
    page.mouse.move(*at(page, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, STAGE))
    page.mouse.move(*at(page, *end, STAGE))
    page.mouse.up()


def test_instances_are_merged_cut_removed_added_and_brought_back(page):
    page.mouse.click(*at(page, 8, 8, STAGE))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 19, 8, STAGE))
    page.keyboard.up("Shift")
    page.wait_for_selector(f'{STAGE} [data-chosen="1,2"]')
    page.click('[data-do="merge"]')
    count(page, 2)
    page.click('[data-tool="cut"]')
    drag(page, (14, 1), (14, 20))
    count(page, 3)
    page.click('[data-tool="choose"]')
    page.mouse.click(*at(page, 34, 27, STAGE))
    page.wait_for_selector(f'{STAGE} [data-chosen="3"]')
    assert page.locator("#lm-correctmeasures tr.lm-chosen").get_attribute("data-label") == "3"
    page.keyboard.press("Delete")
    count(page, 2)
    page.click('[data-tool="box"]')
    drag(page, (44, 4), (56, 12))
    count(page, 3)
    assert steps(page) == ["Merged 1 and 2 into 1", "Split 1 into 1 and 4", "Removed 3", "Added 5"]
    labels = page.locator("#lm-correctmeasures tbody tr").evaluate_all("rows => rows.map((r) => r.dataset.label)")
    assert labels == ["1", "4", "5"]
    page.click('[data-do="undo"]')
    count(page, 2)
    page.keyboard.press("Control+z")
    count(page, 3)
    page.click('[data-do="redo"]')
    count(page, 2)
    page.click("text=Start over")
    count(page, 3)
    assert steps(page) == ["No changes. Accept the segmentation if it is correct."]


def test_points_add_what_is_missing_and_what_is_refused_is_said(page):
    page.click('#lm-correctmeasures tr[data-label="1"]')
    page.wait_for_selector(f'{STAGE} [data-chosen="1"]')
    page.click('[data-do="remove"]')
    count(page, 2)
    page.click('[data-tool="points"]')
    page.mouse.click(*at(page, 8, 8, STAGE))
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, 50, 40, STAGE))
    page.keyboard.up("Alt")
    page.click('[data-do="add"]')
    count(page, 3)
    page.click('[data-tool="cut"]')
    for _ in range(2):  # said again, and the page goes on
        drag(page, (2, 46), (60, 46))
        page.wait_for_selector(f"{STAGE} [role=alert]:has-text('crosses no instance')")
        count(page, 3)
    assert len(steps(page)) == 2


def test_a_correction_is_accepted_taught_and_downloaded(page, teach):
    page.click("#lm-teach")
    page.wait_for_selector(f"{STAGE} [role=alert]:has-text('Accept the segmentation first')")
    page.mouse.click(*at(page, 19, 8, STAGE))
    page.wait_for_selector(f'{STAGE} [data-chosen="2"]')
    page.click('[data-do="remove"]')
    count(page, 2)
    page.click("#lm-accept")
    page.wait_for_selector("#lm-steps .lm-pill:has-text('Accepted')")
    before = len(read_record_folder(teach)) if (teach / "metadata.jsonl").exists() else 0
    page.click("#lm-teach")
    page.wait_for_selector("#lm-steps .lm-message:has-text('Saved film-')")
    examples = list(read_record_folder(teach))
    assert len(examples) == before + 1 and examples[-1].labels.max() == 2
    assert page.locator("#lm-examples").is_hidden()  # the operator has them
    with page.expect_download() as download:
        page.click("#lm-correctsave")
    archive = zipfile.ZipFile(download.value.path())
    assert json.loads(archive.read("corrections.json"))["actions"] == [{"action": "remove", "instances": [2]}]
    with tifffile.TiffFile(io.BytesIO(archive.read("labels_before.tif"))) as labels:
        assert np.array_equal(labels.asarray(), squares((48, 64)))
    page.get_by_role("tab", name="Chat").click()
    page.wait_for_selector("button.lm-reply:has-text('Corrected by hand: 1 removed.')")
    page.wait_for_function("document.querySelectorAll('#lm-measures tbody tr').length === 2")


def test_the_page_fits_a_narrow_window(page):
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
