"""The file with a preset's measuring error, and what becomes of it in answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from known_engine import KnownEngine, discs

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.execution import STANDARD_ERROR
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.models.checkpoints import sha256
from lisa_micro.models.lisa.adapter import weights_folder
from lisa_micro.models.lisa.measuring_errors import CALIBRATED_PARTS, FILE, read_measuring_errors
from lisa_micro.types import InputError, Micrograph

CURVE = {"sizes": [5, 50], "bias": [0.01, 0.0], "between": [0.02, 0.02], "within": [0.1, 0.05]}


@pytest.fixture
def preset(tmp_path):
    """A folder with two parts, and a calibration of them."""
    for part in CALIBRATED_PARTS:
        (tmp_path / f"{part}.safetensors").write_bytes(part.encode())
    parts = {part: sha256(tmp_path / f"{part}.safetensors") for part in CALIBRATED_PARTS}
    particle = {"size": "diameter", "properties": {"diameter": CURVE}}
    write(tmp_path, {"format": 1, "parts": parts, "concepts": {"particle": particle}})
    return tmp_path


def write(folder, content):
    (folder / FILE).write_text(json.dumps(content))


def test_the_file_belongs_to_its_weights(preset):
    known = read_measuring_errors(preset)
    assert set(known) == {"particle"} and known["particle"].properties["diameter"].sizes.tolist() == [5, 50]
    (preset / "mask_head.safetensors").write_bytes(b"trained again")
    assert read_measuring_errors(preset) == {}


def test_without_the_file_nothing_is_known(preset):
    (preset / FILE).unlink()
    assert read_measuring_errors(preset) == {}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sizes": [50, 5]}, "ascending"),
        ({"sizes": [0, 5]}, "positive"),
        ({"bias": [0.1]}, "equally many"),
        ({"within": [-0.1, 0.1]}, "negative"),
        ({"between": [float("nan"), 0.1]}, "finite"),
        ({"median": [1, 1]}, "median"),
    ],
)
def test_a_damaged_file_is_refused(preset, change, fault):
    content = json.loads((preset / FILE).read_text())
    content["concepts"]["particle"]["properties"]["diameter"] = CURVE | change
    write(preset, content)
    with pytest.raises(InputError, match=fault) as caught:
        read_measuring_errors(preset)
    assert FILE in str(caught.value)


def test_the_shipped_calibration_is_that_of_the_shipped_weights():
    """If this fails, the weights have changed: run ``benchmarks/sizes.py --calibrate``."""
    known = read_measuring_errors(weights_folder("micro"))
    assert known["particle"].properties.keys() == {"diameter", "area"}
    assert known["neck"].properties.keys() == {"neck_width", "neck_ratio"}


def answered(preset, tiling="off", **sizes):
    """Three discs, asked for in words."""
    engine = KnownEngine("The particles are [SEG]<value>mean diameter</value>.")
    engine.measuring_errors = read_measuring_errors(preset)
    assistant = Assistant(engine, "known", "", tiled_segmenter)
    image = Micrograph(discs((150, 140), (30, 30, 12), (100, 40, 14), (60, 100, 16)), 0.5)
    return assistant.open_conversation(image, tiling, **sizes).ask("words")


def test_an_answer_carries_it(preset):
    for answer in (answered(preset), answered(preset, "tiled", tile=64, halo=16)):
        (value,), (segment,) = answer.values, answer.segments
        scatter = np.std(segment.table()["diameter_nm"], ddof=1) / np.sqrt(3)
        assert scatter < value.standard_error < 1.5 * scatter
        assert segment.mean_size.standard_error == value.standard_error and segment.mean_size.unit == "nm"
        assert any(note.startswith(STANDARD_ERROR) for note in answer.notes) and "±" not in answer.text


def test_masks_from_boxes_have_none(preset):
    answer = answered(preset, "cascade")
    assert answer.values[0].standard_error is None and answer.values[0].value > 10
    assert not any(note.startswith(STANDARD_ERROR) for note in answer.notes)
