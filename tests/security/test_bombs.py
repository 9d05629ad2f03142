"""Small files that claim, or become, something huge: one sentence, and little memory."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from strange_values import bounded

import lisa_micro as lm
from lisa_micro.types import InputError
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import batch_files, video_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as on Linux")


def refused(path) -> str:
    """The sentence with which a file is refused, in at most 1 GiB of memory."""
    with bounded(), pytest.raises(InputError) as told:
        lm.read_micrograph(path)
    message = str(told.value)
    assert path.name in message and "\n" not in message.strip()
    return message


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_png_that_claims_a_huge_size(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0" * 100)))
    assert "16384" in refused(path)
    path.write_bytes(png(16000, 16000, zlib.compress(b"\0" * 100)))
    assert "damaged" in refused(path)


def test_a_png_whose_text_unpacks_to_gigabytes(tmp_path):
    packed = zlib.compressobj(9)
    text = b"".join(packed.compress(bytes(2**24)) for _ in range(64)) + packed.flush()
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, zlib.compress(b"\0\0"), chunk(b"zTXt", b"Comment\0\0" + text)))
    refused(path)


def tiff(path, **changes: int) -> None:
    """A small TIFF, some of whose tags are overwritten."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in changes.items():
            file.pages[0].tags[name].overwrite(value)


def test_tiffs_that_claim_a_huge_size(tmp_path):
    path = tmp_path / "a.tif"
    tiff(path, ImageWidth=60000, ImageLength=60000)
    assert "16384" in refused(path)
    # within the limit of the sides, but with as many samples as a tag can state
    for samples in (20, 60000):
        tiff(path, ImageWidth=16000, ImageLength=16000, SamplesPerPixel=samples)
        assert "GB when unpacked" in refused(path)


def test_a_strip_that_unpacks_to_far_more_than_its_rows(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="zlib", metadata=None)
    packed = zlib.compressobj(9)
    bomb = b"".join(packed.compress(bytes(2**24)) for _ in range(128)) + packed.flush()  # 2 GiB
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        end = path.stat().st_size
        tags["StripOffsets"].overwrite(end)
        tags["StripByteCounts"].overwrite(len(bomb))
    with path.open("ab") as raw:
        raw.write(bomb)
    with bounded():
        try:
            assert lm.read_micrograph(path).shape == (16, 16)
        except InputError as error:
            assert "\n" not in str(error)


def test_labels_that_claim_a_huge_size(tmp_path):
    path = tmp_path / "a.npy"
    head = b"{'descr': '<i4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    head += b" " * (118 - len(head) - 1) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(100))
    with bounded(), pytest.raises(InputError):
        lm.io.read_label_image(path)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lying(archive: bytes, size: int) -> bytes:
    """The archive with another unpacked size in its directory and in the head of its first file."""
    out = bytearray(archive)
    out[22:26] = struct.pack("<I", size)
    place = out.index(b"PK\x01\x02")
    out[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(out)


class Session:
    """As much of a session as taking a file needs."""

    def __init__(self, folder):
        from lisa_micro_app.state.batch import BatchState

        self.folder, self.batch, self.count = folder, BatchState(), 0

    def new_file(self, suffix: str = ""):
        self.count += 1
        return self.folder / f"{self.count}{suffix}"


LIMITS = Limits(batch_images=5, batch_mib=1, upload_mib=1)


def on_disk(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [None, 1000], ids=["honest", "lying"])
def test_a_zip_bomb_on_the_page_batch(tmp_path, size):
    bomb = zipped({"a.png": bytes(300 * 2**20)})
    session = Session(tmp_path)
    path = session.new_file(".zip")
    path.write_bytes(lying(bomb, size) if size else bomb)
    with bounded():
        try:
            batch_files.keep(session, path, "lab.zip", LIMITS)
        except InputError as error:
            assert "\n" not in str(error) and str(tmp_path) not in str(error)
    assert on_disk(tmp_path) <= 2**20


def test_a_zip_with_too_many_files_on_the_page_batch(tmp_path):
    session = Session(tmp_path)
    path = session.new_file(".zip")
    path.write_bytes(zipped({f"{k}.png": b"x" for k in range(5000)}))
    with pytest.raises(InputError, match="at most 5 images"):
        batch_files.keep(session, path, "lab.zip", LIMITS)


def test_a_zip_bomb_on_the_page_video(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({f"{k}.png": bytes(20 * 2**20) for k in range(4)}))
    with bounded(), pytest.raises(InputError) as told:
        video_files.unpack(path, tmp_path / "frames", "film.zip", LIMITS)
    assert "MiB" in str(told.value)
    assert on_disk(tmp_path) <= 2**20
