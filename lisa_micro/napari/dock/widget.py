"""The dock widget: talk about the image layer that is selected."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from lisa_micro.io.units import check_pixel_size
from lisa_micro.napari.dock.calibrate import calibrate
from lisa_micro.napari.dock.jobs import Jobs
from lisa_micro.napari.dock.panel import Panel
from lisa_micro.napari.films import TRANSFORM, Film, boxes_of, film_of
from lisa_micro.napari.layers import RECORD
from lisa_micro.napari.session import Outcome, Session, measure_again
from lisa_micro.napari.writer import write_results
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from lisa_micro.results.answer import Reading

Work = Callable[[], Any]


class AskWidget(QWidget):
    """Ask about a micrograph, find all that is like an example, and track particles through a video.

    Args:
        napari_viewer: the viewer that it is docked in.
        session: the model and the conversations; a new one by default.
    """

    def __init__(self, napari_viewer: Viewer, session: Session | None = None):
        super().__init__()
        self.viewer, self.session = napari_viewer, session or Session()
        self.panel, self.jobs = Panel(self._shapes), Jobs(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self._image: Image | None = None  # talked about lately
        self._about: Image | None = None  # of the request that is being answered
        self._request = ""
        self._then: Callable[[Any], None] = _nothing
        self._last: tuple[Outcome, list[Layer]] | None = None
        self._connect()
        self._layers_changed()

    def _connect(self) -> None:
        panel, layers = self.panel, self.viewer.layers
        panel.ask.clicked.connect(self.ask)
        panel.words.returnPressed.connect(self.ask)
        panel.track.clicked.connect(self.track)
        panel.other.clicked.connect(self.reinterpret)
        panel.draw.clicked.connect(self.draw_boxes)
        panel.find.clicked.connect(self.find_alike)
        panel.follow.clicked.connect(self.track_alike)
        panel.measure.clicked.connect(self.measure)
        panel.save.clicked.connect(self.choose_folder)
        panel.stop.clicked.connect(self.stop)
        self.jobs.progressed.connect(panel.show_busy)
        self.jobs.finished.connect(self._finished)
        self.jobs.failed.connect(self._failed)
        for event in (layers.events.inserted, layers.events.removed, layers.selection.events.active):
            event.connect(self._layers_changed)

    # ------------------------------------------------------------------------------------------------ requests

    def ask(self) -> None:
        """Answer the request that is typed, about the frame that is shown."""
        words, preset, session = self.panel.words.text(), self._preset(), self.session
        self._start(words, "Answering", lambda image, film: lambda: session.ask(preset, film, words, self.jobs.report))

    def reinterpret(self) -> None:
        """Replace the last answer by that of the reading that is offered."""
        if self._last is None or self._last[0].alternative is None:
            return
        reading: Reading = self._last[0].alternative
        former = self._last[1]

        def shown(outcome: Outcome) -> None:
            for layer in former:
                if layer in self.viewer.layers:
                    self.viewer.layers.remove(layer)
            self._show(outcome)

        self._start(reading.text, "Answering", lambda image, film: lambda: self.session.reinterpret(reading), shown)

    def find_alike(self) -> None:
        """Segment everything that is like the content of the boxes; words that are typed are a condition."""
        words, preset, session = self.panel.words.text(), self._preset(), self.session
        like, unlike = self.panel.like.value, self.panel.unlike.value

        def prepare(image: Image, film: Film) -> Work:
            boxes, others = _boxes(like, image), _boxes(unlike, image)
            return lambda: session.find_alike(preset, film, boxes, others, words, self.jobs.report)

        self._start(f"Find all like this {words}".strip(), "Finding all that is alike", prepare)

    def track(self) -> None:
        """Follow what the words mean through the frames of the layer."""
        self._track(self.panel.words.text(), None)

    def track_alike(self) -> None:
        """Follow everything that is like the content of the boxes in the first frame."""
        if self.panel.like.value is None:
            show_error("There are no boxes to track; choose a shapes layer with boxes in the first frame.")
            return
        self._track(self.panel.words.text(), self.panel.like.value)

    def _track(self, words: str, like: Shapes | None) -> None:
        preset, session = self._preset(), self.session

        def prepare(image: Image, film: Film) -> Work:
            boxes = _boxes(like, image)
            report = self.jobs.report
            return lambda: session.track(
                preset, film, words, boxes, lambda done, total: report("Tracking", done, total)
            )

        self._start(f"Track {words or 'all like this'}", "Tracking", prepare)

    def measure(self) -> None:
        """Measure the selected labels layer again; its features are replaced."""
        layer = self.viewer.layers.selection.active
        if not isinstance(layer, Labels):
            show_error("Select a labels layer to measure it.")
            return
        data = layer.data[0] if layer.multiscale else layer.data
        options = {name: getattr(layer, name) for name in ("features", "metadata", "scale", "units")}
        film = None if self.image is None else self._film(self.image)

        def shown(features: Any) -> None:
            layer.features = features

        self._run("Measuring", lambda: measure_again(np.array(data), options, film), shown)

    def draw_boxes(self) -> None:
        """Add a shapes layer over the image, ready to draw rectangles, and choose it."""
        image = self.image
        if image is None:
            show_error("Open a micrograph first.")
            return
        transform = {name: getattr(image, name) for name in TRANSFORM}
        shapes = Shapes(
            ndim=image.ndim, name="boxes", edge_color="yellow", edge_width=2, face_color="transparent", **transform
        )
        self.viewer.add_layer(shapes)
        shapes.mode = "add_rectangle"
        self.panel.like.value = shapes

    def stop(self) -> None:
        """Stop what is being done, as soon as it can be stopped."""
        self.panel.stage.setText("Stopping")
        self.jobs.cancel()

    # ------------------------------------------------------------------------------------------------ results

    def choose_folder(self) -> None:
        """Let the user choose a folder for the last result."""
        if self._last is None:
            show_error("There is no result to save yet; ask first.")
            return
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.save(folder)

    def save(self, folder: str) -> None:
        """Write the last result, with its labels as they are now.

        Args:
            folder: created if missing; it must not hold results.
        """
        if self._last is None:
            return
        outcome, layers = self._last
        tracks, image = outcome.tracks, outcome.image
        if tracks is not None:
            self._run("Saving", lambda: tracks.save(folder), lambda _: self.panel.say("Saved", folder))
            return
        kept = [layer for layer in layers if layer in self.viewer.layers]
        # the data are copied, since the user may go on painting
        data = [(np.array(layer.data), layer.as_layer_data_tuple()[1], "labels") for layer in kept]
        if image is not None:
            data.append((image.pixels, {"metadata": {RECORD: image}}, "image"))
        self._run("Saving", lambda: write_results(folder, data), lambda _: self.panel.say("Saved", folder))

    def _show(self, outcome: Outcome) -> None:
        """Add the layers of a result, and the reply to the conversation."""
        notes, transform = list(outcome.notes), {}
        about = self._about
        if outcome.image is not None and about is not None and about in self.viewer.layers:
            told = calibrate(self.viewer, about, outcome.image)
            if told:
                notes.append(told)
                transform = {"scale": about.scale, "units": about.units}
        added = [
            self.viewer.add_layer(Layer.create(data, options | transform, kind))
            for data, options, kind in outcome.layers
        ]
        self._last = outcome, added
        self.panel.words.clear()
        self.panel.say(self._request, outcome.text, notes)
        self.panel.offer(outcome.alternative.text if outcome.alternative is not None else "")

    # ------------------------------------------------------------------------------------------------ layers

    @property
    def image(self) -> Image | None:
        """The image layer that is talked about: the selected one, else the one before, else the topmost."""
        images = [layer for layer in self.viewer.layers if _is_micrograph(layer)]
        for layer in (self.viewer.layers.selection.active, self._image, *reversed(images)):
            if layer in images:
                self._image = layer
                return layer
        self._image = None
        return None

    def _film(self, image: Image) -> Film:
        """What a request needs of an image layer.

        Raises:
            InputError: the pixel size that is typed is no positive number.
        """
        typed = self.panel.pixel_size.text().strip().replace(",", ".")
        return film_of(image, self.viewer.dims.point, check_pixel_size(typed or None))

    def _shapes(self) -> list[Shapes]:
        return [layer for layer in self.viewer.layers if isinstance(layer, Shapes)]

    def _layers_changed(self, event: object = None) -> None:
        image = self.image
        if image is None:
            self.panel.about.setText("Open a micrograph, a stack of frames, or a folder of results.")
        else:
            frames = f", {image.data.shape[0]} frames" if image.ndim == 3 else ""
            self.panel.about.setText(f"About: <b>{html.escape(image.name)}</b>{frames}")
        self.panel.like.reset_choices()
        self.panel.unlike.reset_choices()

    def _preset(self) -> str:
        return self.panel.preset.text().strip() or "micro"

    # ------------------------------------------------------------------------------------------------ jobs

    def _start(
        self,
        request: str,
        stage: str,
        prepare: Callable[[Image, Film], Work],
        then: Callable[[Any], None] | None = None,
    ) -> None:
        """Start a request about the image layer.

        Args:
            request: for the conversation.
            stage: what is being done, for the progress bar.
            prepare: takes what it needs of the layers, and returns the work for the worker thread.
            then: takes the result; by default its layers are shown.
        """
        image = self.image
        if image is None:
            show_error("Open a micrograph first.")
            return
        try:
            work = prepare(image, self._film(image))
        except InputError as error:
            show_error(str(error))
            return
        preset, session, report = self._preset(), self.session, self.jobs.report

        def load_and_work() -> Any:
            session.assistant(preset)
            report(stage, 0)
            return work()

        first = stage if session.loaded(preset) else "Loading the model"
        if self._run(first, load_and_work, then or self._show):
            self._request, self._about = request, image

    def _run(self, stage: str, work: Work, then: Callable[[Any], None]) -> bool:
        """Run work in a thread, unless something is running."""
        if self.jobs.running:
            show_error("Another request is being answered; wait for it, or stop it.")
            return False
        self._then = then
        self.panel.show_busy(stage)
        self.jobs.start(work)
        return True

    def _finished(self, result: Any) -> None:
        self.panel.show_idle()
        self._then(result)

    def _failed(self, message: str) -> None:
        self.panel.show_idle()
        if message:
            show_error(message)


def _boxes(shapes: Shapes | None, image: Image) -> np.ndarray:
    """``(N, 4)`` boxes around the shapes of a layer, XYXY px of an image layer; none for no layer."""
    return np.zeros((0, 4)) if shapes is None else boxes_of(shapes, image)


def _is_micrograph(layer: Layer) -> bool:
    """Whether a layer is an image that can be talked about, and not the overlay of a result."""
    return isinstance(layer, Image) and layer.metadata.get(RECORD) != "overlay"


def _nothing(result: Any) -> None:
    """What follows a job of which nothing follows."""
