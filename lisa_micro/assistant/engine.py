"""Inference engine: encodes images and decodes replies token by token with a KV cache."""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lisa_micro.language import Target, Vocabulary
from lisa_micro.language.decoding import GrammarProcessor
from lisa_micro.language.words import ABSENT, SEG
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerBase

MAX_REPLY_TOKENS = 96
CONTEXT_TOKENS = 4096
"""Longest KV cache. A longer conversation starts over with its last turns; the base model reads up to 8192 tokens."""


@dataclass
class KVCache:
    """State of the language model in a conversation.

    Attributes:
        layers: keys and values of the tokens read so far; ``None`` for counting tokens only.
        length: number of those tokens.
        pending: tokens that were generated but not read back; they are prefilled with the next request.
    """

    layers: DynamicCache | None
    length: int = 0
    pending: list[int] = field(default_factory=list)

    def fork(self) -> KVCache:
        """An independent copy, so that several conversations can start from one prefilled image."""
        return KVCache(copy.deepcopy(self.layers), self.length, list(self.pending))


@dataclass(frozen=True, eq=False)
class RawReply:
    """A reply as the language model generated it.

    Attributes:
        raw: text with special tokens.
        ids: token ids.
        states: ``(S, hidden)`` float32 hidden states of S [SEG] tokens.
        from_request: number of the first states that belong to [SEG] in the request; the others belong to the reply.
    """

    raw: str
    ids: list[int]
    states: Tensor
    from_request: int = 0


class Chat(Protocol):
    """Format of a conversation in tokens."""

    @property
    def end(self) -> int:
        """Token that ends a turn."""
        ...

    def shortened(self, text: str, most: int) -> str:
        """The user's words, cut after ``most`` tokens."""
        ...

    def user_ids(self, text: str, first: bool) -> tuple[list[int], list[int]]:
        """Ids of the user's turn before and after the image tokens."""
        ...

    def reply_ids(self, reply: str) -> list[int]:
        """Ids of a given reply, with the end of the turn."""
        ...

    def text(self, ids: list[int]) -> str:
        """Ids of a reply -> text."""
        ...


class LanguageEngine(ABC):
    """Runs a :class:`LisaModel` for one reply at a time. How tokens are chosen is up to the subclass.

    Args:
        model: with a merged (or no) adapter, in evaluation mode.
        chat: format of the conversation.
        device: where the model is.
        bf16: whether to compute in bfloat16.
    """

    def __init__(self, model: LisaModel, chat: Chat, device: torch.device, bf16: bool):
        self.model, self.chat, self.device, self.bf16 = model, chat, device, bf16

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision to compute in."""
        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # ------------------------------------------------------------------------------------------------- language

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, tokens: bool = True, side: int | None = None) -> ImageFeatures:
        """``(H, W)`` float32 in 0..1 -> features of both towers; without ``tokens``, for the mask decoder alone, seen
        with a longest side of ``side`` px if given."""
        image = torch.as_tensor(np.ascontiguousarray(pixels), device=self.device)[None, None]
        with self.autocast():
            return self.model.encode_image(image, tokens, side)

    @torch.inference_mode()
    def prefill_image(self, features: ImageFeatures) -> KVCache:
        """Start a conversation: prefill the opening of the first turn and the image tokens."""
        from transformers import DynamicCache

        cache = KVCache(DynamicCache())
        opening = torch.tensor([self.chat.user_ids("", first=True)[0]], device=self.device)
        with self.autocast():
            words = self.model.embed(opening)
            self._prefill(cache, torch.cat([words, features.tokens.to(words.dtype)], 1))
        return cache

    @torch.inference_mode()
    def prefill_turn(self, cache: KVCache, text: str, reply: str, first: bool) -> None:
        """Prefill an earlier turn: the user's words and the given reply."""
        with self.autocast():
            self._prefill_ids(cache, self.turn_ids(cache, text, first) + self.chat.reply_ids(reply))
        cache.pending = []

    @torch.inference_mode()
    def generate(self, cache: KVCache, text: str, first: bool) -> tuple[RawReply, int]:
        """Prefill the user's words and decode a reply.

        Args:
            first: whether this is the first turn of the conversation.

        Returns:
            the reply, and the length of the cache before it.
        """
        with self.autocast():
            states = self._prefill_ids(cache, self.turn_ids(cache, text, first))
            cache.pending = []
            start = cache.length
            return self._decode(cache, states[-1], []), start

    def turn_ids(self, cache: KVCache, text: str, first: bool) -> list[int]:
        """The user's turn in tokens, after the pending tokens of the last reply."""
        _, after = self.chat.user_ids(text, first)
        return cache.pending + after

    def _prefill(self, cache: KVCache, embeddings: Tensor) -> Tensor:
        """Read embeddings ``(1, T, hidden)``; return the hidden states ``(T, hidden)``."""
        states = self.model.states(embeddings, past_key_values=cache.layers, use_cache=True)
        cache.length += embeddings.shape[1]
        return states[0]

    def _prefill_ids(self, cache: KVCache, ids: list[int]) -> Tensor:
        return self._prefill(cache, self.model.embed(torch.tensor([ids], device=self.device)))

    @abstractmethod
    def _decode(self, cache: KVCache, state: Tensor, reply: list[int]) -> RawReply:
        """Decode until the end of the turn.

        Args:
            state: ``(hidden,)`` hidden state that predicts the next token.
            reply: tokens that the reply begins with; extended in place.
        """

    def _raw_reply(self, ids: list[int], seg_states: list[Tensor], state: Tensor) -> RawReply:
        # (0, hidden) without [SEG], so that projections accept it
        states = torch.stack(seg_states).float() if seg_states else state.new_zeros(0, state.shape[-1]).float()
        return RawReply(self.chat.text(ids), ids, states)

    # ---------------------------------------------------------------------------------------------------- masks

    @torch.inference_mode()
    def decode_words(self, features: ImageFeatures, states: Tensor) -> MaskOutputs:
        """Hidden states ``(N, hidden)`` of [SEG] tokens -> N maps."""
        with self.autocast():
            return self.model.decode_words(features, states.to(self.device))

    def on_micrograph(self, maps: Tensor, features: ImageFeatures, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Maps ``(N, h, w)`` -> float32 logits ``(N, H, W)`` at the size of the micrograph, or at ``shape``."""
        return self.model.to_micrograph(maps, features, shape).float().cpu().numpy()


class Engine(LanguageEngine):
    """Runs a model that writes the reply language. Decoding is greedy and held to the grammar.

    Args:
        model, device, bf16: see :class:`LanguageEngine`.
        tokenizer: with the tokens of the reply language.
    """

    chat: ChatFormat

    def __init__(self, model: LisaModel, tokenizer: PreTrainedTokenizerBase, device: torch.device, bf16: bool):
        super().__init__(model, ChatFormat(tokenizer), device, bf16)
        self.grammar = GrammarProcessor(tokenizer)
        self.vocabulary: Vocabulary = model.config.vocabulary
        self.code_names: tuple[str, ...] = model.config.code_names
        self.state_before_seg = model.config.seg_state == "before"
        self.seg_id, self.absent_id = self.chat.special[SEG], self.chat.special[ABSENT]

    @torch.inference_mode()
    def regenerate_absent(self, cache: KVCache, start: int) -> RawReply:
        """Remove the last reply from the cache and decode another one that begins with ``<absent>``, because the mask
        decoder found nothing of the kind.

        Args:
            start: length of the cache before the reply.
        """
        if cache.length > start:
            # negative: the number of tokens to remove; versions of transformers disagree on a positive number
            cache.layers.crop(start - cache.length)
        cache.length, cache.pending = start, []
        with self.autocast():
            states = self._prefill_ids(cache, [self.absent_id])
            return self._decode(cache, states[-1], [self.absent_id])

    def _decode(self, cache: KVCache, state: Tensor, reply: list[int]) -> RawReply:
        """Where the grammar allows only one token, it is taken without a forward pass, and prefilled together with the
        next one."""
        unread: list[int] = []
        found: list[Tensor] = []
        while len(reply) < MAX_REPLY_TOKENS:
            allowed = self.grammar.allowed(reply)
            choices = allowed.nonzero()[:, 0]
            if len(choices) == 1:
                token = int(choices[0])
            else:
                if unread:
                    states = self._prefill_ids(cache, unread)
                    found += self._seg_states(states, unread)
                    state, unread = states[-1], []
                logits = self.model.logits(state[None])[0]
                width = min(len(logits), len(allowed))
                logits = logits[:width].masked_fill(~allowed[:width].to(logits.device), float("-inf"))
                token = int(logits.argmax())
                if token == self.seg_id and self.state_before_seg:
                    found.append(state)
            if token == self.chat.end:
                break
            reply.append(token)
            unread.append(token)
        if self.seg_id in unread:
            states = self._prefill_ids(cache, unread)
            found += self._seg_states(states, unread)
            unread = []
        cache.pending = [*unread, self.chat.end]
        return self._raw_reply(reply, found, state)

    def _seg_states(self, states: Tensor, ids: list[int]) -> list[Tensor]:
        """States at the [SEG] tokens of ``ids``; none where the model uses the state before [SEG]."""
        if self.state_before_seg:
            return []
        return [state for state, token in zip(states, ids, strict=True) if token == self.seg_id]

    @torch.inference_mode()
    def decode_concept(self, features: ImageFeatures, number: int) -> MaskOutputs:
        """The class embedding of a concept -> one map. It serves measuring (which particles does a neck connect?) and
        never replaces words."""
        with self.autocast():
            return self.model.decode_code(features, number)

    @torch.inference_mode()
    def decode_boxes(self, features: ImageFeatures, boxes: np.ndarray) -> MaskOutputs:
        """Boxes ``(N, 4)`` XYXY px -> N maps."""
        with self.autocast():
            return self.model.decode_boxes(features, torch.as_tensor(boxes, dtype=torch.float32, device=self.device))

    @torch.inference_mode()
    def decode_exemplars(
        self, features: ImageFeatures, pixels: np.ndarray, boxes: np.ndarray, signs: np.ndarray
    ) -> MaskOutputs:
        """Segment all that looks like the content of some boxes, and not like that of others.

        Args:
            pixels: ``(H, W)`` float32 in 0..1, as encoded.
            boxes: ``(K, 4)`` XYXY px. signs: ``(K,)``, 1 = like it, -1 = unlike it.

        Returns:
            one map.
        """
        image = torch.as_tensor(np.ascontiguousarray(pixels), device=self.device)[None, None]
        given = torch.as_tensor(boxes, dtype=torch.float32, device=self.device)
        with self.autocast():
            return self.model.decode_exemplars(features, image, given, torch.as_tensor(signs, device=self.device))

    @torch.inference_mode()
    def nearest_concept(self, states: Tensor) -> list[int]:
        """Hidden states ``(N, hidden)`` of [SEG] tokens -> number of the concept whose class embedding is nearest to
        each; empty without states."""
        if not len(states):
            return []
        return self.model.nearest_concepts(self.model.seg_projector(states.to(self.device)))


def concepts_of(engine: Engine, targets: Sequence[Target], states: Tensor) -> list[str]:
    """Concepts that the targets of a reply stand for: the one its words name, else the nearest one to its [SEG].

    Args:
        targets: those that have a state.
        states: ``(S, hidden)``, at least one for each target.
    """
    nearest = engine.nearest_concept(states)
    return [target.concept or engine.code_names[nearest[k]] for k, target in enumerate(targets)]
