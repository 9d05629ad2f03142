"""Answers and segmentations as objects: equality, representation in a terminal and in a notebook."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lisa_micro as lm
from lisa_micro.execution import PlotData, Series
from lisa_micro.language.program.syntax import Plot
from lisa_micro.measure import measure_particles
from lisa_micro.results.answer import Reading
from lisa_micro.results.html import result_html
from lisa_micro.sim import simulate_scene
from lisa_micro.viz.thumbnail import MAX_BYTES


@pytest.fixture(scope="module")
def segment() -> lm.Segmentation:
    scene = simulate_scene(4, (512, 512), kind="polydisperse")
    image = lm.Micrograph(scene.pixels, 0.5, "film.tif")
    table = measure_particles(scene.particles, 0.5)
    return lm.Segmentation(
        scene.particles,
        0.91,
        concept="particle",
        phrase="the <particles>",
        pixel_size_nm=0.5,
        properties=table,
        image=image,
    )


def picture_in(html: str) -> tuple[np.ndarray, int]:
    data = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", html)[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), len(data)


def test_repr_is_short_and_states_count_size_and_shape(segment):
    text = repr(segment)
    mean = segment.table()["diameter_nm"].mean()
    assert f"{segment.count} x particle" in text
    assert f"{mean:.3g} nm" in text
    assert "(512, 512)" in text
    assert len(text) < 120
    answer = lm.Answer("The particles are [SEG]. " * 20, (segment,))
    assert len(repr(answer)) < 200
    assert "declined" in repr(lm.Answer("There are none.", declined=True))
    assert "(512, 512)" in repr(segment.image) and "0.5 nm/px" in repr(segment.image)


def test_sizes_without_a_pixel_size_are_in_pixels(segment):
    plain = lm.Segmentation(segment.labels)
    value, unit = plain.mean_diameter()
    assert unit == "px"
    assert value == pytest.approx(segment.mean_diameter()[0] / 0.5)
    empty = lm.Segmentation(np.zeros((4, 5), np.int32))
    assert np.isnan(empty.mean_diameter()[0])
    assert "0 x object" in repr(empty)


def test_results_with_arrays_compare_by_identity(segment):
    twin = lm.Segmentation(segment.labels)
    assert twin != lm.Segmentation(segment.labels)
    assert twin == twin
    assert len({twin, segment, segment.image}) == 3  # hashable, so usable as keys
    assert lm.Answer("a", (twin,)) != lm.Answer("a", (twin,))


def test_notebook_view_shows_the_overlay_and_the_head_of_the_table(segment):
    for result in (segment, lm.Answer("Here are the <particles>.", (segment,), image=segment.image)):
        html = result._repr_html_()
        assert "&lt;particles&gt;" in html and "<particles>" not in html
        assert html.count("<tr") == 6  # the names and five rows
        assert f"{segment.count} rows" in html
        picture, size = picture_in(html)
        assert size <= MAX_BYTES
        assert max(picture.shape) >= 200
        colour = np.ptp(picture.astype(int), axis=2) > 40
        assert 0.02 < colour.mean() < 0.9  # the contours are in colour, the micrograph is grey
        grey = picture[~colour]
        assert grey.std() > 10


def test_notebook_view_without_a_micrograph_or_without_segments(segment):
    picture, _ = picture_in(lm.Segmentation(segment.labels)._repr_html_())
    assert (np.ptp(picture.astype(int), axis=2) > 40).any()
    html = lm.Answer("There are no pores.", declined=True, notes=("A note.",))._repr_html_()
    assert "<img" not in html and "A note." in html


def test_notebook_view_shows_plots_and_the_other_reading(segment):
    sizes = segment.table()["diameter_nm"].to_numpy(float)
    slot = Plot("histogram", "diameter", of=(1,))
    plots = (PlotData(slot, (Series(1, "the particles", sizes),), "nm"), PlotData(slot, problem="it was not measured"))
    answer = lm.Answer("Here is a <plot>.", (segment,), plots=plots, alternative=Reading("raw", "the <necks>"))
    html = answer._repr_html_()
    assert html.count("<img") == 2 and 'alt="Histogram of diameter"' in html  # the overlay and the plot that was drawn
    assert "Did you mean the &lt;necks&gt;?" in html


def test_wide_tables_are_cut():
    table = pd.DataFrame({f"column {k}": [1.0] * 9 for k in range(20)})
    html = result_html("title", [], None, table)
    assert "column 7" in html and "column 8" not in html
    assert "9 rows, 20 columns" in html
