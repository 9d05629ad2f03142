"""Exemplars: learn from boxes around a few objects, find all that is alike in any micrograph.

A micrograph whose objects are not too small at the size of the decoder's frame is seen as a whole, any other in tiles.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.exemplar_boxes import check_contents, check_exemplar_boxes, windows_of
from lisa_micro.exemplar import Exemplar, mirrored
from lisa_micro.geometry import resample_nearest
from lisa_micro.io import to_unit_range
from lisa_micro.models.lisa.exemplars import NEGATIVE, POSITIVE, SMALL, TOKENS, LearntExemplar
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.models.lisa.mask_head import FRAME, MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.segmenters.everything import label_shape
from lisa_micro.protocols import Progress
from lisa_micro.types import InputError, Micrograph

SPLIT = SplitConfig(height=0.35, certainty=0.6, peak=0.0)
"""How what is alike is separated into instances; chosen on the validation parts of the materials sets."""
UNDIVIDED = 0.7
"""A connected piece of less than this share of the area of an example's box is one instance."""
LEAST_AREA = 0.05
"""Share of the area of an example's box below which a piece is left out."""
KEPT_VIEWS = 2
"""Number of encoded micrographs that are kept: further boxes on one of them are answered sooner."""

AlikeDecoder = Callable[[ImageFeatures, np.ndarray], MaskOutputs]
"""Features of a part of a micrograph and its pixels ``(h, w)`` in 0..1 -> one map."""


@dataclass(frozen=True, eq=False)
class Alike:
    """All that is like an exemplar.

    Attributes:
        labels: ``(H, W)`` int32, 0 = background, k = instance k, 1..n.
        scores: ``(n,)`` 0..1, mean probability in each instance.
        score: 0..1, predicted quality of the mask.
        note: how the micrograph was processed; empty: nothing to say.
    """

    labels: np.ndarray
    scores: np.ndarray
    score: float
    note: str = ""


class TiledFinder(Protocol):
    """A way to find what is alike tile by tile."""

    def __call__(
        self,
        engine: Engine,
        unit: np.ndarray,
        decode: AlikeDecoder,
        scale: float,
        split: SplitConfig,
        progress: Progress | None = None,
    ) -> Alike:
        """Find what is alike.

        Args:
            engine: the model.
            unit: ``(H, W)`` float32 in 0..1.
            decode: decodes a tile.
            scale: px of the tower's input per px of the micrograph.
            split: how instances are separated in maps of the size of the micrograph.
            progress: called after each tile.
        """
        ...


class ExemplarFinder:
    """Learns exemplars and finds what is like them.

    Args:
        engine: a model with an exemplar encoder.
        tiled: finds in tiles; ``None``: large micrographs are scaled down.
    """

    def __init__(self, engine: Engine, tiled: TiledFinder | None = None):
        self.engine, self._tiled = engine, tiled
        self._kept: OrderedDict[str, ImageFeatures] = OrderedDict()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the weights that an exemplar depends on, hexadecimal; those of the language model are not among
        them."""
        model = self.engine.model
        digest = hashlib.sha256()
        for part in (model.sam_tower, model.concept_top, model.exemplar_head, model.exemplar_encoder):
            if part is None:
                continue
            for name, value in part.state_dict().items():
                digest.update(name.encode())
                digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    # ---------------------------------------------------------------------------------------------------- learning

    def learn(
        self, image: Micrograph, like: object, unlike: object = None, scale: float | None = None
    ) -> tuple[Exemplar, tuple[str, ...]]:
        """Learn from boxes.

        Args:
            image: the micrograph that they are drawn on.
            like, unlike: ``(N, 4)`` XYXY px, around objects that are meant and around such that are not; one of the two
                may be missing. Without like boxes the exemplar only serves to be joined to another one.
            scale: at which the micrograph is seen, px of the tower's input per px; ``None``: by the size of the boxes.

        Returns:
            the exemplar, and notes on the boxes.

        Raises:
            InputError: see :func:`check_exemplar_boxes` and :func:`check_contents`.
        """
        boxes, signs, notes = check_exemplar_boxes(like, unlike, image.shape)
        shown = boxes[signs == POSITIVE] if (signs == POSITIVE).any() else boxes
        size = float(np.median(np.sqrt(np.prod(shown[:, 2:] - shown[:, :2], axis=1))))
        if scale is None:
            scale = max(SMALL / size, self.engine.model.config.work_side / max(image.shape))
        scale = self._usable(scale, image.shape)
        unit = to_unit_range(image.pixels)
        check_contents(unit, boxes[signs == POSITIVE], scale)
        level = None
        if self._at_once(scale, image.shape):
            groups = [(np.array([0, 0, *image.shape[::-1]]), np.arange(len(boxes)))]
        else:
            groups = windows_of(boxes, signs, image.shape, self.engine.model.config.work_side / scale)
            level = level_of(unit, scale, self.engine.device)
        found: Exemplar | None = None
        for (x0, y0, x1, y1), rows in groups:
            part = np.ascontiguousarray(unit[y0:y1, x0:x1])
            features = self._features(part, scale)
            within = boxes[rows] - np.tile([x0, y0], 2)
            learnt = self._learn(features, part, within, signs[rows], level)
            seen = size * max(features.work) / max(features.shape)
            one = Exemplar(
                tokens=learnt.tokens[0].float().cpu().numpy(),
                gram=mirrored(learnt.gram[0].float().cpu().numpy()),
                target=learnt.target[0, :, 0].float().cpu().numpy(),
                like=int((signs[rows] == POSITIVE).sum()),
                unlike=int((signs[rows] == NEGATIVE).sum()),
                object_px=size,
                seen_px=seen,
                pixel_size_nm=image.pixel_size_nm,
                model=self.fingerprint,
                source=Path(image.source).name,
            )
            found = one if found is None else found.joined(one)
        assert found is not None  # there is at least one box
        return found, notes

    @torch.inference_mode()
    def _learn(
        self, features: ImageFeatures, unit: np.ndarray, boxes: np.ndarray, signs: np.ndarray, level: Tensor | None
    ) -> LearntExemplar:
        engine = self.engine
        given = torch.as_tensor(boxes, dtype=torch.float32, device=engine.device)
        signed = torch.as_tensor(signs, device=engine.device)
        with engine.autocast():
            return engine.model.learn_exemplar(features, self._tensor(unit), given, signed, level)

    # ----------------------------------------------------------------------------------------------------- finding

    def find(self, image: Micrograph, exemplar: Exemplar, progress: Progress | None = None) -> Alike:
        """Find all that is like an exemplar.

        Args:
            image: the micrograph that it was learnt on, or any other one.
            progress: called after each tile of a large micrograph.

        Raises:
            InputError: an exemplar of other weights.
        """
        self.check(exemplar)
        scale = self._usable(exemplar.scale_on(image.pixel_size_nm), image.shape)
        unit = to_unit_range(image.pixels)
        size = exemplar.object_on(image.pixel_size_nm)
        learnt = self._learnt(exemplar)
        if self._tiled is not None and not self._at_once(scale, image.shape):
            decode = self._decoder(learnt, level_of(unit, scale, self.engine.device))
            return self._tiled(self.engine, unit, decode, scale, split_for_objects(size, 1 / scale), progress)
        features = self._features(unit, scale)
        out = self._decoder(learnt, None)(features, unit)
        shape = label_shape(image.shape)
        stack = torch.stack([out.mask[0], out.distance[0], out.border[0]])
        maps = expit(self.engine.on_micrograph(stack, features, shape))
        split = split_for_objects(size * max(shape) / max(image.shape), max(shape) / max(features.work))
        labels = separate(*maps, split)
        scores = mean_probability(labels, maps[0])
        note = ""
        if max(features.work) < max(image.shape) > FRAME:
            note = f"The micrograph was scaled down to {max(features.work)} px on its longest side."
        return Alike(resample_nearest(labels, image.shape), scores, float(expit(float(out.iou[0]))), note)

    def check(self, exemplar: Exemplar) -> None:
        """Check that an exemplar belongs to these weights.

        Raises:
            InputError: it was made with others.
        """
        model = self.engine.model
        encoder = model.exemplar_encoder
        assert encoder is not None  # see the class
        sizes = (exemplar.tokens.shape, len(exemplar.target))
        fits = sizes == ((TOKENS, model.config.embed_dim), encoder.channels + 1)
        if exemplar.model != self.fingerprint or not fits:
            raise InputError(
                "The exemplar was made with other weights than those of this model; make it anew with --save-like, or "
                "choose the model that it was made with."
            )

    def _decoder(self, learnt: LearntExemplar, level: Tensor | None) -> AlikeDecoder:
        engine = self.engine

        @torch.inference_mode()
        def decode(features: ImageFeatures, unit: np.ndarray) -> MaskOutputs:
            with engine.autocast():
                return engine.model.decode_learnt(features, self._tensor(unit), learnt, level)

        return decode

    def _learnt(self, exemplar: Exemplar) -> LearntExemplar:
        tokens, gram, target = (
            torch.as_tensor(array, device=self.engine.device)[None]
            for array in (exemplar.tokens, exemplar.gram, exemplar.target[:, None])
        )
        return LearntExemplar(tokens, gram, target)

    # ------------------------------------------------------------------------------------------------------ seeing

    def _usable(self, scale: float, shape: tuple[int, int]) -> float:
        """A scale at which the tower can see a micrograph: not enlarged, and within the frame where there are no
        tiles."""
        scale = min(scale, 1.0)
        return scale if self._tiled is not None else min(scale, FRAME / max(shape))

    @staticmethod
    def _at_once(scale: float, shape: tuple[int, int]) -> bool:
        return scale * max(shape) <= FRAME

    def _features(self, unit: np.ndarray, scale: float) -> ImageFeatures:
        """Features of a micrograph or a part of it, ``(H, W)`` in 0..1; the last ones are kept."""
        side = int(min(max(round(scale * max(unit.shape)), 1), FRAME))
        key = hashlib.blake2b(unit, digest_size=16).hexdigest() + f" {unit.shape} {side}"
        if key not in self._kept:
            self._kept[key] = self.engine.encode(unit, tokens=False, side=side)
            while len(self._kept) > KEPT_VIEWS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _tensor(self, unit: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(unit), device=self.engine.device)[None, None]


# ----------------------------------------------------------------------------------------------------- instances


def split_for_objects(size: float, scale: float) -> SplitConfig:
    """How instances of objects of a typical side ``size``, px of the maps, are separated; ``scale``: px of the maps per
    px that the tower saw."""
    split = SPLIT.scaled(max(scale, 1.0))
    smallest = max(1, round(min(LEAST_AREA * size**2, split.smallest)))
    return replace(split, undivided=UNDIVIDED * size**2, smallest=smallest)


def mean_probability(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """``(n,)`` mean probability in each instance 1..n of labels ``(H, W)``."""
    count = int(labels.max(initial=0))
    return np.asarray(ndimage.mean(probability, labels, np.arange(1, count + 1)), float).reshape(count)


def level_of(unit: np.ndarray, scale: float, device: torch.device) -> Tensor:
    """Mean and standard deviation ``(2,)`` of a micrograph ``(H, W)`` in 0..1 at a quarter of the size at which the
    tower sees it, as the exemplar encoder takes them for a part of it."""
    step = min(max(1, round(4 / scale)), *unit.shape)
    small = F.avg_pool2d(torch.as_tensor(unit)[None, None], step)
    return torch.stack([small.mean(), small.std()]).to(device)
