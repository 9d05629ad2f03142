"""Parts of the model: shapes, positions, tokens, strict loading. No trained weights needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lisa_micro.models.checkpoints import load_strict, read_state, save_module
from lisa_micro.models.lisa import base_lm
from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, connected, drop_small, separate
from lisa_micro.models.lisa.mask_head import MaskHead, MaskHeadConfig, box_areas, point_areas
from lisa_micro.models.lisa.model import LisaModel, pad_to_multiple, work_shape
from lisa_micro.models.lisa.projector import SegProjector
from lisa_micro.models.lisa.tokens import NewTokens
from lisa_micro.models.towers.clip import to_square
from lisa_micro.models.towers.sam import ConvSamTower, SamFeatures
from lisa_micro.types import InputError


@pytest.fixture(scope="module")
def model() -> LisaModel:
    torch.manual_seed(0)
    config = LisaConfig(embed_dim=64, depth=1, work_side=128, least_side=64)
    head = MaskHead(MaskHeadConfig(dim=64, depth=1, heads=4, mlp_dim=64))
    return LisaModel(config, ConvSamTower(64), head).eval()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (97, 130), (300, 41), (128, 128)])
def test_any_image_size_gives_masks_of_that_size(model, shape):
    with torch.inference_mode():
        features = model.encode_image(torch.rand(1, 1, *shape))
        out = model.decode_boxes(features, torch.tensor([[0.0, 0.0, shape[1], shape[0]]]))
        masks = model.to_micrograph(out.mask, features)
    assert masks.shape == (1, *shape)
    assert torch.isfinite(masks).all()
    assert out.presence.shape == (1,)


def test_a_batch_of_prompts_equals_prompts_one_by_one(model):
    with torch.inference_mode():
        features = model.encode_image(torch.rand(1, 1, 96, 128))
        boxes = torch.tensor([[5.0, 5, 40, 50], [60, 20, 120, 90], [0, 0, 30, 30]])
        together = model.decode_boxes(features, boxes).mask
        alone = torch.cat([model.decode_boxes(features, box[None]).mask for box in boxes])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_position_encodings_of_a_crop_are_a_crop_of_the_encodings(model):
    whole = model.mask_head.position(8, 8)
    part = model.mask_head.position(3, 4, origin=(2, 1))
    torch.testing.assert_close(part, whole[:, :, 1:4, 2:6])
    with pytest.raises(ValueError, match="tile"):
        model.mask_head.position(65, 3)


def test_the_area_of_a_box_lies_at_the_box():
    area = box_areas(torch.tensor([[16.0, 32.0, 48.0, 64.0]]), height=6, width=5)[0, 0]
    assert area.shape == (24, 20)
    assert area.sum() == pytest.approx(32 * 32 / 16)
    rows, columns = torch.nonzero(area > 0.5, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 4, 11)
    # the same box in a crop that begins one cell later
    moved = box_areas(torch.tensor([[16.0, 32.0, 48.0, 64.0]]), 6, 5, origin=(1, 2))[0, 0]
    torch.testing.assert_close(moved[:8, :8], area[8:16, 4:12])


def test_points_raise_the_area_inside_and_lower_it_outside():
    points = torch.tensor([[[18.0, 18.0], [66.0, 34.0], [0.0, 0.0]]])
    area = point_areas(points, torch.tensor([[1, 0, -1]]), height=4, width=6)[0, 0]
    assert area[4, 4] == pytest.approx(1.0, abs=1e-3)
    assert area[8, 16] == pytest.approx(-1.0, abs=1e-3)
    assert area[0, 0] < 0.05


def test_work_shape_keeps_proportions_and_limits():
    assert work_shape(512, 512, 640, 256) == (512, 512)
    assert work_shape(2000, 1000, 640, 256) == (640, 320)
    assert work_shape(100, 50, 640, 256) == (256, 128)
    assert work_shape(5000, 1, 640, 256) == (640, 1)


def test_padding_mirrors_and_accepts_one_pixel():
    assert pad_to_multiple(torch.rand(1, 1, 33, 64), 32).shape == (1, 1, 64, 64)
    one = pad_to_multiple(torch.full((1, 1, 1, 1), 0.3), 32)
    assert one.shape == (1, 1, 32, 32) and bool((one == 0.3).all())


def test_clip_square_keeps_the_image_in_the_middle():
    square = to_square(torch.ones(1, 1, 50, 100), 64)
    assert square.shape == (1, 1, 64, 64)
    assert square[0, 0, 32, 32] == 1 and square[0, 0, 2, 32] == 0.5


def test_new_tokens_read_and_write_like_a_larger_vocabulary():
    torch.manual_seed(1)
    base = torch.nn.Embedding(10, 6)
    head = torch.nn.Linear(6, 10, bias=False)
    tokens = NewTokens(3, 6, first=10)
    tokens.start_from(base.weight.detach())
    whole = torch.cat([base.weight, tokens.rows])
    ids = torch.tensor([[0, 9, 10, 12]])
    torch.testing.assert_close(tokens.embed(ids, base), whole[ids])
    hidden = torch.rand(2, 6)
    expected = hidden @ torch.cat([head.weight, tokens.rows]).T
    torch.testing.assert_close(tokens.logits(hidden, head), expected)
    tokens.embed(ids, base).sum().backward()
    assert tokens.rows.grad[1].abs().sum() == 0 and tokens.rows.grad[0].abs().sum() > 0


def test_features_of_one_image_of_a_batch():
    features = SamFeatures(torch.rand(3, 4, 2, 2), (torch.rand(3, 1, 4, 4),))
    one = features.image(1)
    assert one.embedding.shape == (1, 4, 2, 2)
    torch.testing.assert_close(one.skips[0][0], features.skips[0][1])


def test_loading_names_what_does_not_fit(tmp_path):
    layer = torch.nn.Linear(3, 2)
    save_module(layer.state_dict(), tmp_path / "a.safetensors")
    state = read_state(tmp_path / "a.safetensors")
    load_strict(layer, state, "a layer")
    with pytest.raises(InputError, match=r"1 missing \(bias\)"):
        load_strict(layer, {"weight": state["weight"]}, "a layer")
    with pytest.raises(InputError, match=r"unexpected \(gain\)"):
        load_strict(layer, {**state, "gain": torch.ones(1)}, "a layer")
    with pytest.raises(InputError, match=r"another shape \(weight\)"):
        load_strict(layer, {**state, "weight": torch.ones(1, 1)}, "a layer")
    with pytest.raises(InputError, match="No weights at"):
        read_state(tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_state(tmp_path / "c.safetensors")


def test_saving_refuses_what_half_precision_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="does not fit"):
        save_module({"w": torch.tensor([1e9])}, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def discs(centres: list[tuple[int, int]], radius: int, shape=(80, 120)) -> tuple[np.ndarray, np.ndarray]:
    """Union mask and, as a perfect network would give it, the normalised distance of two or more discs."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    depth = np.stack([radius - np.hypot(yy - y, xx - x) for x, y in centres])
    return (depth.max(0) > 0).astype(float), np.clip(depth.max(0) / radius, 0, 1)


def test_touching_discs_are_separated():
    mask, distance = discs([(40, 40), (68, 40)], 15)
    labels = separate(mask, distance, np.zeros_like(mask))
    assert labels.max() == 2
    assert labels[40, 40] != labels[40, 68]
    assert ((labels > 0) == (mask > 0.5)).all()


def test_a_waist_alone_does_not_split_when_the_distance_map_is_flat():
    mask, _ = discs([(40, 40), (52, 40)], 15)
    assert separate(mask, mask * 0.8, np.zeros_like(mask)).max() == 1


def test_the_border_map_splits_what_the_distance_map_does_not():
    mask, distance = discs([(40, 40), (60, 40)], 15)
    border = np.zeros_like(mask)
    border[:, 49:52] = 1.0
    flat = np.where(mask > 0, np.maximum(distance, 0.6), 0)
    assert separate(mask, flat, border, SplitConfig(border=0.8)).max() == 2


def test_every_component_is_an_instance_even_without_a_peak():
    mask = np.zeros((40, 40))
    mask[5:15, 5:15] = mask[25:35, 25:35] = 1
    labels = separate(mask, np.zeros_like(mask), np.zeros_like(mask), SplitConfig(peak=0))
    assert labels.max() == 2


def test_fragments_of_particles_are_removed():
    mask, distance = discs([(30, 40), (90, 40)], 15)
    right = np.arange(120) > 60
    faint = np.where(right, 0.6, 1.0) * mask
    assert separate(faint, distance, np.zeros_like(mask)).max() == 1
    for shallow, split in ((0.2, SplitConfig()), (0.5, SplitConfig(peak=0.7))):
        labels = separate(mask, np.where(right, shallow, 1.0) * distance, np.zeros_like(mask), split)
        assert labels.max() == 1 and labels[40, 30] == 1 and labels[40, 90] == 0
    # small and faint particles reach about half of the height: they are kept
    assert separate(mask, np.where(right, 0.5, 1.0) * distance, np.zeros_like(mask)).max() == 2


def test_small_and_empty():
    assert separate(np.zeros((5, 5)), np.zeros((5, 5)), np.zeros((5, 5))).max() == 0
    labels = np.zeros((20, 20), int)
    labels[0, 0], labels[5:10, 5:10] = 1, 7
    assert sorted(np.unique(drop_small(labels, 5))) == [0, 1]
    mask = np.zeros((20, 20))
    mask[2:8, 2:8] = 1
    mask[8:12, 8:12] = 1  # touches at a corner: one component
    assert connected(mask).max() == 1


def test_a_reply_is_removed_from_the_cache():
    from transformers import DynamicCache

    from lisa_micro.assistant.engine import Engine
    from lisa_micro.assistant.language_engine import KVCache

    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 5, 2), torch.zeros(1, 1, 5, 2), 0)
    engine = object.__new__(Engine)
    engine.bf16, engine.state_before_seg, engine.seg_id = False, False, 3
    engine._prefill_ids = lambda state, ids: torch.zeros(len(ids), 2)
    engine._decode = lambda state, hidden, reply, found: reply
    state = KVCache(cache, length=5, pending=[1])
    assert engine.regenerate(state, 3, [7]) == [7]
    assert cache.get_seq_length() == state.length == 3 and state.pending == []


def test_a_reply_without_targets_has_no_concepts():
    """The request "which mechanism dominates?" is answered without [SEG]; its states reach the projection of [SEG]."""
    from lisa_micro.assistant.engine import Engine
    from lisa_micro.assistant.language_engine import RawReply

    engine = object.__new__(Engine)
    engine.device, engine.bf16 = torch.device("cpu"), False
    engine.model = build_vision(LisaConfig())
    engine.model.seg_projector = SegProjector(576, engine.model.config.embed_dim)
    engine.chat = SimpleNamespace(text=lambda ids: "")
    engine.vocabulary = engine.model.config.vocabulary
    reply = engine._raw_reply([], [], torch.zeros(576))
    assert isinstance(reply, RawReply) and reply.states.shape == (0, 576)
    for states in (reply.states, torch.zeros(0, 0)):
        assert engine.nearest_concept(states) == []
    # empty states pass through the projection, too
    assert engine.model.seg_projector(reply.states).shape == (0, engine.model.config.embed_dim)
    assert len(engine.nearest_concept(torch.zeros(2, 576))) == 2


def test_merging_an_adapter_gives_the_same_as_peft(tmp_path):
    from peft import get_peft_model_state_dict
    from transformers import LlamaConfig, LlamaForCausalLM

    from lisa_micro.models.lisa.build import add_lora, merge_adapter
    from lisa_micro.models.lisa.config import LoraSettings

    torch.manual_seed(2)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    plain = LlamaForCausalLM(LlamaConfig(vocab_size=30, num_hidden_layers=2, **sizes)).eval()
    settings = LoraSettings(rank=4, alpha=12)
    state = {n: v.clone() for n, v in plain.state_dict().items()}
    wrapped = add_lora(plain, settings).eval()
    with torch.no_grad():
        for name, p in wrapped.named_parameters():
            if "lora_" in name:
                p.normal_(std=0.2)
    save_module(get_peft_model_state_dict(wrapped), tmp_path / "lora.safetensors", torch.float32)
    ids = torch.randint(0, 30, (1, 9))
    with torch.inference_mode():
        expected = wrapped(ids).logits
    fresh = LlamaForCausalLM(LlamaConfig(vocab_size=30, num_hidden_layers=2, **sizes)).eval()
    fresh.load_state_dict(state)
    merge_adapter(fresh, tmp_path / "lora.safetensors", settings)
    with torch.inference_mode():
        torch.testing.assert_close(fresh(ids).logits, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="does not fit the language model"):
        merge_adapter(fresh, tmp_path / "lora.safetensors", LoraSettings(rank=4, modules=("q_proj",)))


def test_two_first_conversions_leave_one_model(tmp_path):
    def converted(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "converted.json").write_text(name)
        with open(folder / "model.safetensors", "wb") as file:
            file.truncate(200_000_001)
        return folder

    place = tmp_path / "place"
    place.mkdir()
    (place / "leftover").write_text("of a run that was killed")
    base_lm.publish(converted("first"), place)
    assert (place / "converted.json").read_text() == "first" and not (place / "leftover").exists()
    base_lm.publish(converted("second"), place)
    assert (place / "converted.json").read_text() == "first"
