"""Formats of electron microscopes: MRC, and through rosettasciio EMD, DM3, DM4, SER and BCF. The DM, SER and BCF files
are put together byte by byte, from what is publicly known of the formats."""

from __future__ import annotations

import builtins
import struct
import sys

import mrcfile
import numpy as np
import pytest
from bruker_map import bcf
from digital_micrograph import DMWriter

from lisa_micro.io import read_micrograph
from lisa_micro.types import InputError

rng = np.random.default_rng(1)
IMAGE = rng.integers(0, 4000, (6, 9)).astype(np.uint16)


# ------------------------------------------------------------------------------ MRC


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2", "c8"])
def test_mrc_of_every_mode(tmp_path, dtype):
    pixels = (rng.random((5, 7)) * 100).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels)
        file.voxel_size = 2.1
    image = read_micrograph(tmp_path / "a.mrc")
    np.testing.assert_allclose(image.pixels, np.abs(pixels), rtol=1e-6)
    assert image.pixel_size_nm == pytest.approx(0.21, rel=1e-6)
    assert image.pixel_size_origin == "mrc"


def test_mrc_stack_and_unknown_voxel(tmp_path):
    stack = rng.random((3, 5, 7)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack)
        file.voxel_size = 0
    image = read_micrograph(tmp_path / "a.mrc", page=2)
    np.testing.assert_array_equal(image.pixels, stack[2])
    assert image.pixel_size_nm is None
    with pytest.raises(InputError, match="no page 3"):
        read_micrograph(tmp_path / "a.mrc", page=3)
    with mrcfile.new(tmp_path / "b.mrc") as file:
        file.set_data(stack[0])
        file.voxel_size = 1.0
    assert any("check it" in note for note in read_micrograph(tmp_path / "b.mrc").notes)


def test_mrc_without_its_suffix_is_known_by_content(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(IMAGE)
    (tmp_path / "a.dat").write_bytes((tmp_path / "a.mrc").read_bytes())
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.dat").pixels, IMAGE)


# ------------------------------------------------------------------------------ DigitalMicrograph, made here


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    ("scale", "unit", "nm"),
    [(0.05, "nm", 0.05), (0.002, "µm", 2.0), (0.002, "um", 2.0), (0.01, "1/nm", None)],
)
def test_digital_micrograph(tmp_path, version, scale, unit, nm):
    pytest.importorskip("rsciio")
    path = tmp_path / f"a.dm{version}"
    path.write_bytes(DMWriter(version).file(IMAGE, scale, unit))
    image = read_micrograph(path)
    np.testing.assert_array_equal(image.pixels, IMAGE)
    if nm is None:
        assert image.pixel_size_nm is None
        assert any("diffraction" in note for note in image.notes)
    else:
        assert image.pixel_size_nm == pytest.approx(nm, rel=1e-6)
        assert image.pixel_size_origin == "rosettasciio"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_micrograph(path)


def test_digital_micrograph_stack(tmp_path):
    pytest.importorskip("rsciio")
    stack = rng.integers(0, 4000, (4, 6, 9)).astype(np.uint16)
    (tmp_path / "a.dm4").write_bytes(DMWriter(4).file(stack, 0.05, "nm"))
    image = read_micrograph(tmp_path / "a.dm4", page=3)
    np.testing.assert_array_equal(image.pixels, stack[3])
    assert any("4 frames" in note for note in image.notes)


# ------------------------------------------------------------------------------ SER, made here


def test_ser(tmp_path):
    pytest.importorskip("rsciio")
    height, width = IMAGE.shape
    description, unit = b"Number", b"meters"
    dimension = struct.pack("<LddLL", 1, 0.0, 1.0, 0, len(description)) + description
    dimension += struct.pack("<L", len(unit)) + unit
    offsets_at = 30 + len(dimension)
    data_at = offsets_at + 8
    header = struct.pack("<HHHLLLLLL", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 1, 1, offsets_at, 1)
    element = struct.pack("<ddLddLHLL", 0.0, 4e-10, 0, 0.0, 4e-10, 0, 2, width, height)
    tag_at = data_at + len(element) + IMAGE.nbytes
    offsets = struct.pack("<LL", data_at, tag_at)
    tag = struct.pack("<HHL", 0x4152, 0, 0)
    # the first row of the file is the lowest of the image
    content = header + dimension + offsets + element + IMAGE[::-1].astype("<u2").tobytes() + tag
    (tmp_path / "a_1.ser").write_bytes(content)
    image = read_micrograph(tmp_path / "a_1.ser")
    np.testing.assert_array_equal(image.pixels, IMAGE)
    assert image.pixel_size_nm == pytest.approx(0.4)
    (tmp_path / "cut.ser").write_bytes(content[:80])
    with pytest.raises(InputError):
        read_micrograph(tmp_path / "cut.ser")


# ------------------------------------------------------------------------------ EMD by rosettasciio itself


def signal(data: np.ndarray, scale: float, units: str) -> dict:
    axes = [
        {"name": name, "size": size, "scale": scale, "offset": 0.0, "units": units, "navigate": name == "z"}
        | {"index_in_array": i, "is_binned": False, "_type": "UniformDataAxis"}
        for i, (name, size) in enumerate(zip("zyx"[-data.ndim :], data.shape, strict=True))
    ]
    general = {"General": {"title": "particles"}, "Signal": {}}
    return {"data": data, "axes": axes, "metadata": general, "original_metadata": {}}


def test_emd(tmp_path):
    emd = pytest.importorskip("rsciio.emd")
    pytest.importorskip("h5py")
    emd.file_writer(str(tmp_path / "a.emd"), signal(IMAGE, 0.5, "nm"))
    image = read_micrograph(tmp_path / "a.emd")
    np.testing.assert_array_equal(image.pixels, IMAGE)
    assert image.pixel_size_nm == pytest.approx(0.5)
    data = (tmp_path / "a.emd").read_bytes()
    (tmp_path / "cut.emd").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_micrograph(tmp_path / "cut.emd")


# ------------------------------------------------------------------------------ Bruker, made here


@pytest.mark.parametrize(("kilovolt", "modality"), [(15.0, "SEM"), (200.0, None)])
def test_the_micrograph_of_a_bruker_map(tmp_path, kilovolt, modality):
    pytest.importorskip("rsciio")
    picture = rng.integers(0, 4000, (60, 90)).astype(np.uint16)  # of several chunks
    (tmp_path / "a.bcf").write_bytes(bcf(picture, 0.05, 36.0, kilovolt))
    image = read_micrograph(tmp_path / "a.bcf")
    np.testing.assert_array_equal(image.pixels, picture)
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(50.0), "rosettasciio")
    assert image.modality == modality and image.metadata["stage_tilt_deg"] == 36.0
    (tmp_path / "a.bcf").write_bytes(bcf(picture, None))
    assert read_micrograph(tmp_path / "a.bcf").pixel_size_nm is None
    (tmp_path / "a.bcf").write_bytes(bcf(picture)[:6000])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_micrograph(tmp_path / "a.bcf")


def test_a_missing_extra_is_told_with_the_command(tmp_path, monkeypatch):
    (tmp_path / "a.dm4").write_bytes(DMWriter(4).file(IMAGE, 0.05, "nm"))
    for module in [name for name in sys.modules if name.split(".")[0] == "rsciio"]:
        monkeypatch.delitem(sys.modules, module)
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "rsciio":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setitem(sys.modules, "rsciio", None)
    with pytest.raises(InputError, match=r"pip install 'lisa-micro\[formats\]'"):
        read_micrograph(tmp_path / "a.dm4")
