"""Boxes, points and everything, without words. The assistant prompts the same decoder as with words; any other
segmenter can be put in its place."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lisa_micro.geometry import resample_nearest
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.models.segmenters.base import check_prompts
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.points import check_points
from lisa_micro.protocols import Capabilities
from lisa_micro.types import InputError, Micrograph, Segmentation

if TYPE_CHECKING:
    from lisa_micro.assistant.engine import Engine
    from lisa_micro.assistant.outline import ImageView
    from lisa_micro.types import Answer

BATCH = 16


class PromptedMixin:
    """Segmentation by boxes, by points and of everything, for :class:`lisa_micro.assistant.assistant.Assistant`."""

    engine: Engine
    weights_sha256: str
    _prompted: PromptedSegmenter | None = None

    def view(self, image: Micrograph) -> tuple[ImageView, object]:
        raise TypeError("to be mixed into an assistant")

    def _segmenter(self, image: Micrograph) -> PromptedSegmenter:
        """What answers the prompts, with the image encoded: the tower and the decoder that answer words too."""
        view, _ = self.view(image)
        if self._prompted is None:
            engine = self.engine
            self._prompted = MicroSegmenter("micro", engine.model, engine.device, self.weights_sha256, engine.bf16)
        self._prompted.look(view.features)
        return self._prompted

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """One instance per box.

        Args:
            boxes: ``(N, 4)`` XYXY px of the micrograph. Instance k of the result comes from box k; where two masks
                overlap, a pixel goes to the more certain one, so that an instance can end up empty.

        Raises:
            InputError: see :func:`lisa_micro.geometry.check_boxes`.
        """
        prompts = check_prompts(None, None, boxes, image.shape)
        segmenter = self._segmenter(image)
        # masks of a batch at the size of a large micrograph would not fit into memory
        shape = label_shape(image.shape)
        scale = np.array([shape[1] / image.shape[1], shape[0] / image.shape[0]] * 2)
        best, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        scores = np.zeros(len(prompts))
        with torch.inference_mode():
            for rows, logits, quality in segmenter.decode(prompts):
                scores[rows] = quality.float().clamp(0, 1).cpu().numpy()
                for row, one in zip(rows, logits.split(1), strict=True):
                    probability = segmenter.enlarge(one, shape)[0].float().sigmoid().cpu().numpy()
                    margin = 0.0 if segmenter.cut_at_box else 0.1
                    _paint(labels, best, probability, int(row) + 1, prompts.boxes[row] * scale, margin)
        labels = resample_nearest(labels, image.shape)
        return self._finish(image, labels, float(scores.mean()), len(prompts), prompts.notes)

    def segment_points(self, image: Micrograph, points: object, point_labels: object = None) -> Segmentation:
        """One object from points.

        Args:
            points: ``(P, 2)`` XY px. point_labels: ``(P,)``, 1 = on the object, 0 = not; all 1 where left out.

        Raises:
            InputError: see :func:`lisa_micro.points.check_points`; or none of the labels is 1.
        """
        array, given = check_points(points, point_labels, image.shape)
        prompts = check_prompts(array[None], given[None], None, image.shape)
        segmenter = self._segmenter(image)
        with torch.inference_mode():
            _, logits, quality = next(iter(segmenter.decode(prompts)))
            mask = (segmenter.enlarge(logits, label_shape(image.shape))[0] > 0).cpu().numpy()
        labels = resample_nearest(mask.astype(np.int32), image.shape)
        return self._finish(image, labels, float(quality[0].float().clamp(0, 1)), 1, ())

    def segment_everything(self, image: Micrograph) -> Segmentation:
        """All objects (with the assistant: all particles), without words; see
        :mod:`lisa_micro.models.segmenters.everything`."""
        segmenter = self._segmenter(image)
        found = segmenter.everything()
        score = float(found.scores.mean()) if len(found.scores) else 0.0
        result = self._finish(image, found.labels, score, 0, found.notes)
        concept = segmenter.concept
        return replace(result, concept=concept, phrase=f"{concept}s", presence=found.presence)

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


class WordlessAssistant(PromptedMixin):
    """A segmenter in the assistant's place, for boxes, points and everything.

    Args:
        segmenter: from :func:`lisa_micro.build_segmenter`.
    """

    def __init__(self, segmenter: PromptedSegmenter):
        self.segmenter = segmenter
        self.preset, self.weights_sha256, self.device = segmenter.name, segmenter.weights_sha256, segmenter.device
        self._seen: Micrograph | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the segmenter can do: anything but words."""
        return Capabilities(boxes=True, points=True, everything=True)

    def _segmenter(self, image: Micrograph) -> PromptedSegmenter:
        self.encode(image)
        return self.segmenter

    def encode(self, image: Micrograph) -> float:
        """Look at an image ahead of prompts; seconds that it took (next to none for the last image)."""
        start = time.perf_counter()
        if self._seen is not image:
            self.segmenter.encode(image)
            self._seen = image
        return time.perf_counter() - start

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """Words are refused.

        Raises:
            InputError: always.
        """
        raise InputError(f"The segmenter {self.preset} takes no words; give boxes, or ask for everything.")


def _paint(
    labels: np.ndarray, best: np.ndarray, probability: np.ndarray, number: int, box: np.ndarray, margin: float
) -> None:
    """Give instance ``number`` the pixels of its mask that its box touches (grown by ``margin`` of its size) where it
    is more certain than those before it."""
    grown = margin * (box[2:] - box[:2])
    x0, y0 = np.floor(np.maximum(box[:2] - grown, 0)).astype(int)
    x1, y1 = np.ceil(box[2:] + grown).astype(int)
    window = (slice(y0, y1), slice(x0, x1))
    p = probability[window]
    wins = (p > 0.5) & (p > best[window])
    labels[window][wins] = number
    best[window][wins] = p[wins]
