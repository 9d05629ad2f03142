"""Take the screenshots of the app for the documentation, with the shipped model and simulated samples.

    python benchmarks/app_pictures.py docs/images

Writes app.png, boxes.png, correct.png and video.png. Needs Chromium and playwright. The pages show how long the answers
took, so run it on an idle machine.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from scipy import ndimage

from lisa_micro.sim import growth_constant, simulate_sintering

WIDTH, SIDE = 1440, 512
"""Width of the window, and side of the sample micrograph, px."""


@contextmanager
def app() -> Iterator[str]:
    """Start the app; yield its address."""
    command = [sys.executable, "-m", "lisa_micro_app", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        lines = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in server.stdout)
        yield next(match.group() for match in lines if match)
    finally:
        server.terminate()
        server.wait(30)


def true_particles() -> np.ndarray:
    """The true labels ``(H, W)`` of the sample ``sintering_tem``, simulated as in data/samples/README.md."""
    mechanism = "surface diffusion"
    rate = growth_constant(0.6, 100.0, 5.5, mechanism)
    sample = {"seed": 29, "modality": "BF-TEM", "n_particles": 16, "contact_share": 0.65, "radius_nm": 5.5}
    return np.asarray(simulate_sintering(mechanism=mechanism, B=rate, **sample).particles)


def new_page(browser: Browser, address: str) -> Page:
    """Open the app in a new window."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 1180})
    page.set_default_timeout(240_000)
    page.goto(address)
    page.wait_for_selector(".lm-empty [data-sample]")
    return page


def save(page: Page, path: Path, height: int) -> None:
    """Take a screenshot of the top of the page, with 256 colours."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256).save(path, optimize=True)


def chat(page: Page, folder: Path) -> None:
    """Ask three questions about a sample; select a particle of the second answer."""
    page.click('.lm-empty [data-sample="sintering_tem"]')
    page.wait_for_selector(".lm-pill.lm-ready")
    replies = page.locator("button.lm-reply")
    requests = ("segment all particles", "segment the three largest particles and the necks", "are there any pores?")
    for number, request in enumerate(requests, 1):
        page.fill("#lm-words textarea", request)
        page.press("#lm-words textarea", "Enter")
        page.wait_for_function("n => document.querySelectorAll('button.lm-reply').length === n", arg=number)
    replies.nth(1).click()
    page.wait_for_selector('#lm-viewer .lm-stage[data-layers="2"]')
    page.locator("#lm-measures tbody tr").nth(1).click()
    save(page, folder / "app.png", 1180)
    replies.nth(0).click()
    page.wait_for_selector('#lm-viewer .lm-stage[data-layers="1"]')


def boxes(page: Page, folder: Path) -> None:
    """Draw a box around each particle, and compare with words."""
    page.set_viewport_size({"width": WIDTH, "height": 960})
    page.get_by_role("tab", name="Words against boxes").click()
    page.wait_for_selector("#lm-boxes .lm-canvas", state="visible")
    truth, file = true_particles(), io.BytesIO()
    tifffile.imwrite(file, truth.astype(np.uint16))
    upload = {"name": "sintering_tem_truth.tif", "mimeType": "image/tiff", "buffer": file.getvalue()}
    page.set_input_files('input[data-kind="truth"]', upload)
    page.wait_for_selector("text=true objects")
    place = page.locator("#lm-boxes .lm-canvas").bounding_box()
    assert place is not None
    for rows, columns in ndimage.find_objects(truth):
        start = [max(columns.start - 3, 1), max(rows.start - 3, 1)]
        end = [min(columns.stop + 3, SIDE - 1), min(rows.stop + 3, SIDE - 1)]
        for k, corner in enumerate((start, start, end)):
            page.mouse.move(*(place[axis] + v * place["width"] / SIDE for axis, v in zip("xy", corner, strict=True)))
            if k == 0:
                page.mouse.down()
        page.mouse.up()
    page.click("#lm-compare")
    page.wait_for_selector(".lm-verdict")
    save(page, folder / "boxes.png", 960)


def correct(page: Page, folder: Path) -> None:
    """Remove two particles and select a third."""
    page.get_by_role("tab", name="Correct").click()
    count = len(np.unique(true_particles())) - 1
    page.wait_for_selector(f'#lm-correct [data-count="{count}"]')
    for number, label in enumerate((13, 3), 1):
        page.click(f'#lm-correctmeasures tr[data-label="{label}"]')
        page.click('[data-do="remove"]')
        page.wait_for_selector(f'#lm-correct [data-count="{count - number}"][data-busy="false"]')
    page.wait_for_timeout(600)
    page.click('#lm-correctmeasures tr[data-label="1"]')
    save(page, folder / "correct.png", 1040)


def video(page: Page, folder: Path) -> None:
    """Track a sample, ask a question, and show a frame after an event."""
    page.get_by_role("tab", name="Video").click()
    page.click("[data-video='sintering']")
    page.wait_for_selector("#lm-video .lm-stage[data-frame='0']")
    page.click("#lm-track")
    page.wait_for_selector(".lm-summary")
    page.fill("#lm-question textarea", "when does the first coalescence happen?")
    page.press("#lm-question textarea", "Enter")
    page.wait_for_selector("#lm-videoquestions .lm-reply .lm-words")
    page.locator("#lm-video .lm-slider").evaluate("n => { n.value = 20; n.dispatchEvent(new Event('input')); }")
    page.wait_for_selector("#lm-video .lm-stage[data-frame='20']")
    save(page, folder / "video.png", 1216)


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with app() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = new_page(browser, address)
        for take in (chat, boxes, correct):
            take(page, folder)
        page.close()
        video(new_page(browser, address), folder)
        browser.close()


if __name__ == "__main__":
    main()
