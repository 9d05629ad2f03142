"""Two processes of ``accelerate launch``, as the guide starts them, train like one.

``torchrun``, which accelerate uses, is run by the test of the guide.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from own_records import write_own
from paths import ROOT
from tiny_preset import write_preset

CHECKOUT = ROOT


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    base, data = write_preset(tmp_path / "tiny"), write_own(tmp_path / "data", said=False)
    settings = {
        "data": data,
        "base": base,
        "validation": 0.3,
        "schedule": "{steps: 4, batch_size: 4, warmup: 1, lr: 0.005, log_every: 1, validate_every: 2}",
        "replay": "{share: 0.25, scenes: 1, side: 64}",
        "judge": "{wordings: 0, images: 1, scenes: 0, requests: 0}",
        "longest": 900,
        "crop": 64,
        "lora": "{rank: 2, alpha: 4, dropout: 0}",
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    guide = (CHECKOUT / "docs" / "finetune.md").read_text(encoding="utf-8")
    command = re.search(
        r"^\$ python (-m lisa_micro_finetune.accelerate launch .*?) -m lisa_micro_finetune ", guide, re.M
    )
    losses = {}
    for name, how in (("one", []), ("two", shlex.split(command[1]))):
        out = tmp_path / name
        done = subprocess.run(
            [
                sys.executable,
                *how,
                "-m",
                "lisa_micro_finetune",
                str(CHECKOUT / "finetune" / "configs" / "adapt.yaml"),
                *words,
            ]
            + ["--out", str(out), "--cache", str(tmp_path / "cache"), "--device", "cpu", "--threads", "1"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"in {len(losses) + 1} process(es)" in done.stdout
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        losses[name] = [(row["part"], row["step"], row["loss"]) for row in rows]
    assert [row[:2] for row in losses["one"]] == [row[:2] for row in losses["two"]]
    for one, two in zip(losses["one"], losses["two"], strict=True):
        assert two[2] == pytest.approx(one[2], abs=2e-3)
    assert (tmp_path / "two" / "adapter" / "adapter.safetensors").is_file()
