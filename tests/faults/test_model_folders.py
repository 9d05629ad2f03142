"""A model folder with a missing, cut or foreign file or tensor is refused in one sentence that names it."""

from __future__ import annotations

import shutil

import pytest
import torch
from cli_calls import failed
from paths import ROOT
from safetensors.torch import load_file, save_file
from tiny_preset import write_preset

SAMPLE = ROOT / "data" / "samples" / "sintering_tem.tif"
PARTS = ("mask_head", "sam_tower", "clip_tower", "seg_projector", "new_tokens", "lora")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_preset(tmp_path_factory.mktemp("preset") / "tiny")


@pytest.fixture
def preset(whole, tmp_path):
    """A copy of the preset, to be damaged; the language model in it is its own."""
    copy = shutil.copytree(whole, tmp_path / "preset")
    config = copy / "config.json"
    config.write_text(config.read_text().replace(str(whole / "lm"), str(copy / "lm")))
    return copy


def refused(capsys, preset) -> str:
    return failed(capsys, "segment", SAMPLE, "all particles", "--out", preset / "out", "--preset", preset)


@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_is_missing_or_cut(preset, capsys, part):
    path = preset / f"{part}.safetensors"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:5], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        assert path.name in refused(capsys, preset)
    path.unlink()
    assert path.name in refused(capsys, preset)


@pytest.mark.parametrize("part", PARTS)
def test_tensors_that_are_missing_foreign_or_of_another_shape(preset, capsys, part):
    path = preset / f"{part}.safetensors"
    state = load_file(path)
    name = sorted(state)[0]
    for changed, said in (
        ({key: value for key, value in state.items() if key != name}, "missing"),
        ({**state, "foreign.weight": torch.zeros(2)}, "unexpected"),
        ({**state, name: torch.zeros((*state[name].shape, 2))}, "of another shape"),
    ):
        save_file(changed, path)
        error = refused(capsys, preset)
        assert said in error and ("foreign.weight" if said == "unexpected" else name) in error


@pytest.mark.parametrize("name", ["config.json", "lm/config.json", "lm/tokenizer.json", "lm/model.safetensors"])
def test_a_configuration_or_language_model_that_is_missing_or_cut(preset, capsys, name):
    path = preset / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"[]"):
        path.write_bytes(damaged)
        refused(capsys, preset)
    path.unlink()
    refused(capsys, preset)


def test_a_language_model_without_one_of_its_tensors(preset, capsys):
    path = preset / "lm" / "model.safetensors"
    state = load_file(path)
    name = next(name for name in sorted(state) if "layers" in name)
    save_file({key: value for key, value in state.items() if key != name}, path, {"format": "pt"})
    assert name in refused(capsys, preset)
    save_file({**state, name: torch.zeros(3, 3)}, path, {"format": "pt"})
    assert "could not be loaded" in (error := refused(capsys, preset)) or name in error


def test_weights_that_are_no_numbers(preset, capsys):
    path = preset / "mask_head.safetensors"
    state = load_file(path)
    name = next(name for name, value in sorted(state.items()) if value.is_floating_point() and value.numel() > 1)
    save_file({**state, name: torch.full_like(state[name], float("nan"))}, path)
    assert name in refused(capsys, preset)
