"""A model loads by the name of a preset or a folder, and what it saves loads as the same model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_preset import write_preset

import lisa_micro as lm
from lisa_micro.models.lisa.model import LisaModel as Wiring
from lisa_micro.types import InputError, Micrograph


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return write_preset(tmp_path_factory.mktemp("presets") / "tiny")


def test_a_saved_model_answers_as_the_one_that_was_loaded(preset, tmp_path):
    model = lm.LisaModel.from_pretrained(preset)
    assert isinstance(model, Wiring) and not model.training
    files = model.save_pretrained(tmp_path / "copy")
    assert {"config.json", "lora.safetensors", "mask_head.safetensors"} <= {path.name for path in files}
    again = lm.LisaModel.from_pretrained(tmp_path / "copy")
    assert again.config == model.config
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    image = Micrograph(np.random.default_rng(2).random((70, 60)).astype(np.float32))
    one, other = (lm.load_assistant(str(folder), device="cpu") for folder in (preset, tmp_path / "copy"))
    assert one.parse(image, "segment the particles") == other.parse(image, "segment the particles")


def test_what_was_changed_is_saved(preset, tmp_path):
    model = lm.LisaModel.from_pretrained(preset)
    with torch.no_grad():
        model.seg_projector[0].bias.add_(1)
    model.save_pretrained(tmp_path / "changed")
    again = lm.LisaModel.from_pretrained(tmp_path / "changed")
    torch.testing.assert_close(again.seg_projector[0].bias, model.seg_projector[0].bias)


def test_a_folder_with_files_is_not_overwritten(preset, tmp_path):
    model = lm.LisaModel.from_pretrained(preset)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="nowhere"):
        lm.LisaModel.from_pretrained("nowhere")
