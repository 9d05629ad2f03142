"""The dock widget on a viewer without a window, with a stand-in assistant and with the shipped preset."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pandas as pd
import pytest
import tifffile
from paths import ROOT
from stand_in_app import SQUARES, StandIn, squares

import lisa_micro as lm

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("napari", reason="the extra [napari] is not installed; it is no part of make setup")
pytest.importorskip("qtpy", reason="the extra [napari] is not installed; it is no part of make setup")
try:
    from qtpy.QtWidgets import QApplication
except ImportError as error:  # qtpy without Qt
    pytest.skip(f"no Qt binding: {error}", allow_module_level=True)

import npe2
from napari.components import ViewerModel
from napari.layers import Labels, Shapes, Tracks

from lisa_micro.napari.dock import widget as dock
from lisa_micro.napari.samples import sintering_tem
from lisa_micro.napari.session import Session

SHAPE, NM = (48, 64), 0.5


class Recorder(StandIn):
    """The stand-in; it keeps the boxes it was given, and in a video the first two squares are one from frame 4 on."""

    def __init__(self):
        super().__init__()
        self.boxes = None
        self.frame = -1

    def segment_like(self, image, boxes=None, not_like=None, **options):
        self.boxes = boxes, not_like
        return super().segment_like(image, boxes, not_like, **options)

    def ask(self, image, prompt):
        self.frame += 1
        if prompt == "slow":
            time.sleep(0.02)
        (x0, y0, _, _), (_, _, x1, y1), third = SQUARES
        boxes = SQUARES if self.frame < 4 else ((x0, y0, x1, y1), third)
        return lm.Answer("Here.", (lm.Segmentation(squares(image.shape, boxes), 0.9, 0.9, "particle"),), prompt)


@pytest.fixture(scope="module")
def app():
    manager = npe2.PluginManager.instance()
    manager.discover()
    if "lisa-micro" not in manager:  # an installation from before the plugin
        manager.register(npe2.PluginManifest.from_file(ROOT / "lisa_micro" / "napari" / "napari.yaml"))
    yield QApplication.instance() or QApplication([])


@pytest.fixture
def messages(monkeypatch):
    shown = []
    monkeypatch.setattr(dock, "show_error", shown.append)
    return shown


@pytest.fixture
def viewer(app):
    pixels = np.random.default_rng(0).random(SHAPE, np.float32)
    viewer = ViewerModel()
    viewer.add_image(pixels, name="film", scale=(NM, NM), units=("nm", "nm"), translate=(3, 5))
    return viewer


@pytest.fixture
def model():
    return Recorder()


@pytest.fixture
def panel(viewer, model, messages):
    made = dock.AskWidget(viewer, Session(lambda preset: model))
    yield made
    until(lambda: not made.jobs.running)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        QApplication.processEvents()
        time.sleep(0.001)


def run(widget, start, words=None):
    """Start a request as a user does, and wait for its end."""
    if words is not None:
        widget.panel.words.setText(words)
    start()
    until(lambda: not widget.jobs.running)


def test_an_answer_is_a_labels_layer_at_the_place_of_the_image(panel, viewer):
    run(panel, panel.ask, "segment all particles")
    layer = viewer.layers["particles"]
    image = viewer.layers["film"]
    assert isinstance(layer, Labels)
    np.testing.assert_array_equal(layer.data, squares(SHAPE))
    np.testing.assert_array_equal(layer.extent.world, image.extent.world)
    assert layer.units == image.units
    assert layer.features["area_nm2"][2] == pytest.approx((layer.data == 2).sum() * NM**2)
    x0, y0, x1, y1 = SQUARES[1]
    world = image.data_to_world(((y0 + y1) / 2, (x0 + x1) / 2))
    assert "area_nm2" in layer.get_status(world, world=True)["coordinates"]
    assert "Here are the particles of film, 0." in panel.panel.talk.toPlainText()


def test_a_conversation_goes_on_while_a_result_is_selected(panel, viewer):
    run(panel, panel.ask, "segment all particles")
    assert isinstance(viewer.layers.selection.active, Labels)
    run(panel, panel.ask, "only the largest")
    assert "Here are the particles of film, 1." in panel.panel.talk.toPlainText()
    viewer.add_image(np.zeros((30, 40), np.float32), name="other")  # another image, another conversation
    run(panel, panel.ask, "segment all particles")
    assert "Here are the particles of other, 0." in panel.panel.talk.toPlainText()


def test_the_window_stays_responsive_while_the_model_is_loaded(viewer, messages, model):
    gate, threads = threading.Event(), []

    def load(preset):
        threads.append(threading.current_thread())
        assert gate.wait(60)
        return model

    widget = dock.AskWidget(viewer, Session(load))
    widget.panel.words.setText("segment all particles")
    widget.ask()
    until(lambda: threads)
    for _ in range(20):  # would not come back if the model were loaded here
        QApplication.processEvents()
    assert widget.jobs.running and not widget.panel.stage.isHidden()
    assert widget.panel.stage.text() == "Loading the model" and not widget.panel.ask.isEnabled()
    widget.ask()  # a second request has to wait
    assert len(messages) == 1 and messages[0].endswith(".")
    gate.set()
    until(lambda: not widget.jobs.running)
    assert len(threads) == 1 and threads[0] is not threading.main_thread()
    assert "particles" in viewer.layers and widget.panel.ask.isEnabled()


@pytest.mark.parametrize("words", ["refuse", "break", "   "])
def test_what_goes_wrong_is_one_sentence_and_the_widget_goes_on(panel, viewer, messages, words):
    run(panel, panel.ask, words)
    assert len(messages) == 1 and messages[0].endswith(".") and "\n" not in messages[0]
    assert len(viewer.layers) == 1 and panel.panel.ask.isEnabled()
    run(panel, panel.ask, "segment all particles")
    assert len(viewer.layers) == 2 and len(messages) == 1


def test_what_is_missing_is_said(panel, viewer, messages):
    panel.choose_folder()
    panel.measure()
    panel.track_alike()
    panel.find_alike()  # without boxes
    until(lambda: not panel.jobs.running)
    panel.panel.pixel_size.setText("-1")
    panel.ask()
    viewer.layers.clear()
    panel.ask()
    panel.draw_boxes()
    assert len(messages) == 7 and all(message.endswith(".") for message in messages)


def test_boxes_of_any_shapes_layer_reach_the_model_in_pixels_of_the_image(panel, viewer, model):
    panel.draw_boxes()
    shapes = panel.panel.like.value
    assert isinstance(shapes, Shapes) and shapes in viewer.layers
    # pixels 4 to 13 of rows and columns: from the edge of the first to the edge of the last
    shapes.add_rectangles(np.array([[3.5, 3.5], [13.5, 13.5]]))
    run(panel, panel.find_alike)
    assert model.boxes == ([[4, 4, 14, 14]], None)
    assert "objects like the example" in viewer.layers
    # the same place in µm, and an ellipse to be left out
    corner = (np.array([[3.5, 3.5], [13.5, 13.5]]) * NM + [3, 5]) * 1e-3
    other = viewer.add_shapes([corner], shape_type="rectangle", units=("um", "um"), name="other")
    unlike = viewer.add_shapes(
        [np.array([[19.5, 29.5], [19.5, 37.5], [33.5, 37.5], [33.5, 29.5]])],
        shape_type="ellipse",
        scale=(NM, NM),
        translate=(3, 5),
        units=("nm", "nm"),
        name="unlike",
    )
    panel.panel.like.value, panel.panel.unlike.value = other, unlike
    run(panel, panel.find_alike, "the largest")
    np.testing.assert_allclose(model.boxes[0], [[4, 4, 14, 14]], atol=1e-6)
    np.testing.assert_allclose(model.boxes[1], [[30, 20, 38, 34]], atol=1e-6)


def test_a_video_gives_tracks_whose_graph_shows_the_coalescence(app, messages, model):
    viewer = ViewerModel()
    frames = np.random.default_rng(0).random((7, *SHAPE), np.float32)
    viewer.add_image(frames, name="video", scale=(2.0, NM, NM), units=("s", "nm", "nm"))
    widget = dock.AskWidget(viewer, Session(lambda preset: model))
    run(widget, widget.track, "all particles")
    assert messages == []
    layer = next(one for one in viewer.layers if isinstance(one, Tracks))
    ((merged, parents),) = layer.graph.items()
    assert len(parents) == 2 and layer.data[layer.data[:, 0] == merged][0, 1] == 4
    np.testing.assert_allclose(layer.scale, (2.0, NM, NM))
    assert layer.features["time_s"].max() == 12.0
    labels = viewer.layers["video: particles"]
    assert labels.data.shape == frames.shape and labels.data[5, 6, 6] == merged
    assert "1 coalesce" in widget.panel.talk.toPlainText()


def test_tracking_can_be_stopped(app, messages, model):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((400, *SHAPE), np.float32), name="video")
    widget = dock.AskWidget(viewer, Session(lambda preset: model))
    widget.panel.words.setText("slow")
    widget.track()
    until(lambda: model.frame >= 3)
    widget.stop()
    until(lambda: not widget.jobs.running)
    assert model.frame < 399 and len(viewer.layers) == 1 and messages == []
    viewer.layers.clear()
    viewer.add_image(np.zeros(SHAPE, np.float32))
    run(widget, widget.track, "all particles")
    assert "stack" in messages[0]


def test_an_answer_about_a_frame_lies_at_the_frame(app, messages, model):
    viewer = ViewerModel()
    frames = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    viewer.add_image(frames, name="video", scale=(2.0, NM, NM), units=("s", "nm", "nm"))
    viewer.dims.set_current_step(0, 3)
    widget = dock.AskWidget(viewer, Session(lambda preset: model))
    run(widget, widget.ask, "segment all particles")
    layer = viewer.layers["particles"]
    assert layer.data.shape == (1, *SHAPE) and layer.data_to_world((0, 0, 0))[0] == 6.0
    # the intensities are those of this frame
    assert layer.features["mean_intensity"][1] == pytest.approx(frames[3][layer.data[0] == 1].mean())


def test_another_reading_replaces_the_answer(panel, viewer):
    run(panel, panel.ask, "unsure")
    assert not panel.panel.other.isHidden() and "the necks" in panel.panel.other.text()
    assert [layer.name for layer in viewer.layers] == ["film", "particles"]
    run(panel, panel.reinterpret)
    assert [layer.name for layer in viewer.layers] == ["film", "necks"]
    assert "the particles" in panel.panel.other.text()  # and back again


def test_layers_get_the_pixel_size_of_a_file_that_napari_opened_without(app, messages, model, tmp_path):
    path = tmp_path / "film.tif"
    pixels = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / NM, 1 / NM), metadata={"unit": "nm"})
    viewer = ViewerModel()
    viewer.open(path, plugin="napari")
    drawn = viewer.add_shapes([np.array([[3.5, 3.5], [13.5, 13.5]])], shape_type="rectangle")
    widget = dock.AskWidget(viewer, Session(lambda preset: model))
    run(widget, widget.ask, "segment all particles")
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, (NM, NM))
        assert str(layer.units[-1]) == "nanometer"
    assert viewer.layers["particles"].features["area_nm2"][1] == pytest.approx(100 * NM**2)
    widget.panel.like.value = drawn
    viewer.layers.selection.active = viewer.layers[0]
    run(widget, widget.find_alike)
    assert model.boxes[0] == [[4, 4, 14, 14]]  # drawn before, at the same place after
    widget.panel.pixel_size.setText("2")
    run(widget, widget.ask, "segment all particles")
    assert viewer.layers[-1].features["area_nm2"][1] == pytest.approx(100 * 4)
    assert all(layer.scale[-1] == 2 for layer in viewer.layers)  # the user's word counts for all of them
    viewer.add_image(np.zeros(SHAPE, np.float32), scale=(7, 7), units=("nm", "nm"), name="other")
    viewer.layers.selection.active = viewer.layers[0]
    widget.panel.pixel_size.setText("3")
    run(widget, widget.ask, "segment all particles")
    assert viewer.layers[0].scale[-1] == 2  # another image has a scale of its own
    assert viewer.layers[-1].features["area_nm2"][1] == pytest.approx(100 * 9)


def test_corrected_labels_are_measured_again(panel, viewer):
    run(panel, panel.ask, "segment all particles")
    layer = viewer.layers["particles"]
    layer.data[layer.data == 2] = 0
    layer.data[40:44, 50:56] = 5
    viewer.layers.selection.active = layer
    run(panel, panel.measure)
    features = layer.features
    assert features["area_nm2"][5] == pytest.approx(24 * NM**2) and np.isnan(features["area_nm2"][2])
    pixels = viewer.layers["film"].data
    assert features["mean_intensity"][5] == pytest.approx(pixels[40:44, 50:56].mean())


def test_results_are_saved_as_they_are_in_the_layers(panel, viewer, messages, tmp_path):
    run(panel, panel.ask, "segment all particles")
    layer = viewer.layers["particles"]
    layer.data[layer.data == 2] = 0
    run(panel, lambda: panel.save(str(tmp_path / "out")))
    table = pd.read_csv(tmp_path / "out" / "instances.csv")
    assert len(table) == 2 and table["mean_intensity"].notna().all()
    assert lm.read_labels(tmp_path / "out" / "labels.tif").pixel_size_nm == pytest.approx(NM)
    run(panel, lambda: panel.save(str(tmp_path / "out")))
    assert "already holds results" in messages[0]
    viewer.layers.clear()
    opened = viewer.open(tmp_path / "out", plugin="lisa-micro")
    assert [one.name for one in opened] == ["overlay", "particles"] and opened[1].data.max() == 2
    # the same through napari's own menu
    viewer.layers.save(tmp_path / "menu", plugin="lisa-micro")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "menu" / "instances.csv").iloc[:, :10], table.iloc[:, :10])
    viewer.layers.selection = {opened[1]}
    viewer.layers.save(tmp_path / "menu.tif", selected=True, plugin="lisa-micro")
    assert (
        lm.read_labels(tmp_path / "menu.tif").pixel_size_nm == pytest.approx(NM) and (tmp_path / "menu.csv").is_file()
    )


@pytest.mark.slow
def test_the_shipped_preset_segments_the_necks_of_a_sample(app, messages):
    viewer = ViewerModel()
    for data, options, _ in sintering_tem():
        viewer.add_image(data, **options)
    widget = dock.AskWidget(viewer)
    widget.panel.words.setText("segment all sintering necks")
    widget.ask()
    until(lambda: not widget.jobs.running, 300)
    assert messages == []
    layer = viewer.layers["necks"]
    assert layer.data.max() == 5  # as many as the simulator drew
    widths = layer.features["neck_width_nm"].dropna()
    assert len(widths) == 5 and f"mean width {widths.mean():.3g} nm" in widget.panel.talk.toPlainText()
