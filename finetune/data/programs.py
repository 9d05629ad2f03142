"""Batches for version 2 of the reply language: conversations with and without images.

Most requests can be understood without an image, and a conversation without image tokens is several times shorter. So
each step has many of those and a few with images. Only the programs have a loss, not the users' words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lisa_micro.datasets.texts import sample_conversation
from lisa_micro.datasets.texts.programs import Exchange, from_turns, sample, sample_about
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.words import SEG
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro_finetune.data.conversations import IGNORE, Example, LanguageBatch, all_there, collate, even_chunks
from lisa_micro_finetune.data.facts import scene_facts

ANY_SCENE = {"modality": None, "counts": {"particle": 20, "neck": 8}, "in_contact": 0.4, "complete": False}
"""Facts for conversations of version 1 that need no image; questions about the scene as a whole are left out."""
NO_IMAGE = -1
"""Row of the pooled features for a conversation without an image."""


class MixedBatch(NamedTuple):
    """The conversations of one step.

    Attributes:
        images: conversations with an image; None if there are none.
        texts: conversations without an image; their ``image`` is :data:`NO_IMAGE`.
        back: programs, each followed by the request that it answers, which has the loss; None if there are none.
    """

    images: LanguageBatch | None
    texts: LanguageBatch
    back: LanguageBatch | None = None


@dataclass(frozen=True)
class Mixture:
    """The composition of a step.

    Attributes:
        image_batch: number of conversations with an image; 0 for a stage of texts alone.
        text_batch: number of conversations without an image.
        longest: largest number of tokens; longer conversations are drawn again.
        picture_share: fraction of the conversations with an image whose words depend on the kind of image, if there are
            any for its kind.
        composed_share: fraction of the other conversations with an image that are composed requests, which need no
            image; the rest are of version 1.
        version_1_share: fraction of the conversations without an image that are of version 1.
        seed: seed of the draws.
        back_batch: number of programs that are followed by their request.
    """

    image_batch: int
    text_batch: int
    longest: int = 224
    picture_share: float = 0.2
    composed_share: float = 0.0
    version_1_share: float = 0.0
    seed: int = 0
    back_batch: int = 0


@dataclass(frozen=True)
class Pictures:
    """Images that conversations are about.

    Attributes:
        facts: facts of each image; see :func:`lisa_micro_finetune.data.facts.facts_of`; ``None`` where nothing is known
            that conversations of version 1 need.
        rows: rows of the pooled features of each image.
        weights: ``(N,)``, how often each image is drawn, relative to the others.
        kinds: kinds of each image that decide the meaning of words (``"polycrystal"``), if any.
    """

    facts: Sequence[dict | None] = ()
    rows: Sequence[Sequence[int]] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    kinds: Sequence[tuple[str, ...]] = ()


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

    The conversations of four steps are sorted by length and divided into batches of about the same number of tokens,
    which saves padding.

    Args:
        chat: format of conversations, with a tokenizer that has the tokens of version 2.
        image_tokens: number of tokens of an image.
        mixture: the composition of a step.
        pictures: images; ``None`` for a stage of texts alone.
        vocabulary: concepts of the model, in the order of its class embeddings.
    """

    group = 4

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
        self._group: tuple[int, list[list[Example]], list[list[Example]], list[list[Example]]] | None = None

    def __call__(self, step: int) -> MixedBatch:
        number = step // self.group
        if self._group is None or self._group[0] != number:
            rng = np.random.default_rng((self.mixture.seed, 17, number))
            count = self.mixture.image_batch if len(self.pictures.facts) else 0
            images = self._batches(self.about_image, count, rng)
            texts = self._batches(self.text, self.mixture.text_batch, rng)
            self._group = number, images, texts, self._batches(self.way_back, self.mixture.back_batch, rng)
        _, images, texts, back = self._group
        k = step % self.group
        return MixedBatch(collate(images[k]) if images else None, collate(texts[k]), collate(back[k]) if back else None)

    def _batches(
        self, draw: Callable[[np.random.Generator], Example], count: int, rng: np.random.Generator
    ) -> list[list[Example]]:
        """The conversations of the steps of a group in a random order of lengths; ``count`` a step on the average."""
        if not count:
            return []
        examples = sorted((draw(rng) for _ in range(self.group * count)), key=lambda example: len(example.ids))
        chunks = even_chunks(examples, self.group)
        return [chunks[int(k)] for k in rng.permutation(self.group)]

    def text(self, rng: np.random.Generator) -> Example:
        """Draw a conversation without an image."""
        while True:
            example = self.example(self._any_exchanges(rng), 0, NO_IMAGE)
            if example is not None:
                return example

    def way_back(self, rng: np.random.Generator) -> Example:
        """Draw a program with the request that it answers, the first one of a conversation."""
        while True:
            first = self._any_exchanges(rng)[0]
            reply, words = self.chat.back_ids(first.reply, first.user)
            if len(reply) + len(words) <= self.mixture.longest:
                labels = [IGNORE] * (len(reply) - 1) + words + [IGNORE]
                return Example(reply + words, labels, NO_IMAGE, [], [])

    def _any_exchanges(self, rng: np.random.Generator) -> list[Exchange]:
        """Draw a conversation that needs no image, of either version."""
        if rng.random() < self.mixture.version_1_share:
            while True:
                exchanges = self.of_version_1(ANY_SCENE, rng)
                if exchanges is not None:
                    return exchanges
        return sample(Voice(rng))

    def about_image(self, rng: np.random.Generator) -> Example:
        """Draw a conversation with an image: from version 1, or one whose words depend on the kind of image."""
        weights = np.asarray(self.pictures.weights, float)
        while True:
            k = int(rng.choice(len(self.pictures.facts), p=weights / weights.sum()))
            exchanges = self._exchanges(self.pictures.facts[k], self.pictures.kinds[k], rng)
            if exchanges is None:
                continue
            rows = self.pictures.rows[k]
            example = self.example(exchanges, self.image_tokens, rows[int(rng.integers(len(rows)))])
            if example is not None:
                return example

    def _exchanges(self, facts: dict | None, kinds: tuple[str, ...], rng: np.random.Generator) -> list[Exchange] | None:
        if kinds and rng.random() < self.mixture.picture_share:
            about = sample_about(Voice(rng), kinds[int(rng.integers(len(kinds)))])
            if about is not None:
                return about
        if facts is None or rng.random() < self.mixture.composed_share:
            return sample(Voice(rng))
        return self.of_version_1(facts, rng)

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
