"""A scale bar that is corrected in Chromium, with a stand-in for the model."""

from __future__ import annotations

import io

import pytest
from app_server import running
from bar_pictures import Scripted, picture
from browsers import NEEDS_CHROMIUM, first_page
from PIL import Image
from test_app_browser import ask, browser, context, give  # noqa: F401  (fixtures)
from test_app_browser import at as at_small

pytestmark = NEEDS_CHROMIUM
FIELD = "#lm-pixelsize textarea, #lm-pixelsize input"


def at(page, x, y):
    """Screen position of a pixel of a micrograph of 480 x 360 px."""
    return at_small(page, x / 7.5, y / 7.5)


@pytest.fixture(scope="module")
def url():
    """An app that reads 50 nm beside every bar."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lisa_micro.io.survey.text_reader", lambda: Scripted("50 nm"))
        with running() as address:
            yield address


@pytest.fixture
def page(context, url):  # noqa: F811
    with first_page(context, url) as page:
        buffer = io.BytesIO()
        Image.fromarray(picture()).save(buffer, "PNG")
        give(page, buffer.getvalue(), "sem.png")
        told(page, "Read from the scale bar")
        page.wait_for_selector("#lm-viewer .lm-stage", state="visible")
        yield page


def told(page, words):
    page.wait_for_selector(f"#lm-pixelsize:has-text('{words}')")


def ends(page, count):
    page.wait_for_selector(f'.lm-barpanel[data-ends="{count}"]')


def length(page, px):
    page.wait_for_function(
        "px => Math.abs(parseFloat(document.querySelector('.lm-barpixels').textContent.slice(2)) - px) < 2", arg=px
    )


def test_a_bar_is_corrected_removed_marked_by_clicks_and_read_again(page):
    assert float(page.input_value(FIELD)) == pytest.approx(0.5, rel=0.02)
    ask(page, "segment")
    # the bar was read in the right place: only its length is typed
    page.click('[data-bar="open"]')
    ends(page, 2)
    assert "Read from the picture: 50 nm" in page.locator(".lm-barpanel").inner_text()
    page.fill(".lm-barlength", "200")
    page.click('[data-bar="mark"]')
    page.wait_for_selector(".lm-message.lm-bad:has-text('has no unit')")
    page.fill(".lm-barlength", "0,2 µm")
    page.press(".lm-barlength", "Enter")
    told(page, "From the scale bar that you marked: 0.2 µm")
    page.wait_for_selector(".lm-barpanel", state="hidden")
    assert float(page.input_value(FIELD)) == pytest.approx(2, rel=0.02)
    page.wait_for_selector(".lm-notice:has-text('Earlier answers keep their pixel size')")
    ask(page, "again")
    page.wait_for_selector('#lm-viewer .lm-stage[data-layers="1"]')
    assert "28 µm" not in page.locator("#lm-measures").inner_text()
    # there is no bar
    page.click('[data-bar="open"]')
    page.click('[data-bar="none"]')
    told(page, "Unknown: sizes are in px")
    # both ends are clicked, and one is moved by a drag
    page.click('[data-bar="open"]')
    ends(page, 0)
    assert page.locator('[data-bar="mark"]').is_disabled()
    page.mouse.click(*at(page, 300, 322))
    ends(page, 1)
    page.mouse.click(*at(page, 380, 324))
    ends(page, 2)
    page.mouse.move(*at(page, 380, 322))
    page.mouse.down()
    page.mouse.move(*at(page, 390, 322))
    page.mouse.move(*at(page, 400, 322))
    page.mouse.up()
    page.wait_for_function(
        "Math.abs(parseFloat(document.querySelector('.lm-barpixels').textContent.slice(2)) - 100) < 2"
    )
    page.fill(".lm-barlength", "20 nm")
    page.click('[data-bar="mark"]')
    told(page, "From the scale bar that you marked: 20 nm")
    assert float(page.input_value(FIELD)) == pytest.approx(0.2, rel=0.02)
    page.click('[data-bar="open"]')
    page.click('[data-bar="read"]')
    told(page, "Read from the scale bar: 50 nm")


def test_a_bar_is_dragged_and_marking_is_cancelled(page):
    page.click('[data-bar="open"]')
    page.mouse.move(*at(page, 40, 60))
    page.mouse.down()
    page.mouse.move(*at(page, 90, 61))
    page.mouse.move(*at(page, 240, 63))  # almost level, so it becomes level
    page.mouse.up()
    page.wait_for_function(
        "Math.abs(parseFloat(document.querySelector('.lm-barpixels').textContent.slice(2)) - 200) < 2"
    )
    page.press(".lm-barlength", "Escape")
    page.wait_for_selector(".lm-barpanel", state="hidden")
    told(page, "Read from the scale bar: 50 nm")
    page.mouse.click(*at(page, 200, 200))  # marks nothing any more
    assert page.locator(".lm-barpanel").is_hidden()
