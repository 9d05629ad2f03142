"""What the mask decoder segments when it is prompted by class embeddings, boxes and exemplars, without words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.concept_labels import is_new, mask_threshold
from lisa_micro.assistant.targets import PRESENCE_THRESHOLD, ImageView
from lisa_micro.geometry import resample_nearest
from lisa_micro.io.contrast import to_unit_range
from lisa_micro.large_images.tiled import HALO_SHARE, new_labels, stitch
from lisa_micro.models.lisa.instances import separate
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel
from lisa_micro.models.segmenters.base import check_prompts
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.types import InputError, Micrograph

PICTURE_SIDE = 420
"""px of one panel of a picture."""


class Eyes:
    """An assistant's towers and mask decoder, without its language model.

    Args:
        assistant: with a mask decoder that has class embeddings.

    Raises:
        InputError: it is something else, such as an official LISA checkpoint.
    """

    def __init__(self, assistant: object):
        if not isinstance(assistant, Assistant) or not isinstance(assistant.engine.model, LisaModel):
            raise InputError(
                "The suites concepts and exemplars need a LISA-micro model: choose a preset or its folder."
            )
        self._assistant, self.engine = assistant, assistant.engine
        self.config = self.engine.model.config
        self.segmenter = MicroSegmenter("micro", self.engine.model, self.engine.device, "", self.engine.bf16)

    def knows(self, concept: str) -> bool:
        """Whether the model has a class embedding for a concept."""
        return self.config.code_number(concept) >= 0

    @property
    def knows_exemplars(self) -> bool:
        """Whether the model has an exemplar encoder."""
        return self._assistant.capabilities.exemplars

    def view(self, pixels: np.ndarray, side: int | None = None) -> ImageView:
        """A micrograph ``(H, W)`` as the tower sees it as a whole, with a longest side of ``side`` px if given."""
        return ImageView(self.engine, pixels, self.engine.encode(to_unit_range(pixels), tokens=False, side=side))

    def concept(self, pixels: np.ndarray, concept: str, tiled: bool = False) -> np.ndarray:
        """Instances of a concept, as a request for all of them gives.

        Args:
            pixels: ``(H, W)``. tiled: see it in tiles at full resolution, not as a whole.

        Returns:
            ``(H, W)`` int32; empty where the presence score is below the concept's threshold, or the model has no such
            concept.
        """
        number = self.config.code_number(concept)
        if number < 0:
            return np.zeros(pixels.shape, np.int32)
        threshold = self.config.presence_threshold.get(concept, PRESENCE_THRESHOLD)
        if tiled and max(pixels.shape) > self.config.work_side:
            return self._tiled(pixels, concept, number, threshold)
        view = self.view(pixels)
        found = view.instances(self.engine.decode_concept(view.features, number), 0, concept)
        return found.labels if found.presence >= threshold else np.zeros(pixels.shape, np.int32)

    def _tiled(self, pixels: np.ndarray, concept: str, number: int, threshold: float) -> np.ndarray:
        tile = self.config.work_side

        def decode(features: ImageFeatures, _: np.ndarray) -> list[tuple[MaskOutputs, int, int]]:
            return [(self.engine.decode_concept(features, number), 0, 3)]

        seen = stitch(self.engine, to_unit_range(pixels), decode, tile, int(HALO_SHARE * tile))[0]
        if is_new(concept):
            return new_labels(seen, concept, mask_threshold(self.config, concept), threshold)
        maps = seen.maps.astype(np.float32) / 255
        labels = separate(maps[0], maps[1], maps[2], seen.split)
        y, x = np.nonzero(labels)
        if not len(y):
            return labels
        # what lies only in tiles that do not show the concept
        there = seen.presence_at(x.astype(np.float64), y.astype(np.float64)) >= threshold
        labels[y[~there], x[~there]] = 0
        return labels

    def boxes(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Objects in boxes ``(N, 4)`` XYXY px, ``(N, H, W)`` bool, as a box prompt gives them."""
        view = self.view(pixels)
        self.segmenter.use_features(view.features)
        prompts = check_prompts(None, None, boxes, pixels.shape)
        assert prompts.boxes is not None  # they were given
        masks = np.zeros((len(boxes), *pixels.shape), bool)
        margin = 0.0 if self.segmenter.cut_at_box else 0.1
        with torch.inference_mode():
            for rows, logits, _ in self.segmenter.decode(prompts):
                for row, one in zip(rows, logits.split(1), strict=True):
                    full = self.segmenter.enlarge(one, label_shape(pixels.shape))[0].float().cpu().numpy() > 0
                    full = resample_nearest(full.astype(np.int32), pixels.shape) > 0
                    masks[int(row)] = full & _within(prompts.boxes[int(row)], margin, pixels.shape)
        return masks

    def like(self, pixels: np.ndarray, boxes: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """All that is like boxes with sign 1 and unlike those with -1, as a user gets it: ``(H, W)`` int32 instances;
        none where the boxes are refused."""
        try:
            found = self._assistant.segment_like(Micrograph(pixels), boxes[signs == 1], boxes[signs == -1])
        except InputError:
            return np.zeros(pixels.shape, np.int32)
        return np.asarray(found.labels)


def _within(box: np.ndarray, margin: float, shape: tuple[int, int]) -> np.ndarray:
    grown = margin * (box[2:] - box[:2])
    x0, y0 = np.floor(np.maximum(box[:2] - grown, 0)).astype(int)
    x1, y1 = np.ceil(box[2:] + grown).astype(int)
    inside = np.zeros(shape, bool)
    inside[y0:y1, x0:x1] = True
    return inside


@dataclass(frozen=True)
class Seen:
    """One case: micrograph, truth and result, for a picture. boxes: ``(K, 4)`` with signs, drawn on it."""

    title: str
    score: float
    pixels: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    boxes: np.ndarray | None = None
    signs: np.ndarray | None = None


def picture(cases: list[Seen]) -> np.ndarray:
    """Cases below each other: the micrograph, the truth in green, the result in red; ``(H, W, 3)`` uint8."""
    rows = []
    for case in cases:
        panels = [
            _panel(case, None, (0, 0, 0)),
            _panel(case, case.truth, (40, 220, 60)),
            _panel(case, case.found, (255, 50, 40)),
        ]
        rows.append(np.concatenate(panels, 1))
    return np.concatenate(rows)


def best_and_worst(cases: list[Seen], count: int = 3) -> list[Seen]:
    """The ``count`` best and the ``count`` worst of the cases, best first."""
    ordered = sorted(cases, key=lambda case: -case.score)
    return ordered if len(ordered) <= 2 * count else [*ordered[:count], *ordered[-count:]]


def _panel(case: Seen, labels: np.ndarray | None, colour: tuple[int, int, int]) -> np.ndarray:
    grey = np.clip(to_unit_range(case.pixels) * 255, 0, 255)
    rgb = np.repeat(grey[..., None], 3, -1)
    if labels is not None:
        inside = labels > 0
        edge = inside & (ndimage.grey_erosion(labels.astype(np.int32), (3, 3)) != labels)
        rgb[inside] = 0.72 * rgb[inside] + 0.28 * np.array(colour)
        rgb[edge] = colour
    image = Image.fromarray(rgb.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    if case.boxes is not None and case.signs is not None and labels is None:
        for box, sign in zip(case.boxes, case.signs, strict=True):
            draw.rectangle([float(v) for v in box], outline=(0, 255, 0) if sign > 0 else (255, 255, 0), width=2)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    canvas = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE))
    canvas.paste(image)
    if labels is None:
        ImageDraw.Draw(canvas).text((4, 4), f"{case.title}: {case.score:.2f}", fill=(255, 255, 0))
    return np.asarray(canvas)
