"""What a batch of the stage ``adapt`` consists of: how it is drawn, its plan, and its tensors."""

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
class Look:
    """What the decoder is asked about one window.

    seg: which [SEG] of the batch prompt it ``(T,)``. codes: which codes prompt it ``(C,)``. boxes ``(K, 4)`` XYXY px of
    the frame. maps: targets of the T + C + K prompts. features: of the window, put in before the step; those of the
    encoder where a top-down path of users' own concepts learns.
    """

    item: int
    view: int
    row: int
    window: Window
    seg: Tensor
    codes: Tensor
    boxes: Tensor
    maps: Maps
    features: SamFeatures | tuple[Tensor, ...] | None = None


@dataclass
class AdaptBatch:
    """B conversations: ids, labels ``(B, T)``; seg ``(S, 2)``: row and position of each [SEG]; code ``(S,)``: of its
    concept, -1 without; views: item and view of each row; looks: what is outlined; totals: of the whole step, over all
    processes. clip, sam: pooled features, put in before the step; images: whole views where the tower learns."""

    ids: Tensor
    labels: Tensor
    seg: Tensor
    code: Tensor
    views: list[tuple[int, int]]
    looks: list[Look]
    totals: dict[str, float]
    clip: Tensor | None = None
    sam: Tensor | None = None
    images: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Sight:
    """A window that codes and boxes prompt, without a conversation; as in :class:`Plan`."""

    item: int
    view: int
    window: Window
    codes: tuple[Goal, ...]
    boxes: tuple[tuple[np.ndarray, np.ndarray], ...]
    asked: tuple[tuple[int, Goal], ...] = ()


@dataclass(frozen=True)
class Plan:
    """One conversation before anything costly is made. asked: (number of the [SEG], goal) of those to outline; codes:
    goals that are prompted by their codes."""

    item: int
    view: int
    ids: list[int]
    labels: list[int]
    seg: list[int]
    goals: tuple[Goal, ...]
    window: Window
    asked: tuple[tuple[int, Goal], ...]
    codes: tuple[Goal, ...]
    boxes: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(box XYXY px of the frame, its instance's mask in the window)."""
    more: tuple[Sight, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """How batches are drawn.

    Attributes:
        batch_size, seed: as in the schedule.
        crop: side of a window in px.
        share: share of the conversations that are about the default's scenes.
        templates: share of the conversations about labelled images that are drawn from the default's texts.
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
        boxes: whether boxes prompt it, too. box_weight: weight of a box beside a [SEG].
        keeps: whether the default's class embeddings prompt it on the default's scenes, so that they do not drift.
        codes: names of the model's class embeddings, in their order; empty: those of the vocabulary.
        custom_from: number of the first new concept; its class embedding is trained, so it prompts the decoder, too.
        apart: whether the decoder is trained for new concepts alone, so that nothing else is segmented.
    """

    decodes: bool = True
    boxes: bool = True
    box_weight: float = 0.5
    keeps: bool = False
    codes: tuple[str, ...] = ()
    custom_from: int = len(CONCEPTS)
    apart: bool = False


@dataclass(frozen=True)
class Share:
    """The part of a batch that belongs to one process: number of the process, number of processes, number of pieces."""

    process: int = 0
    processes: int = 1
    accumulate: int = 1
