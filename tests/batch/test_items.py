"""What becomes an item of a batch, in which order, in which group."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from batch_images import disc_image, make_folder, write_image

from lisa_micro.batch import Item, PresetSource, Reading, WordsRequest, list_items
from lisa_micro.batch.groups import parse_groups
from lisa_micro.batch.job import Job, item_id
from lisa_micro.batch.requests import as_requests
from lisa_micro.types import InputError


def names(*args, **how) -> list[str]:
    return [item.name for item in list_items(*args, **how)]


def test_a_folder_gives_its_images_sorted_with_subfolders(tmp_path):
    make_folder(tmp_path, 4, 2)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.tif").write_bytes(b"x")
    assert names(tmp_path) == ["A/film_000.tif", "A/film_002.tif", "B/film_001.tif", "B/film_003.tif"]
    assert names(tmp_path, without=tmp_path / "B") == ["A/film_000.tif", "A/film_002.tif"]


def test_patterns_and_lists(tmp_path):
    make_folder(tmp_path, 4, 2)
    assert names(str(tmp_path / "*" / "film_00[01].tif")) == ["A/film_000.tif", "B/film_001.tif"]
    one = tmp_path / "A" / "film_000.tif"
    assert names([one, tmp_path / "B", one]) == ["film_000.tif", "film_001.tif", "film_003.tif"]
    strange = write_image(tmp_path / "a[1].tif", disc_image(0))  # a file may look like a pattern
    assert names(str(strange)) == ["a[1].tif"]


def test_a_stack_gives_one_item_a_page(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 16, 16), np.uint8), photometric="minisblack")
    assert [item.page for item in list_items(tmp_path)] == [0, 1, 2, 3, 4]
    assert [item.page for item in list_items(tmp_path, pages="first")] == [0]


def test_a_file_that_cannot_be_read_is_an_item_as_well(tmp_path):
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "cut.tif").write_bytes(b"II*\x00garbage")
    os.symlink(tmp_path / "gone", tmp_path / "broken.png")
    assert names(tmp_path) == ["broken.png", "cut.tif", "empty.tif"]


@pytest.mark.parametrize("source", ["missing", "missing/*.tif", "."])
def test_nothing_found_is_one_sentence(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        list(list_items(source))
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_identity_follows_what_decides_the_result(tmp_path):
    item = Item("/a.tif", "a.tif", 0, 10, 5)
    job = Job((WordsRequest("segment necks"),), Reading(), "/out")
    same = item_id(Item("/a.tif", "other name", 0, 10, 5), Job(job.requests, Reading(), "/elsewhere"), "w")
    assert item_id(item, job, "w") == same
    others = [
        item_id(Item("/a.tif", "a.tif", 1, 10, 5), job, "w"),
        item_id(Item("/a.tif", "a.tif", 0, 11, 5), job, "w"),
        item_id(Item("/a.tif", "a.tif", 0, 10, 6), job, "w"),
        item_id(item, job, "v"),
        item_id(item, Job((WordsRequest("segment pores"),), Reading(), "/out"), "w"),
        item_id(item, Job(job.requests, Reading(pixel_size_nm=0.5), "/out"), "w"),
        item_id(item, Job(job.requests, Reading(tiles="off"), "/out"), "w"),
    ]
    assert len({same, *others}) == len(others) + 1


def test_groups(tmp_path):
    item = Item(str(tmp_path / "films/A/x_400C_1.tif"), "A/x_400C_1.tif")
    assert parse_groups("folder")(item) == "A"
    assert parse_groups("folder")(Item(str(tmp_path / "films/x.tif"), "x.tif")) == "films"
    assert parse_groups(r"name:_(\d+C)_")(item) == "400C"
    assert parse_groups(r"name:\d+K")(item) == ""
    table = tmp_path / "groups.csv"
    table.write_text("image,group\nx_400C_1,annealed\n")
    assert parse_groups(str(table))(item) == "annealed"
    assert parse_groups(None) is None


def test_groupings_that_cannot_be_used(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("name,sample\na,b\n")
    for text in ("colour", "name:(", str(table), str(tmp_path / "missing.csv")):
        with pytest.raises(InputError):
            parse_groups(text)


def test_requests():
    assert [one.title for one in as_requests(["necks", WordsRequest("pores")])] == ["necks", "pores"]
    for bad in ("", [], ["necks", "necks"]):
        with pytest.raises(InputError):
            as_requests(bad)
    assert PresetSource("micro") == PresetSource("micro")  # a worker recognises its model by this
