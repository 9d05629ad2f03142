"""Label images: one rule for masks and instance numbers, whatever the file."""

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from lisa_micro.io import read_label_image, read_labels, write_labels
from lisa_micro.types import InputError

BLOBS = np.zeros((9, 12), np.uint8)
BLOBS[1:3, 1:3] = BLOBS[5:8, 5:9] = 1


def saved(folder, array: np.ndarray, suffix: str):
    path = folder / f"labels{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".mrc":
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(array)
    elif suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".npy"])
@pytest.mark.parametrize("value", [1, 255])
def test_eight_bit_images_of_two_values_are_masks(tmp_path, suffix, value):
    image = read_labels(saved(tmp_path, BLOBS * np.uint8(value), suffix))
    assert image.pixels.dtype == np.int32
    assert image.pixels.max() == 2
    assert any("2 connected regions" in note for note in image.notes)
    found = read_label_image(tmp_path / f"labels{suffix}")
    assert found.is_mask
    np.testing.assert_array_equal(found.image.pixels, BLOBS)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.float32])
@pytest.mark.parametrize("value", [1, 5, 255])
def test_wider_images_hold_instance_numbers(tmp_path, dtype, value):
    path = saved(tmp_path, BLOBS.astype(dtype) * dtype(value), ".tif")
    found = read_label_image(path)
    assert not found.is_mask
    np.testing.assert_array_equal(read_labels(path).pixels, BLOBS.astype(int) * value)  # one instance of two pieces
    assert read_labels(path, kind="mask").pixels.max() == 2


def test_two_exceptions(tmp_path):
    assert read_label_image(saved(tmp_path, BLOBS.astype(np.uint16) * 65535, ".tif")).is_mask
    assert not read_label_image(saved(tmp_path, BLOBS * np.uint8(5), ".png")).is_mask  # instance 5
    assert read_label_image(saved(tmp_path, BLOBS > 0, ".npy")).is_mask
    assert not read_label_image(saved(tmp_path, BLOBS * np.uint8(255), ".png"), kind="instances").is_mask


def test_written_labels_come_back_as_they_were(tmp_path):
    # one instance in two pieces, and the number of a single instance, are kept
    for labels in (
        BLOBS.astype(np.int32),
        BLOBS * np.uint8(255),
        np.arange(108).reshape(9, 12),
        BLOBS.astype(int) * 70_000,
    ):
        write_labels(tmp_path / "a.tif", labels, 0.5)
        image = read_labels(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.pixels, labels)
        assert image.pixel_size_nm == pytest.approx(0.5)
        assert not any("became the instances" in note for note in image.notes)


def test_one_number_in_several_places_is_told(tmp_path):
    image = read_labels(saved(tmp_path, BLOBS.astype(np.uint16) * 255, ".tif"))
    assert any("2 separate regions" in note and "8-bit" in note for note in image.notes)
    whole = np.ones((3, 4), np.uint16)
    assert not read_labels(saved(tmp_path, whole, ".tif")).notes


def test_numbers_are_exact_in_every_format(tmp_path):
    numbers = np.arange(108, dtype=np.uint16).reshape(9, 12) * 600
    for suffix in (".png", ".tif", ".npy", ".mrc"):
        np.testing.assert_array_equal(read_labels(saved(tmp_path, numbers, suffix)).pixels, numbers)
    large = np.array([[0, 2**24 + 1, 2**31 - 1]], np.uint32)  # float32 cannot hold these
    for suffix in (".tif", ".npy"):
        np.testing.assert_array_equal(read_labels(saved(tmp_path, large, suffix)).pixels, large)
    np.testing.assert_array_equal(read_labels(saved(tmp_path, numbers.astype(float), ".npy")).pixels, numbers)
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([numbers, numbers + 1]))
    np.testing.assert_array_equal(read_labels(tmp_path / "stack.tif", page=1).pixels, numbers + 1)


def test_palettes_give_indices_and_grey_stored_as_colour_is_accepted(tmp_path):
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4), mode=None).convert("P")
    picture.putpalette([k for value in range(256) for k in (255 - value, value, 7)])
    picture.save(tmp_path / "voc.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "voc.png").pixels, np.asarray(picture))
    tifffile.imwrite(
        tmp_path / "voc.tif",
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        photometric="palette",
        colormap=np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16),
    )
    assert read_labels(tmp_path / "voc.tif").pixels.max() == 11
    Image.fromarray(np.stack([BLOBS * np.uint8(9)] * 4, axis=2)).save(tmp_path / "rgba.png")
    assert read_labels(tmp_path / "rgba.png").pixels.max() == 9


def test_an_empty_image_has_no_instances(tmp_path):
    for dtype in (np.uint8, np.uint16):
        assert read_labels(saved(tmp_path, np.zeros((3, 4), dtype), ".tif")).pixels.max() == 0


def test_bad_files_are_refused_in_one_sentence(tmp_path):
    np.save(tmp_path / "half.npy", np.full((3, 4), 0.5))
    np.save(tmp_path / "nan.npy", np.full((3, 4), np.nan))
    np.save(tmp_path / "flat.npy", np.arange(4))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "huge.npy", np.array([[2**40]]))
    tifffile.imwrite(tmp_path / "half.tif", np.full((3, 4), 0.5, np.float32))
    tifffile.imwrite(tmp_path / "negative.tif", np.full((3, 4), -1, np.int16))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "rgb.png")
    (tmp_path / "text.tif").write_text("II*\0 nothing")
    (tmp_path / "empty.png").write_bytes(b"")
    names = [path.name for path in tmp_path.iterdir()]
    for name in (*names, "none.npy", "none.tif", "."):
        with pytest.raises(InputError) as error:
            read_labels(tmp_path / name)
        assert "\n" not in str(error.value)
    path = saved(tmp_path, BLOBS, ".tif")
    with pytest.raises(InputError, match="colours"):
        read_labels(path, kind="colours")
    with pytest.raises(InputError, match="no page 3"):
        read_labels(path, page=3)
