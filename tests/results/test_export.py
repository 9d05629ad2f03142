"""Results out: what other programs reopen is what was measured, and nothing is lost or half written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from lisa_micro.execution import PlotData, Series
from lisa_micro.io import check_output, read_labels, read_micrograph, write_files, write_labels
from lisa_micro.language.program.syntax import Plot
from lisa_micro.results import save_answer
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.results.export import answer_record, instances_table
from lisa_micro.types import InputError, Micrograph, Value

ALL = ["overlay.png", "mask.png", "labels.tif", "instances.csv", "coco.json", "answer.json"]


def scene() -> tuple[Micrograph, Answer]:
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:20] = 1
    labels[5:15, 20:30] = 2  # touches the first
    labels[25:39, 40:60] = 3  # touches the border
    necks = np.zeros_like(labels)
    necks[8:12, 18:22] = 1
    pixels = np.random.default_rng(0).normal(100, 10, labels.shape).astype(np.float32)
    image = Micrograph(pixels, 0.21, "folder/film µ.tif", "imagej", notes=("A note.",))
    particles = Segmentation(labels, 0.9, 0.99, "particle", "the particles", "", 0.21, target=1)
    bridges = Segmentation(necks, float("nan"), 0.8, "neck", "the necks", "width > 2 nm", 0.21, target=2)
    value = Value("count", 3.0, "", "3", 1)
    answer = Answer("The 3 particles and the necks.", (particles, bridges), "segment 粒子 \udc80", "raw", (value,))
    return image, answer


def test_everything_reopens_with_the_same_pixels(tmp_path):
    image, answer = scene()
    written = save_answer(answer, image, tmp_path / "out", preset="micro", weights_sha256="ab" * 32)
    assert [path.name for path in written][:3] == ALL[:3]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*ALL, "mask_2.png", "labels_2.tif"}
    for segment, number in zip(answer.segments, ("", "_2"), strict=True):
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / f"out/mask{number}.png")), segment.mask * np.uint8(255)
        )
        reopened = tifffile.imread(tmp_path / f"out/labels{number}.tif")
        assert reopened.dtype == np.uint16
        np.testing.assert_array_equal(reopened, segment.labels)
        back = read_labels(tmp_path / f"out/labels{number}.tif")
        np.testing.assert_array_equal(back.pixels, segment.labels)
        assert back.pixel_size_nm == pytest.approx(0.21, rel=1e-8)
        assert back.pixel_size_origin == "imagej"

    coco = COCO(tmp_path / "out/coco.json")
    assert coco.imgs[1]["pixel_size_nm"] == 0.21
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = answer.segments[annotation["segment"] - 1].labels == annotation["label"]
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        x, y, width, height = (int(value) for value in annotation["bbox"])
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
    assert [coco.cats[a["category_id"]]["name"] for a in coco.anns.values()] == ["particle"] * 3 + ["neck"]

    table = pd.read_csv(tmp_path / "out/instances.csv")
    assert list(table["segment"]) == [1, 1, 1, 2]
    assert list(table["area_px"]) == [150, 100, 280, 16]
    assert table["area_nm2"][0] == pytest.approx(150 * 0.21**2)

    record = json.loads((tmp_path / "out/answer.json").read_text(encoding="utf-8"))
    assert record["segments"][0]["mean_size"] is None  # it was not told
    assert record["segments"][0]["values"] == [
        {"measure": "count", "value": 3.0, "unit": "", "standard_error": None, "text": "3"}
    ]
    assert record["segments"][0]["boxes_px"][0] == [5, 5, 20, 15]
    assert record["segments"][1]["score"] is None
    assert record["segments"][1]["where"] == "width > 2 nm"
    assert record["image"]["pixel_size_origin"] == "imagej"
    assert record["preset"] == "micro"
    assert record["weights_sha256"] == "ab" * 32
    assert record["version"]
    overlay = np.asarray(Image.open(tmp_path / "out/overlay.png"))
    assert overlay.shape[2] == 3
    assert overlay.std(axis=2).max() > 20  # there is colour


def test_values_go_with_their_target_where_an_earlier_one_is_absent():
    image, answer = scene()
    values = (Value("count", 0.0, "", "0", 1), Value("count", 1.0, "", "1", 2))
    (segment,) = answer_record(Answer("", answer.segments[1:], values=values), image)["segments"]
    assert (segment["segment"], segment["target"]) == (1, 2)
    assert [value["value"] for value in segment["values"]] == [1.0]
    boxes = Segmentation(answer.segments[0].labels)
    assert answer_record(Answer("", (boxes,), values=values), image)["segments"][0]["values"] == []


def test_nothing_there_has_its_files_too(tmp_path):
    image, _ = scene()
    save_answer(Answer("There are no pores.", declined=True), image, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(ALL)
    assert not np.asarray(Image.open(tmp_path / "mask.png")).any()
    assert not tifffile.imread(tmp_path / "labels.tif").any()
    assert len(pd.read_csv(tmp_path / "instances.csv")) == 0
    assert COCO(tmp_path / "coco.json").anns == {}


def test_results_are_not_overwritten_without_force(tmp_path):
    image, answer = scene()
    save_answer(answer, image, tmp_path)
    before = (tmp_path / "answer.json").read_bytes()
    with pytest.raises(InputError, match="--force"):
        save_answer(Answer("other"), image, tmp_path)
    assert (tmp_path / "answer.json").read_bytes() == before
    (tmp_path / "mine.txt").write_text("keep")
    save_answer(Answer("other"), image, tmp_path, force=True)
    # what the longer answer left behind is gone, what is not ours stays
    assert {path.name for path in tmp_path.iterdir()} == {*ALL, "mine.txt"}


def test_a_failure_leaves_nothing_half_written(tmp_path):
    def fail(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(InputError, match="No space left"):
        write_files(tmp_path, {"a.txt": lambda path: path.write_text("new"), "b.txt": fail})
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    write_files(tmp_path, {"a.txt": lambda path: path.write_text("new")})
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot be written"):
            check_output(folder)
        with pytest.raises(InputError, match="cannot be written"):
            write_files(folder, {"a": lambda path: None})


@settings(deadline=None, max_examples=40)
@given(st.floats(1e-4, 1e7), st.integers(0, 2**24))
def test_label_files_keep_every_pixel_size_and_number(tmp_path_factory, pixel_size, top):
    path = tmp_path_factory.mktemp("labels") / "a.tif"
    labels = np.array([[0, top], [top // 2, 0]], np.int32)
    write_labels(path, labels, pixel_size)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
        assert tif.imagej_metadata["unit"] == "nm"
        stored = tif.asarray()
    assert stored.dtype == (np.uint16 if top <= 65535 else np.uint32)
    np.testing.assert_array_equal(stored, labels)
    image = read_micrograph(path)
    assert image.pixel_size_nm == pytest.approx(pixel_size, rel=1e-6)
    np.testing.assert_array_equal(image.pixels, labels)


def test_huge_label_images_are_compressed(tmp_path):
    labels = np.zeros((4097, 4100), np.int32)
    labels[10:2000, 20:4000] = 70_000
    write_labels(tmp_path / "a.tif", labels, 0.5)
    assert (tmp_path / "a.tif").stat().st_size < 1_000_000
    image = read_labels(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, labels)
    assert image.pixel_size_nm == pytest.approx(0.5)


def test_measured_tables_are_kept():
    labels = np.array([[1, 0, 2]], np.int32)
    measured = pd.DataFrame({"label": [1, 2], "diameter_nm": [3.0, 4.0]})
    table = instances_table([Segmentation(labels, concept="particle", properties=measured)])
    assert list(table.columns) == ["segment", "concept", "label", "diameter_nm"]
    assert list(measured.columns) == ["label", "diameter_nm"]  # the segmentation's own table is not touched


def test_plots_and_the_other_reading_are_recorded(tmp_path):
    image, answer = scene()
    values = np.array([1.0, 2.0, 4.0])
    series = (Series(1, "the particles", values), Series(3, "the pores", np.zeros(0)))
    plots = (
        PlotData(Plot("cumulative", "diameter", of=(1,)), problem="the diameter was not measured"),
        PlotData(Plot("histogram", "diameter", of=(1, 3)), series, "nm"),
    )
    answer = replace(
        answer, plots=plots, understood="the particles", confidence=0.42, alternative=Reading("other", "the necks")
    )
    save_answer(answer, image, tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {name for name in files if name.startswith("plot")} == {"plot_2.png", "plot_2.csv"}
    assert Image.open(tmp_path / "out/plot_2.png").width > 400
    assert pd.read_csv(tmp_path / "out/plot_2.csv")["diameter_nm"].tolist() == values.tolist()
    record = json.loads((tmp_path / "out/answer.json").read_text(encoding="utf-8"))
    failed, drawn = record["plots"]
    assert failed["problem"] and failed["files"] is None
    assert drawn["files"] == ["plot_2.png", "plot_2.csv"] and (drawn["kind"], drawn["unit"]) == ("histogram", "nm")
    assert drawn["series"][0]["values"] == [1, 2, 4] and drawn["series"][0]["D50"] == 2
    assert drawn["series"][1]["n"] == 0 and drawn["series"][1]["D50"] is None
    assert record["confidence"] == 0.42 and record["understood"] == "the particles" and record["refusal"] == ""
    assert record["alternative"] == {"raw": "other", "text": "the necks"}
    # the plots of an earlier answer do not stay beside a later one
    save_answer(replace(answer, plots=()), image, tmp_path / "out", force=True)
    assert not list((tmp_path / "out").glob("plot_*"))
