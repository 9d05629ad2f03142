"""Inputs that fuzzing found, each with the sentence that a user now gets."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from fuzz_seeds import TARGETS

from lisa_micro.types import InputError


def made(name: str, folder: Path) -> Path:
    if not TARGETS[name].available:
        pytest.skip("a package is missing")
    TARGETS[name].make(folder)
    return folder


def refused(name: str, folder: Path) -> str:
    with pytest.raises(InputError) as told:
        TARGETS[name].read(folder)
    message = str(told.value)
    assert "\n" not in message.strip()
    return message


@pytest.mark.parametrize("content", ["x", [], 3, None, {"attributes": "x"}, {"attributes": {"ome": "x"}}])
@pytest.mark.parametrize("name", ["zarr 3", "zarr stack"])
def test_zarr_attributes_of_another_type(tmp_path, name, content):
    folder = made(name, tmp_path)
    (folder / "a.zarr" / "zarr.json").write_text(json.dumps(content))
    refused(name, folder)


@pytest.mark.parametrize("record", [True, 1.5, "x", [], {"requests": 3}, {"requests": ["x"]}])
def test_a_record_of_a_run_of_another_type(tmp_path, record):
    folder = made("run", tmp_path)
    (folder / "run.json").write_text(json.dumps(record))
    assert "no finished run" in refused("run", folder)


def test_a_damaged_page_of_a_table(tmp_path):
    folder = made("run", tmp_path)
    path = folder / "instances.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    assert "no finished run" in refused("run", folder)


@pytest.mark.parametrize("name", ["mrc", "mrc stack"])
@pytest.mark.parametrize("length", [1_879_048_259, -1, 2**31 - 1])
def test_an_extended_header_beyond_the_file(tmp_path, name, length):
    folder = made(name, tmp_path)
    path = folder / "a.mrc"
    data = bytearray(path.read_bytes())
    data[92:96] = struct.pack("<i", length)
    path.write_bytes(data)
    assert "extended header" in refused(name, folder)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"{\x00}", b"", b"3"])
def test_settings_of_an_adapter_that_are_no_json(tmp_path, content):
    folder = made("adapter", tmp_path)
    (folder / "config.json").write_bytes(content)
    message = refused("adapter", folder)
    assert "config.json" in message and ": :" not in message


@pytest.mark.parametrize("scale", [3, ["x", "y"], [{}, []], "ab"])
@pytest.mark.parametrize("name", ["zarr 2", "zarr 3", "zarr stack"])
def test_a_scale_that_is_no_numbers(tmp_path, name, scale):
    folder = made(name, tmp_path)
    path = folder / "a.zarr" / (".zattrs" if name == "zarr 2" else "zarr.json")
    content = json.loads(path.read_text())
    about = content if name == "zarr 2" else content["attributes"]["ome"]
    about["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale
    path.write_text(json.dumps(content))
    assert "OME-Zarr" in refused(name, folder)


@pytest.mark.parametrize("content", ["x", [], 3])
def test_a_lineage_of_another_type(tmp_path, content):
    folder = made("tracks", tmp_path)
    (folder / "lineage.json").write_text(json.dumps(content))
    assert "lisa-micro track" in refused("tracks", folder)


@pytest.mark.parametrize(("place", "value"), [(0x128, 2**32 - 1), (0x128, 1), (0x128, 0), (0x144, 2**32 - 1)])
def test_chunks_beyond_a_bruker_file(tmp_path, place, value):
    folder = made("bcf", tmp_path)
    path = folder / "a.bcf"
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    assert "beyond its end" in refused("bcf", folder)


def test_a_folder_of_a_bruker_file_that_is_inside_of_itself(tmp_path):
    folder = made("bcf", tmp_path)
    path = folder / "a.bcf"
    data = bytearray(path.read_bytes())
    # the second item of the tree, which begins with the data of chunk 1; its parent follows six fields
    struct.pack_into("<i", data, 0x1000 + 0x138 + 0x200 + 40, 1)
    path.write_bytes(data)
    assert "damaged" in refused("bcf", folder)


@pytest.mark.parametrize("inner", ["../a.zarr", "a\x00b", "/etc", 3])
@pytest.mark.parametrize("name", ["zarr 2", "zarr stack"])
def test_a_path_in_zarr_metadata_that_leads_out_or_nowhere(tmp_path, name, inner):
    folder = made(name, tmp_path)
    path = folder / "a.zarr" / (".zattrs" if name == "zarr 2" else "zarr.json")
    content = json.loads(path.read_text())
    about = content if name == "zarr 2" else content["attributes"]["ome"]
    about["multiscales"][0]["datasets"][0]["path"] = inner
    path.write_text(json.dumps(content))
    refused(name, folder)


@pytest.mark.parametrize("wells", [3, ["x"], [{}], [{"path": "a\x00b"}], [{"path": "../../etc"}]])
def test_a_plate_whose_wells_are_none(tmp_path, wells):
    folder = made("zarr 2", tmp_path)
    (folder / "a.zarr" / ".zattrs").write_text(json.dumps({"plate": {"wells": wells}}))
    refused("zarr 2", folder)


@pytest.mark.parametrize("name", ["picture png", "labels png"])
@pytest.mark.parametrize("length", [2_147_484_403, 2**32 - 1, 10_000])
def test_a_chunk_of_a_png_beyond_the_file(tmp_path, name, length):
    folder = made(name, tmp_path)
    path = folder / "a.png"
    data = bytearray(path.read_bytes())
    data[33:37] = struct.pack(">I", length)  # after the signature and the header
    path.write_bytes(data)
    assert "more bytes than the file has" in refused(name, folder)


@pytest.mark.parametrize("side", ["Infinity", "NaN", '"x"', "{}"])
def test_a_zarr_array_without_a_size(tmp_path, side):
    folder = made("zarr 2", tmp_path)
    (folder / "a.zarr" / "0" / ".zarray").write_text(f'{{"shape": [{side}, 4], "zarr_format": 2}}')
    refused("zarr 2", folder)


@pytest.mark.parametrize("label", ["", "-3", "1e30", "inf", "x"])
def test_a_label_in_a_table_that_is_none(tmp_path, label):
    folder = made("answer", tmp_path)
    path = folder / "run" / "instances.csv"
    head, first, *others = path.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("label")] = label
    path.write_text("\n".join([head, ",".join(cells), *others]) + "\n")
    assert "results of an answer" in refused("answer", folder)


@pytest.mark.parametrize("page", ["x", [1], {"a": 1}, 1e400])
def test_a_page_in_a_record_that_is_none(tmp_path, page):
    folder = made("answer", tmp_path)
    path = folder / "run" / "answer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "page": page}))
    assert "results of an answer" in refused("answer", folder)
