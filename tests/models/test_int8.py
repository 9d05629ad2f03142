"""Language models with 8-bit weights on CPUs."""

import copy
import json

import pytest
import torch
from memory_limit import return_freed_memory
from torch import nn

from lisa_micro.loading import load_assistant
from lisa_micro.models.lisa.int8 import HAS_KERNEL, Int8Linear, int8_pays, to_int8
from lisa_micro.models.lisa.tokens import FEW, NewTokens
from lisa_micro.types import InputError

needs_kernel = pytest.mark.skipif(not HAS_KERNEL, reason="this torch has no product with 8-bit weights")


@needs_kernel
@pytest.mark.parametrize("rows", [1, 3, 33])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_is_as_exact_as_eight_bits_allow(rows, bias):
    torch.manual_seed(0)
    layer = nn.Linear(96, 40, bias=bias)
    layer.weight.data[5] = 0
    inputs = torch.randn(2, rows, 96)
    wanted, got = layer(inputs), Int8Linear(layer)(inputs)
    assert got.shape == wanted.shape and got.dtype == torch.float32
    assert (got - wanted).norm() / wanted.norm() < 0.01
    assert torch.allclose(got[..., 5], wanted[..., 5], atol=1e-2)


@needs_kernel
def test_a_small_language_model_writes_the_same_and_takes_a_quarter():
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
    )  # after this package, which mends it where torchvision is not

    torch.manual_seed(1)
    sizes = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    plain = LlamaForCausalLM(sizes).eval()
    short = copy.deepcopy(plain).to(torch.bfloat16)
    assert to_int8(short, keep=short.get_output_embeddings()) == 2 * 7
    assert {p.dtype for p in short.parameters()} == {torch.float32}
    assert short.get_output_embeddings().weight is short.get_input_embeddings().weight
    ids = torch.randint(0, 64, (1, 12))
    with torch.inference_mode():
        one, other = plain(ids).logits, short(ids).logits
    assert (one - other).norm() / one.norm() < 0.05
    layers = [m.weight for m in short.modules() if isinstance(m, Int8Linear)]
    assert all(weight.element_size() == 1 for weight in layers)


def test_logits_of_some_tokens_are_those_among_all():
    torch.manual_seed(2)
    head = nn.Linear(16, FEW + 50, bias=False)
    tokens = NewTokens(4, 16, FEW + 50)
    tokens.start_from(head.weight.detach())
    state = torch.randn(16)
    whole = tokens.logits(state, head)
    for ids in (torch.tensor([3, FEW + 51, 0, FEW + 53]), torch.arange(FEW + 54)):
        assert torch.allclose(tokens.logits_among(state, head, ids), whole[ids], atol=1e-5)


@needs_kernel
def test_the_choice_is_measured_once_and_kept(tmp_path, monkeypatch):
    ratios = iter([0.5, 2.0])
    monkeypatch.setattr("lisa_micro.models.lisa.int8._measured_ratio", lambda: next(ratios))
    assert int8_pays(tmp_path) is True
    assert int8_pays(tmp_path) is True
    (kept,) = json.loads((tmp_path / "int8.json").read_text()).items()
    assert kept[1] is True and f"{torch.get_num_threads()} threads" in kept[0]
    (tmp_path / "int8.json").write_text("[1, 2")
    assert int8_pays(tmp_path) is False
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("lisa_micro.models.lisa.int8._measured_ratio", lambda: 0.1)
    assert int8_pays(tmp_path / "file") is True


def test_a_precision_that_a_preset_does_not_have_is_refused():
    with pytest.raises(InputError, match="has no precision '4bit'; choose auto, fp32, bf16 or 8bit"):
        load_assistant("micro", device="cpu", precision="4bit")


@needs_kernel
@pytest.mark.slow
def test_the_preset_reads_requests_alike_in_eight_bits():
    from lisa_micro.sim import simulate_scene
    from lisa_micro.types import Micrograph

    scene = simulate_scene(seed=5, shape=(160, 160))
    image = Micrograph(scene.pixels, scene.pixel_size_nm)
    asked = (
        "segment all sintering necks",
        "the three largest particles",
        "mean pore area",
        "all but the largest particle",
    )
    said = []
    for precision in ("fp32", "8bit"):
        assistant = load_assistant("micro", device="cpu", precision=precision)
        said.append([assistant.parse(image, words) for words in asked])
        del assistant  # one model at a time in memory
        return_freed_memory()
    assert said[0] == said[1]
