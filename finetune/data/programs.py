"""Batches for version 2 of the reply language: conversations with and without images.

Most requests can be understood without an image, and a conversation without image tokens is several times shorter. So
each step has many of those and a few with images. Only the programs have a loss, not the users' words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.datasets.texts import sample_conversation
from lisa_micro.datasets.texts.programs import Exchange, from_turns, sample, sample_about
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.words import SEG
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro_finetune.data.conversations import IGNORE, Example, LanguageBatch, all_there, collate
from lisa_micro_finetune.data.facts import scene_facts
from lisa_micro_finetune.losses import OTHERS, prompt_terms
from lisa_micro_finetune.stages.language import image_slots

NO_IMAGE = -1
"""Row of the pooled features for a conversation without an image."""


class MixedBatch(NamedTuple):
    """The conversations of one step.

    Attributes:
        images: conversations with an image; None if there are none.
        texts: conversations without an image; their ``image`` is :data:`NO_IMAGE`.
    """

    images: LanguageBatch | None
    texts: LanguageBatch


@dataclass(frozen=True)
class Mixture:
    """The composition of a step.

    Attributes:
        image_batch: number of conversations with an image; 0 for a stage of texts alone.
        text_batch: number of conversations without an image.
        longest: largest number of tokens; longer conversations are drawn again.
        picture_share: fraction of the conversations with an image whose words depend on the kind of image, if there are
            any for its kind.
        seed: seed of the draws.
    """

    image_batch: int
    text_batch: int
    longest: int = 224
    picture_share: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Pictures:
    """Images that conversations are about.

    Attributes:
        facts: facts of each image; see :func:`lisa_micro_finetune.data.facts.facts_of`.
        rows: rows of the pooled features of each image.
        weights: ``(N,)``, how often each image is drawn, relative to the others.
        kinds: kind of each image that decides the meaning of words (``"polycrystal"``), or ``""``.
    """

    facts: Sequence[dict] = ()
    rows: Sequence[Sequence[int]] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    kinds: Sequence[str] = ()


def encode_exchanges(exchanges: Sequence[Exchange], chat: ChatFormat, image_tokens: int) -> tuple[list[int], list[int]]:
    """Tokenise a conversation; programs and the ends of their turns have a loss.

    Args:
        exchanges: requests and programs, in order.
        chat: format of conversations, with a tokenizer that has the tokens of version 2.
        image_tokens: number of image tokens at the beginning of the first turn; 0 without an image. Their ids are 0.

    Returns:
        token ids and labels.
    """
    ids: list[int] = []
    labels: list[int] = []
    for number, exchange in enumerate(exchanges):
        before, after = chat.user_ids(exchange.user, first=number == 0)
        prompt = before + [0] * (image_tokens if number == 0 else 0) + after
        reply = chat.reply_ids(exchange.reply)
        # the label of a position is the next token
        labels += [IGNORE] * (len(prompt) - 1) + list(reply) + [IGNORE]
        ids += prompt + reply
    return ids, labels


class MixedMaker:
    """Make the :class:`MixedBatch` of a step, which depends on the seed and the step alone.

    Args:
        chat: format of conversations, with a tokenizer that has the tokens of version 2.
        image_tokens: number of tokens of an image.
        mixture: the composition of a step.
        pictures: images; ``None`` for a stage of texts alone.
        vocabulary: concepts of the model, in the order of its class embeddings.
    """

    def __init__(
        self,
        chat: ChatFormat,
        image_tokens: int,
        mixture: Mixture,
        pictures: Pictures | None = None,
        vocabulary: Vocabulary = FULL_VOCABULARY,
    ):
        self.chat, self.image_tokens, self.mixture = chat, image_tokens, mixture
        self.pictures = pictures or Pictures()
        self.numbers = {name: number for number, name in enumerate(vocabulary.names)}
        self.seg = chat.special[SEG]

    def __call__(self, step: int) -> MixedBatch:
        rng = np.random.default_rng((self.mixture.seed, 17, step))
        count = self.mixture.image_batch if len(self.pictures.facts) else 0
        images = [self.about_image(rng) for _ in range(count)]
        texts = [self.text(rng) for _ in range(self.mixture.text_batch)]
        return MixedBatch(collate(images) if images else None, collate(texts))

    def text(self, rng: np.random.Generator) -> Example:
        """Draw a conversation without an image."""
        while True:
            example = self.example(sample(Voice(rng)), 0, NO_IMAGE)
            if example is not None:
                return example

    def about_image(self, rng: np.random.Generator) -> Example:
        """Draw a conversation with an image: from version 1, or one whose words depend on the kind of image."""
        weights = np.asarray(self.pictures.weights, float)
        while True:
            k = int(rng.choice(len(self.pictures.facts), p=weights / weights.sum()))
            exchanges = None
            if self.pictures.kinds[k] and rng.random() < self.mixture.picture_share:
                exchanges = sample_about(Voice(rng), self.pictures.kinds[k])
            if exchanges is None:
                exchanges = self.of_version_1(self.pictures.facts[k], rng)
            if exchanges is None:
                continue
            rows = self.pictures.rows[k]
            example = self.example(exchanges, self.image_tokens, rows[int(rng.integers(len(rows)))])
            if example is not None:
                return example

    @staticmethod
    def of_version_1(facts: dict, rng: np.random.Generator) -> list[Exchange] | None:
        """Draw a conversation of version 1 and translate it; ``None`` if it asks for facts that are not known.

        It is drawn as if every concept were present, since programs do not depend on that.
        """
        scene = scene_facts(facts, rng)
        turns = sample_conversation(rng, replace(scene, counts=all_there(scene)), "train")
        if not facts["complete"] and any(turn.category in ("scene", "describe") for turn in turns):
            return None
        return from_turns(turns)

    def example(self, exchanges: Sequence[Exchange], image_tokens: int, row: int) -> Example | None:
        """Tokenise a conversation; ``None`` if it is too long or names a concept that the model does not have."""
        ids, labels = encode_exchanges(exchanges, self.chat, image_tokens)
        named = [target.concept for exchange in exchanges for target in exchange.program.targets]
        if len(ids) > self.mixture.longest or any(name not in self.numbers for name in named):
            return None
        seg = [position for position, token in enumerate(ids) if token == self.seg]
        assert len(seg) == len(named)
        return Example(ids, labels, row, seg, [self.numbers[name] for name in named if name is not None])


def make_step(
    model: LisaModel,
    features: dict,
    image_start: int,
    prompt_weight: float,
    device: torch.device,
    bf16: bool,
) -> Callable[[MixedBatch], tuple[Tensor, dict[str, float]]]:
    """Make the function from a batch to its loss and metrics.

    The loss is the cross-entropy of the programs plus ``prompt_weight`` times the distance of the projected state of
    each [SEG] to the class embedding of its concept.

    Args:
        model: has class embeddings of all concepts in the batches.
        features: ``clip`` and ``sam``, pooled features of all images; empty for a stage of texts alone.
        image_start: position of the first image token.
        prompt_weight: weight of the distance.
        device: device to compute on.
        bf16: whether to compute in bfloat16.
    """
    class_embeddings = model.mask_head.code_book.weight.detach().to(device)

    def half(batch: LanguageBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Summed cross-entropy, (number of tokens, number of correct ones), and the distance of the prompts."""
        ids, labels = batch.ids.to(device), batch.labels.to(device)
        embeddings = model.embed(ids)
        if int(batch.image[0]) != NO_IMAGE:
            tokens = model.image_tokens(
                features["clip"][batch.image].to(device).float(),
                features["sam"][batch.image].to(device).float(),
                pooled=True,
            )
            embeddings = image_slots(embeddings, tokens, image_start)
        states = model.states(embeddings, use_cache=False)
        wanted = labels != IGNORE
        logits, truth = model.logits(states[wanted]).float(), labels[wanted]
        language = F.cross_entropy(logits, truth, reduction="sum")
        right = (logits.argmax(-1) == truth).sum()
        prompt = torch.zeros((), device=device)
        if len(batch.seg):
            seg = batch.seg.to(device)
            shift = 0 if model.config.seg_state == "at" else 1
            projected = model.seg_projector(states[seg[:, 0], seg[:, 1] - shift]).float()
            far, others, _ = prompt_terms(projected, batch.concept.to(device), class_embeddings)
            prompt = (far + OTHERS * others).mean()
        return language, torch.stack([wanted.sum(), right]), prompt

    def step(batch: MixedBatch) -> tuple[Tensor, dict[str, float]]:
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            halves = [half(part) for part in (batch.images, batch.texts) if part is not None]
        counted = torch.stack([counts for _, counts, _ in halves]).sum(0)
        language = torch.stack([summed for summed, _, _ in halves]).sum() / counted[0]
        prompt = torch.stack([term for _, _, term in halves]).mean()
        metrics = {
            "words": float(language.detach()),
            "token": float(counted[1] / counted[0]),
            "far": float(prompt.detach()),
        }
        return language + prompt_weight * prompt, metrics

    return step
