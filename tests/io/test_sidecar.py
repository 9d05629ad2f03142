"""Pixel sizes from the text files that Hitachi, JEOL and TESCAN microscopes write beside their pictures."""

import numpy as np
import pytest
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
