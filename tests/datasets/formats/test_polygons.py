"""Polygons and circles are rasterised without bias and within the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.datasets.formats.polygons import Piece, circle, paint_instances, polygon


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-5, 45)] * 2, st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6))
def test_polygons_with_whole_corners_cover_exactly_their_pixels(boxes):
    shape_, pieces, masks = (40, 50), [], []
    for x, y, w, h in boxes:
        pieces.append([polygon(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float), shape_)])
        mask = np.zeros(shape_, bool)
        mask[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
        masks.append(mask)
        whole = np.zeros(shape_, bool)
        whole[pieces[-1][0].place] |= pieces[-1][0].mask
        assert np.array_equal(whole, mask)
    labels = paint_instances(pieces, shape_)
    assert np.array_equal(labels > 0, np.any(masks, axis=0))
    smallest = min(range(len(masks)), key=lambda k: (masks[k].sum() or 10**9, -k))
    if masks[smallest].any():  # what is smallest lies on top, whole
        assert len(np.unique(labels[masks[smallest]])) == 1


def test_polygons_have_the_area_that_they_enclose():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        angle = np.linspace(0, 2 * np.pi, 9)[:-1] + rng.random()
        x, y = 100 + rng.uniform(30, 80, 8) * np.cos(angle), 100 + rng.uniform(30, 80, 8) * np.sin(angle)
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        errors.append(polygon(np.stack([x, y], 1), (200, 200)).mask.sum() / area - 1)
    assert abs(np.mean(errors)) < 0.001 and np.abs(errors).max() < 0.01  # edge pixels would add 2 %


def test_a_circle_has_its_area_and_stays_in_the_image():
    whole = circle(np.array([[30.0, 30.0], [50.0, 30.0]]), (64, 80))
    assert abs(whole.mask.sum() / (np.pi * 400) - 1) < 0.01
    assert isinstance(circle(np.array([[-50.0, 30.0], [-45.0, 30.0]]), (64, 80)), Piece)
