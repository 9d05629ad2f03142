"""The app in Chromium, driven by Playwright. The last test uses the shipped model; the others use a stand-in with known
masks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
import tifffile
from browsers import NEEDS_CHROMIUM, PATIENCE, launched, open_ready
from paths import ROOT
from PIL import Image
from stand_in_app import StandIn, film, squares

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def url():
    from lisa_micro_app.serve import AppSettings, serve

    found, ended, started = [], threading.Event(), threading.Event()

    def ready(address):
        found.append(address.rstrip("/"))
        started.set()

    arguments = (AppSettings(upload_mib=2), StandIn, ready, ended)
    server = threading.Thread(target=serve, args=arguments, daemon=True)
    server.start()
    assert started.wait(120)
    yield found[0]
    ended.set()
    server.join(30)


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(context, url):
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.defects, page.elsewhere = [], []
    page.on("pageerror", lambda error: page.defects.append(str(error)))
    page.on("dialog", lambda dialog: (page.defects.append("a dialog: something was executed"), dialog.dismiss()))
    page.on("request", lambda request: page.elsewhere.append(request.url))
    open_ready(page, url)
    yield page
    elsewhere = [address for address in page.elsewhere if not address.startswith((url, "data:", "blob:"))]
    page.close()
    assert page.defects == [] and elsewhere == []


def give(page, content: bytes, name: str, kind: str = "image"):
    files = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files(f'input[data-kind="{kind}"]', files)


def opened(page, name="film.tif", shape=(48, 64), seed=0, tmp_path=None):
    give(page, film(tmp_path / "f.tif", shape, seed).read_bytes(), name)
    page.wait_for_function("name => document.querySelector('.lm-name').textContent === name", arg=name)
    page.wait_for_selector("#lm-viewer .lm-stage", state="visible")


def ask(page, words):
    replies = page.locator("button.lm-reply").count()
    page.fill("#lm-words textarea", words)
    page.press("#lm-words textarea", "Enter")
    page.wait_for_function("n => document.querySelectorAll('button.lm-reply').length === n", arg=replies + 1)


def layers(page, count):
    page.wait_for_selector(f'#lm-viewer .lm-stage[data-layers="{count}"]')


def at(page, x, y, stage="#lm-viewer"):
    """Screen position of a pixel of a micrograph of 64 x 48 px."""
    page.locator(f"{stage} .lm-canvas").scroll_into_view_if_needed()
    box = page.locator(f"{stage} .lm-canvas").bounding_box()
    scale = min(box["width"] / 64, box["height"] / 48)
    return box["x"] + x * scale, box["y"] + y * scale


def png(shape=(48, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_png_and_a_16_bit_tiff_with_pixel_size(page, tmp_path):
    give(page, png(), "film.png")
    page.wait_for_selector("#lm-viewer .lm-stage", state="visible")
    assert page.locator("#lm-viewer .lm-facts").first.inner_text() == "64 × 48 px"
    assert page.input_value("#lm-pixelsize textarea, #lm-pixelsize input") == ""
    assert page.locator(".lm-scalebar").first.is_hidden()
    opened(page, "film.tif", tmp_path=tmp_path)
    assert "32 nm × 24 nm" in page.locator("#lm-viewer .lm-facts").first.inner_text()
    assert page.input_value("#lm-pixelsize textarea, #lm-pixelsize input") == "0.5"
    assert "ImageJ" in page.locator("#lm-pixelsize").inner_text()
    assert page.locator("#lm-viewer .lm-scalebar").inner_text().strip() == "5 nm"
    assert page.locator(".lm-thumb[data-key]").count() == 2
    page.fill("#lm-pixelsize textarea, #lm-pixelsize input", "1")
    page.press("#lm-pixelsize textarea, #lm-pixelsize input", "Enter")
    page.wait_for_function("document.querySelector('#lm-pixelsize').innerText.includes('Typed by you')")
    assert page.locator("#lm-viewer .lm-scalebar").inner_text().strip() == "10 nm"


def test_ask_follow_up_undo_and_earlier_answers(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "first")
    layers(page, 1)
    ask(page, "both")
    layers(page, 2)
    marks = page.locator('button.lm-reply[data-turn="2"] mark')
    assert marks.all_inner_texts() == ["particles", "necks"]
    colours = [marks.nth(k).evaluate("node => node.style.getPropertyValue('--layer')") for k in range(2)]
    assert colours == [
        node.input_value() for node in page.locator('.lm-layer input[type="color"]').all()
    ]  # a phrase has the colour of its mask
    ask(page, "none")
    layers(page, 0)
    assert page.locator(".lm-nothing").inner_text() == "There are no pores in this micrograph."
    page.click('button.lm-reply[data-turn="1"]')
    layers(page, 1)
    ask(page, "fourth")
    assert "film.tif, 3." in page.locator("button.lm-reply").last.inner_text()
    page.click("#lm-undo")
    page.wait_for_function("document.querySelectorAll('button.lm-reply').length === 3")
    assert page.input_value("#lm-words textarea") == "fourth"
    page.click("#lm-clear")
    page.wait_for_selector(".lm-empty", state="visible")


def test_masks_are_switched_recoloured_and_tell_their_measurements(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "both")
    layers(page, 2)

    def colour(x, y):
        return page.evaluate(
            """([x, y]) => { const c = document.querySelector('#lm-viewer .lm-canvas'); const s = c.width / 64;
            return [...c.getContext('2d').getImageData(Math.round(x * s), Math.round(y * s), 1, 1).data]; }""",
            [x, y],
        )

    page.wait_for_timeout(300)
    filled = colour(34, 27)
    assert filled[2] > filled[0]  # blue
    page.click('[data-mode="outline"]')
    page.wait_for_timeout(300)
    outlined = colour(34, 27)
    assert abs(outlined[2] - outlined[0]) < 3
    page.click('[data-mode="fill"]')
    page.locator(".lm-layer input").first.evaluate(
        "node => { node.value = '#ff0000'; ['input', 'change'].forEach((e) => node.dispatchEvent(new Event(e))); }"
    )
    page.wait_for_timeout(300)
    assert colour(34, 27)[0] > colour(34, 27)[2]
    mark = page.locator("button.lm-reply mark").first
    assert mark.evaluate("node => node.style.getPropertyValue('--layer')") == "#ff0000"
    page.click(".lm-eye >> nth=0")
    page.wait_for_timeout(300)
    assert abs(colour(34, 27)[0] - colour(34, 27)[2]) < 3
    page.click(".lm-eye >> nth=0")
    page.mouse.move(*at(page, 34, 27))
    page.wait_for_selector("#lm-viewer .lm-tip", state="visible")
    tip = page.locator("#lm-viewer .lm-tip").inner_text()
    assert "particle 3" in tip and "28 nm²" in tip
    page.mouse.wheel(0, -600)
    page.wait_for_timeout(300)
    assert page.locator("#lm-viewer .lm-scalebar").inner_text().strip() != "5 nm"
    page.click("#lm-viewer [title='Fit the whole image']")
    page.wait_for_timeout(300)
    assert page.locator("#lm-viewer .lm-scalebar").inner_text().strip() == "5 nm"


def test_table_rows_and_particles_are_one(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "segment")
    layers(page, 1)
    rows = page.locator("#lm-measures tbody tr")
    page.wait_for_function("document.querySelectorAll('#lm-measures tbody tr').length === 3")
    assert "area (nm²)" in page.locator("#lm-measures thead").inner_text()
    page.click("#lm-measures thead button:has-text('area')")
    assert rows.first.get_attribute("data-label") == "3"  # the largest first
    rows.first.click()
    assert page.locator("#lm-viewer .lm-stage").get_attribute("data-selected").endswith(":3")
    page.mouse.click(*at(page, 8, 8))
    chosen = page.locator("#lm-measures tr.lm-chosen")
    assert chosen.count() == 1 and chosen.get_attribute("data-label") == "1"
    page.wait_for_selector("#lm-plot .plotly, #lm-plot .js-plotly-plot")
    assert "number density" in page.locator(".lm-card").inner_text()


def test_words_against_boxes_with_truth_and_its_download(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    page.get_by_role("tab", name="Words against boxes").click()
    page.wait_for_selector("#lm-boxes .lm-canvas", state="visible")
    page.click("#lm-compare")
    page.wait_for_selector("#lm-verdict .lm-notice:has-text('at least one box')")
    page.wait_for_timeout(500)
    for x0, y0, x1, y1 in ((4, 4, 14, 14), (30, 20, 38, 34)):
        page.mouse.move(*at(page, x0, y0, "#lm-boxes"))
        page.mouse.down()
        page.mouse.move(*at(page, (x0 + x1) / 2, (y0 + y1) / 2, "#lm-boxes"))
        page.mouse.move(*at(page, x1, y1, "#lm-boxes"))
        page.mouse.up()
    page.wait_for_selector('#lm-boxes [data-boxes="2"], [data-boxes="2"]')
    drawn = page.evaluate("window.lisaMicro.boxes")
    assert np.abs(np.array(drawn) - [[4, 4, 14, 14], [30, 20, 38, 34]]).max() < 0.4
    page.click("#lm-compare")
    page.wait_for_selector("p.lm-verdict")
    assert page.locator("#lm-outcome figure").count() == 4
    page.wait_for_function(
        "[...document.querySelectorAll('#lm-outcome img')].every((image) => image.complete && image.naturalWidth > 0)"
    )
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, squares((48, 64)).astype(np.uint8))
    give(page, buffer.getvalue(), "truth.tif", "truth")
    page.wait_for_selector("#lm-truth :text('3 true objects')")
    page.click("#lm-compare")
    page.wait_for_selector("#lm-verdict h3:has-text('Scores against truth')")
    with page.expect_download() as download:
        page.click("#lm-comparesave")
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert {"boxes.json", "truth.tif", "repeat.sh", "comparison/report.html"} <= set(names)


def test_the_other_reading_is_taken_by_its_button(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "unsure")
    button = page.locator('[data-other="1"]')
    assert button.inner_text() == "the necks" and "Did you mean" in page.locator(".lm-doubt").inner_text()
    page.fill("#lm-words textarea", "half typed")
    button.click()
    page.wait_for_selector("button.lm-reply mark:has-text('necks')")
    assert page.locator("button.lm-reply").count() == 1 and page.locator("#lm-measures tbody tr").count() == 1
    assert page.input_value("#lm-words textarea") == "half typed"
    assert "Back to the first reading" in page.locator(".lm-doubt").inner_text()
    ask(page, "x")
    assert page.locator(".lm-doubt").count() == 0


def test_a_plot_is_drawn_and_comes_back_with_its_reply(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "plot")
    page.wait_for_selector("#lm-answerplot .js-plotly-plot")
    assert "Histogram of diameter" in page.locator("button.lm-reply").last.inner_text()
    assert "diameter (nm)" in page.locator("#lm-answerplot").inner_text()
    ask(page, "x")
    page.wait_for_selector("#lm-answerplot", state="hidden")
    page.click('button.lm-reply[data-turn="1"]')
    page.wait_for_selector("#lm-answerplot .js-plotly-plot")


def test_the_download_holds_the_results(page, tmp_path):
    page.click("#lm-save")
    page.wait_for_selector(".lm-notice:has-text('nothing to download')")
    opened(page, tmp_path=tmp_path)
    ask(page, "both")
    with page.expect_download() as download:
        page.click("#lm-save")
    assert download.value.suggested_filename == "lisa-micro.zip"
    archive = zipfile.ZipFile(download.value.path())
    assert {"film/1/labels_2.tif", "film/1/answer.json", "input/film.tif", "repeat.sh"} <= set(archive.namelist())
    with tifffile.TiffFile(io.BytesIO(archive.read("film/1/labels.tif"))) as labels:
        assert np.array_equal(labels.asarray(), squares((48, 64)))
    assert json.loads(archive.read("film/1/answer.json"))["prompt"] == "both"


def test_a_request_can_be_stopped(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    page.fill("#lm-words textarea", "wait")
    page.press("#lm-words textarea", "Enter")
    page.wait_for_selector(".lm-working")
    page.click("#lm-stop")
    page.wait_for_selector("#lm-send", state="visible")
    StandIn.gate.set()
    assert page.locator("button.lm-reply").count() == 0
    ask(page, "after")
    assert "film.tif, 0." in page.locator("button.lm-reply").last.inner_text()


def test_bad_files_are_refused_and_the_app_lives_on(page, tmp_path):
    give(page, b"II*\x00 this is no TIFF", "../../<img src=x onerror=alert(1)>.tif")
    page.wait_for_selector(".lm-message.lm-bad")
    said = page.locator(".lm-message").inner_text()
    assert "onerror" in said and "/tmp" not in said
    give(page, b"x" * (2 * 1024 * 1024 + 1), "large.tif")
    page.wait_for_selector(".lm-message:has-text('too large')")
    opened(page, tmp_path=tmp_path)
    page.fill("#lm-words textarea", "break")
    page.press("#lm-words textarea", "Enter")
    page.wait_for_selector(".lm-notice:has-text('Internal error')")
    assert page.input_value("#lm-words textarea") == "break"
    ask(page, "segment")


def test_html_in_requests_and_names_is_text(page, tmp_path):
    wicked = "<img src=x onerror=alert(1)><script>alert(2)</script>${alert(3)}{{alert}}"
    opened(page, "<b onmouseover=alert(4)>x.tif", tmp_path=tmp_path)
    ask(page, wicked)
    assert page.locator(".lm-ask").last.inner_text() == wicked
    assert page.locator(".lm-talk img, .lm-talk script, .lm-name b, .lm-words b").count() == 0


def fetched(address: str, **settings) -> int:
    request = urllib.request.Request(address, **settings)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_but_a_sessions_own_things_can_be_fetched(page, url, tmp_path):
    opened(page, ["../../..", "film.tif"][1], tmp_path=tmp_path)
    picture = page.locator(".lm-thumb.lm-current img").get_attribute("src")
    assert fetched(url + picture) == 200
    token = picture.split("/")[3]
    root = ROOT
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for path in (secret, root / "pyproject.toml", root / "app" / "server.py", "/etc/passwd"):
        for way in ("/gradio_api/file=", "//gradio_api//file=", "/GRADIO_API/file=", "/gradio_api/file/", "/file="):
            assert fetched(f"{url}{way}{path}") in (403, 404)
    for wrong in ("../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "image-x"):
        assert fetched(f"{url}/lisa/asset/{token}/{wrong}") in (403, 404)
        assert fetched(f"{url}/lisa/sample/{wrong}.png") in (403, 404)
    assert fetched(f"{url}/lisa/asset/{'x' * 32}/{picture.rsplit('/', 1)[1]}") == 404
    assert fetched(f"{url}/lisa/upload/{'x' * 32}", data=b"x") == 404
    assert fetched(f"{url}/gradio_api/upload", data=b"x") == 403
    assert fetched(f"{url}/lisa/upload/{token}?kind=archive", data=b"x") == 413
    large = {"Content-Length": str(2 * 1024**3), "Content-Type": "application/octet-stream"}
    assert fetched(f"{url}/lisa/upload/{token}?name=a.tif", data=b"x", headers=large) == 413
    assert fetched(url, headers={"Host": "evil.example"}) == 403


def test_users_do_not_see_each_other_and_leave_nothing(page, browser, url, tmp_path):
    opened(page, "mine.tif", tmp_path=tmp_path)
    other = browser.new_context()
    second = other.new_page()
    second.goto(url)
    second.wait_for_selector(".lm-empty [data-sample]", timeout=PATIENCE)
    assert second.locator(".lm-thumb[data-key]").count() == 0 and "mine.tif" not in second.content()
    other.close()


def test_the_page_fits_a_narrow_window(page, tmp_path):
    opened(page, tmp_path=tmp_path)
    ask(page, "both")
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(600)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_shipped_model_answers_in_the_browser(browser, tmp_path):
    root = ROOT
    log = (tmp_path / "log").open("w+")
    command = [sys.executable, "-m", "lisa_micro_app", "--port", "0"]
    server = subprocess.Popen(
        command, cwd=root, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        deadline = time.monotonic() + 240
        while "is at" not in (text := (tmp_path / "log").read_text()):
            assert server.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.3)
        address = text.split("is at ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")
        page = browser.new_page()
        page.set_default_timeout(240_000)
        page.goto(address)
        page.click('.lm-empty [data-sample="sintering_tem"]')
        page.wait_for_selector("#lm-viewer .lm-stage", state="visible")
        ask(page, "segment all particles")  # waits for the model where it is still loading
        layers(page, 1)
        count = page.locator("#lm-measures tbody tr").count()
        assert 12 <= count <= 20  # 16 in truth
        assert page.locator(".lm-pill").inner_text() == "Ready"
        page.close()
        assert list(tmp_path.glob("lisa-micro-app-*"))
    finally:
        server.terminate()
        server.wait(30)
        log.close()
    assert not list(tmp_path.glob("lisa-micro-app-*"))  # nothing is left behind
