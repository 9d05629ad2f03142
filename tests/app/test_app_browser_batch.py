"""The page Batch in Chromium, with a stand-in for the model."""

from __future__ import annotations

import io
import zipfile

from app_server import running
from batch_images import disc_image
from batch_stand_in import Thresholding
from browsers import NEEDS_CHROMIUM, PATIENCE, launched, open_ready
from PIL import Image

pytestmark = NEEDS_CHROMIUM


def picture(seed: int, name: str) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(disc_image(seed, side=96)).save(buffer, format="PNG")
    return {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}


def test_files_are_dropped_run_and_downloaded(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for k in range(3):
            packed.writestr(f"annealed/<b>{k}.png", picture(k, "")["buffer"])
    zipped = {"name": "lab.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    defects, asked = [], []
    with running(lambda: Thresholding(0.3)) as url, launched() as browser:
        page = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: defects.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        open_ready(page, url)
        page.get_by_role("tab", name="Batch").click()
        page.wait_for_selector("#lm-batch [data-count='0']", state="attached")
        bad = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
        files = [*(picture(k, f"film_{k}.png") for k in range(6)), bad, zipped]
        page.set_input_files("input[data-kind='batch']", files)
        page.wait_for_selector("#lm-batch [data-count='10']", state="attached")
        assert "annealed: 3" in page.inner_text("#lm-batch")
        page.fill("#lm-batchgroups input, #lm-batchgroups textarea", "folder")
        page.click("#lm-batchstart")
        page.wait_for_selector("#lm-batchtable", state="visible")  # the table fills while it runs
        assert page.is_visible("#lm-batchstop")
        page.screenshot(path=str(tmp_path / "running.png"))
        page.wait_for_selector("#lm-batchreport", state="visible")
        assert "9 images with" in page.inner_text("#lm-batchrun") and "1 failed" in page.inner_text("#lm-batchrun")
        assert "is not an image" in page.inner_text("#lm-batchtable")
        page.screenshot(path=str(tmp_path / "done.png"), full_page=True)
        with page.expect_download() as download:
            page.click("#lm-batchsave")
        with zipfile.ZipFile(download.value.path()) as saved:
            assert {"results/report.html", "results/failed.csv", "repeat.sh"} <= set(saved.namelist())
        with page.expect_download() as download:
            page.click("#lm-batchreport")
        assert download.value.suggested_filename == "report.html"
        page.click("#lm-batch button:has-text('Remove all')")
        page.wait_for_selector("#lm-batch [data-count='0']", state="attached")
    assert defects == [] and [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []
