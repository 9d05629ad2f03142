"""SAM, SAM 2, SAM 3 and the default decoder behind one interface: the official numbers, weights, prompts. Tiny random
models stand in for the large ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lisa_micro.io import to_unit_range
from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.segmenters import Segmenter, build_segmenter
from lisa_micro.models.segmenters.efficient_sam.network import (
    EfficientSamConfig,
    EfficientSamSegmenter,
    build_efficient_sam,
)
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.models.segmenters.promptable import sam_segmenter
from lisa_micro.models.segmenters.sam import SamSegmenter, longest
from lisa_micro.models.segmenters.sam_hub import hub_segmenter
from lisa_micro.types import InputError, Micrograph

SIDE = 64
CPU = torch.device("cpu")


def tiny_sam(width: int = 16) -> torch.nn.Module:
    """SAM of the official parts, for images of 64 px."""
    # not at the top: lisa_micro.models must be imported first, see its module compat
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    return Sam(
        ImageEncoderViT(
            img_size=SIDE,
            embed_dim=width,
            depth=1,
            num_heads=2,
            out_chans=32,
            use_rel_pos=True,
            window_size=2,
            global_attn_indexes=(0,),
        ),
        PromptEncoder(32, (SIDE // 16,) * 2, (SIDE, SIDE), 16),
        MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=32),
            iou_head_hidden_dim=32,
        ),
    ).eval()


def tiny_hub(kind: str) -> torch.nn.Module:
    """SAM 2 or the promptable part of SAM 3 by transformers, for images of 64 px (SAM 3: 56)."""
    from transformers import Sam2Config, Sam2Model, Sam3TrackerConfig, Sam3TrackerModel

    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    if kind == "sam2":
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 1, 1],
            "window_size_per_stage": [4, 4, 4, 4],
            "window_positional_embedding_background_size": [4, 4],
            "global_attention_blocks": [3],
        }
        vision = {
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        }
        prompts = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16}
        config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
        return Sam2Model(config).eval()
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 56,
        "pretrain_image_size": 56,
        "window_size": 2,
        "global_attn_indexes": [0],
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    prompts = {"hidden_size": 32, "image_size": 56, "patch_size": 14}
    config = Sam3TrackerConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    return Sam3TrackerModel(config).eval()


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Saved checkpoints of the tiny models: a file for SAM, folders for SAM 2 and SAM 3."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("weights")
    torch.save(tiny_sam().state_dict(), root / "sam.pth")
    for kind in ("sam2", "sam3"):
        model = tiny_hub(kind)
        for parameter in model.parameters():  # as initialised, masks hardly differ from each other
            parameter.data.normal_(0, 0.3) if parameter.ndim > 1 else parameter.data.add_(0.1)
        model.save_pretrained(root / kind)
    return root


@pytest.fixture(scope="module")
def micro_random() -> MicroSegmenter:
    torch.manual_seed(0)
    return MicroSegmenter("micro", build_vision(LisaConfig(embed_dim=64, depth=1)), CPU, "")


@pytest.fixture(params=["sam", "sam2", "sam3", "micro"])
def member(request, folders, micro_random) -> Segmenter:
    if request.param == "micro":
        return micro_random
    if request.param == "sam":
        return sam_segmenter("sam_vit_b", tiny_sam, folders / "sam.pth", CPU)
    return build_segmenter(request.param, folders / request.param, device="cpu")


def micrograph(height: int, width: int, seed: int = 0) -> Micrograph:
    return Micrograph(np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32))


# ------------------------------------------------------------------------------------------------ one interface


def test_each_segmenter_has_the_interface(member):
    assert isinstance(member, Segmenter)
    assert isinstance(member.model, torch.nn.Module) and not member.model.training
    with pytest.raises(InputError, match="encode"):
        type(member).image.fget(SamSegmenter("new", torch.nn.Identity(), CPU, ""))


@pytest.mark.parametrize("shape", [(1, 1), (5, 130), (70, 41)])
def test_any_micrograph_and_every_kind_of_prompt(member, shape):
    member.encode(micrograph(*shape))
    height, width = shape
    box, point = [[0, 0, width, height]], [[[width / 2, height / 2]]]
    first = member.predict(boxes=box)
    for prompt in (
        {"points": point},
        {"points": point * 9},
        {"boxes": box, "points": point},
        {"mask_inputs": np.ones((1, 7, 9), bool)},
        {"mask_inputs": np.ones((2, height, width), int), "boxes": box * 2},
        {"mask_inputs": first.logits, "boxes": box, "points": point},
    ):
        out = member.predict(**prompt)
        count = len(next(iter(prompt.values())))
        assert out.masks.shape == (count, *shape) and out.masks.dtype == bool
        assert out.scores.shape == (count,) and ((out.scores >= 0) & (out.scores <= 1)).all()
        assert len(out.logits) == count and np.isfinite(out.logits).all()
        assert (out.masks == out.masks[:1]).all()  # the same prompt several times


def test_prompts_of_a_batch_are_independent(member):
    """A prompt in a batch gives the same mask as alone, whatever its padding."""
    member.encode(micrograph(64, 48))
    nowhere = [-5.0, float("nan")]
    points = [[[10, 12], nowhere], [[30, 40], [5, 5]], [nowhere, [10, 12]]]
    together = member.predict(points=points, point_labels=[[1, -1], [1, 0], [-1, 1]])
    alone = member.predict(points=[[[10, 12]]])
    for row in (0, 2):
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-3)
    pair = member.predict(points=[points[1]], point_labels=[[1, 0]])
    np.testing.assert_allclose(together.logits[1], pair.logits[0], atol=1e-3)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "no prompt"),
        ({"boxes": [[1, 2, 1, 9]]}, "smaller than a pixel"),
        ({"boxes": [[90, 90, 95, 95]]}, "outside the image"),
        ({"boxes": [[0, 0, float("nan"), 5]]}, "not finite"),
        ({"boxes": []}, "no box"),
        ({"points": [[[1, float("inf")]]]}, "not finite"),
        ({"points": [[[99, 3]]]}, "outside the image of 48 x 64"),
        ({"mask_inputs": np.zeros((1, 8, 8))}, "is empty"),
        ({"mask_inputs": np.ones((8, 8))}, r"\(N, h, w\)"),
        ({"mask_inputs": np.full((1, 8, 8), np.nan)}, "not finite"),
        ({"mask_inputs": [["a"]]}, "zeros and ones"),
        ({"mask_inputs": np.ones((2, 8, 8)), "boxes": [[1, 2, 9, 9]]}, "1 prompts have boxes and 2 have masks"),
        ({"mask_inputs": np.ones((2, 8, 8)), "points": [[[1, 2]]]}, "one mask to each"),
    ],
)
def test_bad_prompts_are_refused_in_one_sentence(member, prompt, message):
    member.encode(micrograph(64, 48))
    with pytest.raises(InputError, match=message) as error:
        member.predict(**prompt)
    assert "\n" not in str(error.value)


def test_a_swapped_box_is_repaired_with_a_note(member):
    member.encode(micrograph(64, 48))
    straight, swapped = member.predict(boxes=[[5, 6, 20, 30]]), member.predict(boxes=[[20, 30, 5, 6]])
    assert (straight.masks == swapped.masks).all() and "swapped" in swapped.notes[0]


def test_efficient_sam_says_that_it_takes_no_masks():
    config = EfficientSamConfig(
        width=16, heads=2, depth=1, image_size=64, dim=32, decoder_heads=2, decoder_hidden=32, upscaling=(16, 8)
    )
    segmenter = EfficientSamSegmenter("efficient-sam-ti", build_efficient_sam(config), CPU, "")
    segmenter.encode(micrograph(64, 48))
    with pytest.raises(InputError, match="efficient-sam-ti takes no masks"):
        segmenter.predict(mask_inputs=np.ones((1, 8, 8), bool))


# ---------------------------------------------------------------------------------------------------------- SAM


@pytest.mark.parametrize("shape", [(64, 64), (40, 64), (100, 130)])
def test_sam_gives_the_numbers_of_its_own_predictor(folders, shape):
    from segment_anything import SamPredictor

    segmenter = sam_segmenter("sam_vit_b", tiny_sam, folders / "sam.pth", CPU)
    image = micrograph(*shape)
    segmenter.encode(image)
    official = SamPredictor(segmenter.model)
    pixels = torch.from_numpy(to_unit_range(image.pixels)).expand(1, 3, -1, -1) * 255
    sides = longest(shape, SIDE)
    scaled = torch.nn.functional.interpolate(pixels, sides, mode="bilinear", antialias=True, align_corners=False)
    official.set_torch_image(scaled, shape)
    box, point = np.array([5.0, 6, 30, 28]), np.array([[20.0, 15.0]])
    label = np.ones(1, int)

    masks, quality, coarse = official.predict(box=box, multimask_output=False)
    ours = segmenter.predict(boxes=[box])
    assert (ours.masks[0] == masks[0]).all()
    h, w = segmenter.image.window
    np.testing.assert_allclose(ours.logits[0], coarse[0, :h, :w], atol=1e-4)
    np.testing.assert_allclose(ours.scores[0], np.clip(quality[0], 0, 1), atol=1e-5)

    masks, quality, _ = official.predict(point, label, multimask_output=True)
    assert (segmenter.predict(points=[point]).masks[0] == masks[quality.argmax()]).all()

    both, _, _ = official.predict(point, label, box=box, multimask_output=False)
    assert (segmenter.predict(points=[point], boxes=[box]).masks[0] == both[0]).all()

    if shape == (64, 64):  # without padding, an earlier mask is passed on unchanged
        again, _, _ = official.predict(box=box, mask_input=coarse, multimask_output=False)
        assert (segmenter.predict(boxes=[box], mask_inputs=ours.logits).masks[0] == again[0]).all()


def test_sam_weights_load_strictly_and_are_identified(folders, tmp_path):
    segmenter = sam_segmenter("sam_vit_b", tiny_sam, folders / "sam.pth", CPU)
    state = torch.load(folders / "sam.pth", weights_only=True)
    loaded = segmenter.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert len(segmenter.weights_sha256) == 64
    path = tmp_path / "other.pth"
    del state["image_encoder.pos_embed"]
    torch.save({**state, "image_encoder.extra": torch.zeros(1)}, path)
    with pytest.raises(InputError) as error:
        sam_segmenter("sam_vit_b", tiny_sam, path, CPU)
    said = str(error.value)
    assert "1 missing (image_encoder.pos_embed)" in said and "1 unexpected (image_encoder.extra)" in said
    torch.save(tiny_sam(width=32).state_dict(), path)
    with pytest.raises(InputError, match="of another shape"):
        sam_segmenter("sam_vit_b", tiny_sam, path, CPU)


def test_the_large_sams_refuse_a_checkpoint_of_another_model_before_taking_memory(folders):
    with pytest.raises(InputError, match="does not fit sam_vit_h: .* missing .*image_encoder"):
        build_segmenter("sam_vit_h", folders / "sam.pth", device="cpu")


# -------------------------------------------------------------------------------------------- SAM 2 and SAM 3


@pytest.mark.parametrize("kind", ["sam2", "sam3"])
def test_hub_models_give_the_numbers_of_transformers(folders, kind):
    segmenter = build_segmenter(kind, folders / kind, device="cpu")
    side = segmenter.side
    image = micrograph(side, side)  # of the model's own size: nothing is scaled
    segmenter.encode(image)
    grey = torch.from_numpy(to_unit_range(image.pixels)).expand(1, 3, -1, -1)
    pixels = (grey - segmenter.mean) / segmenter.std
    mean = {"sam2": 0.485, "sam3": 0.5}[kind]
    assert float(segmenter.mean[0, 0]) == pytest.approx(mean)
    with torch.inference_mode():
        box = torch.tensor([[[5.0, 6, 30, 28]]])
        out = segmenter.model(pixel_values=pixels, input_boxes=box, multimask_output=False)
        one = segmenter.model(pixel_values=pixels, input_points=torch.tensor([[[[20.0, 15.0]]]]))
    ours = segmenter.predict(boxes=[[5, 6, 30, 28], [1, 1, 50, 50]])
    np.testing.assert_allclose(ours.logits[0], out.pred_masks[0, 0, 0], atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(ours.scores[0], float(out.iou_scores[0, 0, 0].clamp(0, 1)), atol=1e-5)
    best = int(one.iou_scores[0, 0].argmax())
    np.testing.assert_allclose(
        segmenter.predict(points=[[[20, 15]]]).logits[0], one.pred_masks[0, 0, best], atol=1e-3, rtol=1e-3
    )


def test_hub_models_are_strict_and_identified(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    segmenter = build_segmenter("sam2", folders / "sam2", device="cpu")
    same = build_segmenter("sam2", folders / "sam2", "cpu", segmenter.weights_sha256.upper())
    assert same.weights_sha256 == segmenter.weights_sha256 and len(same.weights_sha256) == 64
    with pytest.raises(InputError, match="download them again"):
        build_segmenter("sam2", folders / "sam2", "cpu", "00")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((folders / "sam2" / "config.json").read_bytes())
    state = load_file(folders / "sam2" / "model.safetensors")
    state["extra.weight"] = torch.zeros(1)
    state["memory_encoder.weight"] = torch.zeros(1)  # part of the video model, which is ignored
    state["prompt_encoder.point_embed.weight"] = torch.zeros(2, 2)
    del state["mask_decoder.iou_token.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as error:
        build_segmenter("sam2", broken, device="cpu")
    said = str(error.value)
    assert "1 missing (mask_decoder.iou_token.weight)" in said and "1 unexpected (extra.weight)" in said
    assert "of another shape (prompt_encoder.point_embed.weight)" in said and "memory" not in said


def test_hub_checkpoints_say_how_pixels_are_normalised(folders, tmp_path):
    folder = tmp_path / "sam2"
    shutil.copytree(folders / "sam2", folder)
    processor = {"image_processor": {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 2]}}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    segmenter = build_segmenter("sam2", folder, device="cpu")
    assert segmenter.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_other_folders_and_names_are_refused_in_one_sentence(folders, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="path or hub name"):
        build_segmenter("sam2")
    with pytest.raises(InputError, match="of type 'sam3_tracker', which is not sam2"):
        build_segmenter("sam2", folders / "sam3")
    with pytest.raises(InputError, match="No model folder"):
        build_segmenter("sam2", tmp_path / "absent" / "sam2.pt")
    with pytest.raises(InputError, match="config.json is missing"):
        build_segmenter("sam2", tmp_path)
    import huggingface_hub

    def no_network(*_, **__):
        raise ConnectionError("Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(InputError, match="facebook/sam2.1-hiera-tiny could not be downloaded") as error:
        hub_segmenter("sam2", Path("facebook/sam2.1-hiera-tiny"), CPU)
    assert "\n" not in str(error.value)
