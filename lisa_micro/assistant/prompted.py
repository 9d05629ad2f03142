"""Boxes, points and everything: the same decoder without words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from lisa_micro.assistant.outline import split_shape
from lisa_micro.geometry import check_boxes, resample_nearest
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.types import CONCEPTS, InputError, Micrograph, Segmentation

if TYPE_CHECKING:
    from lisa_micro.assistant.engine import Engine
    from lisa_micro.assistant.outline import ImageView

BATCH = 16


class PromptedMixin:
    """Segmentation by points and boxes for :class:`lisa_micro.assistant.assistant.Assistant`."""

    engine: Engine

    def _view(self, image: Micrograph) -> tuple[ImageView, object]:
        raise TypeError("to be mixed into an assistant")

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """One instance per box.

        Args:
            boxes: ``(N, 4)`` XYXY px of the micrograph. Instance k of the result comes from box k; where two masks
                overlap, a pixel goes to the more certain one, so that an instance can end up empty.

        Raises:
            InputError: see :func:`lisa_micro.geometry.check_boxes`.
        """
        boxes, notes = check_boxes(boxes, image.shape)
        view, _ = self._view(image)
        # masks of a batch at the size of a large micrograph would not fit into memory
        shape = split_shape(image.shape)
        scale = np.array([shape[1] / image.shape[1], shape[0] / image.shape[0]] * 2)
        best, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        scores = []
        for start in range(0, len(boxes), BATCH):
            part = boxes[start : start + BATCH]
            out = self.engine.decode_boxes(view.features, part)
            for k, logits in enumerate(self.engine.on_micrograph(out.mask, view.features, shape)):
                _paint(labels, best, expit(logits), start + k + 1, part[k] * scale)
            scores += expit(out.iou.cpu().numpy()).tolist()
        labels = resample_nearest(labels, image.shape)
        return self._finish(image, labels, float(np.mean(scores)), len(boxes), notes)

    def segment_points(self, image: Micrograph, points: object, point_labels: object = None) -> Segmentation:
        """One object from points.

        Args:
            points: ``(P, 2)`` XY px. point_labels: ``(P,)``, 1 = on the object, 0 = not; all 1 where left out.

        Raises:
            InputError: not two numbers a point, outside the image, labels of another number or kind, none of them 1.
        """
        try:
            array = np.atleast_2d(np.asarray(points, np.float64))
            given = np.ones(len(array), int) if point_labels is None else np.asarray(point_labels, int).ravel()
        except (TypeError, ValueError) as error:
            raise InputError("a point is two numbers, x, y in px, and its label is 1 or 0") from error
        if array.ndim != 2 or array.shape[1] != 2 or not len(array) or not np.isfinite(array).all():
            raise InputError("a point is two finite numbers: x, y in px")
        if (array < 0).any() or (array[:, 0] > image.shape[1]).any() or (array[:, 1] > image.shape[0]).any():
            raise InputError("a point lies outside the image")
        if len(given) != len(array) or not np.isin(given, (0, 1)).all() or not (given == 1).any():
            raise InputError("each point needs a label, 1 (on the object) or 0, and at least one must be 1")
        view, _ = self._view(image)
        out = self.engine.decode_points(view.features, array[None], given[None])
        mask = self.engine.on_micrograph(out.mask, view.features, split_shape(image.shape))[0] > 0
        labels = resample_nearest(mask.astype(np.int32), image.shape)
        return self._finish(image, labels, float(expit(float(out.iou[0]))), 1, ())

    def segment_everything(self, image: Micrograph) -> Segmentation:
        """All particles, without words: the decoder prompted by the concept's own code."""
        view, _ = self._view(image)
        out = self.engine.decode_concept(view.features, CONCEPTS.index("particle"))
        score, presence = float(expit(float(out.iou[0]))), float(expit(float(out.presence[0])))
        labels = resample_nearest(view.particles, image.shape)
        result = self._finish(image, labels, score, int(labels.max(initial=0)), ())
        return replace(result, concept="particle", phrase="particles", presence=presence)

    @staticmethod
    def _finish(
        image: Micrograph, labels: np.ndarray, score: float, count: int, notes: tuple[str, ...]
    ) -> Segmentation:
        properties = particle_properties(labels, image.pixels)
        empty = sorted(set(range(1, count + 1)) - set(np.unique(labels).tolist()))
        if empty:
            notes = (*notes, f"Nothing was found for prompt {', '.join(map(str, empty[:10]))}.")
        return Segmentation(
            labels=labels,
            score=score,
            phrase="objects",
            pixel_size_nm=image.pixel_size_nm,
            properties=particle_table(properties, image.pixel_size_nm),
            notes=notes,
        )


def _paint(labels: np.ndarray, best: np.ndarray, probability: np.ndarray, number: int, box: np.ndarray) -> None:
    """Give instance ``number`` the pixels of its mask within its box (and a tenth of its size around it) where it is
    more certain than those before it."""
    margin = 0.1 * (box[2:] - box[:2]) + 1
    x0, y0 = np.floor(np.maximum(box[:2] - margin, 0)).astype(int)
    x1, y1 = np.ceil(box[2:] + margin).astype(int)
    window = (slice(y0, y1), slice(x0, x1))
    p = probability[window]
    wins = (p > 0.5) & (p > best[window])
    labels[window][wins] = number
    best[window][wins] = p[wins]
