"""TIFF files of every layout: the pixels are the same however they are compressed, cut into tiles or ordered."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from lisa_micro.io import read_micrograph

rng = np.random.default_rng(3)
BYTES = (np.add.outer(np.arange(70), np.arange(90)) * 1.5).astype(np.uint8)
WORDS = (np.add.outer(np.arange(70) * 300, np.arange(90) * 400)).astype(np.uint16)
FLOATS = rng.normal(0, 1, (70, 90)).astype(np.float32)

COMPRESSIONS = [None, "lzw", "zlib", "deflate", "packbits", "zstd", "lzma", "lerc", "png", "jpegxl"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_whole_numbers_are_read_exactly(tmp_path, compression, tile, bigtiff):
    predictor = compression in ("lzw", "zlib", "deflate", "zstd")
    for pixels in (BYTES, WORDS):
        tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, tile=tile, bigtiff=bigtiff,
                         predictor=predictor, metadata=None, photometric="minisblack")  # fmt: skip
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("predictor", [False, True])
def test_floats_with_and_without_a_predictor(tmp_path, byteorder, predictor):
    tifffile.imwrite(tmp_path / "a.tif", FLOATS, compression="zlib", predictor=predictor, byteorder=byteorder,
                     tile=(32, 32), metadata=None)  # fmt: skip
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, FLOATS)


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_in_grey_and_in_colour(tmp_path, tile, subsampling):
    tifffile.imwrite(tmp_path / "g.tif", BYTES, compression="jpeg", tile=tile, metadata=None)
    assert np.abs(read_micrograph(tmp_path / "g.tif").pixels - BYTES).max() <= 4
    tifffile.imwrite(tmp_path / "c.tif", np.stack([BYTES] * 3, axis=-1), compression="jpeg", tile=tile, metadata=None,
                     photometric="rgb", subsampling=subsampling)  # fmt: skip
    assert np.abs(read_micrograph(tmp_path / "c.tif").pixels - BYTES).max() <= 6


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_planes_one_after_the_other(tmp_path, tile, compression):
    colours = rng.integers(0, 255, (3, 70, 90), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colours, planarconfig="separate", photometric="rgb", tile=tile,
                     compression=compression, metadata=None)  # fmt: skip
    expected = np.tensordot([0.299, 0.587, 0.114], colours.astype(float), 1)
    np.testing.assert_allclose(read_micrograph(tmp_path / "a.tif").pixels, expected, atol=1e-3)


@pytest.mark.parametrize("compression", [None, "group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw"])
@pytest.mark.parametrize("inverted", [False, True])
def test_one_bit(tmp_path, compression, inverted):
    bits = rng.random((70, 91)) > 0.5  # the last byte of each row is not full
    photometric = 0 if inverted else 1
    # Pillow writes the picture as it looks, so white is stored as 0 where the tag asks for it
    Image.fromarray(bits).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: photometric})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert (tif.pages[0].bitspersample, int(tif.pages[0].photometric)) == (1, photometric)
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, bits)


def packed_tiff(pixels, bits):
    """A grey TIFF file of one strip whose pixels are packed into ``bits`` bits, each row from a new byte."""
    height, width = pixels.shape
    weights = 1 << np.arange(bits)[::-1]
    rows = ((pixels[..., None] & weights) > 0).reshape(height, width * bits)
    strip = np.packbits(rows, axis=1).tobytes()
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height),
               (279, len(strip))]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", code, 4, 1, v) for code, v in entries)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory + struct.pack("<I", 0)


@pytest.mark.parametrize("bits", [2, 4, 10, 12])
def test_odd_numbers_of_bits(tmp_path, bits):
    pixels = rng.integers(0, 2**bits, (70, 91))
    (tmp_path / "a.tif").write_bytes(packed_tiff(pixels, bits))
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, pixels)


def test_rows_of_one_strip_or_of_many(tmp_path):
    for rows in (1, 7, 70):
        tifffile.imwrite(tmp_path / "a.tif", WORDS, rowsperstrip=rows, metadata=None)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, WORDS)
