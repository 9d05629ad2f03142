"""Every command of ``docs/finetune.md``, in its order, on a small case.

Differences from the guide: ``mine.yaml`` is shortened and names a tiny base, which replaces ``micro``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from fake_slurm import put_slurm
from own_records import write_images, write_own
from paths import ROOT
from tiny_preset import write_preset

from lisa_micro.cli import commands as cli
from lisa_micro.cli import terminal
from lisa_micro.sim import simulate_scene
from lisa_micro_finetune.__main__ import main as train
from lisa_micro_finetune.cluster.settings import ClusterSettings
from lisa_micro_finetune.copy_config import main as copy_config

GUIDE = ROOT / "docs" / "finetune.md"
SHORT = {
    "schedule": {"steps": 2, "batch_size": 2, "validate_every": 2, "warmup": 1, "log_every": 1},
    "replay": {"share": 0.5, "scenes": 1, "side": 64},
    "judge": {"wordings": 1, "images": 1, "scenes": 1, "requests": 2},
    "longest": 900,
    "crop": 64,
    "lora": {"rank": 2, "alpha": 4},
}
"""Changes to ``mine.yaml``: settings that are in the guide's table."""


def commands(text: str) -> list[str]:
    """Lines after ``$`` in the guide's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def my_shells(folder: Path) -> None:
    """Write the folder of the guide's custom class: images, and labels of the shells only."""
    for name in ("images", "labels/shell"):
        (folder / name).mkdir(parents=True)
    for k in range(3):
        scene = simulate_scene(40 + k, (72, 72), "BF-TEM", "isolated", core_shell=1.0)
        tifffile.imwrite(folder / f"images/film_{k + 1}.tif", scene.pixels.astype(np.float32))
        tifffile.imwrite(folder / f"labels/shell/film_{k + 1}.tif", scene.shells.astype(np.uint16))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A current folder with the files of the guide's user."""
    write_images(tmp_path / "my-scans", 4, 72)
    for part in ("images", "labels"):
        for path in sorted((tmp_path / "my-scans" / part).iterdir()):
            path.rename(path.with_name(f"scan_{int(path.stem) + 1}.tif"))
    my_shells(tmp_path / "my-shells")
    write_own(tmp_path / "corrections")
    write_preset(tmp_path / "tiny")
    put_slurm(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shorten(path: Path, base: Path) -> None:
    """Apply the settings of the small case to a copy of the shipped file."""
    settings = yaml.safe_load(path.read_text())
    for name, value in SHORT.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump({**settings, "base": str(base)}))


def perform(command: str) -> int:
    """Run one command; those of the project run in this process, which is faster."""
    words = ["tiny" if word == "micro" else word for word in shlex.split(command)]
    if words[:2] == ["lisa-micro", "finetune"]:
        return train([*words[2:], "--device", "cpu"])
    if words[:3] == ["lisa-micro", "evaluate", "presets"]:
        words += ["--images", "1", "--wordings", "1", "--device", "cpu"]
    if words[0] == "lisa-micro":
        return terminal.run(lambda: cli.app(args=words[1:], standalone_mode=False))
    if words[:2] == ["python", "-m"]:
        return subprocess.run([sys.executable, *words[1:]], check=False, timeout=300).returncode
    if words[0] == "torchrun":
        # the program that is installed next to this Python, as users run it
        words[0] = str(Path(sys.executable).with_name("torchrun"))
        return subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, timeout=600).returncode
    assert words[0] == "cat", f"the test does not know {words[0]}"
    return subprocess.run(words, check=False).returncode


def settings_named(text: str) -> set[str]:
    """Keys in the guide's table of settings, with the names of their blocks."""
    table = text.split("## The settings")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    found = set()
    for row in rows:
        block = ""
        for key in re.findall(r"`([\w.*]+)`", row):
            block = key.rpartition(".")[0] or block
            found.add(key if "." in key else f"{block}.{key}" if block else key)
    return found


def test_the_guide_has_ten_commands_and_names_existing_settings():
    text = GUIDE.read_text(encoding="utf-8")
    known = yaml.safe_load((ROOT / "finetune" / "configs" / "adapt.yaml").read_text())
    for key in settings_named(text):
        block, _, name = key.partition(".")
        fits = block in known and (not name or name == "*" or name in known[block])
        # a key without a block follows one with a block
        assert fits or name in known, key
    ten = text.split("## Ten commands")[1].split("\n## ")[0]
    assert re.findall(r"^\*\*(\d+)\.", ten, re.MULTILINE) == [str(k + 1) for k in range(10)]
    assert len(commands(ten)) == 10
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (GUIDE.parent / target).exists(), target


def test_the_guide_lists_every_setting_of_jobs():
    text = GUIDE.read_text(encoding="utf-8").split("## A job of a cluster")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    shipped = yaml.safe_load((ROOT / "finetune" / "configs" / "adapt.yaml").read_text())["submitit"]
    assert named == shipped.keys() == ClusterSettings.model_fields.keys()
    assert ClusterSettings(**shipped) == ClusterSettings()


def test_a_shipped_configuration_is_copied_once(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    assert copy_config(["adapt", str(path)]) == 0
    assert path.read_text() == (ROOT / "finetune" / "configs" / "adapt.yaml").read_text()
    path.write_text("changed")
    assert copy_config(["adapt", str(path)]) == 2 and "exists already" in capsys.readouterr().err
    assert copy_config(["none", str(tmp_path / "b.yaml")]) == 2 and "adapt" in capsys.readouterr().err
    assert path.read_text() == "changed"


@pytest.mark.slow
def test_every_command_of_the_guide_runs(place, capsys):
    runs = commands(GUIDE.read_text(encoding="utf-8"))
    assert len(runs) >= 16
    for command in runs:
        assert perform(command) == 0, f"{command}\n{capsys.readouterr()}"
        if "copy_config" in command:
            shorten(place / "mine.yaml", place / "tiny")
    for run in ("mine", "two", "mine-4bit", "shells", "both", "corrected"):
        metrics = json.loads((place / "runs" / run / "adapter" / "metrics.json").read_text())
        assert "after" in metrics and "forgetting" in metrics, run
    evaluated = json.loads((place / "out/evaluated/judgement.json").read_text())
    assert set(evaluated) == {"tiny", "runs/mine/adapter"} and (place / "out/evaluated/cases.png").is_file()
    assert "partition=gpu" in (place / "runs/job/jobs/42_submission.sh").read_text()
    assert (place / "out/scan_1/answer.json").is_file() and (place / "my-preset/lora.safetensors").is_file()
    shutil.rmtree(place / "runs")
