"""Training: data, losses, resuming an interrupted run, configurations."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from lisa_micro.types import CONCEPTS, InputError
from lisa_micro_finetune.blend import blend
from lisa_micro_finetune.calibrate import Seen, threshold
from lisa_micro_finetune.config import load_config
from lisa_micro_finetune.data.conversations import Example, even_chunks
from lisa_micro_finetune.data.crops import CropConfig, CropMaker, halve, instance_maps
from lisa_micro_finetune.data.sources import Source, prepare_simulated, read_source, write_source
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.losses import dice_loss, mask_loss, rare_weight, soft_iou
from lisa_micro_finetune.schedule import Schedule

CONFIGS = sorted([*(ROOT / "finetune" / "configs").glob("*.yaml"), *(ROOT / "experiments").glob("*.yaml")])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configurations_are_valid(path):
    assert load_config(path).schedule.steps > 0


def test_configurations_refuse_unknown_keys(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("stage: vision\nschedule: {steps: 5, batch_size: 1, lr: 0.1, stepz: 3}\n")
    with pytest.raises(InputError, match="stepz"):
        load_config(path)
    path.write_text("stage: cooking\n")
    with pytest.raises(InputError, match="unknown stage .cooking."):
        load_config(path)
    with pytest.raises(InputError, match="no configuration"):
        load_config(tmp_path / "b.yaml")


def test_learning_rate_warms_up_and_decays():
    schedule = Schedule(steps=100, batch_size=1, lr=1.0, warmup=10, min_lr_ratio=0.1)
    rates = [schedule.learning_rate(k) for k in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


class Killed(Exception):
    pass


def _train(folder: Path, kill_at: int | None) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    seen = []

    def make(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.as_tensor(np.random.default_rng(step).normal(size=(4, 3)), dtype=torch.float32)
        return x, x.sum(1, keepdim=True)

    def loss(batch) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append(1)
        if kill_at is not None and len(seen) > kill_at:
            raise Killed
        return (model(batch[0]) - batch[1]).pow(2).mean(), {}

    schedule = Schedule(steps=30, batch_size=4, lr=1e-2, warmup=3, workers=0, save_every=0.0)
    return run_loop(model, make, loss, schedule, folder, log=lambda _: None)


def test_a_killed_run_resumes_to_the_same_result(tmp_path):
    whole = _train(tmp_path / "whole", None)
    with pytest.raises(Killed):
        _train(tmp_path / "killed", 17)
    resumed = _train(tmp_path / "killed", None)
    for name in whole:
        torch.testing.assert_close(resumed[name], whole[name], atol=0, rtol=0)


def test_losses_of_perfect_and_wrong_masks():
    target = torch.zeros(2, 8, 8)
    target[0, 2:5, 2:5] = 1
    valid = torch.ones_like(target)
    sure = (target * 2 - 1) * 30
    assert mask_loss(sure, target, valid).max() < 1e-3
    assert dice_loss(-sure, target, valid)[0] > 0.8
    assert soft_iou(sure, target, valid).tolist() == [1.0, 1.0]
    weights = rare_weight(target, valid, share=0.5)
    assert weights[0, 3, 3] == pytest.approx(32 / 9) and weights[0, 0, 0] == 1
    assert (weights[1] == 1).all()


def test_invalid_pixels_do_not_count():
    target, valid = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    valid[0, 0] = 0
    logits = torch.full((1, 4, 4), -30.0)
    logits[0, 0] = 30.0
    assert mask_loss(logits, target, valid)[0] < 1e-3


def test_instance_maps_peak_inside_and_mark_where_instances_meet():
    labels = np.zeros((20, 30), int)
    labels[4:16, 3:13], labels[4:16, 13:23] = 1, 2
    distance, border = instance_maps(labels)
    assert distance.max() == 1 and distance[labels == 0].max() == 0
    assert distance[10, 12] < 0.2 and distance[10, 7] > 0.8
    assert border[10, 12] and border[10, 13] and not border[10, 4]
    empty, none = instance_maps(np.zeros((5, 5), int))
    assert not empty.any() and not none.any()


def test_halving_keeps_the_mean():
    mask = np.random.default_rng(0).random((10, 14)) > 0.5
    assert halve(mask).mean() == pytest.approx(mask.mean())


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[Source]:
    folder = tmp_path_factory.mktemp("sim")
    return [read_source(p) for p in prepare_simulated(folder, 3, 70, (160, 160))]


def test_sources_are_read_as_written(tmp_path, sources):
    write_source(tmp_path / "a.npz", sources[0])
    again = read_source(tmp_path / "a.npz")
    assert (again.name, again.kind, again.modality) == (sources[0].name, "sim", sources[0].modality)
    for concept in CONCEPTS:
        assert (again.labels[concept] == sources[0].labels[concept]).all()


def test_batches_depend_on_seed_and_step_alone(sources):
    config = CropConfig(size=96, mix=(("sim", 1.0),))
    make = CropMaker(sources, config, batch_size=2, seed=3)
    first, again = make(7), CropMaker(sources, config, 2, 3)(7)
    assert torch.equal(first.images, again.images) and torch.equal(first.targets.mask, again.targets.mask)
    assert not torch.equal(first.images, make(8).images)
    prompts = 2 * config.words + 2 + 2
    assert first.targets.mask.shape == (prompts, 48, 48)
    assert first.images.min() >= 0 and first.images.max() <= 1
    assert (first.concepts[:, 0] == 0).all()


def test_boxes_and_points_lie_on_their_target(sources):
    make = CropMaker(sources, CropConfig(size=96, mix=(("sim", 1.0),)), batch_size=4, seed=1)
    checked = 0
    for step in range(6):
        batch = make(step)
        words = batch.concepts.numel()
        shift = torch.tensor(batch.origin) * 16.0
        for k in range(4):
            mask = batch.targets.mask[words + k]
            if batch.targets.weight[words + k] == 0:
                continue
            ys, xs = torch.nonzero(mask > 0.5, as_tuple=True)
            if not len(xs):
                continue
            box = (batch.boxes[k] - shift.repeat(2)) / 2
            size = max(4.0, float(xs.max() - xs.min()), float(ys.max() - ys.min()))
            assert abs(float(box[0]) - float(xs.min())) < 0.25 * size + 2
            assert abs(float(box[3]) - float(ys.max())) < 0.25 * size + 2
            point = ((batch.points[k, 0] - shift) / 2).long().clamp(0, 47)
            target = batch.targets.mask[words + 4 + k]
            if batch.targets.weight[words + 4 + k] > 0:
                around = target[max(0, point[1] - 1) : point[1] + 2, max(0, point[0] - 1) : point[0] + 2]
                assert around.max() > 0
                checked += 1
    assert checked > 8


@given(st.lists(st.integers(1, 240), min_size=4, max_size=80))
def test_batches_hold_about_the_same_number_of_tokens(lengths):
    examples = [Example([0] * n, [0] * n, 0, [], []) for n in sorted(lengths)]
    chunks = even_chunks(examples, 4)
    assert [e for chunk in chunks for e in chunk] == examples and all(chunks)
    tokens = [sum(len(e.ids) for e in chunk) for chunk in chunks]
    if len(lengths) >= 40:
        assert max(tokens) - min(tokens) <= 3 * max(lengths)


def test_presence_threshold_declines_absent_concepts_and_accepts_present_ones():
    there = [Seen("pore", True, p, True) for p in np.linspace(0.4, 0.9, 100)]
    absent = [Seen("pore", False, p, True) for p in (0.05, 0.1, 0.3, 0.6) * 5]
    careful = threshold([*there, *absent], 0.0)
    assert 0.3 < careful <= 0.4
    bold = threshold([*there, *absent], 0.45)
    assert sum(s.presence < bold for s in there) <= 45 and bold > 0.6
    assert threshold(absent, 0.0) == 0.5
    # concepts without a mask are declined anyway
    assert threshold([*there, *absent, Seen("pore", True, 0.01, False)], 0.0) == careful
    # scores far from each other: nothing is staked on the ends
    sure = [Seen("pore", True, 0.999, True)] * 9 + [Seen("pore", False, 0.01, True)] * 20
    assert threshold(sure, 0.0) == pytest.approx(0.5, abs=0.01)
    # a few scenes without it move nothing
    few = [*there, Seen("pore", False, 0.39, True)]
    assert threshold(few, 0.0) == 0.5


def test_blended_weights_are_averages(tmp_path):
    one = {"w": torch.zeros(3, dtype=torch.float16), "n": torch.tensor(4)}
    other = {"w": torch.ones(3, dtype=torch.float16), "n": torch.tensor(7)}
    mixed = blend(one, other, 0.25)
    assert mixed["w"].tolist() == [0.25] * 3 and mixed["w"].dtype == torch.float16
    assert int(mixed["n"]) == 7
    with pytest.raises(InputError, match="one architecture"):
        blend(one, {"w": torch.ones(4), "n": torch.tensor(7)}, 0.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        blend(one, other, 1.5)
