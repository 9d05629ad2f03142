"""The controls of the dock widget: what is on it, without what it does."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

NONE = "none"
"""Choice of no shapes layer."""


def layer_choice(layers: Callable[[], Sequence[Any]]) -> ComboBox:
    """A choice of a layer, or of none; ``reset_choices`` reads the layers again and keeps the choice if it can."""
    return ComboBox(choices=lambda _: [(NONE, None), *((layer.name, layer) for layer in layers())], value=None)


class Panel(QWidget):
    """All controls. A click on a button calls what is connected to it; nothing here computes.

    Args:
        shapes: lists the shapes layers that can hold examples.
    """

    def __init__(self, shapes: Callable[[], Sequence[Any]]):
        super().__init__()
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.preset = QLineEdit("micro")
        self.preset.setToolTip("Name of a preset, folder of an adapter, or name on the hub")
        self.pixel_size = QLineEdit()
        self.pixel_size.setPlaceholderText("from the layer or its file")
        self.talk = QTextBrowser()
        self.talk.setPlaceholderText("Ask about the micrograph, for example: segment all sintering necks")
        self.words = QLineEdit()
        self.words.setPlaceholderText("What to segment, measure or track")
        self.ask, self.track = QPushButton("Ask"), QPushButton("Track")
        self.track.setToolTip("Follow what the words mean through the frames of the layer")
        self.other = QPushButton()
        self.other.setVisible(False)
        self.like, self.unlike = layer_choice(shapes), layer_choice(shapes)
        self.draw, self.find = QPushButton("Draw boxes"), QPushButton("Find all like this")
        self.draw.setToolTip("Add a shapes layer and draw a rectangle around each example")
        self.follow = QPushButton("Track all like this")
        self.follow.setToolTip("The boxes are taken in the first frame")
        self.measure, self.save = QPushButton("Measure labels"), QPushButton("Save results...")
        self.measure.setToolTip("Measure the selected labels layer again, after labels were corrected")
        self.save.setToolTip("Write the last result as a folder: labels, tables, overlay, COCO")
        self.stage, self.bar, self.stop = QLabel(), QProgressBar(), QPushButton("Stop")
        self._arrange()
        self.show_idle()

    def _arrange(self) -> None:
        form = QFormLayout()
        form.addRow("Preset", self.preset)
        form.addRow("nm per pixel", self.pixel_size)
        examples, rows = QGroupBox("Find all like this"), QFormLayout()
        rows.addRow("Boxes around", self.like.native)
        rows.addRow("but not like", self.unlike.native)
        rows.addRow(_row(self.draw, self.find, self.follow))
        examples.setLayout(rows)
        layout = QVBoxLayout(self)
        layout.addWidget(self.about)
        layout.addLayout(form)
        layout.addWidget(self.talk, 1)
        layout.addWidget(self.other)
        layout.addWidget(self.words)
        layout.addWidget(_row(self.ask, self.track))
        layout.addWidget(examples)
        layout.addWidget(_row(self.measure, self.save))
        layout.addWidget(_row(self.stage, self.bar, self.stop))

    def buttons(self) -> tuple[QPushButton, ...]:
        """The buttons that start something."""
        return self.ask, self.track, self.other, self.find, self.follow, self.measure, self.save

    def show_busy(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Show what is being done; a total of 0 is unknown."""
        for button in self.buttons():
            button.setEnabled(False)
        self.stage.setText(stage)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        for widget in (self.stage, self.bar, self.stop):
            widget.setVisible(True)

    def show_idle(self) -> None:
        """Show that nothing is being done."""
        for button in self.buttons():
            button.setEnabled(True)
        for widget in (self.stage, self.bar, self.stop):
            widget.setVisible(False)

    def offer(self, text: str) -> None:
        """Offer another reading of the last request; empty: none."""
        self.other.setText(f"Did you mean {text}?")
        self.other.setVisible(bool(text))

    def say(self, request: str, reply: str, notes: Sequence[str] = ()) -> None:
        """Add a request and its reply to the conversation."""
        lines = [f"<p><b>{html.escape(request)}</b><br>{html.escape(reply)}"]
        lines += [f"<br><small><i>{html.escape(note)}</i></small>" for note in notes]
        self.talk.append("".join(lines) + "</p>")


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
        layout.setAlignment(widget, Qt.AlignmentFlag.AlignVCenter)
    return row
