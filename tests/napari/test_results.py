"""Folders of results as layers, and layers as folders of results. napari itself is not needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from stand_in_app import SQUARES, StandIn, squares

import lisa_micro as lm
from lisa_micro.napari.features import features_table, measured
from lisa_micro.napari.reader import get_reader, read_results
from lisa_micro.napari.samples import coalescence, sintering_tem
from lisa_micro.napari.writer import write_labels_layer, write_results
from lisa_micro.types import InputError

SHAPE, NM, SECONDS = (48, 64), 0.5, 2.0


@pytest.fixture
def film(tmp_path):
    """A micrograph in a file, 0.5 nm a pixel."""
    pixels = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)
    path = tmp_path / "film.tif"
    tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / NM, 1 / NM), metadata={"unit": "nm"})
    return lm.read_micrograph(path)


@pytest.fixture
def folder(film, tmp_path):
    """The results of an answer with three particles and a neck."""
    answer = StandIn().ask(film, "both")
    lm.save_answer(answer, film, tmp_path / "results", preset="micro")
    return tmp_path / "results"


class Coalescing(StandIn):
    """Finds three squares, of which the first two are one from frame 4 on."""

    def __init__(self):
        super().__init__()
        self.frame = -1

    def ask(self, image, prompt):
        self.frame += 1
        first, second, third = SQUARES
        boxes = (*((first, second) if self.frame < 4 else ((first[0], first[1], second[2], second[3]),)), third)
        segment = lm.Segmentation(squares(image.shape, boxes), 0.9, 0.9, "particle", "particles")
        return lm.Answer("Here are the particles.", (segment,), prompt)


@pytest.fixture(scope="module")
def tracks():
    frames = np.random.default_rng(1).random((7, *SHAPE), np.float32)
    return lm.track(Coalescing(), frames, "all particles", pixel_size_nm=NM, frame_time_s=SECONDS)


def by_type(layers):
    return {kind: [(data, options) for data, options, one in layers if one == kind] for _, _, kind in layers}


def test_an_answer_gives_micrograph_overlay_and_labels_with_their_scale(folder, film):
    assert get_reader(folder) is read_results and get_reader(str(folder / "answer.json")) is read_results
    found = by_type(read_results(folder))
    (pixels, image), (_, overlay) = found["image"]
    np.testing.assert_array_equal(pixels, film.pixels)
    assert image["name"] == "film" and overlay["name"] == "overlay" and not overlay["visible"]
    assert [options["name"] for _, options in found["labels"]] == ["necks", "particles"]  # the first one on top
    for _, options in ((pixels, image), *found["labels"]):
        assert tuple(options["scale"]) == (NM, NM) and tuple(options["units"]) == ("nm", "nm")
    labels, options = found["labels"][1]
    np.testing.assert_array_equal(labels, squares(SHAPE))


def test_the_measurements_are_features_by_label(folder):
    labels, options = by_type(read_results(folder))["labels"][1]
    features = options["features"]
    assert list(features["label"]) == [0, 1, 2, 3]
    for label in (1, 2, 3):
        assert features["area_nm2"][label] == pytest.approx((labels == label).sum() * NM**2)
        rows, _ = np.nonzero(labels == label)
        assert features["centroid_y_nm"][label] == pytest.approx(rows.mean() * NM)
    assert np.isnan(features["area_nm2"][0])  # the background is not measured


def test_the_overlay_covers_the_micrograph_exactly(folder):
    (pixels, _), (picture, options) = by_type(read_results(folder))["image"]
    assert picture.shape[0] > SHAPE[0]  # it is enlarged
    first = np.asarray(options["translate"]) - np.asarray(options["scale"]) / 2
    last = first + np.asarray(options["scale"]) * picture.shape[:2]
    np.testing.assert_allclose(first, [-NM / 2, -NM / 2])
    np.testing.assert_allclose(last, [(n - 0.5) * NM for n in pixels.shape])


def test_without_the_micrograph_the_overlay_is_shown(folder, film, tmp_path):
    (tmp_path / "film.tif").unlink()
    images = by_type(read_results(folder))["image"]
    assert [options["name"] for _, options in images] == ["overlay"] and images[0][1]["visible"]


def test_tracks_keep_both_parents_of_a_coalescence(tracks, tmp_path):
    tracks.save(tmp_path / "tracks")
    found = by_type(read_results(tmp_path / "tracks"))
    data, options = found["tracks"][0]
    labels, _ = found["labels"][0]
    first, second = (int(labels[0, y0, x0]) for x0, y0, _, _ in SQUARES[:2])
    merged = int(labels[4, SQUARES[0][1], SQUARES[0][0]])
    assert options["graph"] == {merged: [first, second]} and len({first, second, merged}) == 3
    assert tuple(options["scale"]) == (SECONDS, NM, NM) and tuple(options["units"]) == ("s", "nm", "nm")
    x0, y0, _, _ = SQUARES[0]
    _, _, x1, y1 = SQUARES[1]
    assert data[data[:, 0] == merged][0].tolist() == [merged, 4, (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2]  # its centre
    area = options["features"]["area_nm2"][data[:, 0] == merged]
    assert area.to_numpy() == pytest.approx((labels == merged).sum((1, 2))[4:] * NM**2)
    points, events = found["points"][0]
    assert points[0][0] == 4 and events["features"]["kind"] == ["coalesce"]
    assert events["features"]["after"] == [str(merged)]


def test_other_paths_are_left_to_other_readers(film, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "film.tif", tmp_path / "missing", []):
        assert get_reader(path) is None


@pytest.mark.parametrize("harm", ["labels_2.tif", "instances.csv", "answer.json", "size"])
def test_a_damaged_folder_gets_one_sentence(folder, harm):
    if harm == "size":
        tifffile.imwrite(folder / "labels.tif", np.zeros((5, 5), np.uint16))
    elif harm == "answer.json":
        (folder / harm).write_text('{"image": ')
    else:
        (folder / harm).unlink()
    with pytest.raises(InputError) as error:
        read_results(folder)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_corrected_labels_are_saved_and_measured_as_they_are(folder, film, tmp_path):
    layers = read_results(folder)
    labels = next(data for data, options, kind in layers if options["name"] == "particles")
    labels[labels == 2] = 0  # removed by hand
    labels[40:44, 50:56] = 7  # painted by hand
    written = write_results(tmp_path / "again", [one for one in layers if one[1]["name"] != "overlay"])
    names = {Path(path).name for path in written}
    assert {"labels.tif", "labels_2.tif", "instances.csv", "answer.json", "overlay.png", "coco.json"} <= names
    saved = lm.read_labels(tmp_path / "again" / "labels.tif")
    assert saved.pixel_size_nm == pytest.approx(NM)
    np.testing.assert_array_equal(saved.pixels > 0, labels > 0)
    assert saved.pixels.max() == 3  # numbered without gaps
    table = pd.read_csv(tmp_path / "again" / "instances.csv")
    particles = table[table["concept"] == "particle"].reset_index(drop=True)
    expected = lm.measure_particles(saved.pixels, NM, film.pixels)
    for name in ("label", "area_nm2", "mean_intensity", "diameter_nm"):
        np.testing.assert_allclose(particles[name], expected[name])
    record = json.loads((tmp_path / "again" / "answer.json").read_text())
    assert record["prompt"] == "both" and record["image"]["pixel_size_origin"] == "imagej"
    assert [one["concept"] for one in record["segments"]] == ["particle", "neck"]
    assert any("napari" in note for note in record["notes"])


def test_labels_made_by_hand_are_saved_with_the_scale_of_their_layer(tmp_path):
    labels = squares(SHAPE)
    options = {"name": "mine", "scale": (0.2, 0.2), "units": ("nm", "nm"), "metadata": {}, "features": pd.DataFrame()}
    write_results(tmp_path / "out", [(labels, options, "labels")])
    table = pd.read_csv(tmp_path / "out" / "instances.csv")
    assert table["area_nm2"].tolist() == pytest.approx([(labels == k).sum() * 0.04 for k in (1, 2, 3)])
    assert set(table["concept"]) == {"object"}


def test_one_layer_is_saved_as_a_calibrated_tiff_with_its_table(tmp_path):
    labels = squares(SHAPE)
    options = {"scale": (1.0, 4.0, 4.0), "units": ("pixel", "angstrom", "angstrom"), "metadata": {}}
    write_labels_layer(tmp_path / "mine.tif", labels[None], options)
    assert lm.read_labels(tmp_path / "mine.tif").pixel_size_nm == pytest.approx(0.4)
    assert len(pd.read_csv(tmp_path / "mine.csv")) == 3
    stack = np.stack([labels, np.where(labels == 3, 0, labels)])
    write_labels_layer(tmp_path / "stack.tif", stack, options)
    table = pd.read_csv(tmp_path / "stack.csv")
    assert table.groupby("frame").size().to_dict() == {0: 3, 1: 2}
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stack.tif"), stack)


def test_what_cannot_be_saved_gets_one_sentence(folder, tmp_path):
    labels, plain = squares(SHAPE), {"metadata": {}}
    for path, layers in (
        (folder, [(labels, plain, "labels")]),  # holds results
        (tmp_path / "a", [(np.stack([labels, labels]), plain, "labels")]),
        (tmp_path / "a", [(labels, plain, "labels"), (labels[:5], plain, "labels")]),
        (tmp_path / "a", [(labels - 1, plain, "labels")]),
        (tmp_path / "a", []),
    ):
        with pytest.raises(InputError) as error:
            write_results(path, layers)
        assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert not (tmp_path / "a").exists()


def test_a_neck_that_was_not_changed_keeps_its_width():
    labels = squares(SHAPE)
    before = lm.measure_particles(labels, NM).assign(neck_width_nm=[3.0, 4.0, 5.0], opening_nm=1.5)
    changed = labels.copy()
    changed[5, 5] = 0
    table = measured(changed, None, NM, before, "neck")
    assert table["neck_width_nm"].tolist() == pytest.approx([np.nan, 4.0, 5.0], nan_ok=True)
    assert table["opening_nm"].tolist() == pytest.approx([np.nan, 1.5, 1.5], nan_ok=True)
    assert table["area_px2"][0] == (labels == 1).sum() - 1
    particles = measured(changed, None, NM, before, "particle")  # measured on the labels themselves
    assert particles["neck_width_nm"].tolist() == lm.measure_particles(changed, NM)["neck_width_nm"].tolist()


def test_very_large_labels_do_not_fill_the_features_with_empty_rows():
    table = pd.DataFrame({"label": [3, 2_000_000_000], "area_px2": [4.0, 5.0]})
    features = features_table(table)
    assert features["index"].tolist() == [3, 2_000_000_000] and len(features) == 2
    assert features_table(pd.DataFrame()).empty


def test_samples_have_their_scale():
    (pixels, options, kind) = sintering_tem()[0]
    assert kind == "image" and pixels.shape == (512, 512) and tuple(options["scale"]) == (0.2, 0.2)
    frames, options, _ = coalescence()[0]
    assert frames.shape == (24, 160, 160) and tuple(options["units"]) == ("s", "nm", "nm")
