"""The wheel, installed with ``[all]`` into a clean environment in a folder away from the checkout: every module imports
there, and every command runs once, as its console script.

The environment is made once: about a minute where the packages are at hand. Only the language model's cache folder is
shared with this environment, so that it is not downloaded and converted again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from own_records import write_own
from paths import ROOT
from tiny_preset import write_preset

from lisa_micro.correction.replay import begin, make_log
from lisa_micro.models.lisa.base_files import cache_folder
from lisa_micro.models.lisa.base_lm import prepare

pytestmark = pytest.mark.slow

SOURCES = ("lisa_micro", "app", "finetune", "data/samples", "setup.py", "pyproject.toml", "README.md", "LICENSE")
PACKAGES = {"lisa_micro", "lisa_micro_app", "lisa_micro_finetune", "lisa_micro_samples"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
IMPORT_ALL = """
import importlib, json, pkgutil
import lisa_micro, lisa_micro_app, lisa_micro_finetune, lisa_micro_samples
import lisa_micro.models.compat
names = []
for package in (lisa_micro, lisa_micro_app, lisa_micro_finetune):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and not module.name.startswith("lisa_micro.napari.dock."):
            importlib.import_module(module.name)
            names.append(module.name)
files = [package.__file__ for package in (lisa_micro, lisa_micro_app, lisa_micro_finetune)]
print(json.dumps({"files": files, "count": len(names)}))
"""
ONE_STEP = {
    "schedule.steps": 1,
    "schedule.batch_size": 2,
    "schedule.validate_every": 1,
    "schedule.warmup": 1,
    "replay": "{share: 0.5, scenes: 1, side: 64}",
    "judge": "{wordings: 0, images: 1, scenes: 0, requests: 0}",
    "longest": 900,
    "crop": 64,
    "lora": "{rank: 2, alpha: 4}",
    "base": "tiny",
    "data": "records",
}


@dataclass(frozen=True)
class Installed:
    """The clean environment (folder of its ``bin``) and a working folder away from the checkout."""

    bin: Path
    site: Path
    work: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing that leads to the checkout or to a network."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS") if name in os.environ}
        own = {"HOME": str(self.work), "HF_HUB_OFFLINE": "1", "LISA_MICRO_CACHE": str(cache_folder()), "TERM": "dumb"}
        return kept | own

    def run(self, program: str, *arguments: object, text: str = "") -> str:
        """What a program of the environment prints; it must succeed."""
        command = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            cwd=self.work,
            env=self.environment,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def lisa(self, *arguments: object, text: str = "") -> str:
        """What ``lisa-micro`` prints."""
        return self.run("lisa-micro", *arguments, text=text)


def pip(*arguments: object) -> None:
    """Run the pip of this environment, which also installs into others."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    # what is on PYTHONPATH would count as installed
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Iterator[Installed]:
    """The clean environment; removed afterwards, since it takes 2 GB."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    pip("--python", python, "install", "--quiet", "--no-compile", "--constraint", constraints, f"{wheel}[all]")
    assert prepare() is not None, "the base language model is not to be had"
    work = folder / "work"
    work.mkdir()
    yield Installed(python.parent, next((folder / "venv" / "lib").glob("python3*")) / "site-packages", work)
    shutil.rmtree(folder, ignore_errors=True)


def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("METADATA"))
        facts = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    for wanted in (
        "lisa_micro/py.typed",
        "lisa_micro/weights/micro/lora.safetensors",
        "lisa_micro/weights/deaot-t/deaot.safetensors",
        "lisa_micro/datasets/texts/asks.yaml",
        "lisa_micro_app/static/lisa.js",
        "lisa_micro/viz/static/stage.js",
        "lisa_micro_finetune/configs/adapt.yaml",
        "lisa_micro_samples/sintering_tem.tif",
        "lisa_micro/napari/napari.yaml",
    ):
        assert wanted in names, wanted
    assert not any(name.endswith((".pyc", "__pycache__/")) for name in names)
    assert "Author: LISA-micro developers" in facts and "Requires-Python: >=3.11" in facts
    assert wheel.stat().st_size < 90e6


def test_every_module_imports_and_comes_from_the_environment(installed):
    found = json.loads(installed.run("python", "-I", "-c", IMPORT_ALL).splitlines()[-1])
    assert all(Path(file).is_relative_to(installed.site) for file in found["files"])
    assert found["count"] > 200
    assert not {"app", "finetune", "tests", "data", "benchmarks"} & {path.name for path in installed.site.iterdir()}


def test_every_command_runs(installed):
    """In the order in which a user meets them; later ones use what earlier ones wrote."""
    lisa, work = installed.lisa, installed.work
    shutil.copy(installed.site / "lisa_micro_samples" / "sintering_tem.tif", work / "film.tif")
    assert lisa("--version") == installed.run("python", "-m", "lisa_micro", "--version")
    assert "language model is ready" in lisa("setup")

    # one micrograph
    assert json.loads(lisa("info", "film.tif", "--json"))[0]["pixel_size_nm"] == pytest.approx(0.2)
    record = json.loads(lisa("segment", "film.tif", "segment all particles", "--json"))
    assert 12 <= record["summary"][0]["count"] <= 20  # 16 in truth
    labels = work / "film-lisa" / "labels.tif"
    assert json.loads(lisa("batch", "film.tif", "segment all particles", "--workers", "1", "--json"))["done"] == 1
    measured = json.loads(lisa("measure", labels, "--image", "film.tif", "--out", "measured", "--json"))
    assert measured["count"] == record["summary"][0]["count"]
    assert measured["mean_diameter_nm"] == pytest.approx(record["summary"][0]["mean"])
    assert "saved in said/1" in lisa("chat", "film.tif", "--out", "said", text="segment the necks\n")
    (work / "boxes.csv").write_text("100,100,200,200\n")
    assert "report.html" in lisa("compare", "film.tif", "segment all particles", "--boxes", "boxes.csv")
    before = tifffile.imread(labels).astype(np.int32)
    log = make_log(before, begin(before), concept="particle", phrase="particles")
    (work / "log.json").write_text(log.model_dump_json())
    assert "0 corrections" in lisa("correct", "film.tif", labels, "log.json", "--out", "corrected")

    # a video
    lisa("simulate", "--out", "video", "--frames", "3", "--size", "96", "--particles", "3", "--seed", "3")
    assert "3 frames" in lisa("track", "video/video.tif", "segment all particles", "--out", "tracked")
    assert (work / "tracked" / "tracks.csv").is_file() and list((work / "tracked").glob("*.mp4"))
    answers = json.loads(lisa("ask", "tracked", "how many particles are left at the end?", "--json"))
    assert answers[0]["text"]


def test_every_command_of_training_runs(installed):
    lisa, work = installed.lisa, installed.work
    write_preset(work / "tiny")
    write_own(work / "lab", count=4, side=72)
    (work / "lab" / "metadata.jsonl").unlink()
    lisa("data", "convert", "lab", "--out", "records", "--validation", "0.25")
    assert "nothing is wrong" in lisa("data", "check", "records")
    settings = [part for key, value in ONE_STEP.items() for part in ("--set", f"{key}={value}")]
    lisa("finetune", "adapt", *settings, "--out", "run", "--device", "cpu", "--threads", "1")
    adapter = work / "run" / "adapter"
    assert (adapter / "config.json").is_file()
    presets = ("--preset", "tiny", "--preset", adapter)
    shown = json.loads(lisa("judge", "records", *presets, "--images", "1", "--wordings", "1", "--no-boxes", "--json"))
    assert set(shown) == {"tiny", str(adapter)}
    lisa("merge", adapter, "--out", "merged")
    assert "would be uploaded" in lisa("push", "merged", "somebody/merged", "--dry-run")
    assert "emps" in lisa("evaluate", "list")
    report = json.loads(lisa("evaluate", "values", "--limit", "1", "--preset", "tiny", "--json"))
    assert report["suites"][0]["suite"] == "values"
    tiny = (
        "--models",
        "vmamba",
        "--steps",
        "1",
        "--batch",
        "1",
        "--resolution",
        "32",
        "--tile",
        "64",
        "--threads",
        "1",
    )
    assert "segmenters-lab.json" in lisa("benchmark", "segmenters", "lab", *tiny, "--device", "cpu")
    assert "Usage" in installed.run("python", "-m", "lisa_micro_finetune", "--help")


def test_the_app_serves_its_page(installed, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [str(installed.bin / "lisa-micro"), "app", "--port", "0"]
        app = subprocess.Popen(
            command, cwd=installed.work, env=installed.environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 300
        while "is at" not in (text := log.read_text()):
            assert app.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.3)
        address = text.split("is at ")[1].split()[0]
        with urllib.request.urlopen(address, timeout=60) as answer:
            page = answer.read().decode()
        assert answer.status == 200 and "LISA-micro" in page
        if CHROMIUM and find_spec("playwright"):
            assert "sintering_tem" in rendered(address)
    finally:
        app.terminate()
        app.wait(60)


def rendered(address: str) -> str:
    """The page as Chromium shows it, as soon as the samples of the wheel are offered."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector('.lm-empty [data-sample="sintering_tem"]', timeout=120_000)
        content = page.content()
        browser.close()
    return content
