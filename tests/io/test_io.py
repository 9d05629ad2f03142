"""Micrographs in: bit depths, colour, stacks, pixel sizes in every convention, and bad input."""

from __future__ import annotations

import math
import struct
import threading
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from lisa_micro.io import read_micrograph, to_unit_range
from lisa_micro.io.units import check_pixel_size, format_length, to_nm, unit_in_nm
from lisa_micro.types import InputError, Micrograph

rng = np.random.default_rng(0)

FEI = "[User]\r\nDate=10/06/2026\r\n[Beam]\r\nHV=20000\r\nBeam=EBeam\r\n[EBeam]\r\nHFW=2.56e-06\r\n"


def ascii_tag(code: int, text: str) -> tuple:
    return (code, "s", 0, text, True)


# ----------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8", "u8"])
def test_tiff_of_every_type_keeps_its_intensities(tmp_path, dtype):
    pixels = (rng.random((7, 9)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixels.dtype == np.float32
    assert image.shape == (7, 9)
    np.testing.assert_array_equal(image.pixels, pixels.astype(np.float32))
    assert image.pixel_size_nm is None
    assert image.pixel_size_origin == "none"


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg", "packbits"])
def test_compressed_tiff(tmp_path, compression):
    pixels = (np.add.outer(np.arange(64), np.arange(48)) * 2).astype(np.uint8)
    # Pillow writes them: what a reader needs for a compression, a writer need not have
    name = {None: None, "zlib": "tiff_adobe_deflate", "lzw": "tiff_lzw"}.get(compression, compression)
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression=name)
    image = read_micrograph(tmp_path / "a.tif")
    assert np.abs(image.pixels - pixels).max() <= (3 if compression == "jpeg" else 0)


def test_tiff_is_decoded_without_imagecodecs(tmp_path, monkeypatch):
    pixels = rng.integers(0, 255, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw")

    def refuse(*args, **kwargs):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_becomes_luminance_and_alpha_is_dropped(tmp_path, planar, channels):
    pixels = rng.integers(0, 255, (12, 10, channels), dtype=np.uint8)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, extrasamples=extra, metadata=None
    )
    image = read_micrograph(tmp_path / "a.tif")
    expected = pixels[..., :3].astype(np.float64) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(image.pixels, expected, atol=1e-3)
    assert any("colour" in note for note in image.notes)


def test_grey_stored_as_colour_stays_exact(tmp_path):
    grey = rng.integers(0, 65535, (600, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey] * 3, axis=-1), photometric="rgb")
    image = read_micrograph(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, grey)
    assert not image.notes


def test_palette_and_inverted_tiff(tmp_path):
    index = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    ramp = (np.arange(256)[::-1] * 257).astype(np.uint16)  # an inverted grey palette
    tifffile.imwrite(tmp_path / "p.tif", index, photometric="palette", colormap=np.stack([ramp] * 3))
    np.testing.assert_array_equal(read_micrograph(tmp_path / "p.tif").pixels, 255 - index)
    tifffile.imwrite(tmp_path / "w.tif", index, photometric="miniswhite")
    np.testing.assert_array_equal(read_micrograph(tmp_path / "w.tif").pixels, 255 - index)


def test_stacks_choose_a_page(tmp_path):
    stack = rng.integers(0, 255, (4, 6, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    for page in (0, 3, -1):
        image = read_micrograph(tmp_path / "s.tif", page=page)
        np.testing.assert_array_equal(image.pixels, stack[page])
        assert any("4 pages" in note for note in image.notes)
    with pytest.raises(InputError, match="no page 4"):
        read_micrograph(tmp_path / "s.tif", page=4)


def test_imagej_stack_behind_one_directory(tmp_path):
    stack = rng.integers(0, 60000, (5, 6, 7), dtype=np.uint16)
    description = "ImageJ=1.54f\nimages=5\nslices=5\nunit=nm\n"
    with tifffile.TiffWriter(tmp_path / "s.tif", byteorder=">") as writer:
        writer.write(stack[0], description=description, metadata=None, contiguous=False, resolution=(2, 2))
    with open(tmp_path / "s.tif", "r+b") as file:  # the other four follow the first one's pixels
        with tifffile.TiffFile(tmp_path / "s.tif") as tif:
            file.seek(tif.pages.first.dataoffsets[0])
        file.write(stack.astype(">u2").tobytes())
    for page in (0, 2, 4):
        image = read_micrograph(tmp_path / "s.tif", page=page)
        np.testing.assert_array_equal(image.pixels, stack[page])
    assert image.pixel_size_nm == pytest.approx(0.5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_png_of_every_mode(tmp_path, mode):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
        expected = grey * 257.0
    elif mode == "I":
        Image.fromarray(grey.astype(np.int32)).save(tmp_path / "a.png")
        expected = grey
    elif mode == "1":
        Image.fromarray(grey > 100).save(tmp_path / "a.png")
        expected = grey > 100
    else:
        Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
        expected = grey
    image = read_micrograph(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(image.pixels, expected.astype(np.float32))


def test_jpeg_and_content_beats_the_name(tmp_path):
    grey = np.full((32, 32), 77, dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.jpg", dpi=(96, 96))
    image = read_micrograph(tmp_path / "a.jpg")
    assert np.abs(image.pixels - 77).max() <= 1
    assert image.pixel_size_nm is None
    assert any("96 dpi" in note for note in image.notes)
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.jpg").read_bytes())
    assert read_micrograph(tmp_path / "b.tif").shape == (32, 32)


def test_arrays_and_micrographs_pass_through():
    array = rng.random((5, 6)).astype(np.float32)
    image = read_micrograph(array, pixel_size_nm=2)
    assert image.pixel_size_nm == 2.0
    assert image.pixel_size_origin == "user"
    array[:] = 0
    assert image.pixels.max() > 0  # a copy
    assert read_micrograph(image) is image
    assert read_micrograph(image, pixel_size_nm=3).pixel_size_nm == 3.0
    assert read_micrograph(np.ones((1, 1, 3), dtype=np.uint8)).shape == (1, 1)
    for bad in (np.ones(5), np.ones((2, 2, 9)), np.array([["a"]]), np.zeros((0, 4)), None, [[1], [1, 2]]):
        with pytest.raises(InputError):
            read_micrograph(bad)


# ------------------------------------------------------------------------------------------------ pixel sizes


@pytest.mark.parametrize(
    ("spelling", "nm"),
    [
        *[(text, 1e9) for text in ("m", "M", "meter", "metres")],
        *[(text, 1e7) for text in ("cm", "centimeter")],
        *[(text, 1e6) for text in ("mm", "millimetre")],
        *[(text, 1e3) for text in ("µm", "μm", "um", "UM", "\\u00B5m", "\\u00b5m", "micron", "Microns")],
        *[(text, 1e3) for text in ("Âµm", "Î¼m", "&micro;m", "micrometer", "micrometre")],
        *[(text, 1.0) for text in ("nm", "NM", " nm\x00", "nanometers")],
        *[(text, 0.1) for text in ("Å", "\u212b", "A", "angstrom", "Ångström", "Ã…")],
        *[(text, 1e-3) for text in ("pm", "picometer")],
        *[(text, 2.54e7) for text in ("in", "inch", "Inches", '"')],
        *[(text, None) for text in ("", "px", "pixel", "1/nm", "1 / nm", "s", "eV", "mrad", "xm", "mmm")],
    ],
)
def test_every_spelling_of_a_unit(spelling, nm):
    assert unit_in_nm(spelling) == nm


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, None, "x", 1e308])
def test_a_size_that_is_none(value):
    assert to_nm(value, "m") is None


@pytest.mark.parametrize(
    ("unit", "value"), [("nm", 0.21), ("micron", 0.00021), ("\\u00B5m", 2.1e-4), ("cm", 2.1e-8), ("Å", 2.1)]
)
def test_imagej_pixel_size(tmp_path, unit, value):
    description = f"ImageJ=1.54f\nunit={unit}\n".encode("latin-1")
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 4), np.uint8),
        description=description,
        metadata=None,
        resolution=(1 / value, 1 / value),
        resolutionunit=1,
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixel_size_nm == pytest.approx(0.21, rel=1e-6)
    assert image.pixel_size_origin == "imagej"


def test_imagej_without_a_unit_has_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), imagej=True, resolution=(3.0, 3.0))
    assert read_micrograph(tmp_path / "a.tif").pixel_size_nm is None
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), imagej=True, metadata={"unit": "pixel"})
    image = read_micrograph(tmp_path / "b.tif")
    assert image.pixel_size_nm is None
    assert not image.notes


@pytest.mark.parametrize(("unit", "value"), [("nm", 5.0), ("µm", 0.005), (None, 0.005), ("Å", 50), ("pm", 5e3)])
def test_ome_pixel_size(tmp_path, unit, value):
    metadata = {"axes": "YX", "PhysicalSizeX": value, "PhysicalSizeY": value}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((4, 4), np.uint8), metadata=metadata)
    image = read_micrograph(tmp_path / "a.ome.tif")
    assert image.pixel_size_nm == pytest.approx(5.0)
    assert image.pixel_size_origin == "ome"


@pytest.mark.parametrize("code", [34680, 34682])
@pytest.mark.parametrize(
    "section",
    [
        "[Scan]\r\nPixelWidth=2.5e-009\r\nPixelHeight=2.5e-009\r\n",
        "[Scan]\r\nPixelWidth=\r\n[EScan]\r\nPixelWidth=2.5e-09\r\nPixelHeight=2.5e-09\r\n",
        "[IScan]\r\nPixelWidth=2.5e-09\r\n",
        "[Scan]\r\nHorFieldsize=2.56e-06\r\n[Image]\r\nResolutionX=1024\r\n",
        "[Image]\r\nResolutionX=1024\r\n",  # the field's width stands in [EBeam]
    ],
)
def test_fei_pixel_size(tmp_path, code, section):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((884, 1024), np.uint8),
        metadata=None,
        resolution=(72, 72),
        extratags=[ascii_tag(code, FEI + section)],
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixel_size_nm == pytest.approx(2.5)
    assert image.pixel_size_origin == "fei"
    assert image.modality == "SEM"


@pytest.mark.parametrize(
    ("text", "nm"),
    [
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 558.2 pm", 0.5582),
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.000 nm", 5.0),
        ("AP_PIXEL_SIZE\r\nPixel Size = 1.5 µm", 1500.0),
        ("AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 1.5 ?m", 1500.0),
        ("DP_ZOOM\r\nZoom = Off", 35.9375 * 1024 / 512),  # the old, unnamed head: a raster of 1024
    ],
)
def test_zeiss_pixel_size(tmp_path, text, nm):
    head = "0\r\n0\r\n0\r\n3.593750e-008\r\n1.0e4\r\n"
    raw = (head + text + "\r\nAP_MAG\r\nMag = 10.00 K X\r\n").encode("cp1252")
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((300, 512), np.uint8),
        metadata=None,
        extratags=[(34118, "s", 0, raw, True)],
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixel_size_nm == pytest.approx(nm)
    assert image.pixel_size_origin == "zeiss"
    assert image.modality == "SEM"


def test_gatan_tags_in_a_tiff(tmp_path):
    tags = [
        ascii_tag(65003, "nm"),
        ascii_tag(65004, "nm"),
        (65009, "d", 1, 0.05, True),
        (65010, "d", 1, 0.05, True),
    ]
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 4), np.uint16), metadata=None, resolution=(72, 72), extratags=tags
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert (image.pixel_size_nm, image.pixel_size_origin) == (pytest.approx(0.05), "gatan")


@pytest.mark.parametrize("dpi", [1, 72, 72.009, 75, 96, 150, 300, 600, 1200, 2400, 4800])
def test_a_print_resolution_is_no_pixel_size(tmp_path, dpi):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 4), np.uint8), metadata=None, resolution=(dpi, dpi), resolutionunit=2
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixel_size_nm is None
    assert image.pixel_size_origin == "none"
    assert bool(image.notes) == (dpi > 1)


@pytest.mark.parametrize(("unit", "edge_nm"), [(2, 2.54e7), (3, 1e7)])
def test_a_fine_plain_resolution_is_one(tmp_path, unit, edge_nm):
    per_unit = edge_nm / 5.0
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 4), np.uint8),
        metadata=None,
        resolution=(per_unit, per_unit),
        resolutionunit=unit,
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.pixel_size_nm == pytest.approx(5.0, rel=1e-6)
    assert image.pixel_size_origin == "tiff resolution"


def test_pixels_that_are_not_square_are_noted(tmp_path):
    metadata = {"axes": "YX", "PhysicalSizeX": 4.0, "PhysicalSizeY": 9.0}
    metadata |= {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((4, 4), np.uint8), metadata=metadata)
    image = read_micrograph(tmp_path / "a.ome.tif")
    assert image.pixel_size_nm == pytest.approx(6.0)
    assert any("not square" in note for note in image.notes)
    assert read_micrograph(tmp_path / "a.ome.tif", pixel_size_nm=7).pixel_size_nm == 7


def test_broken_metadata_does_not_hide_the_image(tmp_path):
    tags = [
        ascii_tag(34682, "[Scan]\nPixelWidth=oops\n"),
        ascii_tag(65003, "furlong"),
        (65009, "d", 1, 1.0, True),
    ]
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 4), np.uint8),
        metadata=None,
        extratags=tags,
        description="<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><Pixels",
    )
    image = read_micrograph(tmp_path / "a.tif")
    assert image.shape == (4, 4)
    assert image.pixel_size_nm is None


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "abc", True, [1, 2]])
def test_a_pixel_size_must_be_positive(bad):
    with pytest.raises(InputError, match="positive"):
        read_micrograph(np.ones((2, 2)), pixel_size_nm=bad)
    assert check_pixel_size("2.5") == 2.5
    for impossible in (1e200, 1e-200, 10**400):  # an area would be no number
        with pytest.raises(InputError, match="positive number of nanometres"):
            check_pixel_size(impossible)


def test_lengths_are_written_for_people():
    assert [format_length(nm) for nm in (0.5, 50, 1000, 2500, 3e6, 999.99999999999)] == [
        "500 pm", "50 nm", "1 µm", "2.5 µm", "3 mm", "1 µm",
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------- bad input


def one_sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 400
    return text


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def test_missing_empty_folder_text(tmp_path):
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is no image\n")
    (tmp_path / "script.py").write_text("print('hello')\n" * 100)
    for name, what in [
        ("none.tif", "does not exist"),
        ("empty.tif", "empty"),
        (".", "folder"),
        ("text.png", "not an image"),
        ("script.py", "not an image"),
        ("a" * 5000, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=what) as error:
            read_micrograph(tmp_path / name)
        assert len(one_sentence(error)) < 400
    with pytest.raises(InputError):
        read_micrograph("nul\0character.tif")


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "mrc"])
@pytest.mark.parametrize("keep", [5, 60, 300, 0.5, 0.97])
def test_truncated_files(tmp_path, suffix, keep):
    pixels = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "mrc":
        import mrcfile

        with mrcfile.new(whole) as file:
            file.set_data(pixels.astype(np.float32))
    elif suffix == "tif":
        tifffile.imwrite(whole, pixels)
    else:
        Image.fromarray(pixels).save(whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(InputError) as error:
        read_micrograph(cut)
    one_sentence(error)


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match="Permission denied") as error:
        read_micrograph(path)
    one_sentence(error)


def test_size_limits_are_checked_before_the_pixels(tmp_path):
    (tmp_path / "wide.png").write_bytes(png_header(16385, 10))
    (tmp_path / "bomb.png").write_bytes(png_header(2**31 - 1, 2**31 - 1))
    (tmp_path / "zero.png").write_bytes(png_header(0, 10))
    for name, what in (("wide.png", "limit"), ("bomb.png", "limit"), ("zero.png", "image|pixels|damaged")):
        with pytest.raises(InputError, match=what) as error:
            read_micrograph(tmp_path / name)
        one_sentence(error)
    tifffile.imwrite(tmp_path / "wide.tif", np.zeros((1, 16385), np.uint8))
    with pytest.raises(InputError, match="limit"):
        read_micrograph(tmp_path / "wide.tif")
    with pytest.raises(InputError, match="limit"):
        read_micrograph(np.zeros((1, 16385), np.uint8))
    with pytest.raises(InputError, match="no pixels"):
        read_micrograph(np.zeros((0, 5)))
    assert read_micrograph(np.zeros((1, 16384), np.uint8)).shape == (1, 16384)


def test_pillows_own_guard_neither_refuses_nor_is_lost(tmp_path):
    # 13400**2 is beyond the size at which Pillow refuses to open an image; here the limit is ours
    guard = Image.MAX_IMAGE_PIXELS
    (tmp_path / "big.png").write_bytes(png_header(13400, 13400))
    with pytest.raises(InputError, match="cut short"):  # the header promises more than the file holds
        read_micrograph(tmp_path / "big.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    threads = [threading.Thread(target=read_micrograph, args=(tmp_path / "a.png",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guard == Image.MAX_IMAGE_PIXELS


@given(
    st.binary(min_size=1, max_size=400),
    st.sampled_from([b"", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"BM"]),
)
def test_noise_is_refused_with_one_sentence(tmp_path_factory, noise, magic):
    path = tmp_path_factory.mktemp("noise") / "x.bin"
    path.write_bytes(magic + noise)
    try:
        image = read_micrograph(path)
    except InputError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert isinstance(image, Micrograph)


# --------------------------------------------------------------------------------------------------- contrast


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.int16, np.uint32, np.float16]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    )
)
def test_unit_range_always_is_one(array):
    result = to_unit_range(array)
    assert result.dtype == np.float32
    assert result.shape == array.shape
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_contrast_is_robust():
    pixels = rng.normal(1000, 10, (200, 200))
    pixels[0, 0] = 1e6  # a hot pixel does not flatten the rest
    pixels[0, 1] = np.nan
    pixels[0, 2], pixels[0, 3] = np.inf, -np.inf
    result = to_unit_range(pixels)
    assert result[0, 0] == 1
    assert (result[0, 1], result[0, 2], result[0, 3]) == (0, 1, 0)
    assert 0.15 < result.std() < 0.3
    assert to_unit_range(np.full((5, 5), 7.0)).max() == 0
    assert to_unit_range(np.full((5, 5), np.nan)).max() == 0
    sparse = np.zeros((100, 100))
    sparse[50, 50] = 3
    assert to_unit_range(sparse)[50, 50] == 1


def test_contrast_of_a_huge_image_is_that_of_all_its_pixels():
    pixels = rng.normal(0, 1, (3000, 2500)).astype(np.float32)
    whole = np.percentile(pixels, [0.3, 99.7])
    result = to_unit_range(pixels)
    middle = result[(result > 0) & (result < 1)]
    span = (whole[1] - whole[0]) * (middle.max() - middle.min())
    assert span == pytest.approx(whole[1] - whole[0], rel=0.02)
    assert to_unit_range(np.arange(100).reshape(10, 10), 0, 100).max() == 1
    with pytest.raises(ValueError, match="percentiles"):
        to_unit_range(pixels, 50, 50)
