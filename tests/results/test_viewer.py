"""The viewer and the plots of answers without a browser; ``test_viewer_browser.py`` has one."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lisa_micro as lm
from lisa_micro.measure import measure_particles
from lisa_micro.results import viewer
from lisa_micro.results.plotting import plot_of
from lisa_micro.results.viewer import NOTEBOOK_BYTES, answer_page
from lisa_micro.types import InputError


def discs(*radii: int, size: int = 96) -> np.ndarray:
    """Instance labels of discs in a row."""
    y, x = np.mgrid[:size, : size * len(radii)]
    labels = np.zeros(y.shape, np.int32)
    for k, radius in enumerate(radii):
        labels[(x - size * (k + 0.5)) ** 2 + (y - size / 2) ** 2 <= radius**2] = k + 1
    return labels


@pytest.fixture
def answer() -> lm.Answer:
    labels = discs(10, 20, 40)
    image = lm.Micrograph(np.random.default_rng(0).normal(size=labels.shape).astype(np.float32), 0.5, "a/film.tif")
    parts = []
    for number, (concept, which) in enumerate((("particle", [1, 2, 3]), ("pore", [2])), start=1):
        chosen = np.where(np.isin(labels, which), labels, 0).astype(np.int32)
        table = measure_particles(chosen, 0.5)
        parts.append(lm.Segmentation(chosen, 0.9, 0.8, concept, f"the {concept}s", "", 0.5, table, target=number))
    return lm.Answer("Here they are.", tuple(parts), image=image)


def test_a_property_is_plotted_in_its_unit_one_series_a_segment(answer):
    data = plot_of(answer.segments, "diameter")
    assert data.unit == "nm" and [series.name for series in data.series] == ["the particles", "the pores"]
    assert data.series[0].values == pytest.approx([10, 20, 40], rel=0.03)  # 2 r 0.5 nm
    assert plot_of(answer.segments, "radius").series[1].values == pytest.approx([10], rel=0.03)
    scatter = plot_of(answer.segments[:1], "area", against="diameter").series[0]
    assert scatter.values == pytest.approx(np.pi / 4 * scatter.against**2)
    figure = answer.plot("diameter", kind="cumulative")
    assert figure.axes[0].get_xlabel() == "diameter (nm)" and figure._repr_png_().startswith(b"\x89PNG")
    colours = answer.plot_colours(data)
    assert len(set(colours)) == 2 and colours[0] == "#00aaff"  # that of the first segment in the overlay


def test_what_cannot_be_plotted_is_told(answer):
    with pytest.raises(InputError, match="Unknown property 'diametre'; choose one of diameter, "):
        answer.plot("diametre")
    with pytest.raises(InputError, match="No thickness was measured of the particles, the pores; measured were diam"):
        answer.plot("thickness")
    with pytest.raises(InputError, match="choose histogram"):
        answer.plot("area", kind="pie")
    with pytest.raises(InputError, match="second property"):
        answer.segments[0].plot("area", kind="scatter")
    with pytest.raises(InputError, match="No diameter was measured of object"):
        lm.Segmentation(discs(5)).plot()
    nothing = lm.Answer("There are no pores.", declined=True)
    assert nothing.plot().axes[0].texts[0].get_text() == "There is nothing to plot."
    with pytest.raises(InputError, match="nothing to show: There are no pores."):
        nothing.show()
    with pytest.raises(InputError, match="at least 1 px"):
        answer.show(longest=0)


def test_show_opens_a_page_that_needs_no_network(answer, monkeypatch, tmp_path, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    answer.show()
    path = Path(opened[0].removeprefix("file://"))
    page = path.read_text(encoding="utf-8")
    assert "film.tif" in page and "a/film.tif" not in page
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page)
    assert set(addresses) <= {"http://www.w3.org"}  # the name of SVG, which is not fetched
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    answer.segments[0].show()
    assert re.search(r"the viewer is .*answer\.html", capsys.readouterr().out)


def test_show_displays_in_a_notebook(answer, monkeypatch):
    shown = []
    display = SimpleNamespace(HTML=lambda html: html, display=shown.append)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=display)
    monkeypatch.setitem(viewer.sys.modules, "IPython", shell)
    monkeypatch.setitem(viewer.sys.modules, "IPython.display", display)
    answer.show()
    assert len(shown) == 1 and shown[0].count("<iframe") == 1 and shown[0].count("<img") == 1


def test_the_output_of_a_cell_stays_small_and_its_text_is_no_markup():
    labels = np.zeros((3000, 3000), np.int32)
    labels[:400, :400] = 1
    noise = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    hostile = "</script><script>alert(1)</script>'\">"
    segment = lm.Segmentation(labels, concept=hostile, phrase=hostile, image=lm.Micrograph(noise, source=hostile))
    page = answer_page([segment], segment.image, 768, NOTEBOOK_BYTES)
    assert "<script>alert" not in page and page.count("</script>") == 2
    html = segment._repr_html_()
    assert len(html) < 450_000
    frame = re.search(r"<iframe [^']*'[^']*' style='[^']*' srcdoc='([^']*)'></iframe>", html)
    assert frame and "<script>alert" not in html.replace(frame[1], "")
    # instances that nobody measured have a size, too: 400 x 400 px
    assert '["area","160000 px\\u00b2"]' in page
