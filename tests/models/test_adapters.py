"""Adapters: applied to their base and no other, merged into a preset that answers the same, uploaded to the hub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_preset import write_preset

import lisa_micro as lm
from lisa_micro.cli import commands as cli
from lisa_micro.cli import terminal
from lisa_micro.models import hub
from lisa_micro.models.checkpoints import read_state, save_module
from lisa_micro.models.lisa.adapter import AdapterConfig, fingerprints, merge, read_parts, stack_lora
from lisa_micro.models.lisa.build import add_lora_weights
from lisa_micro.models.lisa.config import LoraSettings
from lisa_micro.types import CONCEPTS, InputError, Micrograph


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_preset(tmp_path_factory.mktemp("presets") / "tiny")


def write_adapter(folder: Path, base: Path, rank: int = 3, alpha: int = 5, **more) -> Path:
    """Write an adapter with random values for the language model, the decoder and the [SEG] projector."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(4)
    own = read_state(base / "lora.safetensors")
    state = {}
    for name, value in own.items():
        shape = (rank, value.shape[1]) if name.endswith("lora_A.weight") else (value.shape[0], rank)
        state[f"lora.{name}"] = 0.1 * torch.randn(shape, generator=generator)
    for part, name in (("seg_projector", "0.weight"), ("mask_head", "mask_decoder.mask_tokens.weight")):
        state[f"{part}.{name}"] = torch.randn(read_state(base / f"{part}.safetensors")[name].shape, generator=generator)
    save_module(state, folder / "adapter.safetensors")
    config = AdapterConfig(
        name="mine",
        base=str(base),
        base_sha256=fingerprints(base),
        lora=LoraSettings(rank=rank, alpha=alpha, dropout=0.0),
        presence_threshold={"pore": 0.3},
        **more,
    )
    (folder / "config.json").write_text(config.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapters") / "mine", base)


@pytest.fixture(scope="module")
def micrograph() -> Micrograph:
    return Micrograph(np.random.default_rng(2).random((70, 60)).astype(np.float32))


def asked(preset: Path, micrograph: Micrograph) -> tuple[str, np.ndarray]:
    assistant = lm.load_assistant(str(preset), device="cpu")
    prepared = assistant.prepared(micrograph)
    generated, _ = assistant.engine.generate(prepared.cache.fork(), "outline the particles", first=True)
    state = torch.linspace(-1, 1, assistant.engine.model.new_tokens.rows.shape[1])[None]
    return generated.raw, assistant.engine.decode_words(prepared.view.features, state).mask.numpy()


def test_an_adapter_changes_words_and_masks_and_merged_it_answers_the_same(base, adapter, micrograph, tmp_path):
    plain, tuned = asked(base, micrograph), asked(adapter, micrograph)
    assert plain[0] != tuned[0] and not np.allclose(plain[1], tuned[1])
    out = tmp_path / "full"
    assert {path.name for path in merge(adapter, out)} >= {"config.json", "lora.safetensors", "mask_head.safetensors"}
    merged = asked(out, micrograph)
    assert merged[0] == tuned[0]
    np.testing.assert_array_equal(merged[1], tuned[1])
    config = read_parts(out).config
    assert config.presence_threshold == {"pore": 0.3} and config.name == "mine"
    with pytest.raises(InputError, match="holds something already"):
        merge(adapter, out)
    assert not [p for p in tmp_path.iterdir() if p.name != "full"]


def test_box_prompts_see_the_adapted_decoder(base, adapter):
    plain = lm.build_segmenter("micro", checkpoint=base, device="cpu")
    tuned = lm.build_segmenter("micro", checkpoint=adapter, device="cpu")
    assert plain.weights_sha256 != tuned.weights_sha256
    own = read_state(adapter / "adapter.safetensors")["mask_head.mask_decoder.mask_tokens.weight"]
    torch.testing.assert_close(tuned.model.mask_head.mask_decoder.mask_tokens.weight.data, own)


def test_two_loras_on_top_of_each_other_are_one():
    generator = torch.Generator().manual_seed(0)
    language = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(6, 4, bias=False)})
    key = "base_model.model.q_proj"

    def lora(rank: int) -> dict[str, torch.Tensor]:
        a = torch.randn(rank, 6, generator=generator)
        return {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": torch.randn(4, rank, generator=generator)}

    settings = [LoraSettings(rank=r, alpha=a, modules=("q_proj",)) for r, a in ((2, 3), (3, 5))]
    one, two = lora(2), lora(3)
    expected = language["q_proj"].weight.clone().detach()
    for state, s in ((one, settings[0]), (two, settings[1])):
        a, b = state[f"{key}.lora_A.weight"], state[f"{key}.lora_B.weight"]
        expected += s.alpha / s.rank * (b @ a)
    stacked, both = stack_lora(one, settings[0], two, settings[1])
    assert both.rank == 5
    add_lora_weights(language, stacked, both, "both")
    torch.testing.assert_close(language["q_proj"].weight, expected)
    # a scale that is not a whole multiple of the sum of ranks
    assert stack_lora(one, LoraSettings(rank=3, alpha=4, modules=("q_proj",)), two, settings[1])[1].alpha in (5, 8)
    with pytest.raises(InputError, match="other layers"):
        stack_lora(one, settings[0], {"x.lora_A.weight": two[f"{key}.lora_A.weight"]}, settings[1])


def test_an_adapter_of_other_weights_is_refused(base, tmp_path, micrograph):
    other = write_preset(tmp_path / "other", seed=7)
    folder = write_adapter(tmp_path / "mine", base)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "base": str(other)}))
    with pytest.raises(InputError, match=r"trained on other weights of .*mask_head.*differ"):
        lm.load_assistant(str(folder), device="cpu")
    (folder / "config.json").write_text(json.dumps({**config, "base": "no-such-preset"}))
    with pytest.raises(InputError, match="needs its base 'no-such-preset'"):
        lm.load_assistant(str(folder), device="cpu")
    (folder / "config.json").write_text(json.dumps({**config, "flavour": 1}))
    with pytest.raises(InputError, match="flavour"):
        lm.load_assistant(str(folder), device="cpu")


def test_an_adapter_that_does_not_fit_its_base_is_refused(base, tmp_path):
    folder = write_adapter(tmp_path / "mine", base)
    state = read_state(folder / "adapter.safetensors")
    save_module({**state, "mask_head.no_such.weight": torch.zeros(2)}, folder / "adapter.safetensors")
    with pytest.raises(InputError, match=r"does not fit mask_head: 1 unexpected \(no_such.weight\)"):
        read_parts(folder)
    save_module({**state, "seg_projector.0.weight": torch.zeros(2, 2)}, folder / "adapter.safetensors")
    with pytest.raises(InputError, match="1 of another shape"):
        read_parts(folder)
    save_module({**state, "engine.weight": torch.zeros(2)}, folder / "adapter.safetensors")
    with pytest.raises(InputError, match="no part of the base"):
        read_parts(folder)


def test_a_custom_concept_adds_a_class_embedding(base, tmp_path):
    folder = write_adapter(tmp_path / "mine", base, concepts={"shell": {"nouns": ["shell", "shells"]}})
    state = read_state(folder / "adapter.safetensors")
    codes = read_state(base / "mask_head.safetensors")["code_book.weight"]
    rows = torch.cat([codes, torch.ones(1, codes.shape[1])])
    save_module({**state, "mask_head.code_book.weight": rows}, folder / "adapter.safetensors")
    assistant = lm.load_assistant(str(folder), device="cpu")
    assert assistant.engine.model.config.vocabulary.names[-1] == "shell"
    torch.testing.assert_close(assistant.engine.model.mask_head.code_book.weight[-1], torch.ones(codes.shape[1]))


@pytest.mark.parametrize("top", [False, True])
def test_a_decoder_for_custom_concepts_leaves_the_others_unchanged(base, micrograph, tmp_path, top):
    folder = write_adapter(
        tmp_path / "mine", base, concepts={"shell": {"nouns": ["shell", "shells"]}}, own_decoder=True
    )
    state = read_state(folder / "adapter.safetensors")
    codes = read_state(base / "mask_head.safetensors")["code_book.weight"]
    rows = torch.cat([codes, 3 + torch.ones(1, codes.shape[1])])
    tower = read_state(base / "sam_tower.safetensors").items()
    seen = {f"own_top.{n}": 1.5 * v for n, v in tower if not n.startswith("encoder.")} if top else {}
    save_module({**state, "mask_head.code_book.weight": rows, **seen}, folder / "adapter.safetensors")
    merge(folder, tmp_path / "whole")
    assert (tmp_path / "whole" / "own_head.safetensors").is_file()
    assert (tmp_path / "whole" / "own_top.safetensors").is_file() == top
    before = lm.load_assistant(str(base), device="cpu").engine
    features = before.encode(micrograph.pixels)
    for preset in (folder, tmp_path / "whole"):
        engine = lm.load_assistant(str(preset), device="cpu").engine
        for number in range(len(CONCEPTS)):
            same, was = engine.decode_concept(features, number), before.decode_concept(features, number)
            assert torch.equal(same.mask, was.mask) and torch.equal(same.presence, was.presence)
        model, codes = engine.model, rows.to(engine.device)
        features = engine.encode(micrograph.pixels)
        assert len(features.sam.stages) == (5 if top else 0)
        with torch.inference_mode(), engine.autocast():
            own = model.decode_code(features, len(CONCEPTS))
            through = model.own_top(features.sam.stages) if top else features.sam
            torch.testing.assert_close(own.mask, model.own_head(through, codes[-1][None, None]).mask)
            assert not torch.allclose(own.mask, model.mask_head(features.sam, codes[-1][None, None]).mask)
            assert not top or not torch.allclose(own.mask, model.own_head(features.sam, codes[-1][None, None]).mask)
            # each prompt goes to the decoder of its nearest concept, in the order of the request
            order = [5, 0, 5, 1]
            both = model.decode_prompts(features, codes[order], model.nearest_concepts(codes[order]))
            for k, number in enumerate(order):
                one = model.decode_code(features, number)
                torch.testing.assert_close(both.mask[k], one.mask[0], atol=0.05, rtol=0.05)
        box = np.array([[5.0, 5, 40, 40]])
        assert torch.equal(engine.decode_boxes(features, box).mask, before.decode_boxes(features, box).mask)


def command(*words: str) -> int:
    return terminal.run(lambda: cli.app(args=list(words), standalone_mode=False))


def test_merge_and_push_on_the_command_line(adapter, tmp_path, capsys, monkeypatch):
    out = tmp_path / "full"
    assert command("merge", str(adapter), "--out", str(out)) == 0
    assert (out / "lora.safetensors").is_file()
    assert command("merge", str(out), "--out", str(tmp_path / "again")) == 2
    assert "is not an adapter folder" in capsys.readouterr().err
    assert command("push", str(adapter), "my-lab/mine", "--dry-run") == 0
    assert "2 files" in (shown := capsys.readouterr().out) and "adapter.safetensors" in shown
    assert command("push", str(adapter), "mine") == 2
    assert command("push", str(tmp_path), "my-lab/mine") == 2
    sent = {}

    class Api:
        def create_repo(self, name, private, exist_ok):
            sent.update(name=name, private=private)
            return f"hub/{name}"

        def upload_folder(self, repo_id, folder_path, allow_patterns, commit_message):
            sent.update(files=sorted(allow_patterns))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert command("push", str(adapter), "my-lab/mine", "--private") == 0
    assert sent == {"name": "my-lab/mine", "private": True, "files": ["adapter.safetensors", "config.json"]}
    assert "uploaded to hub/my-lab/mine" in capsys.readouterr().out


def test_errors_of_the_hub_are_one_sentence(adapter, monkeypatch):
    class Api:
        def create_repo(self, *_, **__):
            raise ConnectionError("a\nlong\nstory")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    with pytest.raises(InputError, match="the hub cannot be reached") as caught:
        hub.push_folder(adapter, "my-lab/mine", [])
    assert "\n" not in str(caught.value)
