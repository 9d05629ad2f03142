"""Fine-tuning end to end on a tiny model: resuming, a full disk, using an adapter and continuing from it."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from own_records import write_own
from paths import ROOT
from tiny_preset import write_preset

import lisa_micro as lm
from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.lisa.adapter import AdapterConfig
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.runner import run_adapt
from lisa_micro_finetune.checkpoints import save_checkpoint
from lisa_micro_finetune.cluster.submit import submit, wait
from lisa_micro_finetune.config import load_config

CHECKOUT = ROOT
CONFIG = CHECKOUT / "finetune" / "configs" / "adapt.yaml"
SMALL = (
    "schedule.steps=8",
    "schedule.batch_size=2",
    "schedule.validate_every=4",
    "schedule.warmup=1",
    "schedule.log_every=1",
    "schedule.save_every=0",
    "schedule.lr=0.01",
    "replay={share: 0.5, scenes: 1, side: 64}",
    "judge={wordings: 0, images: 1, scenes: 0, requests: 0}",
    "longest=900",
    "crop=64",
    "views=2",
    "lora={rank: 2, alpha: 4, dropout: 0.3}",
)
"""Dropout and a high learning rate reveal a wrong order of batches or a lost random state."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Preset, records with labels alone, cache; torch on one thread, as in the process that is killed."""
    folder = tmp_path_factory.mktemp("adapt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {
        "base": write_preset(folder / "tiny"),
        "data": write_own(folder / "labels", said=False),
        "said": write_own(folder / "said"),
        "cache": folder / "cache",
    }
    torch.set_num_threads(threads)


def settings(place: dict, *more: str, data: str = "data") -> list[str]:
    return [*SMALL, f"data={place[data]}", f"base={place['base']}", *more]


def run(place: dict, out: Path, *more: str, data: str = "data") -> None:
    run_adapt(load_config(CONFIG, settings(place, *more, data=data)), out, place["cache"], "cpu")


@pytest.fixture(scope="module")
def uninterrupted(place, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(place, out)
    return out


def test_a_killed_run_resumes_to_the_same_weights(place, uninterrupted, tmp_path):
    out = tmp_path / "killed"
    words = [word for setting in settings(place) for word in ("--set", setting)]
    words += ["--out", str(out), "--cache", str(place["cache"]), "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lisa_micro_finetune", str(CONFIG), *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = out / "log.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and len(log.read_text().splitlines()) >= 3 and (out / "last.pt").is_file():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = torch.load(out / "last.pt", weights_only=True)["state"]["step"]
    assert 0 < reached < 8, "the run was not interrupted in between"
    run(place, out)
    whole, resumed = (torch.load(folder / "last.pt", weights_only=True) for folder in (uninterrupted, out))
    assert whole["state"] == resumed["state"] or whole["state"]["step"] == resumed["state"]["step"] == 8
    for kind in ("parameters", "average"):
        for name, value in whole[kind].items():
            torch.testing.assert_close(resumed[kind][name], value, atol=1e-6, rtol=0)
    for name, value in read_state(uninterrupted / "adapter" / "adapter.safetensors").items():
        torch.testing.assert_close(read_state(out / "adapter" / "adapter.safetensors")[name], value, atol=1e-6, rtol=0)


def test_a_job_that_its_scheduler_interrupts_goes_on_to_the_same_weights(place, uninterrupted, tmp_path):
    pytest.importorskip("submitit", reason="the extra [train] is missing")
    processes = pytest.importorskip("psutil", reason="the extra [batch] is missing")
    # no checkpoint but the one that the signal causes; a time limit so short counts as reached whenever a signal comes
    limits = ("schedule.save_every=1000", "submitit={executor: local, timeout_min: 9, requeues: 1}")
    out = tmp_path / "job"
    job, _ = submit(CONFIG, out, settings(place, *limits), place["cache"], "cpu", threads=1)
    log = out / "log.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not job.done():
        if log.is_file() and len(log.read_text().splitlines()) >= 3:
            for task in processes.Process(int(job.job_id)).children():
                task.send_signal(signal.SIGUSR2)
            break
        time.sleep(0.01)
    wait(job)
    text = job.stdout()
    step = int(re.search(r"interrupted after step (\d); the checkpoint is written", text)[1])
    assert 0 < step < 8 and f"resuming from step {step}" in text and "(0 remaining timeouts)" in text
    for name, value in read_state(uninterrupted / "adapter" / "adapter.safetensors").items():
        torch.testing.assert_close(read_state(out / "adapter" / "adapter.safetensors")[name], value, atol=1e-6, rtol=0)


def test_a_run_is_not_resumed_with_other_settings(place, uninterrupted, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(uninterrupted, out)
    with pytest.raises(InputError, match=r"other settings \(schedule.lr\)"):
        run(place, out, "schedule.lr=0.02")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint({"step": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(InputError, match=r"could not be written .*previous checkpoint is intact"):
            save_checkpoint({"step": 2, "big": torch.zeros(1 << 20)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def tuned(place, tmp_path_factory) -> Path:
    """A run with evaluation before and after, on records with conversations."""
    out = tmp_path_factory.mktemp("runs") / "said"
    judge = "judge={wordings: 1, images: 2, scenes: 1, requests: 2}"
    run(place, out, judge, "schedule.steps=2", "learn.tokens=true", data="said")
    return out


def test_the_adapter_says_what_it_is(place, tuned):
    adapter = tuned / "adapter"
    names = {path.name for path in adapter.iterdir()}
    assert names == {"adapter.safetensors", "config.json", "metrics.json", "README.md", "cases.png"}
    config = AdapterConfig.read(adapter)
    assert config.base_sha256["mask_head"] and config.lora.rank == 2
    assert {"said/metadata.jsonl", "said/images/0.tif", "said/labels/2.tif"} <= config.data.keys()
    metrics = json.loads((adapter / "metrics.json").read_text())
    assert metrics["gain"] == metrics["after"]["giou"] - metrics["before"]["giou"]
    assert metrics["after"]["requests"] == 2 and 0 <= metrics["after"]["box_giou"] <= 1
    assert {row["prompt"] for row in metrics["after"]["wordings"]} > {"show the grains"}
    assert set(metrics["forgetting"]["lost"]) == {"giou", "exact"}
    assert "| gIoU by words |" in (adapter / "README.md").read_text()
    parts = {name.split(".")[0] for name in read_state(adapter / "adapter.safetensors")}
    assert parts == {"lora", "new_tokens", "clip_projector", "sam_projector", "seg_projector", "mask_head"}
    assert lm.load_assistant(str(adapter), device="cpu").engine.model.config.name == "adapter"


def test_training_continues_from_an_adapter(place, tuned, tmp_path):
    start = tuned / "adapter"
    tower = ("learn={language: no, tokens: false, projections: false, decoder: no, tower: last}", "replay=0")
    run(place, tmp_path / "on", f"start={start}", "schedule.steps=1", *tower, "loss.box=0")
    before, after = (read_state(folder / "adapter.safetensors") for folder in (start, tmp_path / "on" / "adapter"))
    kept = {name: value for name, value in after.items() if not name.startswith("sam_tower.")}
    assert kept.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert any(name.startswith("sam_tower.") for name in after)
    assert not any(name.startswith("sam_tower.encoder.") for name in after)
    lm.load_assistant(str(tmp_path / "on" / "adapter"), device="cpu")
    with pytest.raises(InputError, match=r"set lora.rank to its rank"):
        run(place, tmp_path / "rank", f"start={start}", "lora.rank=5", "schedule.steps=1")
    with pytest.raises(InputError, match="set start"):
        run(place, tmp_path / "base", f"base={start}")


def test_a_base_in_four_bits(place, tmp_path):
    pytest.importorskip("bitsandbytes")
    run(place, tmp_path / "q", "learn.language=qlora", "schedule.steps=2", "gradient_checkpointing=true")
    rows = [json.loads(line) for line in (tmp_path / "q" / "log.jsonl").read_text().splitlines()]
    assert all(row["loss"] == row["loss"] for row in rows)
    state = read_state(tmp_path / "q" / "adapter" / "adapter.safetensors")
    assert any(value.abs().max() > 0 for name, value in state.items() if name.endswith("lora_B.weight"))


def test_faults_of_the_data_are_reported_before_training(place, tmp_path):
    data = write_own(tmp_path / "broken")
    lines = (data / "metadata.jsonl").read_text().splitlines()
    broken = [json.loads(line) for line in lines]
    broken[0]["labels"] = "labels/none.tif"
    broken[2]["conversations"][0]["targets"] = []
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, broken)))
    with pytest.raises(InputError, match=r"(?s)line 1: no file labels/none.tif.*line 3: .*1 \[SEG\].*0 targets"):
        run({**place, "broken": data}, tmp_path / "out", data="broken")
    broken[0]["labels"], broken[2] = "labels/0.tif", json.loads(lines[2])
    broken[1]["conversations"][0]["targets"] = [{"instances": [999]}]
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, broken)))
    with pytest.raises(InputError, match="no instance 999"):
        run({**place, "broken": data}, tmp_path / "out", data="broken")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="--set data=FOLDER"):
        run_adapt(load_config(CONFIG), tmp_path / "out", place["cache"], "cpu")


def write_shells(folder: Path, others: bool = False) -> Path:
    """Records of core-shell particles with labels of the shells, and, with ``others``, of the particles."""
    for name in ("images", "labels/shell", *(("labels/particle",) if others else ())):
        (folder / name).mkdir(parents=True)
    for k in range(3):
        scene = simulate_scene(40 + k, (72, 72), "BF-TEM", "isolated", core_shell=1.0)
        tifffile.imwrite(folder / f"images/{k}.tif", scene.pixels)
        tifffile.imwrite(folder / f"labels/shell/{k}.tif", scene.shells.astype(np.uint16))
        if others:
            tifffile.imwrite(folder / f"labels/particle/{k}.tif", scene.particles.astype(np.uint16))
    convert(folder, folder.with_name(folder.name + "-set"), Choices())
    return folder.with_name(folder.name + "-set")


@pytest.mark.parametrize("others", [False, True])
def test_training_a_custom_class_alone_changes_no_other_mask(place, tmp_path, others):
    data = write_shells(tmp_path / "shells", others)
    speaking = "learn={language: no, tokens: false, projections: false}"
    run(place, tmp_path / "run", speaking, f"data={data}", "schedule.steps=3")
    adapter = tmp_path / "run" / "adapter"
    assert AdapterConfig.read(adapter).own_decoder != others
    before, after = (lm.load_assistant(str(p), device="cpu").engine for p in (place["base"], adapter))
    features = before.encode(simulate_scene(3, (72, 72)).pixels)
    same = [torch.equal(*(e.decode_concept(features, n).mask for e in (before, after))) for n in range(5)]
    assert all(same) if not others else not any(same)
    own = (after.model.mask_head if others else after.model.own_head).mask_decoder.mask_tokens.weight
    assert not torch.equal(own, before.model.mask_head.mask_decoder.mask_tokens.weight)
    assert (after.model.own_top is None) == others
    if not others:
        learnt, was = after.model.own_top.fuse2[0].weight, before.model.sam_tower.fuse2[0].weight
        assert not torch.equal(learnt, was) and torch.equal(after.model.sam_tower.fuse2[0].weight, was)


def test_training_continues_with_a_separate_decoder(place, tmp_path):
    data, words = write_shells(tmp_path / "shells"), "learn={language: no, tokens: false, projections: false}"
    run(place, tmp_path / "one", words, f"data={data}", "schedule.steps=2", "learn.tower=no")
    start = f"start={tmp_path / 'one' / 'adapter'}"
    assert not any(n.startswith("own_top.") for n in read_state(tmp_path / "one/adapter/adapter.safetensors"))
    run(place, tmp_path / "two", words, f"data={data}", "schedule.steps=2", start)
    start = f"start={tmp_path / 'two' / 'adapter'}"
    # its top-down path stays part of it, trained or not
    run(place, tmp_path / "three", words, f"data={data}", "schedule.steps=2", start, "learn.tower=no")
    two, three = (read_state(tmp_path / n / "adapter/adapter.safetensors") for n in ("two", "three"))
    top = [n for n in two if n.startswith("own_top.")]
    assert top and three.keys() == two.keys() and all(torch.equal(two[n], three[n]) for n in top)
    config = AdapterConfig.read(tmp_path / "three" / "adapter")
    assert config.own_decoder and lm.load_assistant(str(tmp_path / "three/adapter"), device="cpu").engine.model.own_top
    for setting, why in (
        ("learn.own_decoder=no", "leave learn.own_decoder at auto"),
        ("learn.tower=all", "last or no"),
    ):
        with pytest.raises(InputError, match=why):
            run(place, tmp_path / "four", words, f"data={data}", "schedule.steps=1", start, setting)


def test_a_separate_decoder_needs_a_custom_class(place, tmp_path):
    with pytest.raises(InputError, match="needs a concept that the base does not know"):
        run(place, tmp_path / "run", "learn.own_decoder=yes", "schedule.steps=1")
