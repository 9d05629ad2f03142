"""Record files: read, checked line by line, and written atomically."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from particle_ring import ring
from PIL import Image

from lisa_micro.datasets.derive import derive_truth
from lisa_micro.datasets.readers import (
    read_record_folder,
)
from lisa_micro.datasets.records import Record, Target, iterate_records, read_records, write_records
from lisa_micro.types import InputError

GOOD = {
    "file_name": "images/a.png",
    "labels": "labels/a.png",
    "pixel_size_nm": 0.5,
    "modality": "SEM",
    "conversations": [
        {"user": "necks?", "assistant": "The necks are [SEG].", "targets": [{"concept": "neck"}]},
        {"user": "and those two", "assistant": "[SEG]", "targets": [{"instances": [3, 7]}]},
        {"user": "this", "assistant": "[SEG]", "targets": [{"mask": "masks/a.png"}]},
        {"user": "thanks", "assistant": "You are welcome."},
    ],
}


def record_folder(tmp_path, lines=(GOOD,)):
    labels = ring()[:, :180].copy()
    for name in ("images", "labels", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray((labels > 0).astype(np.uint8) * 200).save(tmp_path / "images" / "a.png")
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "labels" / "a.png")
    Image.fromarray((labels == 2).astype(np.uint8) * 255).save(tmp_path / "masks" / "a.png")
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (tmp_path / "metadata.jsonl").write_text(text + "\n", encoding="utf-8")
    return labels


def test_records_and_their_targets(tmp_path):
    labels = record_folder(tmp_path, ("", GOOD, "  "))
    (record,) = read_records(tmp_path)
    assert next(iterate_records(tmp_path)) == (2, record)
    assert record.conversations[1].targets[0].instances == (3, 7)
    examples = read_record_folder(tmp_path)
    example = pickle.loads(pickle.dumps(examples))[0]
    assert example.micrograph.pixel_size_nm == 0.5 and example.micrograph.modality == "SEM"
    neck, two, one = (turn.targets[0] for turn in example.turns[:3])
    assert (example.target_labels(neck) == derive_truth(labels)["neck"]).all()
    assert (example.target_labels(two) == (labels == 3) + 2 * (labels == 7)).all()
    assert (example.target_labels(one) == (labels == 2)).all()
    with pytest.raises(InputError, match="no instance 99"):
        example.target_labels(Target(instances=(1, 99)))
    count = write_records(tmp_path / "sub" / "metadata.jsonl", [record, record])
    assert count == 2 and read_records(tmp_path / "sub", check_files=False) == [record, record]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("[1]", "dictionary"),
        ({"labels": "x"}, "file_name: field required"),
        ({"file_name": ""}, "at least 1 character"),
        ({"file_name": "a", "pixel_size": 3}, "unknown field pixel_size"),
        ({"file_name": "a", "pixel_size_nm": 0}, "greater than 0"),
        ({"file_name": "a", "pixel_size_nm": "inf"}, "pixel_size_nm"),
        ({"file_name": "a", "conversations": [{"user": "u", "assistant": "[SEG]"}]}, "1 [SEG]"),
        (
            {
                "file_name": "a",
                "labels": "b",
                "conversations": [{"user": "u", "assistant": "[SEG]", "targets": [{"concept": "neck", "mask": "m"}]}],
            },
            "exactly one",
        ),
        (
            {
                "file_name": "a",
                "labels": "b",
                "conversations": [{"user": "u", "assistant": "[SEG]", "targets": [{"concept": "cat"}]}],
            },
            "concept",
        ),
        (
            {
                "file_name": "a",
                "conversations": [{"user": "u", "assistant": "[SEG]", "targets": [{"concept": "neck"}]}],
            },
            "needs labels",
        ),
        (
            {
                "file_name": "a",
                "labels": "b",
                "conversations": [{"user": "u", "assistant": "[SEG]", "targets": [{"instances": [0]}]}],
            },
            "from 1 up",
        ),
    ],
)
def test_a_broken_record_is_reported_with_its_line(tmp_path, line, message):
    record_folder(tmp_path, (GOOD, line, GOOD))
    with pytest.raises(InputError, match="line 2: ") as caught:
        read_records(tmp_path)
    assert message in str(caught.value) and "line 1" not in str(caught.value)
    records = iterate_records(tmp_path)
    assert next(records)[0] == 1  # lazily: what comes before the fault is still given
    with pytest.raises(InputError, match="line 2"):
        next(records)


def test_all_errors_are_reported_together(tmp_path):
    record_folder(tmp_path, ("{", GOOD, {"file_name": "images/none.png"}, "3"))
    with pytest.raises(InputError) as caught:
        read_records(tmp_path)
    text = str(caught.value)
    assert "line 1: not JSON" in text and "line 3: no file images/none.png" in text and "line 4" in text
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match="line 1: not UTF-8"):
        read_records(tmp_path)
    (tmp_path / "metadata.jsonl").write_text("\n")
    for read in (read_records, read_record_folder):
        with pytest.raises(InputError, match="no record"):
            read(tmp_path)
    with pytest.raises(InputError, match="no record file"):
        read_records(tmp_path / "elsewhere")


def test_interrupted_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "metadata.jsonl"
    write_records(path, [Record(file_name="a.png")])

    def faulty():
        yield Record(file_name="b.png")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(path, faulty())
    assert [p.name for p in tmp_path.iterdir()] == ["metadata.jsonl"]
    assert read_records(path, check_files=False)[0].file_name == "a.png"
