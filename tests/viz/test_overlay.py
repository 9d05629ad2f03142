"""Overlays: sizes, colours of neighbours, scale bars."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisa_micro.scale_bar import font_file, load_font, nice_length, scale_bar
from lisa_micro.viz import draw_overlay, segment_colours
from lisa_micro.viz.overlay import instance_colours


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (30, 20), (512, 687), (1500, 1100)])
def test_overlays_of_every_shape(shape):
    labels = np.zeros(shape, np.int32)
    labels[: max(1, shape[0] // 2)] = 1
    picture = draw_overlay(np.random.default_rng(0).random(shape), labels, 0.5)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.shape[1] * shape[0] == picture.shape[0] * shape[1]  # the aspect is kept
    plain = draw_overlay(np.full(shape, np.nan), np.zeros(shape, np.int32), enlarge=False)
    assert plain.shape == (*shape, 3)


def test_an_overlay_of_a_large_image_is_smaller():
    labels = np.zeros((5000, 3000), np.int32)
    labels[1000:2000, 1000:2000] = 1
    picture = draw_overlay(np.zeros((5000, 3000), np.float32), [labels, labels], 1.0, ["a" * 200, "b"])
    assert picture.shape == (4096, 2458, 3)


def test_neighbours_differ_in_colour():
    rng = np.random.default_rng(0)
    points = rng.random((60, 2)) * 200
    grid = np.stack(np.mgrid[:200, :200], axis=-1)[:, :, None]
    # cells that all touch
    labels = np.argmin(((grid - points) ** 2).sum(axis=-1), axis=-1).astype(np.int32) + 1
    colours = instance_colours(labels)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching = a != b
        assert (colours[a[touching]] != colours[b[touching]]).any(axis=1).all()
    assert len({tuple(colour) for colour in segment_colours(10)}) == 10


@given(st.floats(1e-6, 1e12))
def test_scale_bars_have_round_lengths(longest):
    length = nice_length(longest)
    assert 0.4 * longest <= length <= longest * (1 + 1e-6)
    mantissa = length / 10 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-6


@given(st.floats(1, 1e4), st.floats(1e-3, 1e3))
def test_a_scale_bar_fits_and_has_the_length_it_states(longest_px, pixel_nm):
    bar = scale_bar(longest_px, pixel_nm)
    assert bar.px <= longest_px * (1 + 1e-6)
    assert bar.px * pixel_nm == pytest.approx(bar.nm)


def test_the_scale_bar_is_as_long_as_it_says():
    picture = draw_overlay(np.zeros((400, 1200), np.float32), np.zeros((400, 1200), np.int32), 0.5)
    white = (picture[-60:] == 255).all(axis=2)
    longest = max(len(run) for row in white for run in "".join("x" if v else " " for v in row).split())
    assert longest * 0.5 in (100, 200, 50)  # px of 0.5 nm: a round length


def test_fonts_fall_back_where_matplotlib_has_none():
    assert font_file("no such font.ttf") is None
    assert load_font("no such font.ttf", 12) is not None


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_of_a_set_is_shown_above_the_set(first):
    whole, part = np.zeros((1100, 1100), np.int32), np.zeros((1100, 1100), np.int32)
    whole[300:900, 300:900], part[500:700, 500:700] = 1, 1
    segments = [whole, part] if first == 0 else [part, whole]
    picture = draw_overlay(np.full(whole.shape, 0.5, np.float32), segments)
    alone = draw_overlay(
        np.full(whole.shape, 0.5, np.float32), [np.zeros_like(whole), part][:: 1 if first == 0 else -1]
    )
    assert np.array_equal(picture[600, 600], alone[600, 600])
    assert not np.array_equal(picture[400, 400], picture[600, 600])
