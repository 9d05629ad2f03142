"""Results on HyperSpy signals: stand-ins for their interface, and HyperSpy itself where it is installed."""

from __future__ import annotations

import copy
import re
import shutil
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from paths import ROOT

import lisa_micro as lm
from lisa_micro.results import Answer, Segmentation
from lisa_micro.types import InputError

LABELS = np.zeros((6, 9), np.int32)
LABELS[1:4, 2:6] = 1
LABELS[2, 3] = 0  # a hole
LABELS[4:6, 7:9] = 2


@dataclass
class Axis:
    scale: float
    offset: float
    index_in_array: int
    units: str = "nm"


@dataclass
class Metadata:
    values: dict = field(default_factory=lambda: {"General.title": "film"})

    def get_item(self, name, default=None):
        return self.values.get(name, default)

    def set_item(self, name, value):
        self.values[name] = value


@dataclass
class Signal:
    """The interface of a HyperSpy signal."""

    data: np.ndarray
    axes_manager: SimpleNamespace
    metadata: Metadata = field(default_factory=Metadata)

    def deepcopy(self):
        return copy.deepcopy(self)


def signal(data, x=None, y=None):
    """A signal of one image, or of a stack with three dimensions."""
    last = data.ndim - 1
    axes = (x or Axis(0.5, 10.0, last), y or Axis(0.5, -4.0, last - 1))
    stack = (Axis(1.0, 0.0, 0, "s"),) if data.ndim == 3 else ()
    return Signal(data, SimpleNamespace(signal_axes=axes, navigation_axes=stack))


def answer():
    first, second = np.where(LABELS == 1, 1, 0), np.where(LABELS == 2, 1, 0)
    segments = [Segmentation(one.astype(np.int32), concept="particle", phrase=name) for one, name in
                ((first, "particles"), (second, "necks"))]  # fmt: skip
    return Answer("Here.", tuple(segments))


def test_labels_become_a_signal_with_the_same_axes():
    film = signal(np.random.default_rng(0).random(LABELS.shape))
    found = lm.labels_signal(film, answer())
    assert type(found) is Signal and found.data.dtype == np.int32
    np.testing.assert_array_equal(found.data, LABELS)
    assert [vars(axis) for axis in found.axes_manager.signal_axes] == [
        vars(axis) for axis in film.axes_manager.signal_axes
    ]
    assert found.metadata.values["General.title"] == "film: particles, necks"
    assert film.data.dtype == float and film.metadata.values["General.title"] == "film"  # it stays as it was


def test_turned_axes_and_stacks_keep_their_order():
    turned = signal(np.zeros((9, 6)), Axis(0.5, 0, 0), Axis(0.5, 0, 1))
    np.testing.assert_array_equal(lm.labels_signal(turned, LABELS).data, LABELS.T)
    frames = [LABELS, np.zeros_like(LABELS), LABELS]
    found = lm.labels_signal(signal(np.zeros((3, 6, 9))), iter(frames))
    np.testing.assert_array_equal(found.data, np.stack(frames))


def test_outlines_run_along_the_edges_of_the_pixels_in_the_units_of_the_axes():
    film = signal(np.zeros(LABELS.shape))
    drawn = lm.outline_markers(film, LABELS)
    assert len(drawn["verts"]) == len(drawn["edgecolor"]) == 3  # a contour, its hole, another contour
    outer = max(drawn["verts"][:2], key=np.ptp)
    # columns 2 to 5 from edge to edge, where the first pixel has its centre at 10 nm
    assert (outer[:, 0].min(), outer[:, 0].max()) == (10 + 1.5 * 0.5, 10 + 5.5 * 0.5)
    assert (outer[:, 1].min(), outer[:, 1].max()) == (-4 + 0.5 * 0.5, -4 + 3.5 * 0.5)
    assert drawn["edgecolor"][0] == drawn["edgecolor"][1] != drawn["edgecolor"][2]
    assert drawn["facecolor"] == "none"
    flipped = signal(np.zeros(LABELS.shape), x=Axis(-0.5, 10.0, 1))
    mirrored = lm.outline_markers(flipped, LABELS)["verts"]
    for one, other in zip(drawn["verts"], mirrored, strict=True):
        np.testing.assert_allclose(one[:, 0] - 10, 10 - other[:, 0])


@pytest.mark.parametrize("call", [lm.labels_signal, lm.outline_markers])
def test_what_does_not_fit_gets_one_sentence(call):
    film, spectrum = signal(np.zeros(LABELS.shape)), signal(np.zeros((6, 9)))
    spectrum.axes_manager.signal_axes = spectrum.axes_manager.signal_axes[:1]
    for target, result in (
        (np.zeros(LABELS.shape), LABELS),
        (film, LABELS[:5]),
        (film, LABELS.astype(float)),
        (signal(np.zeros((6, 10))), answer()),
        (signal(np.zeros((3, 6, 9))), answer()),
        (spectrum, LABELS),
    ):
        with pytest.raises(InputError) as error:
            call(target, result)
        assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_hyperspy_itself(tmp_path):
    hs = pytest.importorskip("hyperspy.api", reason="HyperSpy (GPL-3) is not installed")
    film = hs.signals.Signal2D(np.random.default_rng(0).random(LABELS.shape))
    for axis, offset in zip(film.axes_manager.signal_axes, (10.0, -4.0), strict=True):
        axis.scale, axis.offset, axis.units = 0.5, offset, "nm"
    film.metadata.General.title = "film"
    for source in (film, film.as_lazy()):
        found = lm.labels_signal(source, answer())
        assert isinstance(found, hs.signals.Signal2D) and found.data.dtype == np.int32
        np.testing.assert_array_equal(np.asarray(found.data), LABELS)
        assert found.axes_manager.as_dictionary() == source.axes_manager.as_dictionary()
    assert lm.read_micrograph(lm.labels_signal(film, LABELS)).pixel_size_nm == pytest.approx(0.5)
    stack = hs.signals.Signal2D(np.zeros((3, *LABELS.shape)))
    np.testing.assert_array_equal(lm.labels_signal(stack, [LABELS] * 3).inav[1].data, LABELS)
    import matplotlib

    matplotlib.use("Agg")
    film.plot()
    film.add_marker(hs.plot.markers.Polygons(**lm.outline_markers(film, answer())), permanent=True)
    film.save(tmp_path / "film.hspy")
    assert len(hs.load(tmp_path / "film.hspy").metadata.Markers) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    hs = pytest.importorskip("hyperspy.api", reason="HyperSpy (GPL-3) is not installed")
    import matplotlib

    matplotlib.use("Agg")
    shutil.copyfile(ROOT / "data" / "samples" / "sintering_tem.tif", tmp_path / "film.tif")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "napari.md").read_text(encoding="utf-8"), re.DOTALL)
    made: dict = {}
    exec(compile(block, "napari.md", "exec"), made)
    assert isinstance(made["labels"], hs.signals.Signal2D) and made["labels"].data.max() == 16  # as simulated
    assert len(made["film"].metadata.Markers) == 1 and made["answer"].segments[0].pixel_size_nm == pytest.approx(0.2)
