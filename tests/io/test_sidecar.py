"""What the text files state that Hitachi, JEOL and TESCAN microscopes write beside their pictures."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from lisa_micro.io import read_micrograph

HITACHI = "[SemImageFile]\r\nInstructName=SU8000\r\nDataSize=64x48\r\nPixelSize=4.9609375\r\n"
JEOL = "$CM_FORMAT JEOL-SEM\n$CM_FULL_SIZE 64 48\n$$SM_MICRON_BAR 20\n$$SM_MICRON_MARKER 100nm\n"
TESCAN = "[MAIN]\nMagnification=1000\nPixelSizeX=2.5e-009\nPixelSizeY=2.5e-009\n[SEM]\nHV=20000\n"


def read(folder, name, text, encoding="utf-8", shape=(48, 64)):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, np.uint8)).save(folder / "a.png")
    (folder / name).write_bytes(text.encode(encoding))
    return read_micrograph(folder / "a.png")


@pytest.mark.parametrize(
    ("name", "text", "encoding", "nm"),
    [("a.txt", HITACHI, "utf-8", 4.9609375), ("a.txt", HITACHI, "utf-16", 4.9609375), ("a.txt", JEOL, "utf-8", 5.0),
     ("a.txt", JEOL.replace("100nm", "1\u00b5m"), "latin-1", 50.0), ("a.hdr", TESCAN, "utf-8", 2.5),
     ("a-png.hdr", TESCAN, "utf-8", 2.5)],
)  # fmt: skip
def test_the_pixel_size_is_read(tmp_path, name, text, encoding, nm):
    image = read(tmp_path, name, text, encoding)
    assert image.pixel_size_nm == pytest.approx(nm)
    assert image.pixel_size_origin == "side-car file"


def test_a_side_car_file_of_another_picture_is_ignored_and_told(tmp_path):
    image = read(tmp_path, "a.txt", HITACHI, shape=(48, 80))
    assert image.pixel_size_nm is None
    assert any("64 px in width" in note for note in image.notes)


@pytest.mark.parametrize("text", ["", "notes of 3 May", "[SemImageFile]\nPixelSize=0\n", "\x00\xff" * 20])
def test_other_text_files_change_nothing(tmp_path, text):
    assert read(tmp_path, "a.txt", text).pixel_size_nm is None


@pytest.mark.parametrize(
    ("name", "text", "tilt", "modality"),
    [("a.txt", HITACHI, None, "SEM"), ("a.txt", HITACHI.replace("Sem", "Tem"), None, None),
     ("a.txt", JEOL, None, "SEM"), ("a.hdr", TESCAN + "StageTilt=54\n", 54.0, "SEM")],
)  # fmt: skip
def test_modality_and_tilt_are_told(tmp_path, name, text, tilt, modality):
    image = read(tmp_path, name, text)
    assert image.modality == modality and image.metadata.get("stage_tilt_deg") == tilt
    assert (tilt is not None) == any("0.59 times" in note for note in image.notes)


@pytest.mark.parametrize("name", ["a.TXT", "a.Txt"])
def test_capitals_in_the_name_do_not_matter(tmp_path, name):
    assert read(tmp_path, name, JEOL).pixel_size_nm == pytest.approx(5.0)


def with_tags(folder, nm):
    tifffile.imwrite(folder / "a.tif", np.zeros((48, 64), np.uint8), imagej=True, resolution=(1 / nm, 1 / nm),
                     metadata={"unit": "nm"})  # fmt: skip
    return read_micrograph(folder / "a.tif")


def test_a_side_car_file_that_contradicts_the_tags_is_told_and_the_tags_count(tmp_path):
    (tmp_path / "a.txt").write_text(HITACHI)
    image = with_tags(tmp_path, 2.0)
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(2.0), "imagej")
    assert any("4.961 nm" in note and "2 nm" in note and "latter" in note for note in image.notes)
    assert not with_tags(tmp_path, 5.0).notes  # within 3 %


def test_two_side_car_files_that_contradict_each_other_give_no_pixel_size(tmp_path):
    (tmp_path / "a.hdr").write_text(TESCAN)
    image = read(tmp_path, "a.txt", HITACHI)
    assert image.pixel_size_nm is None
    assert any("contradict" in note and "a.txt" in note and "a.hdr" in note for note in image.notes)
    (tmp_path / "a.hdr").write_text(TESCAN.replace("2.5e-009", "5e-009"))
    assert read(tmp_path, "a.txt", HITACHI).pixel_size_nm == pytest.approx(4.9609375)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", HITACHI.replace("4.9609375", "4.96e30")), ("a.hdr", TESCAN.replace("2.5e-009", "2.5e9"))],
)
def test_a_pixel_size_that_cannot_be_is_ignored_and_told(tmp_path, name, text):
    image = read(tmp_path, name, text)
    assert image.pixel_size_nm is None and any("no micrograph can have it" in note for note in image.notes)


@pytest.mark.parametrize("name,text", [("a.txt", HITACHI[:-12]), ("a.txt", JEOL[:-3]), ("a.hdr", TESCAN[:40])])
def test_a_side_car_file_that_is_cut_gives_no_pixel_size(tmp_path, name, text):
    assert read(tmp_path, name, text).pixel_size_nm is None
