"""Answers about the field of view: the model sees it without data bar and letters, results lie on the whole picture.

Everything an assistant does happens in the field's own pixels, so that border flags, places, area fractions and
densities refer to the specimen. Labels and tables are then moved to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from lisa_micro.geometry import check_boxes
from lisa_micro.io.survey import burnt_in_boxes, view_of_field
from lisa_micro.points import check_points
from lisa_micro.protocols import Conversation, Progress
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.types import InputError, Micrograph

_X_COLUMNS = ("centroid_x_px", "box_x0_px", "box_x1_px")
_Y_COLUMNS = ("centroid_y_px", "box_y0_px", "box_y1_px")

_views: WeakKeyDictionary[Micrograph, Micrograph] = WeakKeyDictionary()
_made: WeakSet[Micrograph] = WeakSet()


def view_of(image: Micrograph) -> Micrograph:
    """The field of view as a micrograph of its own; the micrograph itself if nothing is burnt into it.

    The same micrograph gives the same view, so that what is encoded once is not encoded again.
    """
    if image in _made or (image.field is None and not burnt_in_boxes(image)):
        return image
    if image not in _views:
        x0, y0, _, _ = image.field_box
        covers = tuple((a - x0, b - y0, c - x0, d - y0) for a, b, c, d in image.covers)
        view = replace(image, pixels=view_of_field(image.pixels, image), field=None, covers=covers, scale_bar=None)
        _made.add(view)
        _views[image] = view
    return _views[image]


def on_picture(segmentation: Segmentation, image: Micrograph) -> Segmentation:
    """A segmentation of :func:`view_of` moved to the picture; what lies on boxes with letters keeps its label."""
    x0, y0, x1, y1 = image.field_box
    labels = np.zeros(image.shape, np.int32)
    labels[y0:y1, x0:x1] = segmentation.labels
    table = segmentation.properties
    if table is not None and (x0 or y0):
        table = table.copy()
        for names, offset in ((_X_COLUMNS, x0), (_Y_COLUMNS, y0)):
            for name in names:
                if name in table:
                    table[name] = table[name] + offset
    return replace(segmentation, labels=labels, properties=table, image=image)


def answer_on_picture(answer: Answer, image: Micrograph) -> Answer:
    """An answer about :func:`view_of` moved to the picture."""
    segments = tuple(on_picture(segment, image) for segment in answer.segments)
    return replace(answer, segments=segments, image=image)


def answer_in_field(answer: Answer, image: Micrograph) -> Answer:
    """The opposite of :func:`answer_on_picture`, for an earlier answer that a conversation goes on from."""
    x0, y0, x1, y1 = image.field_box
    view = view_of(image)
    segments = []
    for segment in answer.segments:
        table = segment.properties
        if table is not None and (x0 or y0):
            table = table.copy()
            for names, offset in ((_X_COLUMNS, x0), (_Y_COLUMNS, y0)):
                for name in names:
                    if name in table:
                        table[name] = table[name] - offset
        labels = np.ascontiguousarray(segment.labels[y0:y1, x0:x1])
        segments.append(replace(segment, labels=labels, properties=table, image=view))
    return replace(answer, segments=tuple(segments), image=view)


def boxes_in_field(boxes: object, image: Micrograph) -> np.ndarray:
    """``(N, 4)`` boxes of the picture, XYXY px, in px of the field; parts beyond it are cut off later.

    Raises:
        InputError: as :func:`lisa_micro.geometry.check_boxes`, or a box that lies outside the field.
    """
    checked, _ = check_boxes(boxes, image.shape)
    x0, y0, x1, y1 = image.field_box
    for number, (a, b, c, d) in enumerate(checked, 1):
        if min(c, x1) <= max(a, x0) or min(d, y1) <= max(b, y0):
            raise InputError(
                f"Box {number} lies outside the field of view ({x0},{y0},{x1},{y1}), on the data bar; "
                "move it, or give the field with --field."
            )
    moved = np.asarray(checked, float) - [x0, y0, x0, y0]
    return np.clip(moved, 0, [x1 - x0, y1 - y0, x1 - x0, y1 - y0])


def points_in_field(points: object, labels: object, image: Micrograph) -> np.ndarray:
    """``(P, 2)`` points of the picture, XY px, in px of the field.

    Raises:
        InputError: as :func:`lisa_micro.points.check_points`, or a point outside the field.
    """
    checked, _ = check_points(points, labels, image.shape)
    x0, y0, x1, y1 = image.field_box
    inside = (checked[:, 0] >= x0) & (checked[:, 0] < x1) & (checked[:, 1] >= y0) & (checked[:, 1] < y1)
    if not inside.all():
        raise InputError(
            f"Point {int((~inside).argmax()) + 1} lies outside the field of view ({x0},{y0},{x1},{y1}), on the data "
            "bar; move it, or give the field with --field."
        )
    return np.asarray(checked, float) - [x0, y0]


class FieldConversation:
    """A conversation about the field of view of a micrograph. It is a :class:`lisa_micro.protocols.Conversation`.

    Args:
        inner: the conversation about :func:`view_of` the micrograph.
        image: the micrograph.
        history: answers of an earlier conversation, on the picture.
    """

    def __init__(self, inner: Conversation, image: Micrograph, history: Sequence[Answer] = ()):
        self.image, self._inner = image, inner
        self.answers: list[Answer] = list(history)

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`lisa_micro.protocols.Conversation`."""
        return self._inner.notes

    @property
    def progress(self) -> Progress | None:
        """See :class:`lisa_micro.protocols.Conversation`."""
        return self._inner.progress

    @progress.setter
    def progress(self, progress: Progress | None) -> None:
        self._inner.progress = progress

    def ask(self, prompt: str) -> Answer:
        """Answer the next request; see :meth:`lisa_micro.protocols.Conversation.ask`."""
        answer = answer_on_picture(self._inner.ask(prompt), self.image)
        self.answers.append(answer)
        return answer

    def reinterpret(self, reading: Reading) -> Answer:
        """Replace the last answer; see :meth:`lisa_micro.protocols.Conversation.reinterpret`."""
        answer = answer_on_picture(self._inner.reinterpret(reading), self.image)
        self.answers[-1] = answer
        return answer
