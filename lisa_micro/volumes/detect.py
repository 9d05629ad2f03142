"""Instances of one request in the slices of a stack."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
import torch

from lisa_micro.assistant.targets import ImageView, TargetSegmenter, WholeImage, is_present
from lisa_micro.assistant.tiling import TileSize, choose_tiling
from lisa_micro.io import to_unit_range
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.protocols import Assistant, Detections, FrameDetector, TilingMode
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.detectors import AnswerDetector, IndependentDetector, VideoAssistant, WordDetector


class SliceAssistant(VideoAssistant, Assistant, Protocol):
    """An assistant with the capability ``video``."""


class SliceDetector(IndependentDetector):
    """Detects what a request means in every slice; the words are read once, with the first slice that shows it.

    A condition of the request is not applied here: it refers to 3-D instances.

    Args:
        assistant: model with the capability ``video``.
        words: request of the user.
        tiling: see :class:`lisa_micro.protocols.TilingMode`.
    """

    def __init__(self, assistant: SliceAssistant, words: str, tiling: TilingMode | str = TilingMode.AUTO):
        self.assistant, self.tiling = assistant, tiling
        self._words = WordDetector(assistant, words)
        super().__init__(self._words.state)
        self._prompt: torch.Tensor | None = None
        self.target = 0

    @property
    def understood(self) -> bool:
        """Whether the request named something in one of the slices so far."""
        return self._prompt is not None

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect all instances of a slice."""
        if self._prompt is None:
            self._words.detect(frame, number)
            memory = cast("dict[str, Any]", self._words.memory())
            if not memory["states"]:
                return Detections(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
            self._prompt = torch.tensor(memory["states"][self.state.concept], dtype=torch.float32)
            self.target = memory["target"]
        engine = self.assistant.engine
        size = TileSize()
        mode = choose_tiling(self.tiling, size, frame.shape, self.assistant.capabilities, self.assistant.preset)
        segmenter: TargetSegmenter = WholeImage() if mode is TilingMode.OFF else tiled_segmenter(engine, mode, size)
        view = ImageView(engine, frame.pixels, engine.encode(to_unit_range(frame.pixels), tokens=False))
        found, _ = segmenter.segment(view, self._prompt[None], [self.state.concept])
        labels = found[0].labels if is_present(engine, found[0]) else np.zeros(frame.shape, np.int32)
        return Detections(labels, None, found[0].score, found[0].presence)


def slice_detector(assistant: Assistant, words: str, tiling: TilingMode | str = TilingMode.AUTO) -> FrameDetector:
    """The detector of slices that a model is capable of.

    Raises:
        InputError: the model understands no words.
    """
    able = assistant.capabilities
    if able.video:
        return SliceDetector(cast(SliceAssistant, assistant), words, tiling)
    if able.words:
        return AnswerDetector(assistant, words)
    raise InputError(f"Preset {assistant.preset!r} does not understand words, so it cannot segment a volume by them.")
