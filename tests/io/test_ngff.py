"""OME-Zarr: images, fields of a plate, planes as pages, pixel sizes, and what is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lisa_micro as lm
from lisa_micro.batch import list_items
from lisa_micro.io.pages import count_pages
from lisa_micro.types import InputError

zarr = pytest.importorskip("zarr", reason="the extra [zarr] is missing")


def write(folder, array, axes="yx", scale=None, unit="nanometer", version=2):
    """An OME-Zarr image of version 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    group.create_array("0", data=array, chunks=array.shape)
    named = [
        {"name": name, "type": "space", "unit": unit} if name in "xyz" else {"name": name, "type": "time"}
        for name in axes
    ]
    transform = [{"type": "scale", "scale": scale or [1.0] * len(axes)}]
    scales = [{"axes": named, "datasets": [{"path": "0", "coordinateTransformations": transform}]}]
    group.attrs.update({"multiscales": scales} if version == 2 else {"ome": {"version": "0.5", "multiscales": scales}})


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_with_its_pixel_size(tmp_path, version):
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6)
    write(tmp_path / "film.zarr", pixels, scale=[0.002, 0.002], unit="micrometer", version=version)
    image = lm.read_micrograph(tmp_path / "film.zarr")
    assert np.array_equal(image.pixels, pixels)
    assert image.pixel_size_nm == pytest.approx(2.0) and image.pixel_size_origin == "ome"


def test_planes_are_pages(tmp_path):
    stack = np.random.default_rng(0).integers(0, 99, (2, 3, 8, 9)).astype(np.float32)
    write(tmp_path / "film.zarr", stack, axes="tzyx")
    assert count_pages(tmp_path / "film.zarr") == 6
    assert [item.page for item in list_items(tmp_path)] == list(range(6))
    for page in range(6):
        image = lm.read_micrograph(tmp_path / "film.zarr", page=page)
        assert np.array_equal(image.pixels, stack[page // 3, page % 3])
    with pytest.raises(InputError):
        lm.read_micrograph(tmp_path / "film.zarr", page=6)


def test_fields_of_a_plate_are_items_in_its_order(tmp_path):
    plate = tmp_path / "plate.zarr"
    for well in ("B/1", "A/1"):
        for field in ("0", "1"):
            write(plate / well / field, np.zeros((4, 4), np.uint8))
        (plate / well / ".zattrs").write_text(json.dumps({"well": {"images": [{"path": "0"}, {"path": "1"}]}}))
    (plate / ".zattrs").write_text(json.dumps({"plate": {"wells": [{"path": "A/1"}, {"path": "B/1"}]}}))
    expected = [f"plate.zarr/{well}/{field}" for well in ("A/1", "B/1") for field in ("0", "1")]
    assert [item.name for item in list_items(tmp_path)] == expected
    assert [item.name for item in list_items(plate)] == expected
    with pytest.raises(InputError, match="4 images"):
        lm.read_micrograph(plate)


def test_what_is_no_image_is_one_sentence(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zattrs").write_text("{")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / ".zgroup").write_text("{}")
    write(tmp_path / "c.zarr", np.zeros((4, 4), np.uint8))
    (tmp_path / "c.zarr" / "0" / ".zarray").write_text("{}")
    outside = [{"axes": ["y", "x"], "datasets": [{"path": "../../secret"}]}]
    (tmp_path / "d.zarr").mkdir()
    (tmp_path / "d.zarr" / ".zattrs").write_text(json.dumps({"multiscales": outside}))
    assert len(list(list_items(tmp_path))) == 4
    for name in "abcd":
        with pytest.raises(InputError) as error:
            lm.read_micrograph(tmp_path / f"{name}.zarr")
        assert "\n" not in str(error.value)
