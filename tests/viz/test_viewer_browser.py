"""The viewer of an answer in Chromium without a network: in the output of a cell, and as a page of its own."""

from __future__ import annotations

import re
import webbrowser

import numpy as np
import pytest
from browsers import NEEDS_CHROMIUM, PATIENCE, launched

import lisa_micro as lm
from lisa_micro.measure import measure_particles

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def answer() -> lm.Answer:
    """Two squares on grey: number 1 of 40 px at the left, number 2 of 20 px at the right."""
    labels = np.zeros((200, 300), np.int32)
    labels[80:120, 40:80] = 1
    labels[90:110, 220:240] = 2
    pixels = np.random.default_rng(0).normal(0, 1, labels.shape).astype(np.float32)
    table = measure_particles(labels, 0.5)
    image = lm.Micrograph(pixels, 0.5, "film.tif")
    segment = lm.Segmentation(labels, 0.9, 0.9, "particle", "the particles", "", 0.5, table, image=image, target=1)
    return lm.Answer("Here are the particles.", (segment,), image=image)


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1000, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.defects, page.fetched = [], []
    page.on("pageerror", lambda error: page.defects.append(str(error)))
    page.on("request", lambda request: page.fetched.append(request.url))
    yield page
    assert not page.defects
    assert all(address.startswith(("file:", "data:", "about:")) for address in page.fetched)
    context.close()


def cell(page, answer, tmp_path, scripts=True):
    """Open a page with the output of a cell, as a notebook has it; give its frame."""
    path = tmp_path / "cell.html"
    path.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body style='height:4000px'>{answer._repr_html_()}</body>")
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe")
    if scripts:
        frame.locator("[data-ready]").wait_for()
    return frame


def point(page, frame, x: float, y: float) -> None:
    """Move the pointer to a place of the micrograph, px, while all of it is shown."""
    box = frame.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + x / 300 * box["width"], box["y"] + y / 200 * box["height"])


def blue(page, frame) -> int:
    """Number of pixels of the stage in the colour of the first segment."""
    page.wait_for_timeout(100)  # the stage draws with the next frame
    script = """canvas => { const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let n = 0; for (let k = 0; k < d.length; k += 4) n += d[k + 2] > d[k] + 60; return n; }"""
    return frame.locator("canvas").evaluate(script)


def test_the_instance_under_the_pointer_tells_its_number_and_size(page, answer, tmp_path):
    frame = cell(page, answer, tmp_path)
    assert not page.locator("img").is_visible()  # the still picture, for where no scripts run
    point(page, frame, 230, 100)
    tip = frame.locator(".lm-tip")
    assert "particle 2" in tip.inner_text() and "100 nm²" in tip.inner_text()  # 20 px of 0.5 nm
    point(page, frame, 60, 100)
    assert "particle 1" in tip.inner_text() and "400 nm²" in tip.inner_text()
    point(page, frame, 150, 30)
    assert not tip.is_visible()


def test_masks_are_hidden_and_shown(page, answer, tmp_path):
    frame = cell(page, answer, tmp_path)
    before = blue(page, frame)
    frame.get_by_label("Show or hide the particles").click()
    assert before > 1000 and blue(page, frame) == 0
    frame.get_by_label("Show or hide the particles").click()
    assert blue(page, frame) == before
    frame.get_by_text("Outline", exact=True).click()
    assert 0 < blue(page, frame) < before / 2


def test_the_wheel_scrolls_the_notebook_until_the_image_is_clicked(page, answer, tmp_path):
    frame = cell(page, answer, tmp_path)
    before = blue(page, frame)
    point(page, frame, 60, 100)
    page.mouse.wheel(0, 300)
    page.wait_for_function("window.scrollY > 100")
    assert blue(page, frame) == before
    page.evaluate("window.scrollTo(0, 0)")
    point(page, frame, 60, 100)
    page.mouse.down()
    page.mouse.up()
    page.mouse.wheel(0, -400)
    zoomed = blue(page, frame)
    assert zoomed > 2 * before  # the particle under the pointer, enlarged
    box = frame.locator("canvas").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 1.5, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert blue(page, frame) < zoomed / 2  # dragged out of the picture
    frame.get_by_label("Fit the whole image").click()
    assert blue(page, frame) > before / 2


def test_without_scripts_the_still_picture_stays(browser, answer, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    cell(page, answer, tmp_path, scripts=False)
    assert page.locator("img").bounding_box()["height"] > 100
    assert page.locator("iframe").bounding_box()["height"] < 5
    context.close()


def test_outside_of_a_notebook_the_page_fills_the_window(page, answer, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    answer.show()
    page.goto(opened[0])
    page.locator("[data-ready]").wait_for()
    box = page.locator("canvas").bounding_box()
    assert box["width"] > 800 and box["y"] + box["height"] < 900
    assert re.search(r"300 × 200 px · 150 nm × 100 nm", page.locator(".lm-facts").inner_text())
