"""A language model in a conversation: its cache, its replies, and reading words and images.

How the tokens of a reply are chosen is up to the engines built on it.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lisa_micro.assistant.choices import Choice
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel

if TYPE_CHECKING:
    from transformers import DynamicCache

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
        choices: the tokens that were chosen and not forced; empty where the model keeps no record of them.
        others: beginnings from which other replies were written meanwhile -> these replies.
        agreement: log-probability of what the reply means among all replies that were tried; 0 if none was.
    """

    raw: str
    ids: list[int]
    states: Tensor
    from_request: int = 0
    choices: tuple[Choice, ...] = ()
    others: Mapping[tuple[int, ...], str] = field(default_factory=dict)
    agreement: float = 0.0


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
    def prefill_words(self, cache: KVCache, text: str, first: bool) -> None:
        """Prefill the user's words alone; a reply must follow."""
        with self.autocast():
            self._prefill_ids(cache, self.turn_ids(cache, text, first))
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

    def _raw_reply(
        self, ids: list[int], seg_states: list[Tensor], state: Tensor, choices: Sequence[Choice] = ()
    ) -> RawReply:
        # (0, hidden) without [SEG], so that projections accept it
        states = torch.stack(seg_states).float() if seg_states else state.new_zeros(0, state.shape[-1]).float()
        return RawReply(self.chat.text(ids), ids, states, choices=tuple(choices))

    # ---------------------------------------------------------------------------------------------------- masks

    @torch.inference_mode()
    def decode_words(self, features: ImageFeatures, states: Tensor) -> MaskOutputs:
        """Hidden states ``(N, hidden)`` of [SEG] tokens -> N maps."""
        with self.autocast():
            return self.model.decode_words(features, states.to(self.device))

    def on_micrograph(self, maps: Tensor, features: ImageFeatures, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Maps ``(N, h, w)`` -> float32 logits ``(N, H, W)`` at the size of the micrograph, or at ``shape``."""
        return self.model.to_micrograph(maps, features, shape).float().cpu().numpy()
