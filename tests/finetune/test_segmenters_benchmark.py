"""The seed paper's segmenters and the command that trains and measures them."""

from __future__ import annotations

import csv
import importlib.util
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.segmenters import SEMANTIC, build_semantic, selective_scan
from lisa_micro.models.segmenters.selective_scan import linear_scan, plain_selective_scan
from lisa_micro.models.segmenters.semantic import count_parameters
from lisa_micro.models.segmenters.swin_unet import SwinBlock, SwinUnet
from lisa_micro.models.segmenters.vmamba import VMambaUnet, cross_merge, cross_scan
from lisa_micro.models.windows import from_windows, to_windows, window_mask
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError
from lisa_micro_finetune.benchmark import run as bench
from lisa_micro_finetune.benchmark import yolo
from lisa_micro_finetune.benchmark.__main__ import main
from lisa_micro_finetune.benchmark.data import TileMaker, read_dataset, window
from lisa_micro_finetune.benchmark.measure import METRICS, score
from lisa_micro_finetune.benchmark.models import SPECS, build_model
from lisa_micro_finetune.benchmark.predict import predict
from lisa_micro_finetune.benchmark.recipe import recipe_mask
from lisa_micro_finetune.benchmark.report import check_report, write_report
from lisa_micro_finetune.benchmark.settings import NAMES, Settings, check_names
from lisa_micro_finetune.benchmark.train import WEIGHTS, measure_pace, read_curve, settle_norms, train
from lisa_micro_finetune.loop import run_loop

CPU = torch.device("cpu")
needs_yolo = pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None, reason="the extra [yolo] is missing")


# ------------------------------------------------------------------------------------------------------ models


@pytest.mark.parametrize("name", SEMANTIC)
def test_parameters_are_those_of_the_papers_table(name):
    assert count_parameters(build_semantic(name)) == pytest.approx(SEMANTIC[name].parameters, rel=0.1)


@needs_yolo
def test_yolo_has_exactly_the_papers_parameters():
    assert count_parameters(build_model("yolo", 512, None, 0)) == SPECS["yolo"].paper_parameters


@pytest.mark.parametrize("name", SEMANTIC)
@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (1, 3, 50, 71)])
def test_logits_are_as_large_as_the_images(name, shape):
    model = build_semantic(name, 64)
    logits = model(torch.rand(shape))
    assert logits.shape == (shape[0], 1, *shape[2:]) and torch.isfinite(logits).all()
    logits.mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", SEMANTIC)
def test_grey_is_three_equal_channels_and_others_are_refused(name):
    torch.manual_seed(0)
    model, image = build_semantic(name, 64).eval(), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(image), model(image.expand(-1, 3, -1, -1)))
        with pytest.raises(InputError, match="B, 1 or 3, H, W"):
            model(torch.rand(1, 2, 64, 64))


def test_unknown_segmenters_and_sides_are_refused():
    with pytest.raises(InputError, match="swin-unet, vmamba, efficient-sam"):
        build_semantic("unet")
    with pytest.raises(InputError, match="multiple of 16"):
        build_semantic("efficient-sam", 100)


# ---------------------------------------------------------------------------------------------- selective scan


def _inputs(length: int, dtype=torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(length)
    channels, states, groups = 8, 3, 4
    values = (
        torch.randn(2, length, channels),
        torch.rand(2, length, channels) * 2,
        -3 * torch.rand(channels, states),
        torch.randn(2, length, groups, states),
        torch.randn(2, length, groups, states),
        torch.randn(channels),
    )
    return [v.to(dtype).requires_grad_() for v in values]


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 250, 1000])
def test_selective_scan_is_the_recurrence(length):
    values = _inputs(length)
    fast, plain = selective_scan.selective_scan(*values), plain_selective_scan(*values)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(fast)
    for got, wanted in zip(
        torch.autograd.grad((fast * weight).sum(), values),
        torch.autograd.grad((plain * weight).sum(), values),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, atol=1e-5 * max(1.0, float(wanted.abs().max())), rtol=1e-5)


@given(st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_linear_scan_of_any_length_and_any_decay(length, seed):
    rng = np.random.default_rng(seed)
    # decays of 0 and of the smallest numbers there are: quotients of them would overflow
    decay = torch.as_tensor(rng.choice([0.0, 1e-38, 1e-3, 0.5, 1.0], (1, length, 2)))
    drive = torch.as_tensor(rng.normal(size=(1, length, 2)))
    wanted, state = [], torch.zeros(1, 2, dtype=torch.float64)
    for t in range(length):
        state = decay[:, t] * state + drive[:, t]
        wanted.append(state)
    before = decay.clone(), drive.clone()
    torch.testing.assert_close(linear_scan(decay, drive), torch.stack(wanted, dim=1))
    assert torch.equal(decay, before[0]) and torch.equal(drive, before[1])


def test_gradient_of_the_linear_scan():
    decay = torch.rand(2, 11, 3, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(2, 11, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear_scan, (decay, drive))


def test_the_kernel_of_mamba_is_handed_its_own_layout():
    values = _inputs(20)

    def kernel(u, delta, a, b, c, d, z, delta_bias, delta_softplus):
        assert (u.shape, delta.shape, b.shape, c.shape) == ((2, 8, 20), (2, 8, 20), (2, 4, 3, 20), (2, 4, 3, 20))
        assert z is None and delta_bias is None and delta_softplus is False
        turned = [x.transpose(1, 2) for x in (u, delta)] + [a] + [x.permute(0, 3, 1, 2) for x in (b, c)]
        return plain_selective_scan(*turned, d).transpose(1, 2)

    got = selective_scan.by_kernel(kernel, *values)
    torch.testing.assert_close(got, selective_scan.selective_scan(*values), atol=1e-5, rtol=1e-5)


def test_cross_scan_reads_four_ways_and_merges_back():
    x = torch.arange(6.0).view(1, 2, 3, 1)
    sequences = cross_scan(x)
    assert sequences[0, :, :, 0].T.tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]
    torch.testing.assert_close(cross_merge(sequences, 2, 3), 4 * x)


def test_every_place_of_vmamba_sees_every_other():
    torch.manual_seed(0)
    model = VMambaUnet(8, (1, 1)).double()
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    for y, x in ((0, 0), (31, 31), (0, 31)):
        (grad,) = torch.autograd.grad(model(image)[0, 0, y, x], image)
        assert (grad != 0).all()


# -------------------------------------------------------------------------------------------- window attention


def test_windows_and_back():
    x = torch.rand(2, 6, 9, 4)
    windows = to_windows(x, 3)
    assert windows.shape == (2, 6, 9, 4)
    torch.testing.assert_close(windows[0, 1, 4], x[0, 1, 4])
    assert torch.equal(from_windows(windows, 6, 9, 3), x)


@pytest.mark.parametrize(("height", "width"), [(14, 14), (10, 17), (9, 8)])
@pytest.mark.parametrize("shift", [0, 3])
def test_only_true_neighbours_see_each_other(height, width, shift):
    side = 7
    tall, wide = height + -height % side, width + -width % side
    mask = window_mask(height, width, side, shift)
    # where each token of a window was before the grid was rolled
    place = torch.stack(torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij"), dim=-1)[None]
    rolled = to_windows(torch.roll(place, (-shift, -shift), (1, 2)), side)[0]  # (windows, T, 2)
    real = (rolled[..., 0] < height) & (rolled[..., 1] < width)
    near = (rolled[:, :, None] - rolled[:, None]).abs().amax(-1) < side
    wanted = near & (real[:, :, None] == real[:, None])
    if mask is None:
        assert wanted.all()
        return
    seen = real[:, :, None] & real[:, None]
    assert torch.equal(mask & seen, wanted & seen)
    assert not (mask & (real[:, :, None] != real[:, None])).any()
    assert mask.any(-1).all()  # attention over nothing would be not a number


def test_a_shifted_block_carries_nothing_round_the_edge():
    torch.manual_seed(0)
    block = SwinBlock(6, 3, 7, shifted=True).double()
    x = torch.rand(1, 21, 21, 6, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(block(x)[0, 0, 0].sum(), x)
    reached = grad[0].abs().sum(-1) > 0
    # its window begins three tokens off: those before it came from the other end
    assert reached[:3, :3].all() and not reached[3:].any() and not reached[:, 3:].any()


def test_attention_in_windows_as_written_down():
    torch.manual_seed(0)
    attention = SwinBlock(6, 3, 2, shifted=False).attention
    tokens = torch.rand(1, 1, 4, 6)
    q, k, v = (part.view(4, 3, 2) for part in attention.qkv(tokens)[0, 0].split(6, dim=-1))
    out = torch.zeros(4, 3, 2)
    for head in range(3):
        for i in range(4):
            bias = torch.stack(
                [attention.bias[(i // 2 - j // 2 + 1) * 3 + (i % 2 - j % 2 + 1), head] for j in range(4)]
            )
            weight = torch.softmax((k[:, head] @ q[i, head]) / 2**0.5 + bias, dim=0)
            out[i, head] = weight @ v[:, head]
    torch.testing.assert_close(attention(tokens, None)[0, 0], attention.proj(out.flatten(1)))


def test_swin_unet_of_a_single_window():
    assert SwinUnet(12, (1, 1), (1, 2))(torch.rand(1, 1, 8, 8)).shape == (1, 1, 8, 8)


# -------------------------------------------------------------------------------------------------------- YOLO


def test_a_missing_ultralytics_is_reported_in_one_sentence(monkeypatch, scenes, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ultralytics", None)
    with pytest.raises(InputError, match=r"\[yolo\]"):
        yolo.YoloSemantic()
    assert main([str(scenes), "--models", "yolo", "--out", str(tmp_path / "o"), "--work", str(tmp_path / "w")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    said = []
    asked = Settings(scenes, ("yolo", "vmamba"), tmp_path, tmp_path)
    others = bench.without_missing(asked, said.append)
    assert others.models == ("vmamba",) and "YOLO" in others.left_out and "[yolo]" in said[0]


def test_targets_of_yolo():
    labels = np.zeros((2, 32, 32), int)
    labels[0, 8:16, 4:24] = 5
    labels[0, 31, 31] = 7  # lost at a quarter of the resolution
    labels[1, 0:8, 0:8] = 2
    batch = yolo.targets(labels)
    assert batch["batch_idx"].tolist() == [0, 1] and batch["cls"].shape == (2, 1)
    np.testing.assert_allclose(batch["bboxes"][0], [14 / 32, 12 / 32, 20 / 32, 8 / 32])
    assert batch["masks"].shape == (2, 8, 8) and batch["masks"][0].sum() == 10 and batch["masks"][1].sum() == 4
    assert yolo.targets(labels * 0)["bboxes"].shape == (0, 4)


def test_yolo_instances_are_united():
    prototypes = torch.full((1, 8, 8), 3.0)
    found = torch.zeros(3, 4 + yolo.CLASSES + 1)
    found[:, :4] = torch.tensor([[8.0, 8, 16, 16], [9.0, 8, 16, 16], [24.0, 24, 16, 16]])  # px: centre, size
    found[:, 4] = torch.tensor([0.9, 0.8, 0.1])
    found[:, -1] = 1
    boxes = torch.tensor([[0.0, 0, 16, 16], [1.0, 0, 17, 16], [40.0, 40, 50, 50]])
    assert yolo.suppress(boxes, torch.tensor([0.5, 0.9, 0.2])).tolist() == [1, 2]
    assert yolo.suppress(boxes[:0], torch.zeros(0)).tolist() == []
    union = yolo._union(found.T, prototypes)
    assert (union[:4, :4] == 3).all() and (union > 0).sum() == 16  # the third is not certain enough


@needs_yolo
def test_yolo_is_trained_and_segments(scenes):
    model = build_model("yolo", 64, None, 0)
    batch = TileMaker(read_dataset(scenes, None, 0.2, 0).train, 64, 2, 0)(0)
    loss = model.loss(batch.images, batch.labels)
    loss.backward()
    assert loss.ndim == 0 and torch.isfinite(loss)
    assert model.eval()(torch.rand(1, 1, 50, 70)).shape == (1, 1, 50, 70)


# -------------------------------------------------------------------------------------------------------- data


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Six small simulated micrographs with instance labels."""
    from lisa_micro.io import write_labels
    from lisa_micro.sim import simulate_scene

    folder = tmp_path_factory.mktemp("scenes") / "discs"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(6):
        scene = simulate_scene(number, (72, 80), kind="agglomerate", annotate=False)
        pixels = (255 * (scene.pixels - scene.pixels.min()) / np.ptp(scene.pixels)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"image_{number}.png")
        write_labels(folder / "masks" / f"mask_{number}.tif", scene.particles)
    return folder


def test_the_split_is_fixed_by_the_seed(scenes):
    first, again = (read_dataset(scenes, None, 0.3, 1) for _ in range(2))
    assert [i.name for i in first.test] == [i.name for i in again.test] and len(first.test) == 2
    assert not {i.name for i in first.test} & {i.name for i in first.train}
    other = read_dataset(scenes, scenes, 0.3, 1)
    assert len(other.train) == len(other.test) == 6 and other.test[0].raw is not None


def test_tiles_depend_on_seed_and_step_alone(scenes):
    items = read_dataset(scenes, None, 0.2, 0).train
    maker = TileMaker(items, 96, 3, 0)  # larger than the images
    batch = maker(4)
    assert batch.images.shape == (3, 1, 96, 96) and batch.labels.shape == (3, 96, 96) and batch.step == 4
    assert torch.equal(maker(4).images, batch.images) and not torch.equal(maker(5).images, batch.images)
    assert batch.images.min() >= 0 and batch.images.max() <= 1


def test_windows_beyond_the_image_are_mirrored():
    np.testing.assert_array_equal(window(np.array([[1, 2]]), 0, 0, 4), [[1, 2, 2, 1]] * 4)
    np.testing.assert_array_equal(window(np.arange(9).reshape(3, 3), 1, 0, 2), [[3, 4], [6, 7]])


def test_the_recipe_finds_dark_and_bright_discs():
    y, x = np.mgrid[:64, :64]
    disc = (y - 30) ** 2 + (x - 34) ** 2 < 15**2
    for dark in (True, False):
        assert METRICS["iou"](recipe_mask(np.where(disc == dark, 10.0, 90.0), dark, sigma=2), disc) > 0.9
    assert not recipe_mask(np.ones((5, 5)), True).any()


@pytest.mark.skipif("LISA_MICRO_DATA" not in __import__("os").environ, reason="LISA_MICRO_DATA is not set")
def test_the_recipe_gives_the_labels_of_tem_sintering():
    from lisa_micro.datasets.readers import data_root

    dataset = read_dataset(data_root("tem-sintering"), None, 0.2, 0)
    assert (len(dataset.train), len(dataset.test)) == (15, 5)
    assert bench.recipe_row(dataset)["iou"] > 0.99


def test_prediction_of_any_size_is_put_together_from_tiles():
    class Bright(torch.nn.Module):
        def forward(self, images):
            return images - 0.5

    rng = np.random.default_rng(0)
    for shape in ((20, 30), (64, 64), (70, 201)):
        pixels = np.kron(rng.integers(0, 2, shape), np.ones((2, 2))).astype(np.uint8)[: shape[0], : shape[1]] * 255
        assert np.array_equal(predict(Bright(), pixels, 64, 64, CPU), pixels > 127)


# --------------------------------------------------------------------------------------------- the whole command


TINY = ["--steps", "4", "--batch", "1", "--resolution", "32", "--tile", "64", "--threads", "1", "--device", "cpu"]


def test_the_whole_command(scenes, tmp_path, monkeypatch, capsys):
    class StandIn:
        weights_sha256 = "ab"

        def ask(self, image, prompt):
            labels = (recipe_mask(image.pixels, True, 2) > 0).astype(np.int32)
            return Answer("Here.", (Segmentation(labels, 0.9, 0.8, "particle", "the particles", "", None),), prompt)

    monkeypatch.setattr(bench, "load_assistant", lambda preset, device: StandIn())
    # speed in fresh processes takes seconds each; one of them shows that it works
    slow = bench.measure_speed
    monkeypatch.setattr(bench, "measure_speed", lambda job: slow(job) if job.name == "vmamba" else {})
    out, work = tmp_path / "out", tmp_path / "work"
    names = ["swin-unet", "vmamba", "micro"]
    arguments = [str(scenes), "--models", ",".join(names), *TINY, "--out", str(out), "--work", str(work)]
    assert main(arguments) == 0
    record = json.loads((out / "segmenters-discs.json").read_text())
    assert [row["name"] for row in record["models"]] == ["recipe", *names]
    assert record["finished"] and record["hardware"] and record["torch"] == torch.__version__ and record["seed"] == 0
    for row in record["models"]:
        assert all(0 <= row[metric] <= 1 for metric in METRICS) and set(row["images"]) == {*record["held_out_images"]}
    vmamba = record["models"][2]
    assert vmamba["images_per_s"] > 0 and 0.1 < vmamba["peak_gb"] <= vmamba["training_peak_gb"]
    assert vmamba["steps"] == 4 and vmamba["seconds"] > 0 and vmamba["resolution"] == 32
    assert [point["step"] for point in record["curves"]["VMamba"]] == [1, 2, 3, 4]
    with (out / "segmenters-discs.csv").open() as file:
        assert [row["model"] for row in csv.DictReader(file)][1:] == [r["title"] for r in record["models"][1:]]
    assert "| VMamba | 3," in (out / "segmenters-discs.md").read_text()
    with Image.open(out / "segmenters-discs-loss.png") as picture:
        assert picture.width > 500
    capsys.readouterr()
    assert main(arguments) == 2 and "--force" in capsys.readouterr().err
    # a trained model is not trained again
    monkeypatch.setattr("lisa_micro_finetune.benchmark.train.run_loop", None)
    assert main([*arguments, "--force"]) == 0
    again = json.loads((out / "segmenters-discs.json").read_text())
    assert [r["iou"] for r in again["models"]] == [r["iou"] for r in record["models"]]
    # checkpoints of another run are not resumed
    assert main([*arguments, "--seed", "1", "--force"]) == 2 and "--fresh" in capsys.readouterr().err


class Killed(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_result(scenes, tmp_path, monkeypatch):
    dataset = read_dataset(scenes, None, 0.2, 0)
    asked = Settings(scenes, ("swin-unet",), tmp_path, tmp_path, steps=6, batch=1, resolution=32, tile=64)

    def trained(folder, kill_at=None):
        def loop(module, make_batch, step, schedule, *args, **kwargs):
            def killed(batch):
                if batch.step == kill_at:
                    raise Killed
                return step(batch)

            often = schedule.model_copy(update={"save_every": 0.0})
            return run_loop(module, make_batch, killed, often, *args, **kwargs)

        monkeypatch.setattr("lisa_micro_finetune.benchmark.train.run_loop", loop)
        result = train("swin-unet", dataset, asked, CPU, folder, {}, lambda _: None)
        return result, read_state(folder / WEIGHTS)

    whole, wanted = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "killed", kill_at=3)
    assert not (tmp_path / "killed" / WEIGHTS).exists()
    resumed, weights = trained(tmp_path / "killed")
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert resumed.curve == whole.curve and len(whole.curve) == 6
    assert (
        score([predict(resumed.model, i.pixels, 64, 32, CPU) for i in dataset.test], dataset.test)["iou"]
        == score([predict(whole.model, i.pixels, 64, 32, CPU) for i in dataset.test], dataset.test)["iou"]
    )


def test_minutes_become_steps(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("lisa_micro_finetune.benchmark.train.measure_pace", lambda *_: 20.0)
    asked = Settings(scenes, ("efficient-sam",), tmp_path, tmp_path, minutes=1, batch=1, resolution=32, tile=64)
    dataset = read_dataset(scenes, None, 0.2, 0)
    result = train("efficient-sam", dataset, asked, CPU, tmp_path / "v", {}, lambda _: None)
    assert result.steps == 3 and json.loads((tmp_path / "v" / "plan.json").read_text())["steps"] == 3


def test_the_pace_is_that_of_a_step():
    model = torch.nn.Conv2d(1, 1, 1)
    asked = []

    def maker(step):
        asked.append(step)
        return torch.rand(1, 1, 4, 4)

    assert 0 < measure_pace(model, lambda x: model(x).mean(), maker) < 5 and asked == list(range(6))


def test_batch_norms_get_the_statistics_of_training_tiles(scenes):
    maker = TileMaker(read_dataset(scenes, None, 0.2, 0).train, 64, 2, 0)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1, momentum=0.03))
    settle_norms(model, maker, 64, CPU)
    wanted = torch.stack([maker(k).images.mean() for k in range(16)]).mean()
    torch.testing.assert_close(model[0].running_mean[0], wanted)
    assert model[0].momentum == 0.03 and not model.training


def test_the_curve_of_a_resumed_run(tmp_path):
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 1.5, "held_out_iou": 0.5}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 3, "lo')
    assert read_curve(tmp_path / "log.jsonl") == [rows[0], rows[2]]
    assert read_curve(tmp_path / "none") == []


def test_an_unfinished_report_may_be_overwritten(tmp_path):
    row = {"name": "recipe", "title": "recipe", "iou": 0.5, "images_per_s": float("nan")}
    assert len(write_report(tmp_path, "a", [row], {"finished": None}, {})) == 3
    check_report(tmp_path, "a", force=False)
    write_report(tmp_path, "a", [row], {"finished": "today"}, {})
    with pytest.raises(InputError, match="--force"):
        check_report(tmp_path, "a", force=False)
    check_report(tmp_path, "b", force=False)


# --------------------------------------------------------------------------------------------------- bad input


def _one_line(capsys, *arguments) -> str:
    assert main(list(map(str, arguments))) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_bad_folders(scenes, tmp_path, capsys):
    def refused(folder, *more):
        return _one_line(
            capsys, folder, "--models", "vmamba", *TINY, "--out", tmp_path / "o", "--work", tmp_path / "w", *more
        )

    assert "no folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no folder of labels" in refused(tmp_path / "empty")
    folder = tmp_path / "bad"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    assert "same name" in refused(folder)
    picture = Image.fromarray(np.zeros((40, 50), np.uint8))
    picture.save(folder / "images" / "a.png")
    picture.save(folder / "masks" / "z.png")
    assert "same name" in refused(folder)
    picture.save(folder / "masks" / "a.png")
    assert "at least two" in refused(folder)
    picture.save(folder / "images" / "b.png")
    picture.resize((20, 20)).save(folder / "masks" / "b.png")
    assert "20 x 20" in refused(folder)
    (folder / "masks" / "b.png").write_bytes(b"not a picture")
    assert "not an image" in refused(folder)
    assert "no folder" in refused(scenes, "--test", tmp_path / "nowhere")
    assert "none.pt" in refused(scenes, "--efficient-sam-checkpoint", tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "0"], "above 0"),
        (["--steps", "0"], "at least 1"),
        (["--resolution", "50"], "multiple of 32"),
        (["--tile", "8"], "at least 32"),
        (["--share", "1"], "between 0 and 1"),
        (["--models", "unet"], "swin-unet"),
        (["--models", ","], "no model"),
        (["--device", "abacus"], "cannot be used"),
    ],
)
def test_bad_options(scenes, tmp_path, capsys, options, said):
    folders = ["--out", tmp_path / "o", "--work", tmp_path / "w"]
    assert said in _one_line(capsys, scenes, "--models", "vmamba", *folders, *options)


def test_names_of_models():
    assert check_names(" micro, vmamba,micro") == ("micro", "vmamba")
    assert check_names(None) == NAMES == (*SPECS, "micro")


def test_the_former_name_of_an_option_still_works(scenes, tmp_path, capsys):
    missing = tmp_path / "none.pt"
    for option in ("--efficient-sam", "--efficient-sam-checkpoint"):
        assert "none.pt" in _one_line(capsys, scenes, "--models", "efficient-sam", option, missing)
