"""Plots of replies: pictures show the measured values, and their numbers leave with them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lisa_micro.execution import PlotData, Series
from lisa_micro.language.program.syntax import Plot
from lisa_micro.viz import answer_plots as drawing

SIZES = np.array([2.0, 4.0, 4.0, 5.0, 6.5, 8.0, 11.0])


def plot(kind, *values, prop="diameter", against="", unit="nm", **more):
    series = tuple(
        Series(k, f"the set {k}", np.asarray(v, float), np.asarray(v, float)[::-1] if against else None)
        for k, v in enumerate(values, 1)
    )
    return PlotData(Plot(kind, prop, against, tuple(range(1, len(values) + 1))), series, unit, **more)


def texts(figure):
    axes = figure.axes[0]
    legend = [text.get_text() for found in figure.legends for text in found.get_texts()]
    return legend, [text.get_text() for text in axes.texts], axes


def test_a_histogram_counts_every_value_and_marks_the_percentiles():
    legend, names, axes = texts(drawing.plot_figure(plot("histogram", SIZES)))
    assert legend == ["set 1 (n = 7): D10 3.2, D50 5, D90 9.2 nm"]
    assert names == ["D10", "D50", "D90"]
    lines = [line.get_xdata()[0] for line in axes.lines]
    assert lines == pytest.approx(np.percentile(SIZES, [10, 50, 90]))
    assert sum(axes.patches[0].get_data().values) == 7
    assert axes.get_xlabel() == "diameter (nm)" and axes.get_title(loc="left") == "Histogram of diameter"


def test_sets_share_bins_and_an_empty_one_is_said_to_be_empty():
    figure = drawing.plot_figure(plot("histogram", SIZES, SIZES + 20, []), ["#0000ff", "#ff0000", "#00ff00"])
    legend, names, axes = texts(figure)
    assert [entry.split(":")[0] for entry in legend] == ["set 1 (n = 7)", "set 2 (n = 7)", "set 3 (n = 0)"]
    edges = [patch.get_data().edges for patch in axes.patches]
    assert all(np.array_equal(edges[0], other) for other in edges) and edges[0][-1] == 31
    assert names == [] and len(axes.lines) == 6


def test_a_cumulative_distribution_rises_to_100_per_cent():
    _, names, axes = texts(drawing.plot_figure(plot("cumulative", SIZES, prop="area", unit="nm2")))
    curve = next(line for line in axes.lines if len(line.get_xdata()) == 8)
    assert curve.get_ydata()[-1] == 100 and curve.get_xdata()[0] == 2
    assert axes.get_xlabel() == "area (nm²)" and [name.strip() for name in names] == ["D10", "D50", "D90"]


def test_a_scatter_plot_has_one_point_an_instance():
    data = plot("scatter", SIZES, prop="circularity", against="neck ratio", unit="")
    legend, _, axes = texts(drawing.plot_figure(data))
    points = axes.collections[0].get_offsets()
    assert np.allclose(points[:, 0], SIZES[::-1]) and np.allclose(points[:, 1], SIZES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("neck ratio x/R", "circularity") and legend == ["set 1 (n = 7)"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (plot("histogram", []), "There is nothing to plot."),
        (plot("scatter", [], [], against="area"), "There is nothing to plot."),
        (plot("histogram", problem="the neck width was not measured"), "the neck width was not measured"),
        (PlotData(Plot(""), problem="it was not understood"), "it was not understood"),
    ],
)
def test_without_values_the_picture_says_so(data, said):
    figure = drawing.plot_figure(data)
    assert said in figure.axes[0].texts[0].get_text()
    assert Image.open(io.BytesIO(drawing.plot_png(data))).width > 400


@given(
    arrays.arrays(float, st.integers(0, 80), elements=st.floats(-1e6, 1e6, allow_nan=False, width=32)),
)
def test_bins_hold_every_value(values):
    edges = drawing.bin_edges(values)
    assert np.all(np.diff(edges) > 0) and len(edges) <= 62
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_whole_numbers_get_a_bin_each():
    assert drawing.bin_edges(np.array([0, 1, 1, 4.0])).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]


def test_close_marks_share_a_name():
    assert drawing.grouped_marks(np.array([5.0, 5.0]), 1.0) == [(5.0, "D10, D50, D90")]


def test_numbers_leave_with_the_plot():
    data = plot("histogram", SIZES, [])
    table = drawing.plot_table(data)
    assert list(table) == ["target", "series", "diameter_nm"] and table["diameter_nm"].tolist() == SIZES.tolist()
    record = drawing.plot_record(data)
    assert record["series"][0]["D50"] == 5.0 and record["series"][0]["values"] == SIZES.tolist()
    assert record["series"][1] == {
        "target": 2, "name": "the set 2", "n": 0, "values": [], "D10": None, "D50": None, "D90": None,
    }  # fmt: skip
    scatter = plot("scatter", SIZES, prop="area", against="neck width", unit="px2", against_unit="px")
    assert list(drawing.plot_table(scatter)) == ["target", "series", "area_px2", "neck_width_px"]
    assert drawing.plot_record(scatter)["series"][0]["against"] == SIZES[::-1].tolist()
    assert drawing.plot_table(plot("scatter", [], against="area")).empty


def test_a_series_has_the_colour_of_its_segment():
    data = plot("histogram", SIZES, SIZES, [])
    first = drawing.series_colours(1)[0]
    assert drawing.colours_by_target(data, {2: first})[1] == first
    assert len(set(drawing.colours_by_target(data, {2: first}))) == 3
