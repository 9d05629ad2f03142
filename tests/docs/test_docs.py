"""Every command and every Python block of the guides runs as printed; the documentation site builds without a warning.

Blocks marked ``console`` and ``python`` are run; ``shell`` and ``text`` mark those that install, serve or show output.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT

import lisa_micro
from lisa_micro.cli.main import main

DOCS = ROOT / "docs"
GUIDES = (
    "index",
    "tutorial",
    "video-tutorial",
    "batch",
    "boxes-and-points",
    "find-alike",
    "large-images",
    "stacks",
    "compare",
    "scale-bars",
    "export",
)
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
TESTED_ELSEWHERE = {"finetune", "data-format", "api", "benchmark", "training", "asking", "tracking", "python", "napari"}
"""Pages with commands that need more than a sample: tests of their own run them, or they are a reference."""


@pytest.fixture(scope="module")
def assistant():
    return lisa_micro.load_assistant("micro", device="cpu")


@pytest.fixture
def here(tmp_path, monkeypatch, assistant) -> Path:
    """A folder with the sample that the guides use; the model is loaded once for all of them."""
    shutil.copyfile(ROOT / "data" / "samples" / "sintering_tem.tif", tmp_path / "film.tif")
    for group in ("as-made", "annealed"):  # a folder of images in groups, for the guide to batches
        (tmp_path / "films" / group).mkdir(parents=True)
        shutil.copyfile(tmp_path / "film.tif", tmp_path / "films" / group / "film.tif")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda *_, **__: assistant)
    return tmp_path


def call(command: str) -> int:
    """Run one command of a guide in this process."""
    name, *arguments = shlex.split(command)
    assert name == "lisa-micro", f"the guides run lisa-micro only, not {name}"
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES)
def test_every_block_of_a_guide_runs(here, page, assistant):
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert blocks
    if page == "find-alike" and not assistant.capabilities.exemplars:
        pytest.skip("the shipped preset has no exemplar encoder yet")
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, f"{page}.md", "exec"), {})
            continue
        for line in text.splitlines():
            if line.startswith("$ "):
                assert call(line[2:]) == 0, line


def test_no_page_has_commands_that_nobody_runs():
    for path in DOCS.glob("*.md"):
        if BLOCK.search(path.read_text(encoding="utf-8")):
            assert path.stem in {*GUIDES, *TESTED_ELSEWHERE}, path.name


def test_every_page_is_in_the_navigation():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    named = set(re.findall(r"[\w-]+\.md", str(settings["nav"])))
    assert named == {path.name for path in DOCS.glob("*.md")}


def test_links_of_the_readme_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "data/MODEL_CARD.md", "data/DATA_CARD.md"):
        path = ROOT / name
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{name}: {target}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra [docs] is missing")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    commands = (tmp_path / "site" / "command-line" / "index.html").read_text(encoding="utf-8")
    assert "lisa-micro segment" in commands and "--pixel-size" in commands
    assert "SmolLM2-135M" in (tmp_path / "site" / "model-card" / "index.html").read_text(encoding="utf-8")


def test_files_of_the_architecture_page_exist():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    known = {
        path.relative_to(ROOT).as_posix()
        for part in ("lisa_micro", "app", "finetune")
        for path in (ROOT / part).rglob("*.py")
    }
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert any(path == name or path.endswith("/" + name) for path in known), name
