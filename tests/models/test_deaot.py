"""DeAOT: official names and numbers, tracking at the size of the frame, memory limits, invalid input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_deaot import Reference, naive_window

import lisa_micro as lm
from lisa_micro.io import to_unit_range
from lisa_micro.models.checkpoints import save_module
from lisa_micro.models.trackers import BUILDERS, Tracker, build_tracker
from lisa_micro.models.trackers.base import check_labels, frame_pixels
from lisa_micro.models.trackers.deaot import CONFIGS, DeaotConfig, DeaotTracker, TrackingSettings, build_deaot
from lisa_micro.models.trackers.deaot import loader as loader_module
from lisa_micro.models.trackers.deaot.encoders import MobileNetV2, ResNet50
from lisa_micro.models.trackers.deaot.engine import network_size, one_hot
from lisa_micro.models.trackers.deaot.lstt import attend, attend_window
from lisa_micro.models.trackers.deaot.memory import Bank, merge_banks
from lisa_micro.models.trackers.deaot.swin import SwinEncoder
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError, Micrograph

MINI = DeaotConfig(layers=2, dim=32, attention=16, expansion=64, objects=3)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Randomize biases, norms and statistics, so that each of them affects the output."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.ndim == 1 and value.is_floating_point():
                value.add_(torch.empty_like(value).uniform_(-0.3, 0.3))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(1)
    return shaken(build_deaot(MINI))


@pytest.fixture
def tracker(network) -> DeaotTracker:
    return DeaotTracker("mini", network, replace(MINI, long_term_gap=1), torch.device("cpu"), "")


def frame(seed: int = 0, shape: tuple[int, int] = (40, 61)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def blocks(count: int, shape: tuple[int, int] = (40, 61)) -> np.ndarray:
    """``count`` objects 10, 20, 30, ... side by side, with background above and below."""
    labels = np.zeros(shape, np.int32)
    edges = np.linspace(0, shape[1], count + 1).astype(int)
    for k in range(count):
        labels[8:32, edges[k] : edges[k + 1]] = 10 * (k + 1)
    return labels


# ------------------------------------------------------------------------------------ the published models


@pytest.mark.parametrize(
    ("name", "published", "parameters"),
    [
        ("deaot-t", 7.2e6, 7_238_188),
        ("deaot-s", 10.2e6, 10_202_765),
        ("deaot-b", 13.2e6, 13_167_342),
        ("deaot-l", 13.2e6, 13_167_342),
        ("deaot-r50-l", 19.8e6, 19_814_894),
        ("deaot-swinb-l", 70.3e6, 70_303_654),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published, parameters):
    with torch.device("meta"):
        network = build_deaot(CONFIGS[name])
    count = sum(p.numel() for p in network.parameters())
    assert count == parameters and count == pytest.approx(published, rel=0.02)
    assert CONFIGS[name].long_term_gap == (5 if name.endswith("-l") else 9999)


COMMON = {
    "encoder_projector.bias": (256,),
    "patch_wise_id_bank.bias": (256,),
    "id_norm.weight": (256,),
    "LSTT.decoder_norms.0.gn.weight": (512,),
    "decoder.conv_in.conv.weight": (256, 512, 1, 1),
    "decoder.conv_in.gn.weight": (256,),
    "decoder.conv_16x.conv.weight": (256, 256, 3, 3),
    "decoder.conv_8x.conv.weight": (128, 256, 3, 3),
    "decoder.conv_4x.conv.weight": (128, 128, 3, 3),
    "decoder.conv_4x.gn.bias": (128,),
    "decoder.conv_out.weight": (11, 128, 1, 1),
    "LSTT.layers.0.norm1.weight": (256,),
    "LSTT.layers.0.linear_QV.weight": (640, 256),
    "LSTT.layers.0.linear_U.weight": (512, 256),
    "LSTT.layers.0.linear_ID_V.weight": (512, 256),
    "LSTT.layers.0.long_term_attn.dw_conv.conv.weight": (1024, 1, 5, 5),
    "LSTT.layers.0.long_term_attn.projection.weight": (512, 1024),
    "LSTT.layers.0.short_term_attn.relative_emb_k.weight": (225, 128, 1, 1),
    "LSTT.layers.0.short_term_attn.relative_emb_k.bias": (225,),
    "LSTT.layers.0.short_term_attn.dw_conv.conv.weight": (1024, 1, 5, 5),
    "LSTT.layers.0.short_term_attn.projection.bias": (512,),
    "LSTT.layers.0.norm2.bias": (256,),
    "LSTT.layers.0.id_norm2.weight": (256,),
    "LSTT.layers.0.self_attn.linear_QK.weight": (128, 512),
    "LSTT.layers.0.self_attn.linear_V1.weight": (512, 256),
    "LSTT.layers.0.self_attn.linear_V2.weight": (512, 256),
    "LSTT.layers.0.self_attn.linear_U1.weight": (512, 256),
    "LSTT.layers.0.self_attn.linear_U2.bias": (512,),
    "LSTT.layers.0.self_attn.dw_conv.conv.weight": (1024, 1, 5, 5),
    "LSTT.layers.0.self_attn.projection.weight": (512, 1024),
}
DEEPER = {
    "LSTT.layers.2.id_norm1.weight": (256,),
    "LSTT.layers.2.linear_ID_V.weight": (512, 512),
    "LSTT.layers.2.linear_ID_U.weight": (512, 256),
}
ALIGNED = {"patch_wise_id_bank.weight": (256, 11, 17, 17)}
OF_MODEL = {
    "deaot-t": ALIGNED
    | {
        "encoder.features.0.0.weight": (32, 3, 3, 3),
        "encoder.features.0.1.running_mean": (32,),
        "encoder.features.1.conv.0.0.weight": (32, 1, 3, 3),
        "encoder.features.1.conv.1.weight": (16, 32, 1, 1),
        "encoder.features.2.conv.0.0.weight": (96, 16, 1, 1),
        "encoder.features.14.conv.1.0.weight": (576, 1, 3, 3),
        "encoder.features.17.conv.3.running_var": (320,),
        "encoder.features.18.0.weight": (1280, 320, 1, 1),
        "encoder_projector.weight": (256, 1280, 1, 1),
        "decoder.adapter_16x.weight": (256, 96, 1, 1),
        "decoder.adapter_8x.weight": (256, 32, 1, 1),
        "decoder.adapter_4x.weight": (128, 24, 1, 1),
    },
    "deaot-r50-l": ALIGNED
    | DEEPER
    | {
        "encoder.conv1.weight": (64, 3, 7, 7),
        "encoder.bn1.running_var": (64,),
        "encoder.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "encoder.layer1.0.downsample.1.bias": (256,),
        "encoder.layer3.5.conv2.weight": (256, 256, 3, 3),
        "encoder_projector.weight": (256, 1024, 1, 1),
        "decoder.adapter_4x.weight": (128, 256, 1, 1),
    },
    "deaot-swinb-l": DEEPER
    | {
        "patch_wise_id_bank.weight": (256, 11, 16, 16),
        "encoder.patch_embed.proj.weight": (128, 3, 4, 4),
        "encoder.patch_embed.norm.bias": (128,),
        "encoder.layers.0.blocks.1.attn.relative_position_bias_table": (169, 4),
        "encoder.layers.0.blocks.1.attn.relative_position_index": (49, 49),
        "encoder.layers.1.blocks.0.attn.qkv.weight": (768, 256),
        "encoder.layers.1.downsample.reduction.weight": (512, 1024),
        "encoder.layers.1.downsample.norm.weight": (1024,),
        "encoder.layers.2.blocks.17.mlp.fc1.weight": (2048, 512),
        "encoder.norm2.weight": (512,),
        "encoder_projector.weight": (256, 512, 1, 1),
    },
}
COUNTS = {"deaot-t": 325, "deaot-r50-l": 354, "deaot-swinb-l": 463}


@pytest.mark.parametrize("name", OF_MODEL)
def test_names_and_shapes_are_the_official_ones(name):
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build_deaot(CONFIGS[name]).state_dict().items()}
    expected = COMMON | OF_MODEL[name]
    assert {k: shapes.get(k) for k in expected} == expected
    # the number of tensors in the official modules; frozen batch normalization has no num_batches_tracked
    assert len(shapes) == COUNTS[name] and not any("num_batches" in k for k in shapes)


def test_numbers_agree_with_an_independent_implementation():
    """A reference frame, then three predicted frames: from the reference, with a predicted frame in short-term memory,
    and with two frames in long-term memory. The grid is longer than the window."""
    network = shaken(build_deaot(MINI)).double()
    reference = Reference({k: v.numpy() for k, v in network.state_dict().items()}, MINI.layers, MINI.window)
    images = torch.rand(4, 3, 257, 33, dtype=torch.float64)
    labels = torch.randint(0, 4, (4, 257, 33))
    with torch.inference_mode():
        features = [network.encode(images[k : k + 1]) for k in range(4)]
        bank = Bank(network, gap=2, limit=8)
        bank.add_reference(features[0], one_hot(labels[0], 0, 3).double(), 0)
        got = []
        for time in (1, 2, 3):
            got.append(bank.predict(features[time], used=2)[0].numpy())
            bank.remember(one_hot(labels[time], 0, 3).double(), time)
    plain = [[f[0].numpy() for f in frame] for frame in features]
    ids = [reference.identities(frame.numpy()) for frame in labels]
    _, make = reference.frame(plain[0], ids[0])
    long_term = [[m(ids[0])] for m in make]
    short_term = [m(ids[0]) for m in make]
    for time in (1, 2, 3):
        expected, make = reference.frame(plain[time], None, long_term, short_term)
        short_term = [m(ids[time]) for m in make]
        np.testing.assert_allclose(got[time - 1][:3], expected[:3], atol=1e-9)
        assert (got[time - 1][3] == -1e10).all()
        if time == 2:
            long_term = [[*past, now] for past, now in zip(long_term, short_term, strict=True)]


@given(st.integers(1, 20), st.integers(1, 12), st.sampled_from([3, 5, 15]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_windowed_attention_is_that_of_a_naive_loop(height, width, window, seed):
    rng = np.random.default_rng(seed)
    n = height * width
    query, key = rng.normal(size=(2, n, 4))
    value, relative = rng.normal(size=(n, 6)), rng.normal(size=(n, window * window))
    got = attend_window(*(torch.from_numpy(a)[None] for a in (query, key, value, relative)), (height, width), window)
    expected = naive_window(query, key, value, relative, (height, width), window)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-12)


def test_attention_in_chunks_is_the_same(monkeypatch):
    query, key, value = torch.randn(2, 30, 4), torch.randn(2, 70, 4), torch.randn(2, 70, 5)
    whole = attend(query, key, value)
    monkeypatch.setattr("lisa_micro.models.trackers.deaot.lstt.LOGITS_AT_ONCE", 1000)
    torch.testing.assert_close(attend(query, key, value), whole)


def test_mobilenet_agrees_with_torchvision_with_a_dilated_last_stage():
    import torchvision

    own, other = shaken(MobileNetV2()), torchvision.models.mobilenet_v2(weights=None).eval()
    other.features.load_state_dict(own.features.state_dict(), strict=False)
    other.features[14].conv[1][0].stride = (1, 1)
    for k in (15, 16, 17):
        other.features[k].conv[1][0].dilation = other.features[k].conv[1][0].padding = (2, 2)
    x = torch.rand(1, 3, 65, 97)
    taps = own(x)
    assert [t.shape[1:] for t in taps] == [(24, 17, 25), (32, 9, 13), (96, 5, 7), (1280, 5, 7)]
    torch.testing.assert_close(taps[-1], other.features(x), atol=1e-5, rtol=1e-5)


def test_resnet_agrees_with_torchvision_without_its_last_stage():
    import torchvision

    own, other = shaken(ResNet50()), torchvision.models.resnet50(weights=None).eval()
    other.load_state_dict(own.state_dict(), strict=False)
    x = torch.rand(1, 3, 65, 97)
    y = other.maxpool(other.relu(other.bn1(other.conv1(x))))
    for tap, stage in zip(own(x), (other.layer1, other.layer2, other.layer3), strict=False):
        y = stage(y)
        torch.testing.assert_close(tap, y, atol=1e-4, rtol=1e-4)


def test_swin_agrees_with_timm():
    import timm

    own = shaken(SwinEncoder(width=16, depths=(2, 2, 4), heads=(1, 2, 4), window=7, blocks=8))
    other = timm.models.SwinTransformer(
        img_size=224, embed_dim=16, depths=(2, 2, 4), num_heads=(1, 2, 4), num_classes=0, global_pool=""
    ).eval()

    def renamed(name: str) -> str:
        parts = name.split(".")
        if "downsample" in parts:  # timm downsamples at the start of a stage, this encoder at its end
            parts[1] = str(int(parts[1]) + 1)
        return "norm" + name.removeprefix("norm2") if name.startswith("norm2.") else ".".join(parts)

    state = {renamed(k): v for k, v in own.state_dict().items() if not k.startswith(("norm0", "norm1"))}
    missing = other.load_state_dict(state, strict=False).missing_keys
    assert not [k for k in missing if "attn_mask" not in k and "relative_position_index" not in k]
    x = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        taps = own(x)
        theirs = other.forward_features(x).permute(0, 3, 1, 2)
    assert [t.shape[1] for t in taps] == [16, 32, 64, 64]
    torch.testing.assert_close(taps[-1], theirs, atol=1e-4, rtol=1e-4)
    # a grid that is not a multiple of the window and not even
    assert own(torch.rand(1, 3, 48, 84))[-1].shape == (1, 64, 3, 6)


# ------------------------------------------------------------------------------------ weights


@pytest.fixture
def mini(monkeypatch) -> str:
    """Register a small DeAOT."""
    monkeypatch.setitem(loader_module.CONFIGS, "mini", MINI)
    monkeypatch.setitem(BUILDERS, "mini", lambda *a, **k: loader_module.deaot_tracker("mini", *a, **k))
    return "mini"


@pytest.mark.parametrize("form", ["state_dict", "model", "raw", "module", "safetensors"])
def test_checkpoints_of_all_forms_load_strictly(tmp_path, network, mini, form):
    state, path = network.state_dict(), tmp_path / "w.pth"
    if form == "safetensors":
        path = tmp_path / "w.safetensors"
        save_module(state, path, torch.float32)
    elif form == "module":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {"lr": 0.1}}, path)
    else:
        torch.save(state if form == "raw" else {form: state, "step": 7}, path)
    tracker = lm.build_tracker(mini, checkpoint=path, device="cpu", long_side=256)
    assert isinstance(tracker, Tracker) and tracker.name == mini and len(tracker.weights_sha256) == 64
    for name, value in tracker.network.state_dict().items():
        assert torch.equal(value, state[name])


def test_checkpoints_that_do_not_fit_are_refused(tmp_path, network, mini):
    state = dict(network.state_dict())
    del state["id_norm.weight"]
    state["LSTT.mask_token"] = torch.zeros(1)
    state["decoder.conv_out.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError) as error:
        build_tracker(mini, tmp_path / "w.pth", "cpu")
    for part in ("1 missing (id_norm.weight)", "1 unexpected (LSTT.mask_token)", "(decoder.conv_out.bias)"):
        assert part in str(error.value)
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for path, message in (
        ("list.pth", "no state dictionary"),
        ("text.pth", "not a readable"),
        ("none.pth", "There is no weights file"),
    ):
        with pytest.raises(InputError, match=message):
            build_tracker(mini, tmp_path / path, "cpu")


def test_trackers_that_cannot_be_built_are_refused(tmp_path, network, mini):
    with pytest.raises(InputError, match="Unknown tracker 'deaot-x'; choose one of deaot-b"):
        build_tracker("deaot-x")
    with pytest.raises(InputError, match="needs a weights file"):
        build_tracker("deaot-s")
    path = tmp_path / "w.safetensors"
    save_module(network.state_dict(), path)
    with pytest.raises(InputError, match="has the options long_side"):
        build_tracker(mini, path, "cpu", size=3)
    with pytest.raises(InputError, match="cannot be used here"):
        build_tracker(mini, path, "nowhere")
    for wrong in ({"long_side": 3}, {"memory_frames": 0}, {"memory_mb": 0}, {"long_term_gap": 0}):
        with pytest.raises(InputError, match="must be"):
            TrackingSettings(**wrong)


# ------------------------------------------------------------------------------------ tracking


def test_sizes_are_those_of_the_official_code():
    assert network_size((480, 854), 1040, True) == (481, 849)
    assert network_size((720, 1280), 1040, True) == (577, 1041)
    assert network_size((720, 1280), 1040, False) == (592, 1040)
    assert network_size((1, 1), 1040, True) == (17, 17) and network_size((9000, 2), 1040, False) == (1040, 16)


def test_only_given_track_ids_are_returned_at_the_size_of_the_frame(tracker):
    tracker.reset(frame(0), blocks(2))
    for k in range(1, 4):
        labels = tracker.step(frame(k))
        assert labels.shape == (40, 61) and labels.dtype == np.int32
        assert set(np.unique(labels)) <= {0, 10, 20}


def test_a_step_does_not_depend_on_the_track_ids(tracker):
    out = []
    for names in ([0, 1, 2], [0, 7, 2_000_000_000]):
        tracker.reset(frame(0), np.array(names, np.int64)[blocks(2) // 10])
        out.append(tracker.step(frame(1)))
    assert (np.searchsorted([0, 7, 2_000_000_000], out[1]) == out[0]).all()
    tracker.reset(frame(0), blocks(2))
    assert (tracker.step(frame(1)) == 10 * out[0]).all()


@pytest.mark.parametrize("count", [3, 4, 8])
def test_more_objects_than_a_bank_holds(tracker, count):
    labels = blocks(count)
    tracker.reset(frame(0), labels)
    assert len(tracker._banks) == -(-count // MINI.objects)
    assert set(np.unique(tracker.step(frame(1)))) <= set(np.unique(labels))
    # each bank treats the objects of the others as background
    small = torch.from_numpy(labels // 10).long()
    shares = torch.cat([one_hot(small, k, MINI.objects)[0, 1:] for k in range(len(tracker._banks))])
    assert (shares.sum(0) == (small > 0)).all() and len(shares) >= count


def plain_merge(logits: list[torch.Tensor]) -> torch.Tensor:
    """The published rule: concatenate foregrounds, multiply backgrounds, clamp, convert to logits."""
    probabilities = [bank.softmax(0) for bank in logits]
    background = torch.stack([p[0] for p in probabilities]).prod(0)
    merged = torch.cat([background[None], *(p[1:] for p in probabilities)]).clamp(1e-5, 1 - 1e-5)
    return torch.logit(merged).argmax(0)


@pytest.mark.parametrize("banks", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_banks_are_merged_as_published(banks, scale):
    logits = [scale * torch.randn(4, 50, 60) for _ in range(banks)]
    logits[-1][2:] = -1e10
    merged = merge_banks(iter(logits))
    assert (merged == plain_merge(logits)).all() and merged.max() > 3
    assert (merge_banks(logits[:1]) == logits[0].argmax(0)).all()


def test_without_labels_nothing_is_tracked(tracker):
    tracker.reset(frame(0), np.zeros((40, 61), int))
    assert not tracker.step(frame(1)).any() and tracker.memory_frames == 0
    first = tracker.step(frame(2), blocks(2))
    assert (first == blocks(2)).all() and tracker.memory_frames == 1
    assert set(np.unique(tracker.step(frame(3), np.zeros((40, 61))))) <= {0, 10, 20}


def test_labels_of_a_later_frame_add_and_correct_tracks(tracker):
    tracker.reset(frame(0), blocks(2))
    new = np.zeros((40, 61), np.int32)
    new[:8, :5], new[33:, 50:] = 99, 20
    for count in range(5):
        new[0, 30 + count] = 200 + count
    out = tracker.step(frame(1), new)
    assert (out[new > 0] == new[new > 0]).all()
    assert len(tracker._banks) == 3 and list(tracker._identities) == [0, 10, 20, 99, *range(200, 205)]
    # an existing bank keeps its frames and adds the labelled one, a new bank starts with it
    assert [len(bank.long_term.frames) for bank in tracker._banks] == [2, 1, 1]
    assert set(np.unique(tracker.step(frame(2)))) <= {0, *tracker._identities}


def test_long_term_memory_is_capped(tracker):
    tracker.settings = TrackingSettings(memory_frames=3)
    tracker.reset(frame(0), blocks(2))
    first = tracker._banks[0].long_term.frames[0]
    for k in range(50):
        tracker.step(frame(k))
        assert tracker.memory_frames == min(3, k + 2)
    memory = tracker._banks[0].long_term
    # the first frame is kept, and the latest of the others
    assert memory.frames[0] is first and [labelled for labelled, _ in memory.frames] == [True, False, False]
    assert memory[0].key.shape == (1, 3 * 15, MINI.attention)
    for k in range(4):
        tracker.step(frame(k), blocks(2))
    assert memory.frames[0] is first and [labelled for labelled, _ in memory.frames] == [True] * 3
    tracker.settings = TrackingSettings(memory_frames=1)
    tracker.reset(frame(0), blocks(2))
    tracker.step(frame(1))
    tracker.step(frame(2), blocks(5))
    assert [[labelled for labelled, _ in bank.long_term.frames] for bank in tracker._banks] == [[True]] * 2


def test_banks_share_the_memory_limit(tracker):
    one = 15 * MINI.layers * (MINI.attention + 2 * MINI.expansion) * 4 / 1e6
    tracker.settings = TrackingSettings(memory_frames=8, memory_mb=4.5 * one)
    tracker.reset(frame(0), blocks(2))
    for k in range(6):
        tracker.step(frame(k))
    assert tracker.memory_frames == 4
    tracker.step(frame(6), blocks(6))
    assert len(tracker._banks) == 2 and tracker.memory_frames == 2


def test_reset_starts_a_new_video_of_any_size(tracker):
    tracker.reset(frame(0), blocks(5))
    tracker.step(frame(1))
    tracker.reset(frame(0, (20, 30)), blocks(1, (20, 30)))
    assert tracker.step(frame(1, (20, 30))).shape == (20, 30) and len(tracker._banks) == 1
    tracker.reset(frame(0), blocks(2))
    again = tracker.step(frame(1))
    tracker.reset(frame(0), blocks(2))
    assert (tracker.step(frame(1)) == again).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (17, 16), (5, 3000)])
def test_frames_of_any_size(tracker, monkeypatch, shape):
    monkeypatch.setattr("lisa_micro.models.trackers.deaot.engine.DECODED_SIDE", 512)
    labels = np.ones(shape, np.int32)
    tracker.reset(frame(0, shape), labels)
    assert tracker.step(frame(1, shape)).shape == shape
    assert (tracker.step(frame(2, shape), labels) == 1).all()


def test_swin_tracks_on_an_unaligned_grid():
    config = replace(MINI, aligned=False)
    network = build_deaot(config)
    network.encoder = SwinEncoder(width=16, depths=(2, 2, 2), heads=(1, 2, 4), blocks=6)
    network.encoder_projector = torch.nn.Conv2d(64, 32, 1)
    shortcuts = (network.decoder.adapter_4x, network.decoder.adapter_8x, network.decoder.adapter_16x)
    for adapter, channels in zip(shortcuts, (16, 32, 64), strict=True):
        adapter.weight = torch.nn.Parameter(torch.randn(len(adapter.weight), channels, 1, 1))
    tracker = DeaotTracker("swin", network, config, torch.device("cpu"), "")
    tracker.reset(frame(0), blocks(2))
    assert tracker.step(frame(1)).shape == (40, 61)


def test_invalid_input_is_refused_in_one_sentence(tracker):
    good = frame(), blocks(2)
    with pytest.raises(InputError, match="call reset with the first frame"):
        tracker.step(frame())
    tracker.reset(*good)
    kept = tracker.step(frame(1))
    for bad, message in (
        (np.full((40, 61), 7.0), "in 0..1"),
        (np.full((40, 61), np.nan), "in 0..1"),
        (frame()[None], r"not \(1, 40, 61\)"),
        (np.zeros((0, 5)), "at least one pixel"),
        ("film.tif", "A frame must be"),
        (frame(0, (41, 61)), "The frame is 61 x 41 px, but the first frame is 61 x 40 px"),
    ):
        with pytest.raises(InputError, match=message):
            tracker.step(bad)
    for bad, message in (
        (blocks(2)[1:], "frame's size of 61 x 40 px"),
        (blocks(2) + 0.5, "whole numbers"),
        (blocks(2) - 1, r"0\.\.2147483647"),
        (np.full((40, 61), 2**31), r"0\.\.2147483647"),
        (np.full((40, 61), "a"), "whole numbers"),
    ):
        with pytest.raises(InputError, match=message):
            tracker.step(frame(), bad)
        with pytest.raises(InputError, match=message):
            tracker.reset(frame(), bad)
    # none of these calls has changed the state
    tracker.reset(*good)
    assert (tracker.step(frame(1)) == kept).all()


def test_frames_are_arrays_or_micrographs():
    raw = np.array([[0, 500], [1000, np.inf]], np.float32)
    assert frame_pixels(Micrograph(raw)).max() == 1
    assert frame_pixels(np.array([[True, False]])).dtype == np.float32
    assert check_labels([[1.0, 0.0]], (1, 2)).dtype == np.int32


@pytest.mark.slow
def test_the_shipped_network_carries_labels_through_noise_and_drift():
    video = simulate_sintering(7_000_300, frames=24, shape=(256, 256), n_particles=9, noise=1.5, drift_px=(2.0, -1.0))
    tracker = build_tracker("deaot-t", device="cpu")
    first = video.labels(0)
    tracker.reset(to_unit_range(video.frame(0)), first)
    for t in range(1, 9):
        labels = tracker.step(to_unit_range(video.frame(t)))
    truth = video.labels(8)
    rows, columns = slice(20, -20), slice(20, -20)  # without particles that enter or leave the field
    there = [k for k in np.unique(first)[1:] if (truth[rows, columns] == k).sum() > 200]
    overlaps = [((labels == k) & (truth == k)).sum() / ((labels == k) | (truth == k)).sum() for k in there]
    assert len(there) >= 4 and np.mean(overlaps) > 0.8 and min(overlaps) > 0.5
    assert set(np.unique(labels)) <= set(np.unique(first))
