"""Batches of the stage ``adapt``: how they are drawn, their plans, and their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from lisa_micro.models.towers.sam import SamFeatures
from lisa_micro.types import CONCEPTS
from lisa_micro_finetune.adapt.augment import Window
from lisa_micro_finetune.adapt.data import Goal
from lisa_micro_finetune.data.crops import Maps


@dataclass
class WindowPrompts:
    """The prompts of one window and their target maps.

    Attributes:
        item, view, window: which window of which view of which image.
        row: row of its conversation in the batch.
        seg: ``(T,)``, numbers of the [SEG] of the batch that prompt the decoder here.
        concepts: ``(C,)``, concepts whose class embeddings prompt it.
        boxes: ``(K, 4)``, boxes that prompt it, XYXY px of the view.
        maps: target maps of the T + C + K prompts.
        features: features of the window, added before the step: those of the SAM tower, or of its encoder if a
            top-down path for custom classes is trained.
    """

    item: int
    view: int
    row: int
    window: Window
    seg: Tensor
    concepts: Tensor
    boxes: Tensor
    maps: Maps
    features: SamFeatures | tuple[Tensor, ...] | None = None


@dataclass
class AdaptBatch:
    """B conversations.

    Attributes:
        ids, labels: ``(B, T)``, as in :class:`lisa_micro_finetune.data.conversations.LanguageBatch`.
        seg: ``(S, 2)``, row and position of each [SEG].
        concept: ``(S,)``, number of the concept of each [SEG], -1 if it stands for none.
        views: image and view of each row.
        windows: the windows to segment.
        totals: counts of the whole step, over all processes, by which losses are divided.
        clip, sam: pooled features, added before the step.
        images: whole views ``(1, 1, H, W)``, if the SAM tower is trained.
    """

    ids: Tensor
    labels: Tensor
    seg: Tensor
    concept: Tensor
    views: list[tuple[int, int]]
    windows: list[WindowPrompts]
    totals: dict[str, float]
    clip: Tensor | None = None
    sam: Tensor | None = None
    images: list[Tensor] = field(default_factory=list)


BoxPrompt = tuple[np.ndarray, np.ndarray]
"""A box, ``(4,)`` XYXY px of the view, and the mask of its instance in the window."""


@dataclass(frozen=True)
class ExtraWindow:
    """A window that class embeddings and boxes prompt, without a conversation; fields as in :class:`Plan`."""

    item: int
    view: int
    window: Window
    concepts: tuple[Goal, ...]
    boxes: tuple[BoxPrompt, ...]
    asked: tuple[tuple[int, Goal], ...] = ()


@dataclass(frozen=True)
class Plan:
    """One conversation, before its tensors are made.

    Attributes:
        item, view: image and view.
        ids, labels: token ids and labels.
        seg: positions of the [SEG].
        goals: the target of each [SEG].
        window: the window to segment.
        asked: (number of the [SEG], goal) of the [SEG] that prompt the decoder.
        concepts: goals whose class embeddings prompt the decoder.
        boxes: boxes that prompt the decoder.
        extra: further windows.
    """

    item: int
    view: int
    ids: list[int]
    labels: list[int]
    seg: list[int]
    goals: tuple[Goal, ...]
    window: Window
    asked: tuple[tuple[int, Goal], ...]
    concepts: tuple[Goal, ...]
    boxes: tuple[BoxPrompt, ...]
    extra: tuple[ExtraWindow, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """How batches are drawn.

    Attributes:
        batch_size, seed: as in the schedule.
        crop: side of a window in px.
        share: fraction of the conversations that are about simulated scenes.
        templates: fraction of the conversations about labelled images that are drawn from the built-in texts.
        views: number of augmented views of each image.
        longest: largest number of tokens of a conversation.
        windows: number of further windows for each conversation, prompted by class embeddings and boxes.
    """

    batch_size: int
    seed: int
    crop: int = 288
    share: float = 0.3
    templates: float = 0.5
    views: int = 4
    longest: int = 256
    windows: int = 0


@dataclass(frozen=True)
class Prompting:
    """What prompts the mask decoder in training.

    Attributes:
        decodes: whether anything is segmented at all.
        boxes: whether boxes prompt the decoder, too.
        box_weight: weight of a box relative to a [SEG].
        replays: whether the base's class embeddings prompt the decoder on simulated scenes, so that their masks do not
            drift.
        codes: names of the model's class embeddings, in their order; empty: those of the vocabulary.
        custom_from: number of the first new concept; its class embedding is trained, so it prompts the decoder, too.
        custom_only: whether the decoder is trained for new concepts alone, so that nothing else is segmented.
    """

    decodes: bool = True
    boxes: bool = True
    box_weight: float = 0.5
    replays: bool = False
    codes: tuple[str, ...] = ()
    custom_from: int = len(CONCEPTS)
    custom_only: bool = False


@dataclass(frozen=True)
class Share:
    """The part of a batch that belongs to one process: number of the process, number of processes, number of pieces."""

    process: int = 0
    processes: int = 1
    accumulate: int = 1
