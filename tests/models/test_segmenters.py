"""Promptable segmenters: official names and numbers of EfficientSAM, prompts, weights. No trained weights needed."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.io import to_unit_range
from lisa_micro.models.segmenters import BUILDERS, Prediction, Segmenter, build_segmenter
from lisa_micro.models.segmenters.base import check_prompts
from lisa_micro.models.segmenters.efficient_sam.network import (
    SMALL,
    TINY,
    EfficientSam,
    EfficientSamConfig,
    EfficientSamSegmenter,
    as_points,
    build_efficient_sam,
)
from lisa_micro.models.segmenters.promptable import efficient_sam_segmenter
from lisa_micro.types import InputError, Micrograph

MINI = EfficientSamConfig(
    width=32,
    heads=2,
    depth=2,
    image_size=128,
    dim=32,
    decoder_heads=4,
    decoder_hidden=64,
    upscaling=(16, 8),
    quality_hidden=48,
)


def fill(model: torch.nn.Module, seed: int = 0) -> np.random.RandomState:
    """Give every parameter and buffer a value that depends on its name's rank and the seed only; the random numbers
    that come after."""
    # RandomState: its stream is guaranteed to stay the same
    random = np.random.RandomState(seed)
    state = model.state_dict()
    for name in sorted(state):
        shape = tuple(state[name].shape)
        values = random.standard_normal(shape)
        if len(shape) == 1:
            values = 0.1 * values + (1 if name.endswith("weight") else 0)
        elif "gaussian_matrix" not in name:
            values = 2 * values / np.sqrt(np.prod(shape[1:]))
        state[name].copy_(torch.from_numpy(values))
    return random


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def model() -> EfficientSam:
    model = build_efficient_sam(MINI).eval()
    fill(model)
    return model


@pytest.fixture
def segmenter(model) -> EfficientSamSegmenter:
    return EfficientSamSegmenter("mini", model, torch.device("cpu"), "")


@pytest.fixture
def mini(monkeypatch) -> str:
    """A small EfficientSAM among the builders."""
    monkeypatch.setitem(
        BUILDERS, "mini", lambda checkpoint, device: efficient_sam_segmenter("mini", MINI, checkpoint, device)
    )
    return "mini"


def micrograph(height: int, width: int, seed: int = 0) -> Micrograph:
    return Micrograph(np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32))


# ------------------------------------------------------------------------------------ the official checkpoints


def official_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an official checkpoint, by rule."""

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str, channels: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (channels,), (channels,)

    shapes: dict[str, tuple[int, ...]] = {}
    encoder, decoder, prompts = "image_encoder", "mask_decoder", "prompt_encoder"
    shapes[f"{encoder}.pos_embed"] = (1, 14 * 14 + 1, width)
    shapes[f"{encoder}.patch_embed.proj.weight"] = (width, 3, 16, 16)
    shapes[f"{encoder}.patch_embed.proj.bias"] = (width,)
    for k in range(12):
        block = f"{encoder}.blocks.{k}"
        norm(f"{block}.norm1", width)
        linear(f"{block}.attn.qkv", width, 3 * width)
        linear(f"{block}.attn.proj", width, width)
        norm(f"{block}.norm2", width)
        linear(f"{block}.mlp.fc1", width, 4 * width)
        linear(f"{block}.mlp.fc2", 4 * width, width)
    shapes[f"{encoder}.neck.0.weight"] = (256, width, 1, 1)
    norm(f"{encoder}.neck.1", 256)
    shapes[f"{encoder}.neck.2.weight"] = (256, 256, 3, 3)
    norm(f"{encoder}.neck.3", 256)
    shapes[f"{prompts}.pe_layer.positional_encoding_gaussian_matrix"] = (2, 128)
    for name in ("invalid_points", "point_embeddings", "bbox_top_left_embeddings", "bbox_bottom_right_embeddings"):
        shapes[f"{prompts}.{name}.weight"] = (1, 256)

    def attention(name: str, inner: int) -> None:
        for projection in ("q_proj", "k_proj", "v_proj"):
            linear(f"{name}.{projection}", 256, inner)
        linear(f"{name}.out_proj", inner, 256)

    for k in range(2):
        layer = f"{decoder}.transformer.layers.{k}"
        attention(f"{layer}.self_attn", 256)
        norm(f"{layer}.norm1", 256)
        attention(f"{layer}.cross_attn_token_to_image", 128)
        norm(f"{layer}.norm2", 256)
        linear(f"{layer}.mlp.layers.0.0", 256, 2048)
        linear(f"{layer}.mlp.fc", 2048, 256)
        norm(f"{layer}.norm3", 256)
        norm(f"{layer}.norm4", 256)
        attention(f"{layer}.cross_attn_image_to_token", 128)
    attention(f"{decoder}.transformer.final_attn_token_to_image", 128)
    norm(f"{decoder}.transformer.norm_final_attn", 256)
    shapes[f"{decoder}.iou_token.weight"], shapes[f"{decoder}.mask_tokens.weight"] = (1, 256), (4, 256)
    upscaling = f"{decoder}.final_output_upscaling_layers"
    shapes[f"{upscaling}.0.0.weight"], shapes[f"{upscaling}.0.0.bias"] = (256, 64, 2, 2), (64,)
    norm(f"{upscaling}.0.1", 64)
    shapes[f"{upscaling}.1.0.weight"], shapes[f"{upscaling}.1.0.bias"] = (64, 32, 2, 2), (32,)
    heads = [(f"{decoder}.output_hypernetworks_mlps.{k}", 32) for k in range(4)]
    for name, outputs in (*heads, (f"{decoder}.iou_prediction_head", 4)):
        linear(f"{name}.layers.0.0", 256, 256)
        linear(f"{name}.layers.1.0", 256, 256)
        linear(f"{name}.fc", 256, outputs)
    return shapes


@pytest.mark.parametrize(
    ("config", "parameters", "digest"),
    [
        (TINY, 10_223_204, "591074dea1f315f9fac0651de92f5ec678f90356da798b7a79aaf2e8f7a8756b"),
        (SMALL, 26_413_028, "f4c96d9d025a919606b6265423189a8782876f323bd530abde77f273b05d76a0"),
    ],
)
def test_names_shapes_and_order_are_the_official_ones(config, parameters, digest):
    with torch.device("meta"):
        model = build_efficient_sam(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == official_shapes(config.width)
    # the digest is that of the official module's state dictionary, in its order
    listing = "\n".join(f"{name} {shape}" for name, shape in shapes.items())
    assert hashlib.sha256(listing.encode()).hexdigest() == digest
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_parameter_count_of_the_paper_is_that_of_tiny_without_its_position_table():
    with torch.device("meta"):
        model = build_efficient_sam(TINY)
    counted = sum(p.numel() for n, p in model.named_parameters() if n != "image_encoder.pos_embed")
    assert counted == 10_185_380


GOLDEN_IOU = """
4.694219 2.499603 -12.107254 2.434415 0.075909 -13.848541 3.853097 2.088161 -3.068245
2.993966 2.477681 -14.840150 4.122546 2.961733 -10.394331 3.626366 1.560277 -15.048846
"""
GOLDEN_LOGITS = """
8.133687 -0.651145 4.987690 0.621422 -1.407801 1.919820 -0.917473 2.020591 2.801636 3.762393 2.076292 2.737948
-0.424639 -0.136615 -0.360860 -0.078884 0.569283 -3.084838 -0.145349 -2.054049 -0.110797 3.555796 -0.238799 2.478168
0.552260 2.101303 1.076675 1.010325 -1.633629 -7.094438 -1.227672 -7.997174 -0.300335 3.017720 0.480138 4.028411
-0.094827 1.198880 -0.256657 1.359876 17.249411 3.165844 11.860490 3.000585 3.241442 4.280199 2.762559 4.796257
4.848855 -3.753708 7.921055 2.332134 -1.252990 2.177734 -2.084085 3.718627 1.084345 6.127651 0.522638 6.013117
0.239997 2.836305 0.209521 3.090520 10.524574 -0.270125 9.885311 0.683341 2.027468 7.802575 0.540775 8.048014
"""


def test_numbers_are_those_of_the_official_code():
    """Written down from the official code (yformer/EfficientSAM) of the same small sizes and the same values: two
    images that are not square, three prompts of four points with every label, some of them before the image. The
    numbers are sorted by predicted IoU, as that code did until its commit 610b0fd and its example does since."""
    model = build_efficient_sam(MINI).eval()
    random = fill(model)
    images = torch.from_numpy(random.uniform(size=(2, 3, 96, 75))).float()
    points = torch.from_numpy(random.uniform(-5, 75, size=(2, 3, 4, 2))).float()
    labels = torch.tensor([[2, 3, 1, -1], [1, 0, 1, 1], [-1, 1, 0, 2]]).expand(2, 3, 4)
    with torch.inference_mode():
        logits, quality = model(images, points, labels)
    assert logits.shape == (2, 3, 3, 96, 75)
    quality, order = quality.sort(dim=-1, descending=True)
    logits = logits.take_along_dim(order[..., None, None], dim=2)
    expected = torch.tensor([float(x) for x in GOLDEN_IOU.split()]).view(2, 3, 3)
    torch.testing.assert_close(quality, expected, atol=1e-3, rtol=1e-4)
    expected = torch.tensor([float(x) for x in GOLDEN_LOGITS.split()]).view(2, 3, 3, 2, 2)
    torch.testing.assert_close(logits[..., 10::60, 20::40], expected, atol=1e-3, rtol=1e-4)


# -------------------------------------------------------------------------------------------------- the module


def test_masks_are_not_sorted_as_in_the_official_code(model, monkeypatch):
    images = torch.rand(2, 3, 50, 70)
    points, labels = torch.rand(2, 3, 1, 2) * 50, torch.ones(2, 3, 1)
    decoded = []
    decoder = model.mask_decoder.forward
    monkeypatch.setattr(model.mask_decoder, "forward", lambda *a: decoded.append(decoder(*a)) or decoded[-1])
    with torch.inference_mode():
        logits, quality = model(images, points, labels)
        coarse, same = model(images, points, labels, scale_to_original_image_size=False)
    assert logits.shape == (2, 3, 3, 50, 70) and coarse.shape == (2, 3, 3, 32, 32)
    assert torch.equal(quality.flatten(0, 1), decoded[0][1]) and torch.equal(coarse.flatten(0, 1), decoded[1][0])
    assert not (quality.diff(dim=-1) <= 0).all()
    torch.testing.assert_close(quality, same)


def test_the_segmenter_takes_the_mask_with_the_highest_predicted_iou(segmenter, model):
    image = micrograph(64, 64)
    segmenter.encode(image)
    points = np.random.default_rng(3).uniform(0, 64, (8, 1, 2))
    out = segmenter.predict(points=points)
    pixels = torch.from_numpy(to_unit_range(image.pixels)).expand(1, 3, -1, -1)
    with torch.inference_mode():
        _, quality = model(pixels, torch.from_numpy(points[None]).float(), torch.ones(1, 8, 1))
    best, which = quality[0].max(dim=1)
    np.testing.assert_allclose(out.scores, best.clamp(0, 1), atol=1e-4)
    assert (which > 0).any()


def test_padding_with_missing_points_changes_nothing_and_extra_points_are_cut(model):
    images = torch.rand(1, 3, 128, 128)
    points, labels = torch.rand(1, 2, 6, 2) * 128, torch.ones(1, 2, 6)
    labels[..., 4:], points[..., 4:, :] = -1, -1
    with torch.inference_mode():
        filled = model(images, points, labels)
        short = model(images, points[:, :, :4], labels[..., :4])
        extra = model(images, torch.cat([points, points[:, :, :3]], 2), torch.cat([labels, labels[..., :3]], 2))
    for other in (short, extra):
        torch.testing.assert_close(filled, other)


def test_prompts_and_images_do_not_mix(model):
    images = torch.rand(2, 3, 40, 60)
    points, labels = torch.rand(2, 2, 2, 2) * 40, torch.ones(2, 2, 2)
    with torch.inference_mode():
        together, _ = model(images, points, labels)
        alone, _ = model(images[1:], points[1:, 1:], labels[1:, 1:])
    torch.testing.assert_close(together[1:, 1:], alone, atol=1e-3, rtol=1e-4)


# ----------------------------------------------------------------------------------------------- the segmenter


def test_a_segmenter_is_what_the_protocol_says(segmenter):
    assert isinstance(segmenter, Segmenter)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (97, 130), (300, 41), (128, 128)])
def test_any_micrograph_gives_masks_of_its_size(segmenter, shape):
    segmenter.encode(micrograph(*shape))
    out = segmenter.predict(boxes=[[0, 0, shape[1], shape[0]]] * 11)  # more than one batch
    assert isinstance(out, Prediction)
    assert out.masks.shape == (11, *shape) and out.masks.dtype == bool
    assert out.scores.shape == (11,) and ((out.scores >= 0) & (out.scores <= 1)).all()
    assert out.logits.shape == (11, 32, 32) and np.isfinite(out.logits).all()
    assert (out.masks == out.masks[:1]).all()


def test_a_box_is_its_two_corners_with_labels_2_and_3(segmenter, model):
    image = micrograph(90, 120)
    segmenter.encode(image)
    out = segmenter.predict(boxes=[[10, 20, 70, 80]])
    pixels = torch.from_numpy(to_unit_range(image.pixels)).expand(1, 3, -1, -1)
    corners, labels = torch.tensor([[[[10.0, 20], [70, 80]]]]), torch.tensor([[[2, 3]]])
    with torch.inference_mode():
        logits, quality = model(pixels, corners, labels)
    best = int(quality[0, 0].argmax())
    assert (out.masks[0] != (logits[0, 0, best] >= 0).numpy()).mean() < 1e-3  # rounding at the contour
    assert 0 < out.masks.mean() < 1
    np.testing.assert_allclose(out.scores[0], quality[0, 0, best].clamp(0, 1), atol=1e-5)


def test_points_alone_equal_padded_points(segmenter):
    segmenter.encode(micrograph(64, 64))
    short = segmenter.predict(points=[[[10, 12], [30, 31]]])
    nan = float("nan")
    filled = segmenter.predict(points=[[[nan, nan], [10, 12], [30, 31]]], point_labels=[[-1, 1, 1]])
    np.testing.assert_allclose(short.logits, filled.logits, atol=1e-6)


def test_a_box_and_points_are_one_prompt(segmenter):
    segmenter.encode(micrograph(64, 64))
    box = segmenter.predict(boxes=[[5, 5, 40, 40]])
    both = segmenter.predict(points=[[[20, 20]]], point_labels=[[0]], boxes=[[5, 5, 40, 40]])
    assert both.masks.shape == (1, 64, 64)
    assert np.abs(both.logits - box.logits).max() > 1e-3


def test_brightness_of_the_micrograph_does_not_matter_nor_do_broken_pixels(segmenter):
    image = micrograph(40, 40)
    segmenter.encode(image)
    first = segmenter.predict(points=[[[20, 20]]])
    segmenter.encode(Micrograph(image.pixels * 1000 + 5e4))
    np.testing.assert_allclose(first.logits, segmenter.predict(points=[[[20, 20]]]).logits, atol=1e-2)
    broken = image.pixels.copy()
    broken[0, :3] = np.nan, np.inf, -np.inf
    segmenter.encode(Micrograph(broken))
    assert np.isfinite(segmenter.predict(points=[[[20, 20]]]).logits).all()


def test_a_swapped_box_is_repaired_with_a_note(segmenter):
    segmenter.encode(micrograph(50, 60))
    straight, swapped = segmenter.predict(boxes=[[5, 6, 20, 30]]), segmenter.predict(boxes=[[20, 30, 5, 6]])
    assert (straight.masks == swapped.masks).all()
    assert not straight.notes and "swapped" in swapped.notes[0]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "There is no prompt"),
        ({"point_labels": [[1]]}, "no points"),
        ({"points": [[1, 2]]}, r"\(N, P, 2\)"),
        ({"points": [[[1, 2], [3]]]}, r"\(N, P, 2\)"),
        ({"points": []}, r"\(N, P, 2\)"),
        ({"points": "here"}, r"\(N, P, 2\)"),
        ({"points": [[[1, np.inf]]]}, "not finite"),
        ({"points": [[[1, 51]]]}, "outside the image of 60 x 50"),
        ({"points": [[[-1, 5]]]}, "outside"),
        ({"points": [[[1, 2]]], "point_labels": [1]}, "one label"),
        ({"points": [[[1, 2]]], "point_labels": [[2]]}, "label of a point must be 1"),
        ({"points": [[[1, 2]]], "point_labels": [[0]]}, "at least one point with label 1"),
        ({"points": [[[1, 2]]] * 2, "point_labels": [[1], [-1]]}, "at least one point with label 1"),
        ({"points": [[[1, 2]]] * 2, "boxes": [[1, 2, 3, 4]]}, "one box to each"),
        ({"points": [[[1, 2]] * 7]}, "6 points"),
        ({"points": [[[1, 2]] * 5], "boxes": [[1, 2, 3, 4]]}, "not 7"),
        ({"boxes": [[1, 2, 3]]}, "four numbers"),
        ({"boxes": []}, "no box"),
        ({"boxes": [[70, 70, 80, 80]]}, "outside"),
    ],
)
def test_bad_prompts_are_refused_in_one_sentence(segmenter, prompt, message):
    segmenter.encode(micrograph(50, 60))
    with pytest.raises(InputError, match=message):
        segmenter.predict(**prompt)


def test_an_image_is_encoded_first_and_has_pixels(segmenter):
    with pytest.raises(InputError, match="encode"):
        segmenter.predict(boxes=[[1, 2, 3, 4]])
    for shape in ((0, 5), (4, 4, 3), (7,)):
        with pytest.raises(InputError, match="at least one pixel"):
            segmenter.encode(Micrograph(np.zeros(shape, np.float32)))


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.sampled_from([1, 0, -1]), max_size=8).filter(lambda x: len(x) - x.count(-1) <= 3),
    box=st.booleans(),
)
def test_every_real_point_is_kept_in_order_and_the_rest_is_none(labels, box):
    labels = [1, *labels]
    points = [[k, k + 0.5] for k in range(len(labels))]
    prompts = check_prompts([points], [labels], [[1, 2, 3, 4]] if box else None, (40, 40))
    xy, given = as_points(prompts, 6)
    real = [point for point, label in zip(points, labels, strict=True) if label != -1]
    corners = [[1, 2], [3, 4]] if box else []
    assert xy.shape == (1, 6, 2) and given.shape == (1, 6)
    assert xy[0, given[0] != -1].tolist() == corners + real
    assert given[0, given[0] != -1].tolist() == [2, 3][: len(corners)] + [x for x in labels if x != -1]
    assert (xy[0, given[0] == -1] == -1).all()


# ------------------------------------------------------------------------------------------------- the weights


def test_an_official_layout_loads_strictly_and_is_identified(mini, model, tmp_path):
    path = tmp_path / "mini.pt"
    torch.save({"model": model.state_dict()}, path)
    segmenter = build_segmenter(mini, path, device="cpu")
    assert segmenter.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert segmenter.name == "mini" and not segmenter.model.training
    loaded = segmenter.model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())
    torch.save(model.state_dict(), path)
    assert build_segmenter(mini, str(path)).weights_sha256 != segmenter.weights_sha256


def test_checkpoints_of_other_models_are_refused_by_name(mini, model, tmp_path):
    path = tmp_path / "other.pt"
    state = model.state_dict()
    del state["image_encoder.pos_embed"], state["mask_decoder.iou_token.weight"]
    torch.save({"model": {**state, "image_encoder.rel_pos": torch.zeros(1)}}, path)
    with pytest.raises(InputError) as error:
        build_segmenter(mini, path)
    said = str(error.value)
    assert "2 missing (image_encoder.pos_embed, mask_decoder.iou_token.weight)" in said
    assert "1 unexpected (image_encoder.rel_pos)" in said
    torch.save({"model": build_efficient_sam(EfficientSamConfig(**{**vars(MINI), "width": 16})).state_dict()}, path)
    with pytest.raises(InputError, match="of another shape"):
        build_segmenter(mini, path)


def test_other_files_are_refused(mini, tmp_path):
    with pytest.raises(InputError, match="No weights at"):
        build_segmenter(mini, tmp_path / "absent.pt")
    with pytest.raises(InputError, match="No weights at"):
        build_segmenter(mini, tmp_path)
    path = tmp_path / "file.pt"
    for content in (b"", b"not a checkpoint", b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable PyTorch checkpoint"):
            build_segmenter(mini, path)
    for value in ([torch.zeros(1)], {"model": [1]}, {"model": {"a": 1}}, 3):
        torch.save(value, path)
        with pytest.raises(InputError, match="no state dictionary"):
            build_segmenter(mini, path)


def test_code_in_a_checkpoint_is_not_run(mini, tmp_path):
    marker, path = tmp_path / "run", tmp_path / "evil.pt"

    class Evil:
        def __reduce__(self):
            return (type(tmp_path), (str(marker),))

    path.write_bytes(pickle.dumps({"model": Evil()}, protocol=2))
    with pytest.raises(InputError, match="not a readable"):
        build_segmenter(mini, path)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"micro"}))
def test_weights_are_required(name):
    with pytest.raises(InputError, match="of its weights"):
        build_segmenter(name)


def test_unknown_names_and_devices_are_refused(mini):
    with pytest.raises(InputError, match="efficient_sam_vitt"):
        build_segmenter("sam9")
    with pytest.raises(InputError, match="cannot be used here"):
        build_segmenter(mini, device="abacus")


@pytest.mark.slow
def test_tiny_from_a_file_segments(tmp_path):
    path = tmp_path / "efficient_sam_vitt.pt"
    torch.save({"model": build_efficient_sam(TINY).state_dict()}, path)
    segmenter = build_segmenter("efficient-sam-ti", path, device="cpu")
    assert segmenter.name == "efficient_sam_vitt"
    segmenter.encode(micrograph(30, 45))
    out = segmenter.predict(boxes=[[5, 5, 20, 20]])
    assert out.masks.shape == (1, 30, 45) and out.logits.shape == (1, 256, 256)
