"""How long a user waits: from the command to a usable page, and from a click on a sample to the first overlay.

    python benchmarks/app_times.py --runs 3

Drives the system's Chromium; needs the extra ``[test]``. Each run starts the app anew; the model is cached from the
first run on.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time

from playwright.sync_api import Browser, sync_playwright

from lisa_micro.evaluate.provenance import hardware

PATIENCE_MS = 240_000


def measured(browser: Browser, sample: str, prompt: str) -> dict[str, float]:
    """Seconds of one start and one first question.

    Returns:
        ``page`` (address told and page drawn), ``usable`` (the model is loaded too), ``overlay`` (from the click on
        the sample to its first masks), ``answer`` (of that, from the question on).
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "lisa_micro_app", "--port", "0"]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = None
        assert app.stdout is not None
        for line in app.stdout:
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            if address:
                break
        if address is None:
            raise SystemExit("the app did not start")
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address[0])
        page.wait_for_selector(".lm-empty [data-sample]")
        shown = time.perf_counter() - start
        page.wait_for_function("document.body.innerText.includes('Ready')")
        usable = time.perf_counter() - start
        clicked = time.perf_counter()
        page.click(f'.lm-empty [data-sample="{sample}"]')
        page.wait_for_selector("#lm-viewer .lm-stage", state="visible")
        asked = time.perf_counter()
        page.fill("#lm-words textarea", prompt)
        page.press("#lm-words textarea", "Enter")
        page.wait_for_selector('#lm-viewer .lm-stage[data-layers="1"]')
        done = time.perf_counter()
        page.close()
        return {"page": shown, "usable": usable, "overlay": done - clicked, "answer": done - asked}
    finally:
        app.terminate()
        app.wait(30)


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sample", default="sintering_tem")
    parser.add_argument("--prompt", default="segment all sintering necks")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for run in range(options.runs):
            figures = measured(browser, options.sample, options.prompt)
            print(
                f"run {run + 1}: " + ", ".join(f"{name} {value:.1f} s" for name, value in figures.items()), flush=True
            )
        browser.close()
    print(hardware())


if __name__ == "__main__":
    main()
