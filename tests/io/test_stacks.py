"""Stacks read part by part: formats, pages, channels and axes by name or number, steps between slices, bad input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from stack_files import array_of, write_omezarr, write_plain_tiff

import lisa_micro as lm
from lisa_micro.io.lazy import CompactLabels
from lisa_micro.io.lazy.compact import RunCollector, compact_labels
from lisa_micro.types import InputError

STACK = array_of((3, 2, 70, 90))  # z, c, y, x


def check(stack, pixels, axes):
    """Every plane, whole and in parts that cross tiles and strips, is the one that was written."""
    assert tuple(stack.sizes.items()) == axes and stack.shape == pixels.shape[-2:]
    flat = pixels.reshape(-1, *pixels.shape[-2:])
    assert len(stack) == len(flat)
    for number, plane in enumerate(stack):
        assert (np.asarray(plane) == flat[number]).all()
        for y0, y1, x0, x1 in ((0, 1, 0, 1), (13, 50, 7, 65), (60, 70, 30, 90), (40, 500, 85, 900)):
            part = plane[y0:y1, x0:x1]
            assert part.dtype == np.float32 and (part == flat[number][y0:y1, x0:x1]).all()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"rowsperstrip": 16},
        {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
        {"tile": (32, 48), "compression": "lzw"},
        {"tile": (32, 32), "bigtiff": True},
    ],
)
def test_tiff_pages_in_strips_and_tiles(tmp_path, how):
    pixels = STACK[:, 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None, **how)
    with lm.read_stack(tmp_path / "a.tif") as stack:
        check(stack, pixels, (("z", 3),))


def test_imagej_hyperstack_with_names_and_step(tmp_path):
    labels = [f"{name} {k}" for k in range(3) for name in ("HAADF", "Fe")]
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK,
        imagej=True,
        resolution=(0.5, 0.5),
        metadata={"axes": "ZCYX", "unit": "nm", "spacing": 12.5, "Labels": labels},
    )
    with lm.read_stack(tmp_path / "a.tif") as stack:
        check(stack, STACK, (("z", 3), ("c", 2)))
        assert stack.pixel_size_nm == pytest.approx(2.0) and stack.step_nm == pytest.approx(12.5)
        assert (np.asarray(stack.plane("Fe 2")) == STACK[2, 1]).all()
        assert (np.asarray(stack.plane(2, channel=1)) == STACK[2, 1]).all()
        assert (np.asarray(stack.plane("z=1,c=1")) == STACK[1, 1]).all()
        assert (np.asarray(stack.plane(-1)) == STACK[2, 1]).all() and (
            np.asarray(stack.plane("4")) == STACK[2, 0]
        ).all()
        assert [plane.place for plane in stack.slices(channel=1)] == [(0, 1), (1, 1), (2, 1)]


def test_ome_tiff_with_named_channels(tmp_path):
    meta = {
        "axes": "ZCYX",
        "Channel": {"Name": ["HAADF", "Fe"]},
        "PhysicalSizeX": 2.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 2.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 0.01,
        "PhysicalSizeZUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=meta, tile=(32, 32), compression="zlib")
    with lm.read_stack(tmp_path / "a.ome.tif") as stack:
        check(stack, STACK, (("z", 3), ("c", 2)))
        assert stack.channels == ("HAADF", "Fe") and stack.step_nm == pytest.approx(10.0)
        assert stack.pixel_size_nm == pytest.approx(2.0)
        assert (np.asarray(stack.plane("z=1", channel="fe")) == STACK[1, 1]).all()
        image = stack.plane(1, "HAADF").micrograph()
        assert (image.pixels == STACK[1, 0]).all() and "'HAADF'" in image.notes[-1]


def test_colour_becomes_luminance_in_parts_as_in_the_whole(tmp_path):
    for how in ({"planarconfig": "contig"}, {"planarconfig": "separate", "tile": (32, 32)}):
        colours = array_of((3, 70, 90) if "tile" in how else (70, 90, 3), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", **how)
        whole = lm.read_micrograph(tmp_path / "a.tif", looking=lm.io.Looking(banner=False, scale_bar=False)).pixels
        with lm.read_stack(tmp_path / "a.tif") as stack:
            assert len(stack) == 1 and np.allclose(stack.plane()[20:66, 11:80], whole[20:66, 11:80], atol=1e-4)


def test_mrc_sections(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    pixels = array_of((4, 30, 41), np.int16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels)
        file.set_volume()
        file.voxel_size = (20.0, 20.0, 50.0)
        file.set_extended_header(np.zeros(96, np.uint8).view("V96"))
    with lm.read_stack(tmp_path / "a.mrc") as stack:
        check(stack, pixels, (("z", 4),))
        assert stack.pixel_size_nm == pytest.approx(2.0) and stack.step_nm == pytest.approx(5.0)


def write_emd(path, pixels, title):
    """An EMD file with slices 5 nm apart and pixels of 2 nm."""
    emd = pytest.importorskip("rsciio.emd")
    axes = [
        {"name": n, "scale": s, "offset": 0.0, "units": "nm", "size": d, "index_in_array": k, "navigate": k == 0}
        for k, (n, s, d) in enumerate(zip("zyx", (5.0, 2.0, 2.0), pixels.shape, strict=True))
    ]
    about = {"General": {"title": title}, "Signal": {"signal_type": ""}}
    emd.file_writer(str(path), {"data": pixels, "axes": axes, "metadata": about, "original_metadata": {}})


def test_images_of_an_emd_file_are_channels(tmp_path):
    h5py = pytest.importorskip("h5py")
    pixels = array_of((2, 4, 30, 41), np.float32)
    write_emd(tmp_path / "a.emd", pixels[0], "HAADF")
    with lm.read_stack(tmp_path / "a.emd") as stack:
        check(stack, pixels[0], (("z", 4),))
        assert stack.step_nm == pytest.approx(5.0) and stack.pixel_size_nm == pytest.approx(2.0)
    with pytest.raises(InputError, match="no image 'other'; its images are HAADF"):
        lm.read_stack(tmp_path / "a.emd", image="other")
    with h5py.File(tmp_path / "c.emd", "w") as both:
        for name in ("a", "b"):  # images of both in one file
            write_emd(tmp_path / f"{name}2.emd", pixels["ab".index(name)], ("HAADF", "Fe")["ab".index(name)])
            with h5py.File(tmp_path / f"{name}2.emd") as one:
                both.attrs.update(one.attrs)
                for group in one:
                    target = both.require_group(group)
                    for inner in one[group]:
                        one.copy(f"{group}/{inner}", target)
    stack = lm.read_stack(tmp_path / "c.emd")
    names = sorted(stack.channels)
    assert names == ["Fe", "HAADF"] and stack.sizes == {"c": 2, "z": 4}
    assert (np.asarray(stack.plane("z=3", channel="Fe")) == pixels[1, 3]).all()


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_channels_and_steps(tmp_path, version):
    pytest.importorskip("zarr")
    scale = [1.0, 0.01, 0.002, 0.002]
    path = write_omezarr(
        tmp_path / "a.zarr", np.moveaxis(STACK, 0, 1), "czyx", scale, "micrometer", version, channels=("HAADF", "Fe")
    )
    stack = lm.read_stack(path)
    check(stack, np.moveaxis(STACK, 0, 1), (("c", 2), ("z", 3)))
    assert stack.pixel_size_nm == pytest.approx(2.0) and stack.step_nm == pytest.approx(10.0)
    assert (np.asarray(stack.plane(2, "Fe")) == STACK[2, 1]).all()


def test_a_folder_is_a_stack_in_natural_order(tmp_path):
    for k in (10, 2, 1):
        tifffile.imwrite(tmp_path / f"s{k}.tif", np.full((4, 5), k, np.uint8))
    stack = lm.read_stack(tmp_path, 1.0, 2.0)
    assert [int(plane[0:1, 0:1][0, 0]) for plane in stack] == [1, 2, 10]
    assert int(stack.plane("s10.tif")[1:2, 1:2][0, 0]) == 10
    tifffile.imwrite(tmp_path / "s11.tif", np.zeros((4, 6), np.uint8))
    with pytest.raises(InputError, match=r"s11\.tif is 6 x 4 px but the first image is 5 x 4 px"):
        np.asarray(lm.read_stack(tmp_path).plane(-1))


def test_planes_above_the_limit_of_micrographs_are_read_in_parts(tmp_path):
    path = write_plain_tiff(tmp_path / "wide.tif", (20, 40_000))
    with lm.read_stack(path) as stack:
        plane = stack.plane()
        assert plane.shape == (20, 40_000)
        assert plane[3:4, 39_990:40_000].tolist() == [[(3 + x) % 251 for x in range(39_990, 40_000)]]
        whole = np.concatenate([band for _, band in plane.bands()])
        assert (whole == (np.arange(20)[:, None] + np.arange(40_000)) % 251).all()
        with pytest.raises(InputError, match="above the limit of 16384"):
            plane.micrograph()


# -------------------------------------------------------------------------------------------------------- bad input


def test_what_is_not_there_is_named_in_one_sentence(tmp_path):
    pytest.importorskip("zarr")
    path = write_omezarr(tmp_path / "a.zarr", np.moveaxis(STACK, 0, 1), "czyx", channels=("HAADF", "Fe"))
    stack = lm.read_stack(path)
    for choice, words in (
        ({"page": 6}, "6 pages, 0 to 5; there is no page 6"),
        ({"page": 3, "channel": 0}, "3 pages, 0 to 2; there is no page 3"),
        ({"channel": "Ni"}, "no channel 'Ni'; its channels are 'HAADF', 'Fe'"),
        ({"channel": 2}, "no channel '2'"),
        ({"page": "z=3"}, "3 planes along z, 0 to 2; there is no z=3"),
        ({"page": "t=0"}, "no axis 't'; its axes besides y and x are: c, z"),
        ({"page": "overview"}, "no page 'overview'; its pages have no names, and are numbered 0 to 5"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            stack.plane(**choice)
        assert "\n" not in str(caught.value)
    flat = lm.read_stack(np.zeros((5, 6)))
    with pytest.raises(InputError, match="has no channels"):
        flat.plane(channel="HAADF")
    with pytest.raises(InputError, match="single plane"):
        flat.slices()


def test_a_volume_needs_one_choice_along_other_axes(tmp_path):
    pytest.importorskip("zarr")
    stack = lm.read_stack(write_omezarr(tmp_path / "a.zarr", np.zeros((2, 3, 4, 5), np.uint8), "tzyx"))
    with pytest.raises(InputError, match='several planes along t as well; choose one, for example with page "t=0"'):
        stack.slices()
    assert [plane.place for plane in stack.slices("t=1")] == [(1, 0), (1, 1), (1, 2)]


def test_damaged_zarr_and_tiff_are_one_sentence(tmp_path):
    pytest.importorskip("zarr")
    path = write_omezarr(tmp_path / "a.zarr", STACK[0, 0], "yx", chunk=32)
    chunk = path / "0" / "1" / "2"
    chunk = chunk if chunk.exists() else path / "0" / "1.2"
    chunk.unlink()
    plane = lm.read_stack(path).plane()
    assert (plane[0:32, 0:90] == STACK[0, 0][:32]).all()  # the others are read
    with pytest.raises(InputError, match=r"The chunk 1.2 of .* is missing"):
        plane[30:40, 60:90]
    assert any("have no file, such as" in note for note in lm.read_micrograph(path).notes)
    filled = lm.read_stack(path, missing="fill").plane()[30:40, 60:90]
    assert (filled[2:, 4:] == 0).all() and (filled[:2] == STACK[0, 0][30:32, 60:90]).all()
    (path / "0" / chunk.relative_to(path / "0").as_posix().replace("1.2", "0.0").replace("1/2", "0/0")).write_bytes(
        b"x"
    )
    with pytest.raises(InputError, match=r"Plane 0 of a.zarr is damaged or cut short at rows 0 to 4"):
        plane[0:5, 0:5]
    shutil.rmtree(path / "0")
    with pytest.raises(InputError, match="no readable Zarr array"):
        lm.read_stack(path)
    (path / ".zattrs").write_text(json.dumps({}))
    with pytest.raises(InputError, match="no metadata names 'multiscales'"):
        lm.read_stack(path)
    tifffile.imwrite(tmp_path / "a.tif", STACK[:, 0], compression="zlib", rowsperstrip=16, metadata=None)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:3000])
    with pytest.raises(InputError) as caught:
        stack = lm.read_stack(tmp_path / "b.tif")
        np.asarray(stack.plane(-1))
    assert "\n" not in str(caught.value)
    for source, words in (("nothing.tif", "does not exist"), (np.zeros(4), "an array of shape"), (7, "not int")):
        with pytest.raises(InputError, match=words):
            lm.read_stack(tmp_path / source if isinstance(source, str) else source)
    with pytest.raises(InputError, match="step between slices must be a positive number"):
        lm.read_stack(np.zeros((3, 4, 5)), step_nm=0)


# -------------------------------------------------------------------------------------------------- labels as runs


def test_labels_as_runs_are_the_labels():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.repeat(rng.integers(0, 6, (7, 9)), 3, 0), 2, 1).astype(np.int32)
    runs = compact_labels(labels)
    assert (np.asarray(runs) == labels).all() and (runs[3:9, 5:11] == labels[3:9, 5:11]).all()
    assert runs.areas().tolist() == np.bincount(labels.ravel())[1:].tolist()
    for k, (x0, y0, x1, y1) in enumerate(runs.boxes(), 1):
        rows, columns = np.nonzero(labels == k)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert runs.centroids()[k - 1] == pytest.approx([columns.mean(), rows.mean()])
    keep = np.array([True, False, True, False, True])
    assert (np.asarray(runs.kept(keep)) == np.array([0, 1, 0, 2, 0, 3])[labels]).all()
    assert (runs.sampled(4)[:5, :4] == labels[2::4, 2::4]).all()
    collector = RunCollector(labels.shape)
    for y in range(0, labels.shape[0], 4):
        for x in range(0, labels.shape[1], 5):
            collector.add(labels[y : y + 4, x : x + 5], y, x)
    parts = collector.finish(np.arange(6))
    assert (
        isinstance(parts, CompactLabels) and (np.asarray(parts) == labels).all() and len(parts.rows) == len(runs.rows)
    )
