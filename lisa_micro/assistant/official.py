"""The assistant on an official LISA checkpoint: the reply is the model's own text, every [SEG] in it gives one mask.

There is no reply language: no constraints, no measured values, no "not in this image". The connected components of a
mask are its instances.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from lisa_micro.assistant.assistant import LanguageAssistant
from lisa_micro.assistant.conversation import REPEATED_TURNS, BaseConversation, Clock, ConversationStart
from lisa_micro.assistant.language_engine import KVCache, LanguageEngine, RawReply
from lisa_micro.assistant.prepare import ImageCache, PreparedImage
from lisa_micro.assistant.tiling import TileSize
from lisa_micro.io import to_unit_range
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.models.lisa.instances import connected
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.official_lisa.checkpoint import fingerprint
from lisa_micro.models.official_lisa.images import photo_range
from lisa_micro.models.official_lisa.load import Loaded, load_official
from lisa_micro.models.official_lisa.model import OfficialLisa
from lisa_micro.models.official_lisa.prompt import OfficialChat
from lisa_micro.models.official_lisa.sam import OfficialSam
from lisa_micro.protocols import Capabilities, TilingMode
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import Micrograph

MAX_REPLY_TOKENS = 512
MAX_MASKS = 32
"""Most masks of one reply; a model that repeats itself generates hundreds of [SEG]."""


class OfficialEngine(LanguageEngine):
    """Runs an official checkpoint for one reply at a time. Decoding is greedy.

    Args:
        loaded: model and tokenizer.
        device: where the model is.
        template: conversation format, one of :data:`lisa_micro.models.official_lisa.prompt.TEMPLATES`.
        max_tokens: most tokens of a reply.
    """

    model: OfficialLisa

    def __init__(
        self,
        loaded: Loaded,
        device: torch.device,
        template: str = "llava_v1",
        max_tokens: int = MAX_REPLY_TOKENS,
    ):
        # the language model has its own precision; everything else stays in float32
        super().__init__(loaded.model, OfficialChat(loaded.tokenizer, template), device, bf16=False)
        self.seg_id = loaded.tokenizer.seg
        self.max_tokens, self.context = max_tokens, loaded.config.max_position_embeddings

    @torch.inference_mode()
    def generate(self, cache: KVCache, text: str, first: bool) -> tuple[RawReply, int]:
        """Prefill the user's words and decode a reply. As in the official code, a [SEG] in the request prompts a mask,
        too."""
        pending = len(cache.pending)
        ids = self.turn_ids(cache, text, first)
        states = self._prefill_ids(cache, ids)
        cache.pending = []
        start = cache.length
        reply = self._decode(cache, states[-1], [])
        places = [k - 1 for k, token in enumerate(ids) if k > pending and token == self.seg_id]
        if places:
            both = torch.cat([states[places].float(), reply.states])
            reply = replace(reply, states=both, from_request=len(places))
        return reply, start

    def _decode(self, cache: KVCache, state: Tensor, reply: list[int]) -> RawReply:
        """What prompts the mask decoder is the state that predicted [SEG], which is the one before it."""
        found: list[Tensor] = []
        unread: list[int] = []
        while len(reply) < self.max_tokens and cache.length + len(unread) < self.context:
            if unread:
                state = self._prefill_ids(cache, unread)[-1]
            token = int(self.model.logits(state[None])[0].argmax())
            if token == self.seg_id:
                found.append(state)
            unread = [token]
            if token == self.chat.end:
                break
            reply.append(token)
        # the last token is prefilled with the next request, and the end of the turn with it
        cache.pending = unread if unread == [self.chat.end] else [*unread, self.chat.end]
        return self._raw_reply(reply, found, state)


def official_intensities(pixels: np.ndarray) -> np.ndarray:
    """``(H, W)`` -> float32 in 0..1: 8-bit images as they are, as in the official code; others with robust contrast."""
    photo = photo_range(pixels)
    return to_unit_range(pixels) if photo is None else photo


def _features(pixels: np.ndarray, features: ImageFeatures) -> ImageFeatures:
    return features


class OfficialAssistant(LanguageAssistant[ImageFeatures]):
    """Answers requests with an official checkpoint. Made by :func:`lisa_micro.load_assistant`.

    Args:
        engine: the model.
        preset: name or folder that it was loaded from.
        folder: where its weights are.
    """

    def __init__(self, engine: OfficialEngine, preset: str, folder: Path):
        super().__init__(engine, preset, ImageCache(engine, official_intensities, _features))
        self.engine, self.folder = engine, folder

    @cached_property
    def weights_sha256(self) -> str:
        """Fingerprint of all files with weights; they are read at the first access."""
        return fingerprint(self.folder)

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do. Its replies are free text, so nothing of the reply language applies."""
        return Capabilities(
            words=True,
            follow_ups=True,
            boxes=True,
            points=True,
            everything=True,
            largest_side=self.engine.model.sam_tower.multiple,
        )

    def _conversation(
        self, image: Micrograph, mode: TilingMode, size: TileSize, start: ConversationStart
    ) -> OfficialConversation:
        return OfficialConversation(self.engine, self._images, image, start)

    def _segmenter(self, image: Micrograph) -> OfficialSam:
        flat = bool(image.pixels.min() == image.pixels.max())
        return OfficialSam(self.engine.model, self.prepared(image).view, self.device, flat)


class OfficialConversation(BaseConversation[ImageFeatures]):
    """Requests about one image, in order. The published models were trained on requests such as "Can you segment the
    particles in this image?" and "... Please output segmentation mask."

    The text of an answer is the model's own, ``[SEG]`` included, with one segment per mask that is not empty.

    Args:
        engine: the model.
        images, image, start: see :class:`lisa_micro.assistant.conversation.BaseConversation`.
    """

    def __init__(
        self,
        engine: OfficialEngine,
        images: ImageCache[ImageFeatures],
        image: Micrograph,
        start: ConversationStart,
    ):
        super().__init__(images, image, start)
        self._engine = engine

    def _turn_length(self, prompt: str) -> int:
        return len(self._engine.turn_ids(KVCache(None), prompt, first=False))

    def _has_room(self, cache: KVCache, prompt: str) -> bool:
        return cache.length + self._turn_length(prompt) + self._engine.max_tokens <= self._engine.context

    def _restarted(self, image_cache: KVCache, prompt: str) -> KVCache:
        """As many of the last turns are prefilled as leave room for this turn and its reply."""
        engine = self._engine
        cache = image_cache.fork()
        kept: list[Answer] = []
        room = engine.context - cache.length - self._turn_length(prompt) - engine.max_tokens
        for answer in reversed(self.answers[-REPEATED_TURNS:]):
            room -= len(engine.turn_ids(KVCache(None), answer.prompt, first=True))
            room -= len(engine.chat.reply_ids(answer.raw))
            if room < 0:
                break
            kept.insert(0, answer)
        for number, answer in enumerate(kept):
            engine.prefill_turn(cache, answer.prompt, answer.raw, first=number == 0)
        return cache

    def _answer(self, prompt: str, prepared: PreparedImage[ImageFeatures], cache: KVCache, clock: Clock) -> Answer:
        generated, _ = self._engine.generate(cache, prompt, first=cache.length == prepared.cache.length)
        clock.lap("language")
        segments, notes = self._segments(prepared.view, generated)
        clock.lap("masks")
        if not len(generated.states):
            notes.append("The reply has no [SEG], so nothing was segmented; ask the model to segment something.")
        if re.search(r"\d", generated.raw):
            notes.append("Numbers in this reply are the model's own, not measured.")
        return Answer(generated.raw, tuple(segments), raw=generated.raw, notes=tuple(notes), image=self.image)

    def _segments(self, features: ImageFeatures, generated: RawReply) -> tuple[list[Segmentation], list[str]]:
        engine, image, states = self._engine, self.image, generated.states
        segments: list[Segmentation] = []
        notes: list[str] = []
        typed = generated.from_request
        if typed:
            notes.append(f"[SEG] in the request prompted {typed} of the masks, as in the official code.")
        if len(states) > MAX_MASKS:
            notes.append(f"There are {len(states)} [SEG]; masks are made of the first {MAX_MASKS}.")
        for number in range(min(len(states), MAX_MASKS)):
            # one at a time: at the size of a large micrograph a map takes a gigabyte
            out = engine.decode_words(features, states[number : number + 1])
            mask = engine.on_micrograph(out.mask, features)[0] > 0
            if not mask.any():
                notes.append(f"The mask of [SEG] number {number + 1} is empty.")
                continue
            labels = connected(mask, smallest=1)
            segments.append(
                Segmentation(
                    labels=labels,
                    score=float(expit(float(out.iou[0]))),
                    phrase="objects",
                    pixel_size_nm=image.pixel_size_nm,
                    properties=particle_table(particle_properties(labels, image.pixels), image.pixel_size_nm),
                    target=max(0, number + 1 - typed),
                    image=image,
                )
            )
        return segments, notes


def load_official_assistant(
    folder: Path, preset: str, device: torch.device, precision: str = "auto", template: str = "llava_v1"
) -> OfficialAssistant:
    """Load an assistant from a folder in the official layout.

    Args:
        folder: the checkpoint.
        preset: the name that it was requested by.
        device, precision: see :func:`lisa_micro.models.official_lisa.load.load_official`.
        template: conversation format.

    Raises:
        InputError: see there.
    """
    loaded = load_official(folder, device, precision)
    return OfficialAssistant(OfficialEngine(loaded, device, template), preset, folder)
