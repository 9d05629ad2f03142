"""Segmentation by boxes, by points and of everything, without words."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lisa_micro.assistant.field import boxes_in_field, on_picture, points_in_field, view_of
from lisa_micro.assistant.like import LikeAssistant
from lisa_micro.geometry import resample_nearest
from lisa_micro.io import MicrographLike, as_micrograph
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.models.segmenters.base import check_prompts
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.points import check_points
from lisa_micro.protocols import Capabilities, Conversation, History, Progress, TilingMode
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph

BOX_MARGIN = 0.1
"""Share of a box's size by which a mask may reach beyond its box, where the segmenter does not cut at the box."""


class PromptedAssistant(LikeAssistant, ABC):
    """The part of an assistant that answers boxes, points, examples and requests for everything."""

    @abstractmethod
    def _segmenter(self, image: Micrograph) -> PromptedSegmenter:
        """The segmenter that answers prompts, with the image encoded."""

    def segment_boxes(self, image: MicrographLike, boxes: object) -> Segmentation:
        """Segment one instance per box.

        Args:
            boxes: ``(N, 4)`` XYXY px of the micrograph. Instance k of the result comes from box k. Where masks overlap,
                a pixel goes to the one that is more certain, so an instance can end up empty.

        Raises:
            InputError: see :func:`lisa_micro.geometry.check_boxes`.
        """
        image = as_micrograph(image)
        view = view_of(image)
        if view is not image:
            return on_picture(self.segment_boxes(view, boxes_in_field(boxes, image)), image)
        prompts = check_prompts(None, None, boxes, image.shape)
        segmenter = self._segmenter(image)
        # a batch of masks at the size of a large micrograph would not fit into memory
        shape = label_shape(image.shape)
        scale = np.array([shape[1] / image.shape[1], shape[0] / image.shape[0]] * 2)
        margin = 0.0 if segmenter.cut_at_box else BOX_MARGIN
        canvas = _Canvas(np.zeros(shape, np.int32), np.zeros(shape, np.float32), margin)
        scores = np.zeros(len(prompts))
        with torch.inference_mode():
            for rows, logits, quality in segmenter.decode(prompts):
                scores[rows] = quality.float().clamp(0, 1).cpu().numpy()
                for row, one in zip(rows, logits.split(1), strict=True):
                    probability = segmenter.enlarge(one, shape)[0].float().sigmoid().cpu().numpy()
                    canvas.paint(probability, int(row) + 1, prompts.boxes[row] * scale)
        labels = resample_nearest(canvas.labels, image.shape)
        return _segmentation(image, labels, float(scores.mean()), len(prompts), prompts.notes)

    def segment_points(self, image: MicrographLike, points: object, point_labels: object = None) -> Segmentation:
        """Segment one object from points.

        Args:
            points: ``(P, 2)`` XY px.
            point_labels: ``(P,)``, 1 = on the object (default), 0 = not on it.

        Raises:
            InputError: see :func:`lisa_micro.points.check_points`; or none of the labels is 1.
        """
        image = as_micrograph(image)
        view = view_of(image)
        if view is not image:
            moved = points_in_field(points, point_labels, image)
            return on_picture(self.segment_points(view, moved, point_labels), image)
        array, given = check_points(points, point_labels, image.shape)
        prompts = check_prompts(array[None], given[None], None, image.shape)
        segmenter = self._segmenter(image)
        with torch.inference_mode():
            _, logits, quality = next(iter(segmenter.decode(prompts)))
            mask = (segmenter.enlarge(logits, label_shape(image.shape))[0] > 0).cpu().numpy()
        labels = resample_nearest(mask.astype(np.int32), image.shape)
        return _segmentation(image, labels, float(quality[0].float().clamp(0, 1)), 1, ())

    def segment_everything(self, image: MicrographLike) -> Segmentation:
        """Segment all objects; see :mod:`lisa_micro.models.segmenters.everything`."""
        image = as_micrograph(image)
        view = view_of(image)
        if view is not image:
            return on_picture(self.segment_everything(view), image)
        segmenter = self._segmenter(image)
        found = segmenter.everything()
        score = float(found.scores.mean()) if len(found.scores) else 0.0
        result = _segmentation(image, found.labels, score, 0, found.notes)
        concept = segmenter.concept
        return replace(result, concept=concept, phrase=f"{concept}s", presence=found.presence)


class WordlessAssistant(PromptedAssistant):
    """A segmenter as an assistant that takes boxes and points, but no words.

    Args:
        segmenter: from :func:`lisa_micro.build_segmenter`.
    """

    def __init__(self, segmenter: PromptedSegmenter):
        self.segmenter = segmenter
        self.preset, self.weights_sha256, self.device = segmenter.name, segmenter.weights_sha256, segmenter.device
        self._encoded: Micrograph | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the segmenter can do: everything but words."""
        return Capabilities(boxes=True, points=True, everything=True)

    def _segmenter(self, image: Micrograph) -> PromptedSegmenter:
        self.encode(image)
        return self.segmenter

    def encode(self, image: MicrographLike) -> float:
        """Encode an image ahead of prompts.

        Returns:
            seconds that it took; next to none for the last image.
        """
        start, image = time.perf_counter(), view_of(as_micrograph(image))
        if self._encoded is not image:
            self.segmenter.encode(image)
            self._encoded = image
        return time.perf_counter() - start

    def _no_words(self) -> InputError:
        return InputError(f"The segmenter {self.preset!r} takes no words; give boxes or points, or ask for everything.")

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """Refuse words.

        Raises:
            InputError: always.
        """
        raise self._no_words()

    def chat(self, image: Micrograph) -> Conversation:
        """Refuse a conversation, as :meth:`ask` does."""
        raise self._no_words()

    def open_conversation(
        self,
        image: Micrograph,
        tiling: TilingMode | str = TilingMode.AUTO,
        *,
        tile: int | None = None,
        halo: int | None = None,
        history: Sequence[Answer] = (),
        progress: Progress | None = None,
    ) -> Conversation:
        """Refuse a conversation, as :meth:`ask` does."""
        raise self._no_words()

    def parse(self, image: Micrograph, prompt: str, history: History = ()) -> str:
        """Refuse words, as :meth:`ask` does."""
        raise self._no_words()


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Instances without overlaps: a pixel belongs to the mask that is most certain of it.

    labels: ``(H, W)`` int32. best: ``(H, W)`` float32, probability of the instance that has the pixel. margin: share of
    its box by which a mask may reach beyond it.
    """

    labels: np.ndarray
    best: np.ndarray
    margin: float

    def paint(self, probability: np.ndarray, number: int, box: np.ndarray) -> None:
        """Add instance ``number``.

        Args:
            probability: ``(H, W)`` 0..1.
            box: ``(4,)`` XYXY px; pixels outside of it (and of the margin) are left out.
        """
        grown = self.margin * (box[2:] - box[:2])
        x0, y0 = np.floor(np.maximum(box[:2] - grown, 0)).astype(int)
        x1, y1 = np.ceil(box[2:] + grown).astype(int)
        window = (slice(y0, y1), slice(x0, x1))
        p = probability[window]
        wins = (p > 0.5) & (p > self.best[window])
        self.labels[window][wins] = number
        self.best[window][wins] = p[wins]


def _segmentation(
    image: Micrograph, labels: np.ndarray, score: float, count: int, notes: tuple[str, ...]
) -> Segmentation:
    """Measured result of ``count`` prompts (0: without prompts), with a note on those that gave nothing."""
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
        image=image,
    )
