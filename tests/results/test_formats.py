"""Instances in the files of other programs are, opened again, the same pixels, names and numbers."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.formats.outlines import polygons
from lisa_micro.types import InputError, Micrograph


def filled(rings, shape):
    """Pixels whose centres an even-odd rule puts inside of the rings, found by crossing numbers."""
    inside = np.zeros(shape, bool)
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 != y1:
                crosses = (y > min(y0, y1)) & (y < max(y0, y1))
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@pytest.fixture(scope="module")
def answer():
    rng = np.random.default_rng(3)
    labels = np.zeros((60, 80), np.int32)
    labels[5:20, 5:25] = 1
    labels[9:14, 10:18] = 0  # a hole
    labels[30:40, 10:30], labels[44:50, 14:20] = 2, 2  # two pieces
    labels[40:55, 40:70][rng.random((15, 30)) < 0.6] = 3  # a ragged one, with corners that touch
    labels[2, 70] = 4
    image = Micrograph(rng.random((60, 80), np.float32), 2.5, "films/film 7.tif", "user")
    table = particle_table(particle_properties(labels, image.pixels), 2.5)
    segment = Segmentation(labels, concept="particle", pixel_size_nm=2.5, properties=table, image=image)
    return Answer("There are 4 particles.", (segment,), prompt="segment all particles", image=image)


def test_imagej_rois_cover_exactly_the_pixels_of_their_instances(answer, tmp_path):
    roifile = pytest.importorskip("roifile")
    path = answer.save(tmp_path / "rois.zip")
    labels, shape = answer.segments[0].labels, answer.segments[0].labels.shape
    rois = roifile.roiread(path)
    assert [roi.name for roi in rois] == [f"particle_{k:04d}" for k in (1, 2, 3, 4)]
    for number, roi in enumerate(rois, 1):
        rings = roi.coordinates(multi=True)
        rings = rings if isinstance(rings, list) else [rings]
        # a closed path may repeat its first corner
        rings = [ring[:-1] if (ring[0] == ring[-1]).all() else ring for ring in map(np.asarray, rings)]
        assert (filled(rings, shape) == (labels == number)).all(), number


def test_an_answer_without_instances_is_an_empty_zip(tmp_path):
    pytest.importorskip("roifile")
    path = Answer("None.", image=Micrograph(np.zeros((8, 8), np.float32))).save(tmp_path / "rois.zip")
    assert zipfile.ZipFile(path).namelist() == []


def test_geojson_has_polygons_classes_and_measurements(answer, tmp_path):
    path = answer.save(tmp_path / "instances.geojson")
    found = json.loads(path.read_text())
    labels = answer.segments[0].labels
    assert found["type"] == "FeatureCollection" and len(found["features"]) == 4
    for number, feature in enumerate(found["features"], 1):
        geometry, properties = feature["geometry"], feature["properties"]
        parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        rings = [np.array(ring[:-1]) for part in parts for ring in part]
        assert all(ring[0] == ring[-1] for part in parts for ring in part)
        assert (filled(rings, labels.shape) == (labels == number)).all()
        assert properties["classification"]["name"] == "particle"
        assert properties["measurements"]["area_px2"] == (labels == number).sum()


def test_omezarr_holds_image_and_labels_with_their_scale(answer, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = answer.save(tmp_path / "film.zarr")
    answer.save(path)  # an old one is replaced
    root = zarr.open_group(str(path), mode="r")
    ome = root.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["nanometer", "nanometer"]
    assert image["datasets"][0]["coordinateTransformations"][0] == {"type": "scale", "scale": [2.5, 2.5]}
    assert (root["0"][:] == answer.image.pixels).all()
    assert root["labels"].attrs["ome"]["labels"] == ["particle"]
    assert (root["labels/particle/0"][:] == answer.segments[0].labels).all()
    assert root["labels/particle"].attrs["ome"]["image-label"]["source"]["image"] == "../../"


def test_the_workbook_has_the_tables_of_the_answer(answer, tmp_path):
    pytest.importorskip("xlsxwriter"), pytest.importorskip("openpyxl")
    sheets = pd.read_excel(answer.save(tmp_path / "a.xlsx"), sheet_name=None)
    assert list(sheets) == ["summary", "instances", "about"]
    assert sheets["instances"]["area_nm2"].tolist() == answer.segments[0].table()["area_nm2"].tolist()
    assert sheets["summary"]["count"].tolist() == [4]
    assert sheets["about"].set_index("what")["value"]["request"] == "segment all particles"


@pytest.mark.parametrize("seed", range(8))
def test_outlines_of_any_mask_give_it_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((24, 31)) < rng.uniform(0.2, 0.9)
    rings = [ring for polygon in polygons(mask) for ring in polygon]
    assert (filled(rings, mask.shape) == mask).all()


def test_a_disc_filled_by_another_program_is_the_disc():
    picture = Image.new("1", (64, 64))
    ImageDraw.Draw(picture).ellipse((10, 12, 40, 50), fill=1)
    (rings,) = polygons(np.asarray(picture))
    assert len(rings) == 1 and (filled(rings, (64, 64)) == np.asarray(picture)).all()


def test_bad_formats_are_refused_in_one_sentence(answer, tmp_path):
    with pytest.raises(InputError, match="names no format"):
        answer.save(tmp_path / "a.doc")
    with pytest.raises(InputError, match="Unknown format"):
        answer.save(tmp_path / "a", format="shp")
    with pytest.raises(InputError, match="holds no micrograph"):
        Answer("x").save(tmp_path / "a.zip")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        answer.save(tmp_path / "file" / "a.zarr")
