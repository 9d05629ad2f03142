"""Batches of tokenised conversations, and the cached pooled features of the towers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lisa_micro.datasets.texts import SceneFacts, Turn, sample_conversation
from lisa_micro.language.words import SPECIAL_TOKENS
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.types import CONCEPTS
from lisa_micro_finetune.data.crops import photometric
from lisa_micro_finetune.data.facts import scene_facts
from lisa_micro_finetune.data.sources import Source

IGNORE = -100
"""Label of positions without a loss."""


class LanguageBatch(NamedTuple):
    """B conversations.

    Attributes:
        ids: ``(B, T)`` token ids, padded at the end.
        labels: ``(B, T)``, the token to predict *at* each position, :data:`IGNORE` where there is none.
        image: ``(B,)``, row of the pooled features.
        seg: ``(S, 2)``, row and position of each [SEG].
        concept: ``(S,)``, number of the concept of each [SEG].
    """

    ids: Tensor
    labels: Tensor
    image: Tensor
    seg: Tensor
    concept: Tensor


@dataclass(frozen=True)
class Example:
    """One tokenised conversation; fields as in :class:`LanguageBatch`."""

    ids: list[int]
    labels: list[int]
    image: int
    seg: list[int]
    concepts: list[int]


def encode_turns(turns: list[Turn], chat: ChatFormat, image_tokens: int) -> tuple[list[int], list[int]]:
    """Tokenise a conversation.

    Replies and the ends of their turns are trained. An ``<absent>`` that the runtime forces has no loss.

    Args:
        turns: requests and replies.
        chat: format of conversations in tokens.
        image_tokens: number of image tokens; their ids are 0.

    Returns:
        token ids and labels.
    """
    ids: list[int] = []
    labels: list[int] = []
    for number, turn in enumerate(turns):
        before, after = chat.user_ids(turn.user, first=number == 0)
        prompt = before + [0] * (image_tokens if number == 0 else 0) + after
        reply = chat.reply_ids(turn.reply)
        # the label of a position is the next token
        labels += [IGNORE] * (len(prompt) - 1)
        targets = list(reply)
        if turn.forced_absent:
            targets[0] = IGNORE
        labels += targets + [IGNORE]
        ids += prompt + reply
    return ids, labels


@dataclass(frozen=True)
class Images:
    """Images that conversations are about.

    Attributes:
        facts: facts of each image.
        rows: rows of the pooled features of each image, one per augmented view.
        weights: how often each image is drawn, relative to the others, ``(N,)``.
    """

    facts: list[dict]
    rows: list[list[int]]
    weights: np.ndarray


@dataclass(frozen=True)
class TextMix:
    """Which texts are drawn; see :func:`lisa_micro.datasets.texts.sample_conversation`."""

    categories: dict[str, float] | None = None
    follow_ups: int | None = None
    dialogues: float | None = None


DEFAULT_MIX = TextMix()


class ConversationMaker:
    """Make the :class:`LanguageBatch` of a step, which depends on the seed and the step alone.

    The conversations of four steps are sorted by length and divided into batches of about the same number of tokens,
    which saves padding and keeps memory and time per step even.

    Args:
        images: images and facts about them.
        chat: format of conversations in tokens.
        image_tokens: number of tokens of an image.
        batch_size: mean number of conversations in a batch.
        seed: seed of the draws.
        mix: which texts are drawn.
        longest: largest number of tokens; longer conversations are drawn again.
    """

    group = 4

    def __init__(
        self,
        images: Images,
        chat: ChatFormat,
        image_tokens: int,
        batch_size: int,
        seed: int,
        mix: TextMix = DEFAULT_MIX,
        longest: int = 224,
    ):
        self.facts, self.rows = images.facts, images.rows
        self.weights = images.weights / images.weights.sum()
        self.chat, self.image_tokens = chat, image_tokens
        self.batch_size, self.seed, self.longest = batch_size, seed, longest
        self.drawn = {"follow_ups": mix.follow_ups, "categories": mix.categories, "dialogues": mix.dialogues}
        self._group: tuple[int, list[list[Example]]] | None = None

    def __call__(self, step: int) -> LanguageBatch:
        number = step // self.group
        if self._group is None or self._group[0] != number:
            rng = np.random.default_rng((self.seed, 11, number))
            examples = [self.example(rng) for _ in range(self.group * self.batch_size)]
            examples.sort(key=lambda e: len(e.ids))
            chunks = even_chunks(examples, self.group)
            self._group = (number, [chunks[int(k)] for k in rng.permutation(len(chunks))])
        return collate(self._group[1][step % self.group])

    def example(self, rng: np.random.Generator) -> Example:
        """Draw and tokenise a conversation about a random image."""
        while True:
            k = int(rng.choice(len(self.facts), p=self.weights))
            turns = conversation_about(self.facts[k], rng, **self.drawn)
            if turns is None:
                continue
            ids, labels = encode_turns(turns, self.chat, self.image_tokens)
            if len(ids) > self.longest:
                continue
            seg_id = self.chat.special[SPECIAL_TOKENS[0]]
            seg = [p for p, t in enumerate(ids) if t == seg_id]
            concepts = [CONCEPTS.index(t.concept) for turn in turns for t in turn.targets]
            if len(seg) != len(concepts):
                continue
            row = self.rows[k][int(rng.integers(len(self.rows[k])))]
            return Example(ids, labels, row, seg, concepts)


def conversation_about(
    facts: dict,
    rng: np.random.Generator,
    follow_ups: int | None = None,
    categories: dict[str, float] | None = None,
    dialogues: float | None = None,
) -> list[Turn] | None:
    """Draw a conversation about an image with these facts.

    Arguments are those of :func:`lisa_micro.datasets.texts.sample_conversation`.

    Returns:
        the turns, or ``None`` if the draw asks for facts that are not known.
    """
    scene = scene_facts(facts, rng)
    # the language model writes [SEG] for every known concept, and the decoder tells whether it is present; so most
    # texts are drawn as if all concepts were present, and the others show what follows a forced <absent>
    if not facts["complete"] or rng.random() < 0.75:
        scene = replace(scene, counts=all_there(scene))
    turns = sample_conversation(rng, scene, "train", follow_ups, categories, dialogues=dialogues)
    if not facts["complete"] and any(t.category in ("scene", "describe") for t in turns):
        return None
    return turns


def even_chunks(examples: list[Example], count: int) -> list[list[Example]]:
    """Divide examples, sorted by length, into ``count`` non-empty runs with about the same number of tokens."""
    ends = np.cumsum([len(e.ids) for e in examples])
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count) + 1
    edges = [0, *cuts.tolist(), len(examples)]
    for k in range(1, count):
        edges[k] = min(max(edges[k], edges[k - 1] + 1), len(examples) - (count - k))
    return [examples[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def all_there(scene: SceneFacts) -> dict[str, int]:
    """Counts as if every concept were present.

    The number of particles stays the same, since questions about the scene ask for it. Without particles, nothing else
    is added.
    """
    counts = dict(scene.counts)
    if counts.get("particle", 0) == 0:
        return counts
    for concept in CONCEPTS[1:]:
        counts[concept] = max(1, counts.get(concept, 0))
    return counts


def collate(examples: list[Example]) -> LanguageBatch:
    """Combine examples into a batch. Padding stands at the end, where causal attention does not see it."""
    # multiples of 16: few different lengths let kernels and memory be reused
    longest = -(-max(len(e.ids) for e in examples) // 16) * 16
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORE)
    for k, e in enumerate(examples):
        ids[k, : len(e.ids)] = torch.tensor(e.ids)
        labels[k, : len(e.labels)] = torch.tensor(e.labels)
    seg = [[k, p] for k, e in enumerate(examples) for p in e.seg]
    concept = [c for e in examples for c in e.concepts]
    return LanguageBatch(
        ids,
        labels,
        torch.tensor([e.image for e in examples]),
        torch.tensor(seg, dtype=torch.long).reshape(-1, 2),
        torch.tensor(concept, dtype=torch.long),
    )


def pooled_features(
    sources: list[Source],
    pool: Callable[[Tensor], tuple[Tensor, Tensor]],
    file: Path,
    views: int,
    seed: int,
    key: str,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Compute pooled features of both towers for augmented views of each image, or read them from a cache.

    Args:
        sources: the images.
        pool: image ``(1, 1, H, W)`` in 0..1 -> (clip ``(K1, C1)``, sam ``(K2, C2)``).
        file: the cache.
        views: number of views per image; the first one is the image itself.
        seed: seed of the augmentation.
        key: identifies the weights of the towers; a cache with another key is replaced.
        log: receives lines of text.

    Returns:
        ``clip`` ``(N * views, K1, C1)`` and ``sam`` ``(N * views, K2, C2)`` float16; source k has rows
        ``k * views ... (k + 1) * views - 1``.
    """
    names = [s.name for s in sources]
    if file.is_file():
        cached = torch.load(file, weights_only=True)
        if cached["key"] == key and cached["names"] == names and cached["views"] == views:
            return cached
    clip, sam = [], []
    for number, source in enumerate(sources):
        for view in range(views):
            rng = np.random.default_rng((seed, number, view))
            image = source.pixels.astype(np.float32) / 255
            if view:
                image = np.rot90(image, int(rng.integers(4)))
                image = image[:, ::-1] if rng.random() < 0.5 else image
                image = photometric(np.ascontiguousarray(image), rng, gentle=True)
            a, b = pool(torch.as_tensor(np.ascontiguousarray(image))[None, None])
            clip.append(a.half())
            sam.append(b.half())
        if number % 200 == 199:
            log(f"features of {number + 1}/{len(sources)} images")
    cached = {"key": key, "names": names, "views": views, "clip": torch.stack(clip), "sam": torch.stack(sam)}
    temporary = file.with_suffix(".part")
    torch.save(cached, temporary)
    os.replace(temporary, file)
    return cached
