"""Boxes, run lengths, resizing and tiles: inverses are exact, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from lisa_micro.geometry import (
    box_iou,
    boxes_from_labels,
    clip_boxes,
    repair_boxes,
    resize_long_side,
    rle_decode,
    rle_encode,
    rle_from_labels,
    tiles,
)
from lisa_micro.types import InputError

side = st.integers(1, 40)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
label_images = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 5))


@given(st.lists(st.tuples(*[st.floats(-50, 150)] * 4), min_size=1, max_size=5))
def test_boxes_are_repaired(boxes):
    try:
        result = repair_boxes(boxes, (80, 100))
    except InputError:
        swapped = np.array(boxes)
        near = np.clip(np.minimum(swapped[:, :2], swapped[:, 2:]), 0, [100, 80])
        far = np.clip(np.maximum(swapped[:, :2], swapped[:, 2:]), 0, [100, 80])
        assert (far <= near).any()
        return
    assert result.shape == (len(boxes), 4)
    assert (result[:, :2] < result[:, 2:]).all()
    assert (result >= 0).all()
    assert (result <= [100, 80, 100, 80]).all()
    corners = np.array(boxes)[:, [2, 3, 0, 1]]
    np.testing.assert_array_equal(repair_boxes(corners, (80, 100)), result)


def test_bad_boxes():
    assert repair_boxes([]).shape == (0, 4)
    np.testing.assert_array_equal(repair_boxes([30, 40, 10, 20]), [[10, 20, 30, 40]])
    for bad in ([1, 2, 3], [[1, 2, 3, np.nan]], "abc", [[5, 5, 5, 9]], [[[1, 2, 3, 4]]]):
        with pytest.raises(InputError):
            repair_boxes(bad)
    with pytest.raises(InputError, match="no area inside the image of 100 x 80"):
        repair_boxes([200, 0, 300, 10], (80, 100))


@given(label_images)
def test_boxes_of_labels_are_tight(labels):
    boxes = boxes_from_labels(labels)
    assert boxes.shape == (labels.max(initial=0), 4)
    for k, (x0, y0, x1, y1) in enumerate(boxes.astype(int), start=1):
        inside = labels[y0:y1, x0:x1] == k
        assert inside.sum() == (labels == k).sum()
        if inside.size:
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_iou():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5]], dtype=float)
    np.testing.assert_allclose(box_iou(boxes, boxes), [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(clip_boxes(np.array([[-5.0, 2, 50, 60]]), (10, 20)), [[0, 2, 20, 10]])


@given(masks)
def test_run_lengths_there_and_back_as_coco_has_them(mask):
    rle = rle_encode(mask)
    np.testing.assert_array_equal(rle_decode(rle), mask)
    packed = coco_mask.frPyObjects(rle, *mask.shape)
    np.testing.assert_array_equal(coco_mask.decode(packed).astype(bool), mask)


@given(label_images)
def test_run_lengths_of_labels_are_those_of_each_mask(labels):
    result = rle_from_labels(labels)
    assert list(result) == [k for k in np.unique(labels) if k > 0]
    for k, rle in result.items():
        assert rle == rle_encode(labels == k)


def test_damaged_run_lengths():
    for counts in ([5], [3, 4], [-1, 5]):
        with pytest.raises(InputError):
            rle_decode({"size": [2, 2], "counts": counts})
    assert rle_from_labels(np.zeros((0, 4), np.int32)) == {}


@given(side, side, st.integers(1, 60), st.sampled_from([1, 4]), st.data())
def test_resizing_has_an_exact_inverse(height, width, long_side, multiple, data):
    resizing = resize_long_side((height, width), long_side, multiple)
    assert resizing.original == (height, width)
    assert max(resizing.resized) >= multiple
    assert abs(max(resizing.resized) - long_side) <= multiple
    boxes = data.draw(hnp.arrays(np.float64, (3, 4), elements=st.floats(0, 40)))
    np.testing.assert_allclose(resizing.boxes_back(resizing.boxes(boxes)), boxes, atol=1e-9)
    np.testing.assert_allclose(resizing.points_back(resizing.points(boxes[:, :2])), boxes[:, :2], atol=1e-9)
    whole = resizing.boxes(np.array([0, 0, width, height]))
    np.testing.assert_allclose(whole, [0, 0, resizing.resized[1], resizing.resized[0]])
    image = np.zeros((height, width), np.float32)
    assert resizing.image(image).shape == resizing.resized
    assert resizing.logits_back(np.zeros((2, *resizing.resized), np.float32)).shape == (2, height, width)


@given(label_images, st.integers(1, 4))
def test_labels_survive_enlarging(labels, factor):
    resizing = resize_long_side(labels.shape, max(labels.shape) * factor)
    assume(resizing.resized == (labels.shape[0] * factor, labels.shape[1] * factor))
    large = resizing.labels(labels)
    assert large.dtype == labels.dtype
    np.testing.assert_array_equal(resizing.labels_back(large), labels)


def test_bilinear_keeps_positions():
    # a ramp stays a ramp: nothing is shifted by half a pixel
    ramp = np.tile(np.arange(64, dtype=np.float32) + 0.5, (32, 1))
    resizing = resize_long_side((32, 64), 128)
    large = resizing.image(ramp)
    np.testing.assert_allclose(large[0, 4:-4], (np.arange(128) + 0.5)[4:-4] / 2, atol=1e-4)
    np.testing.assert_allclose(resizing.logits_back(large)[:, 4:-4], ramp[:, 4:-4], atol=1e-3)
    with pytest.raises(InputError):
        resize_long_side((0, 5), 10)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 64), st.integers(0, 3))
def test_tiles_cover_every_pixel_once(height, width, size, halo):
    image = np.arange(height * width, dtype=np.int64).reshape(height, width)
    seen = np.zeros((height, width), dtype=int)
    copy = np.full_like(image, -1)
    for tile in tiles((height, width), size, halo):
        part = tile.read(image)
        assert part.shape == (min(size, height), min(size, width))
        y0, y1, x0, x1 = tile.core
        seen[y0:y1, x0:x1] += 1
        for low, high, begin, end, length in (
            (*tile.outer[:2], *tile.core[:2], height),
            (*tile.outer[2:], *tile.core[2:], width),
        ):
            assert begin - low >= halo or low == 0
            assert high - end >= halo or high == length
        tile.write(copy, part)
    assert (seen == 1).all()
    np.testing.assert_array_equal(copy, image)


def test_tiles_without_a_core():
    with pytest.raises(InputError, match="larger tiles"):
        list(tiles((10, 10), 8, 4))
