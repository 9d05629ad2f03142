"""The eight materials sets: what their labels mean, and the split by parent."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa_micro.datasets.materials import MATERIALS, read_materials
from lisa_micro.datasets.splits import validation_names
from lisa_micro.types import VISION_CONCEPTS, InputError

DATA = os.environ.get("LISA_MICRO_DATA")
real = pytest.mark.skipif(not DATA, reason="LISA_MICRO_DATA is not set")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def powder(tmp_path):
    """A powder whose second micrograph has no labelled particles."""
    folder = tmp_path / "materials" / "powder"
    particles = np.zeros((40, 60), np.uint16)
    particles[5:15, 5:15], particles[5:15, 15:25] = 1, 2
    satellites = np.zeros((40, 60), np.uint16)
    satellites[14:17, 8:11] = 7
    for name in ("one", "two"):
        write(folder / "images" / f"{name}.png", np.full((40, 60), 90, np.uint8))
        write(folder / "labels" / "satellite" / f"{name}.png", satellites)
    write(folder / "labels" / "particle" / "one.png", particles)
    return tmp_path


def test_a_concept_that_a_micrograph_does_not_label_is_left_out(powder):
    one, two = read_materials("powder", "all", powder)
    assert set(one.concept_labels) == {"particle", "satellite"}
    assert one.concept_labels["particle"].max() == 2  # touching particles stay apart
    assert set(two.concept_labels) == {"satellite"}


def test_pieces_of_a_mask_become_instances_and_regions_stay_one(tmp_path):
    mask = np.zeros((30, 30), np.uint8)
    mask[2:8, 2:8], mask[20:26, 20:26] = 255, 255
    for name, concept in (("nasa-superalloy", "precipitate"), ("carbides", "precipitate")):
        folder = tmp_path / "materials" / name
        write(folder / "images" / "a.png", mask)
        write(folder / "labels" / concept / "a.png", mask)
    assert read_materials("nasa-superalloy", "all", tmp_path)[0].concept_labels["precipitate"].max() == 2
    assert read_materials("carbides", "all", tmp_path)[0].concept_labels["precipitate"].max() == 1


def test_labels_of_another_shape_are_refused(powder):
    write(powder / "materials" / "powder" / "labels" / "particle" / "one.png", np.ones((10, 10), np.uint16))
    with pytest.raises(InputError, match="its image"):
        read_materials("powder", "all", powder)[0]


def test_unknown_sets_and_missing_folders_are_said(tmp_path):
    with pytest.raises(InputError, match="Unknown materials set 'wood'"):
        read_materials("wood")
    (tmp_path / "materials" / "grains").mkdir(parents=True)
    with pytest.raises(InputError, match="grains is incomplete"):
        read_materials("grains", "train", tmp_path)


def test_what_is_labelled_is_never_listed_as_absent():
    for name, kind in MATERIALS.items():
        assert not set(kind.concepts) & set(kind.absent), name
        assert {*kind.concepts, *kind.absent} <= set(VISION_CONCEPTS), name


@real
@pytest.mark.parametrize("name", MATERIALS)
def test_no_parent_is_on_both_sides_and_every_concept_is_on_each(name):
    rows = list(csv.reader((Path(DATA) / "materials" / name / "parents.csv").open()))
    parent = {row[0]: row[1] for row in rows if row}
    parts = {split: read_materials(name, split) for split in ("train", "validation")}
    sides = {split: {parent[stem] for stem in examples.names} for split, examples in parts.items()}
    assert not sides["train"] & sides["validation"]
    assert set(parts["validation"].names) == validation_names(name)
    share = len(parts["validation"]) / (len(parts["train"]) + len(parts["validation"]))
    assert 0.15 <= share <= 0.35
    for examples in parts.values():
        assert set().union(*(example.concept_labels for example in examples)) == set(MATERIALS[name].concepts)
