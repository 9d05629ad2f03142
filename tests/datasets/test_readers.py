"""Folders, COCO files, splits, and the public data sets (which need LISA_MICRO_DATA)."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tifffile
from particle_ring import ring
from PIL import Image

from lisa_micro.datasets.formats.coco import CocoAnnotation, coco_labels, read_coco
from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.datasets.readers import (
    data_root,
    read_emps,
    read_folder,
    read_record_folder,
    read_tem_sintering,
)
from lisa_micro.datasets.records import Record, Target, write_records
from lisa_micro.datasets.splits import split_of, validation_names
from lisa_micro.io import read_labels
from lisa_micro.types import InputError

real_data = pytest.mark.skipif(
    not os.environ.get("LISA_MICRO_DATA"), reason="LISA_MICRO_DATA is not set: no real micrographs to read"
)


def test_folder(tmp_path):
    labels = ring()
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in (10, 2):
        Image.fromarray(np.full((200, 200), k, np.uint8)).save(tmp_path / "images" / f"image_{k}.png")
        tifffile.imwrite(tmp_path / "masks" / f"label_{k}.tif", labels.astype(np.uint16))
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    Image.new("L", (9, 9)).save(tmp_path / "images" / "unlabelled.png")
    examples = read_folder(tmp_path, pixel_size_nm=2)
    assert examples.names == ("image_2", "image_10") and len(examples) == 2
    assert [e.micrograph.pixels[0, 0] for e in examples] == [2, 10]
    assert examples[-1].name == "image_10" and (examples[0].labels == labels).all()
    assert examples[0].micrograph.pixel_size_nm == 2 and examples[0].truth()["neck"].max() == 8
    with pytest.raises(IndexError):
        examples[2]
    Image.new("L", (9, 9)).save(tmp_path / "images" / "image_2.png")
    with pytest.raises(InputError, match="image_2: the labels are 200 x 200 px, the image 9 x 9"):
        examples[0]


def two_pieces(top: int) -> np.ndarray:
    """``(H, W)`` numbers: two squares apart, both of the same number."""
    numbers = np.zeros((12, 16), np.int64)
    numbers[1:4, 1:4] = numbers[7:10, 8:12] = top
    return numbers


@pytest.mark.parametrize(
    ("numbers", "dtype", "suffix", "count"),
    [
        (two_pieces(1), np.uint16, ".tif", 1),  # the only instance of a 16-bit image, in two pieces
        (two_pieces(1), np.uint16, ".png", 1),
        (two_pieces(1), np.int32, ".npy", 1),
        (two_pieces(1), np.uint8, ".png", 2),  # a mask
        (two_pieces(255), np.uint8, ".tif", 2),
        (two_pieces(65535), np.uint16, ".tif", 2),
        (two_pieces(1), bool, ".npy", 2),
        (two_pieces(7), np.uint8, ".png", 1),
        (two_pieces(1) + np.eye(12, 16, 8, np.int64) * 2, np.uint16, ".tif", 2),
    ],
)
def test_a_label_file_means_the_same_for_measuring_and_for_training(numbers, dtype, suffix, count, tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.new("L", (16, 12), 9).save(tmp_path / "images/a.png")
    file = tmp_path / f"labels/a{suffix}"
    if suffix == ".npy":
        np.save(file, numbers.astype(dtype))
    elif suffix == ".tif":
        tifffile.imwrite(file, numbers.astype(dtype))
    else:
        Image.fromarray(numbers.astype(dtype)).save(file)
    measured = read_labels(file).pixels
    (example,) = read_folder(tmp_path)
    assert len(np.unique(measured)) - 1 == example.labels.max() == count
    assert np.array_equal(measured > 0, example.labels > 0)
    write_records(tmp_path / "metadata.jsonl", [Record(file_name="images/a.png", labels=f"labels/a{suffix}")])
    (record,) = read_record_folder(tmp_path)
    assert len(np.unique(record.labels)) - 1 == count
    convert(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", Choices("labels", conversations=0))
    (converted,) = read_record_folder(tmp_path.parent / f"{tmp_path.name}-out")
    assert len(np.unique(converted.labels)) - 1 == count


def test_the_choice_of_instances_or_mask_overrules_the_rule(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.new("L", (16, 12), 9).save(tmp_path / "images/a.png")
    tifffile.imwrite(tmp_path / "labels/a.tif", two_pieces(1).astype(np.uint16))
    assert read_folder(tmp_path, kind="mask")[0].labels.max() == 2
    tifffile.imwrite(tmp_path / "labels/a.tif", two_pieces(255).astype(np.uint8))
    assert read_folder(tmp_path, kind="instances")[0].labels.max() == 1


def test_unusable_folders(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="folder of labels"):
        read_folder(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="no image"):
        read_folder(tmp_path)
    for name in ("images/a.png", "images/a.tif", "labels/a.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    with pytest.raises(InputError, match="several images"):
        read_folder(tmp_path)


def coco_file(tmp_path, **changes):
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
            {"id": 8, "file_name": "b.png", "height": 20, "width": 30},
        ],
        "categories": [{"id": 1, "name": "particle"}, {"id": 2, "name": "dirt"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [[5, 5, 9, 5, 9, 9, 5, 9]]},
            {"id": 2, "image_id": 7, "category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 15, 2, 15]]},
            {
                "id": 3,
                "image_id": 7,
                "category_id": 2,
                "segmentation": {"size": [20, 30], "counts": [500, 40, 60]},
            },
            {"id": 4, "image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": []},
        ],
    }
    (tmp_path / "images").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Image.new("L", (30, 20)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "coco.json").write_text(json.dumps(content | changes))
    return tmp_path / "coco.json"


def test_coco(tmp_path):
    examples = read_coco(coco_file(tmp_path))
    assert examples.names == ("a", "b")
    labels = examples[0].labels
    assert labels[7, 7] == 1 and labels[3, 3] == 2 and labels[:, 25:27].tolist() == [[3, 3]] * 20
    assert [(labels == k).sum() for k in (1, 2, 3)] == [16, 18 * 13 - 16, 40]
    assert examples[1].labels.max() == 0
    assert read_coco(tmp_path / "coco.json", categories=["dirt"])[0].labels.max() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no COCO file"),
        ({"images": []}, "image_id 7 is not among the images"),
        ({"annotations": [{"image_id": 7}]}, "no segmentation"),
        ({"annotations": [{"id": 1}]}, "no image_id"),
        ({"images": [{"id": 7, "file_name": "a.png"}]}, "height, width"),
        ({"images": [], "annotations": []}, "names no image"),
    ],
)
def test_broken_coco(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_coco(coco_file(tmp_path, **changes))


def test_broken_coco_content(tmp_path):
    with pytest.raises(InputError, match="no category cat"):
        read_coco(coco_file(tmp_path), categories=["cat"])
    with pytest.raises(InputError, match="no COCO file"):
        read_coco(tmp_path / "absent.json")
    (tmp_path / "coco.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_coco(tmp_path / "coco.json")
    size = {"id": 7, "file_name": "a.png", "height": 21, "width": 30}
    file = coco_file(tmp_path, images=[size])
    with pytest.raises(InputError, match="should be 30 x 21 px"):
        read_coco(file)[0]
    for outline in ([[1, 1, 2, 2]], {"size": [5, 5], "counts": [25]}, {"size": [20, 30]}, "x", 3):
        with pytest.raises(InputError, match="annotation 1: "):
            coco_labels([CocoAnnotation("annotation 1", 7, segmentation=outline)], (20, 30))


def test_a_missing_data_folder_is_reported(tmp_path, monkeypatch):
    monkeypatch.delenv("LISA_MICRO_DATA", raising=False)
    for read in (read_emps, read_tem_sintering):
        with pytest.raises(InputError, match="LISA_MICRO_DATA"):
            read()
    monkeypatch.setenv("LISA_MICRO_DATA", str(tmp_path))
    with pytest.raises(InputError, match="no folder emps"):
        read_emps()
    (tmp_path / "emps").mkdir()
    assert data_root("emps") == tmp_path / "emps"
    with pytest.raises(InputError, match="split"):
        read_emps("test")


def test_validation_lists():
    assert len(validation_names("emps")) == 60 and len(validation_names("tem-sintering")) == 5
    validation = validation_names("tem-sintering")
    for group in ((11, 18), (2, 12, 13), (3, 8)):  # crops of the same area
        assert len({f"image_{k}" in validation for k in group}) == 1
    assert split_of("tem-sintering", "image_11") == "validation" and split_of("emps", "x") == "train"
    with pytest.raises(InputError, match="validation list"):
        validation_names("coco")


@real_data
def test_emps():
    train, validation, everything = (read_emps(split) for split in ("train", "validation", "all"))
    assert (len(train), len(validation), len(everything)) == (306, 60, 366)
    assert set(validation.names) == validation_names("emps") and not set(train.names) & set(validation.names)
    for example in list(validation)[:5]:
        truth = example.truth()
        assert truth["particle"].shape == example.micrograph.shape
        assert truth["particle"].max() == len(np.unique(example.labels)) - 1 > 0


@real_data
def test_tem_sintering():
    train, validation = read_tem_sintering("train"), read_tem_sintering("validation")
    assert (len(train), len(validation)) == (15, 5)
    example = validation[0]
    assert example.semantic and example.micrograph.shape == (512, 512)
    assert example.micrograph.modality == "BF-TEM" and example.labels.max() > 3
    with pytest.raises(InputError, match="neck needs labels"):
        example.target_labels(Target(concept="neck"))
