"""Training of a tracker: clips, losses, resuming, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lisa_micro.models.trackers.deaot import CONFIGS, DeaotConfig, build_deaot, read_weights
from lisa_micro.types import InputError
from lisa_micro_finetune.config import load_config
from lisa_micro_finetune.data.clips import IGNORED, ClipConfig, ClipMaker, ancestors
from lisa_micro_finetune.run import run_stage
from lisa_micro_finetune.stages.tracking import (
    TrackingModel,
    export,
    hard_cross_entropy,
    load_encoder,
    make_step,
    track_dice,
    track_iou,
    tracking_loss,
)

MINI = DeaotConfig(layers=2, dim=32, attention=16, expansion=64, objects=3, long_term_gap=2)
SMALL = ClipConfig(size=65, frames=4, particles=(4, 8), radius=(6.0, 9.0), duration=12)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


def test_clips_depend_on_seed_and_step_alone():
    make = ClipMaker(SMALL, 2, 100, 3, seed=4)
    first, again = make(5), ClipMaker(SMALL, 2, 100, 3, seed=4)(5)
    assert all(torch.equal(a, b) for a, b in zip(first[:-1], again[:-1], strict=True))
    assert not torch.equal(first.images, make(6).images)
    assert first.images.shape == (2, 4, 1, 65, 65) and first.labels.shape == (2, 4, 65, 65)
    assert first.images.min() >= 0 and first.images.max() <= 1


def test_labels_of_the_first_frame_are_the_tracks():
    make, ignored = ClipMaker(SMALL, 2, 20, 3, seed=1), 0
    for step in range(8):
        clips = make(step)
        for labels, used in zip(clips.labels, clips.used, strict=True):
            begun = set(labels[0].unique().tolist())
            assert IGNORED not in begun and begun | {0} == set(used.nonzero().flatten().tolist()) | {0}
            assert set(labels.unique().tolist()) <= begun | {0, IGNORED}
            ignored += int((labels == IGNORED).any())
    assert ignored > 0  # some have coalesced
    # at the end mostly predicted labels enter the memory
    late = torch.stack([make(step).given.float().mean() for step in range(20, 30)]).mean()
    assert make(0).given.all() and 0 < late < 0.4


def test_ancestors_include_earlier_generations():
    lineage = {k: {"parents": p} for k, p in {1: (), 2: (), 3: (), 4: (1, 2), 5: (4, 3)}.items()}
    assert ancestors(5, lineage) == {1, 2, 3, 4} and ancestors(1, lineage) == set() == ancestors(9, lineage)


def test_losses_of_perfect_wrong_and_ignored_predictions():
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[0, 2:5, 2:5], labels[0, 6:], labels[1, 0] = 1, 2, 3
    sure = 30.0 * torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2)
    assert hard_cross_entropy(sure, labels, 0.15).max() < 1e-3 and track_dice(sure, labels).max() < 1e-3
    assert track_iou(sure.argmax(1), labels, 3).tolist() == [1.0, 1.0]
    wrong = sure.roll(1, 1)
    assert track_dice(wrong, labels).min() > 0.7 and track_iou(wrong.argmax(1), labels, 3).max() == 0
    # ignored pixels change nothing, whatever is predicted there
    masked, other = labels.clone(), sure.clone()
    masked[:, :, 5:] = IGNORED
    other[:, :, :, 5:] = wrong[:, :, :, 5:]
    assert hard_cross_entropy(other, masked, 1.0).max() < 1e-3 and track_dice(other, masked).max() < 1e-3
    other[0, :, 0, 0] = wrong[0, :, 0, 0]
    easy, hard = (hard_cross_entropy(other, masked, share)[0] for share in (1.0, 0.15))
    assert easy == pytest.approx(30 / 40, rel=1e-3) and hard == pytest.approx(30 / 6, rel=1e-3)
    everything = torch.full_like(labels, IGNORED)
    loss, _ = tracking_loss(sure[None], everything[None], 0.5)
    assert loss == 0


def test_every_parameter_gets_a_finite_gradient():
    model = TrackingModel(MINI, torch.nn.BatchNorm2d).train()
    loss, metrics = make_step(model, torch.device("cpu"), False)(ClipMaker(SMALL, 2, 10, 3, seed=1)(1))
    loss.backward()
    assert torch.isfinite(loss) and {"entropy", "dice", "iou_told"} <= set(metrics)
    assert not [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]


@pytest.fixture
def mini_config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setitem(CONFIGS, "deaot-t", MINI)
    path = tmp_path / "tracking.yaml"
    path.write_text(
        "stage: tracking\n"
        "schedule: {steps: 4, batch_size: 1, lr: 0.001, warmup: 1, workers: 0, save_every: 0}\n"
        "clip: {size: 65, frames: 3, particles: [4, 6], radius: [6, 8], duration: 8}\n"
    )
    return path


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_tracker(tmp_path, mini_config, monkeypatch):
    stage = load_config(mini_config)
    run_stage(stage, tmp_path / "whole", tmp_path)
    from lisa_micro_finetune import checkpoints

    class Killed(Exception):
        pass

    def kill(state, path, save=checkpoints.save_atomic):
        save(state, path)
        if state["state"]["step"] == 2:
            raise Killed

    with monkeypatch.context() as context:
        context.setattr(checkpoints, "save_atomic", kill)
        with pytest.raises(Killed):
            run_stage(stage, tmp_path / "killed", tmp_path)
    run_stage(stage, tmp_path / "killed", tmp_path)
    whole, killed = (read_weights(tmp_path / k / "weights" / "deaot.safetensors") for k in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole) and whole.keys() == killed.keys()
    build_deaot(MINI).load_state_dict(whole, strict=True)


def test_exported_statistics_belong_to_the_exported_weights(tmp_path):
    model = TrackingModel(MINI, torch.nn.BatchNorm2d)
    make = ClipMaker(SMALL, 1, 10, 3, seed=1)
    values = {n: p.detach() * 1.5 for n, p in model.named_parameters() if "encoder." in n}
    before = {n: v.clone() for n, v in model.state_dict().items()}
    export(model, values, tmp_path, make, 10)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    frozen = build_deaot(MINI).eval()
    frozen.load_state_dict(read_weights(tmp_path / "deaot.safetensors"))
    # the last norm of the encoder has outputs of zero mean on such images
    images = torch.cat([make(10 + k).images.flatten(0, 1) for k in range(8)]).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        x = frozen.encoder.features[:18]((images - frozen.pixel_mean) / frozen.pixel_std)
        convolution, norm, _ = frozen.encoder.features[18]
        x = norm(convolution(x))
    assert x.mean().abs() < 0.05 and x.std() == pytest.approx(1.5, abs=0.25)


def test_an_encoder_is_loaded_from_a_file(tmp_path):
    import torchvision

    donor = torchvision.models.mobilenet_v2(weights=None)
    torch.save(donor.state_dict(), tmp_path / "mobilenet.pth")
    network = build_deaot(MINI)
    load_encoder(network.encoder, tmp_path / "mobilenet.pth")
    assert torch.equal(network.encoder.features[18][0].weight, donor.features[18][0].weight)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "whole.pth")
    load_encoder(build_deaot(MINI).encoder, tmp_path / "whole.pth")
    torch.save({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match="missing"):
        load_encoder(network.encoder, tmp_path / "part.pth")


def test_configurations_of_trackers_are_checked(tmp_path, mini_config):
    stage = load_config(mini_config)
    wrong = stage.model_copy(update={"clip": {"sides": 3}})
    with pytest.raises(InputError, match="clip of the configuration"):
        run_stage(wrong, tmp_path / "a", tmp_path)
    mini_config.write_text(mini_config.read_text() + "tracker: deaot-z\n")
    with pytest.raises(InputError, match="tracker"):
        load_config(mini_config)
    assert replace(SMALL, frames=2).frames == 2 and np.isfinite(ClipMaker(SMALL, 1, 1, 3, 0)(0).images).all()
