"""The page Video in Chromium, with a stand-in for the model that finds squares with known tracks."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
import zipfile

import pytest
from browsers import NEEDS_CHROMIUM, PATIENCE, launched, open_ready
from stand_in_video import FRAMES, Watching, movie, stack

pytestmark = NEEDS_CHROMIUM
STAGE = "#lm-video .lm-stage"


@pytest.fixture(scope="module")
def served():
    """The address of the app, and its stand-in."""
    from lisa_micro_app.serve import AppSettings, serve

    watching, found, ended, started = Watching(), [], threading.Event(), threading.Event()

    def ready(address):
        found.append(address.rstrip("/"))
        started.set()

    arguments = (AppSettings(upload_mib=2), lambda: watching, ready, ended)
    server = threading.Thread(target=serve, args=arguments, daemon=True)
    server.start()
    assert started.wait(120)
    yield found[0], watching
    ended.set()
    server.join(30)


@pytest.fixture(scope="module")
def context():
    with launched() as browser:
        yield browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)


@pytest.fixture
def page(context, served):
    page, defects, asked = context.new_page(), [], []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: defects.append(str(error)))
    page.on("dialog", lambda dialog: (defects.append("a dialog: something was executed"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    open_ready(page, served[0])
    page.get_by_role("tab", name="Video").click()
    page.wait_for_selector("#lm-video [data-video]", state="visible")
    yield page
    page.close()
    assert defects == [] and [a for a in asked if not a.startswith((served[0], "data:", "blob:"))] == []


def give(page, content: bytes, name: str):
    files = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files('input[data-kind="video"]', files)


def opened(page, content: bytes | None = None, name="film.tif"):
    give(page, stack() if content is None else content, name)
    page.wait_for_function("name => document.querySelector('.lm-videoname').textContent === name", arg=name)
    page.wait_for_selector(f"{STAGE}[data-frame='0']", state="visible")


def followed(page, words="follow all particles"):
    page.fill("#lm-videowords textarea, #lm-videowords input", words)
    page.click("#lm-track")
    page.wait_for_selector(".lm-summary")
    page.wait_for_selector("#lm-track", state="visible")
    page.wait_for_selector(f"{STAGE}[data-identities='3']")


def at_frame(page, t: int, identities: int | None = None):
    where = "" if identities is None else f"[data-identities='{identities}']"
    page.wait_for_selector(f"{STAGE}[data-frame='{t}']{where}")


def field(page, name: str) -> str:
    return page.input_value(f"#{name} textarea, #{name} input")


def test_facts_their_origin_and_typing_others(page):
    opened(page)
    assert "6 frames · 64 × 48 px · 32 nm × 24 nm" in page.locator("#lm-video").inner_text()
    assert field(page, "lm-videopixelsize") == "0.5" and field(page, "lm-videoframetime") == "0.5"
    assert "ImageJ" in page.locator("#lm-videoframetime").inner_text()
    assert page.locator(f"{STAGE} .lm-scalebar").inner_text().strip() == "5 nm"
    page.fill("#lm-videoframetime textarea, #lm-videoframetime input", "3")
    page.press("#lm-videoframetime textarea, #lm-videoframetime input", "Enter")
    page.wait_for_function("document.querySelector('#lm-videoframetime').innerText.includes('Typed by you')")
    page.fill("#lm-videoframetime textarea, #lm-videoframetime input", "-1")
    page.press("#lm-videoframetime textarea, #lm-videoframetime input", "Enter")
    page.wait_for_selector("#lm-run .lm-notice:has-text('positive')")
    page.click("#lm-video [title='Remove this video']")
    page.wait_for_selector("#lm-video [data-video]", state="visible")
    opened(page, movie(".mp4"), "film.mp4")
    assert "playback rate" in page.locator("#lm-videoframetime").inner_text()


def test_a_sample_is_opened_by_a_click_and_played(page):
    page.click("[data-video='drifting']")
    at_frame(page, 0)
    assert "30 frames" in page.locator("#lm-video").inner_text()
    page.click("#lm-video [title='Play']")
    page.wait_for_function("Number(document.querySelector('#lm-video .lm-stage').dataset.frame) >= 3")
    page.click("#lm-video [title='Pause']")
    assert page.locator("#lm-video [title='Play']").count() == 1


def test_frames_events_plots_and_tables_are_one(page):
    opened(page)
    followed(page)
    page.locator("#lm-video .lm-slider").evaluate("n => { n.value = 5; n.dispatchEvent(new Event('input')); }")
    at_frame(page, 5, 2)
    assert "Frame 5 / 5 · 2.5 s" in page.locator("#lm-video .lm-clock").inner_text()
    page.click("#lm-video [title='Previous frame']")
    at_frame(page, 4, 2)
    page.wait_for_timeout(300)
    box = page.locator(f"{STAGE} .lm-canvas").bounding_box()
    scale = min(box["width"] / 64, box["height"] / 48)
    page.mouse.move(box["x"] + 38 * scale, box["y"] + 22 * scale)
    page.wait_for_selector(f"{STAGE} .lm-tip", state="visible")
    assert "particle 3" in page.locator(f"{STAGE} .lm-tip").inner_text()
    page.mouse.click(box["x"] + 38 * scale, box["y"] + 22 * scale)
    page.wait_for_selector(f"{STAGE}[data-marked='3']")
    page.get_by_role("tab", name="Tracks", exact=True).click()
    page.click("#lm-tracks tr[data-who='1']")
    at_frame(page, 0, 3)
    page.wait_for_selector(f"{STAGE}[data-marked='1']")
    assert page.locator("#lm-tracks tr.lm-chosen").get_attribute("data-who") == "1"
    page.get_by_role("tab", name="Events", exact=True).click()
    page.click("#lm-events tr:has-text('coalesce')")
    at_frame(page, 4, 2)
    page.click("#lm-video [title='Previous frame']")
    page.get_by_role("tab", name="Timeline", exact=True).click()
    plot = page.locator("#lm-timeline .js-plotly-plot")
    page.wait_for_function("document.querySelector('#lm-timeline .js-plotly-plot')?.lmHeard")
    where = plot.evaluate(
        """plot => { const trace = plot.data.find((t) => t.name === 'coalesce'), l = plot._fullLayout;
        return [l.xaxis._offset + l.xaxis.l2p(trace.x[0]), l.yaxis._offset + l.yaxis.l2p(trace.y[0])]; }"""
    )
    box = plot.bounding_box()
    page.mouse.move(box["x"] + where[0] - 4, box["y"] + where[1])
    page.mouse.move(box["x"] + where[0], box["y"] + where[1])
    page.wait_for_timeout(400)
    page.mouse.click(box["x"] + where[0], box["y"] + where[1])
    at_frame(page, 4, 2)
    page.wait_for_selector(f"{STAGE}[data-marked='1 2 4']")
    for name in ("Necks", "Sizes"):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_selector(f"#lm-{name.lower()} .js-plotly-plot", state="visible")


def test_stopping_keeps_what_was_done_and_going_on_completes_it(page, served):
    watching = served[1]
    opened(page)
    watching.gates[3] = threading.Event()
    page.click("#lm-track")
    page.wait_for_selector(".lm-progress:has-text('Frame 3 of 6')")
    assert "left" in page.locator(".lm-progress").inner_text()
    page.click("#lm-videostop")
    watching.gates[3].set()
    page.wait_for_selector("#lm-resume", state="visible")
    assert "of 6 frames" in page.locator(".lm-summary").inner_text()
    page.click("#lm-resume")
    page.wait_for_selector(".lm-summary:has-text('coalesce: 1')")
    page.wait_for_selector("#lm-resume", state="hidden")
    watching.gates.clear()


def test_the_download_holds_the_results(page):
    opened(page)
    followed(page)
    with page.expect_download() as download:
        page.click("#lm-videosave")
    assert download.value.suggested_filename == "lisa-micro-video.zip"
    archive = zipfile.ZipFile(download.value.path())
    assert {"results/tracks.csv", "results/overlay.mp4", "input/film.tif", "repeat.sh"} <= set(archive.namelist())
    assert json.loads(archive.read("results/answer.json"))["video"]["frames"] == FRAMES


def test_questions_that_this_model_cannot_answer_come_back_with_a_reason(page):
    opened(page)
    followed(page)
    page.fill("#lm-question textarea", "how many are there?")
    page.press("#lm-question textarea", "Enter")
    page.wait_for_selector("#lm-videoquestions .lm-notice:has-text('cannot answer questions')")
    assert page.input_value("#lm-question textarea") == "how many are there?"


def test_bad_videos_are_refused_and_html_is_text(page):
    wicked = "<img src=x onerror=alert(1)>"
    give(page, movie(".mp4")[:700], f"{wicked}.mp4")
    page.wait_for_selector("#lm-video .lm-vmessage.lm-bad")
    said = page.locator("#lm-video .lm-vmessage").inner_text()
    assert "onerror" in said and "/tmp" not in said
    give(page, b"x" * (2 * 1024 * 1024 + 1), "large.mp4")
    page.wait_for_selector("#lm-video .lm-vmessage:has-text('too large')")
    opened(page, name=f"{wicked}.tif")
    followed(page, wicked)
    assert page.locator("#lm-video img, .lm-summary img").count() == 0
    assert wicked in page.locator(".lm-summary").inner_text()


def test_frames_are_had_by_their_session_alone(page, served):
    frames = []
    page.on("response", lambda response: frames.append(response.url) if "/lisa/frame/" in response.url else None)
    opened(page)
    page.wait_for_timeout(300)

    def status(address: str) -> int:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    address = next(url for url in frames if url.endswith("/0.jpg"))
    front, token, key, _ = address.rsplit("/", 3)
    assert status(address) == 200
    for wrong in (f"{front}/{'x' * 32}/{key}/0.jpg", f"{front}/{token}/other/0.jpg", f"{front}/{token}/{key}/99.jpg"):
        assert status(wrong) == 404
    for name in ("..%2f..%2f..%2fetc%2fpasswd", "0.png", "0.exe", "-1.jpg"):
        assert status(f"{front}/{token}/{key}/{name}") in (403, 404)


def test_the_page_fits_a_narrow_window(page):
    opened(page)
    followed(page)
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(600)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
