"""Inference engine: encodes images and decodes replies token by token with a KV cache."""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lisa_micro.assistant.choices import Choice, best_of, forks, total
from lisa_micro.assistant.grammars import Grammar, grammar_for
from lisa_micro.language import Vocabulary
from lisa_micro.language.program import parse_program, render_program
from lisa_micro.language.words import SEG
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerBase

MAX_REPLY_TOKENS = 96
SURE = -0.3
"""Log-probability of a reply from which on no other one is looked for."""
FORKS = 4
"""Decisions at which another reply is tried where the first one is less sure, and another reading looked for."""
FAR = 2.0
"""How much less probable than the best reply another one may become, where requests judge replies too."""
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


class Engine(LanguageEngine):
    """Runs a model that writes the reply language. Decoding is held to the grammar; it is greedy, and where the reply
    is not sure it is tried again from the closest decisions: the most probable reply as a whole is taken.

    Args:
        model, device, bf16: see :class:`LanguageEngine`.
        tokenizer: with the tokens of the reply language.
    """

    chat: ChatFormat

    def __init__(self, model: LisaModel, tokenizer: PreTrainedTokenizerBase, device: torch.device, bf16: bool):
        super().__init__(model, ChatFormat(tokenizer), device, bf16)
        self.vocabulary: Vocabulary = model.config.vocabulary
        self.grammar: Grammar = grammar_for(tokenizer, self.chat, model.config.reply_language, self.vocabulary)
        self.code_names: tuple[str, ...] = model.config.code_names
        self.state_before_seg = model.config.seg_state == "before"
        self.seg_id = self.chat.special[SEG]
        self.way_back = model.config.way_back

    @torch.inference_mode()
    def generate(self, cache: KVCache, text: str, first: bool) -> tuple[RawReply, int]:
        """As :meth:`LanguageEngine.generate`; the best of the replies that were tried: the most probable one, where the
        model learnt the way back together with how probable the request is for the reply."""
        reply, start = super().generate(cache, text, first)
        if total(reply.choices) >= SURE:
            return reply, start
        weight = self.way_back if first else 0.0
        tried, others = self._try_others(cache, start, reply, FAR if weight else 0.0)
        if not others:
            return reply, start
        scores = [total(one.choices) for one in tried]
        if weight:
            requested = self.request_logp([one.raw for one in tried], text)
            scores = [score + weight * logp for score, logp in zip(scores, requested, strict=True)]
        best, agreement = best_of(scores, [self._meaning(one.raw) for one in tried])
        chosen = self._read_ids(cache, start, tried[best].ids)
        return replace(chosen, choices=tried[best].choices, others=others, agreement=agreement), start

    def _try_others(
        self, cache: KVCache, start: int, reply: RawReply, far: float
    ) -> tuple[list[RawReply], dict[tuple[int, ...], str]]:
        """Try a reply again from its closest decisions, where that can come out at most ``far`` less probable.

        Returns:
            all replies, the given one first, and the others by the beginnings that were tried.
        """
        tried, others = [reply], {}
        highest = total(reply.choices)
        for fork in forks(reply.choices)[:FORKS]:
            if fork.other == self.chat.end:
                continue
            before = [choice for choice in reply.choices if choice.position < fork.position]
            left = [*reply.ids, self.chat.end][fork.position]  # the last choice may be to end
            taken = Choice(fork.position, fork.other_logp, left, fork.logp)
            if total(before) + taken.logp <= highest - far:
                continue  # what follows can only make it less probable
            beginning = (*reply.ids[: fork.position], fork.other)
            other = self.regenerate(cache, start, beginning)
            others[beginning] = other.raw
            tried.append(replace(other, choices=(*before, taken, *other.choices)))
            highest = max(highest, total(tried[-1].choices))
        return tried, others

    def _meaning(self, raw: str) -> str:
        return render_program(parse_program(raw, self.vocabulary), self.vocabulary)

    @torch.inference_mode()
    def request_logp(self, replies: Sequence[str], words: str) -> list[float]:
        """Log-probability of a user's words given each of some replies, as the way back was trained."""
        pairs = [self.chat.back_ids(reply, words) for reply in replies]
        longest = max(len(given) + len(said) for given, said in pairs)
        ids = torch.zeros(len(pairs), longest, dtype=torch.long, device=self.device)
        for row, (given, said) in zip(ids, pairs, strict=True):
            row[: len(given) + len(said)] = torch.tensor([*given, *said])
        with self.autocast():
            states = self.model.states(self.model.embed(ids), use_cache=False)
        found = []
        for own, (given, said) in zip(states, pairs, strict=True):
            logp = self.model.logits(own[len(given) - 1 : len(given) + len(said) - 1]).float().log_softmax(-1)
            found.append(float(logp.gather(1, torch.tensor(said, device=self.device)[:, None]).sum()))
        return found

    @torch.inference_mode()
    def regenerate(self, cache: KVCache, start: int, beginning: Sequence[int]) -> RawReply:
        """Remove the last reply from the cache and decode another one with a given beginning.

        Args:
            start: length of the cache before the reply.
            beginning: at least one token, which the grammar allows.
        """
        self.crop(cache, start)
        cache.pending = []
        reply = list(beginning)
        with self.autocast():
            states = self._prefill_ids(cache, reply)
            found = self._seg_states(states, reply)
            return self._decode(cache, states[-1], reply, found)

    @torch.inference_mode()
    def read_reply(self, cache: KVCache, start: int, raw: str) -> RawReply:
        """Replace the last reply in the cache by a given one.

        Args:
            start: length of the cache before the reply.
            raw: text with special tokens.
        """
        return self._read_ids(cache, start, self.chat.reply_ids(raw)[:-1])

    def _read_ids(self, cache: KVCache, start: int, ids: list[int]) -> RawReply:
        self.crop(cache, start)
        with self.autocast():
            states = self._prefill_ids(cache, ids)
        cache.pending = [self.chat.end]
        return self._raw_reply(ids, self._seg_states(states, ids), states[-1])

    @torch.inference_mode()
    def concept_states(self, cache: KVCache, concepts: Sequence[str]) -> Tensor:
        """Hidden states ``(N, hidden)`` of [SEG] for further concepts, as if the last reply went on with them. The
        cache stays as it is."""
        unread = cache.pending[:-1]
        nouns = " ".join(f"{self.vocabulary.nouns(concept)[1]} {SEG}" for concept in concepts)
        ids = self.chat.reply_ids(f" {nouns}")[:-1]
        with self.autocast():
            if unread:
                self._prefill_ids(cache, unread)
                cache.pending = cache.pending[-1:]
            start = cache.length
            states = self._seg_states(self._prefill_ids(cache, ids), ids)
            self.crop(cache, start)
        return torch.stack(states).float()

    @staticmethod
    def crop(cache: KVCache, length: int) -> None:
        """Shorten a cache to ``length`` tokens."""
        if cache.length > length and cache.layers is not None:
            # negative: the number of tokens to remove; versions of transformers disagree on a positive number
            cache.layers.crop(length - cache.length)
        cache.length = min(cache.length, length)

    def _decode(self, cache: KVCache, state: Tensor, reply: list[int], found: Sequence[Tensor] = ()) -> RawReply:
        """Decode until the end of the turn; tokens that the grammar forces are prefilled together.

        Args:
            found: states of [SEG] tokens in ``reply``.
        """
        seg_states, choices, unread = list(found), [], []
        at = self.grammar.read(reply)
        while len(reply) < MAX_REPLY_TOKENS:
            forced = self.grammar.forced(at)
            allowed = () if forced else self.grammar.allowed(at)
            if len(allowed) == 1:
                forced = (int(allowed[0]),)
            if not forced:
                if unread:
                    states = self._prefill_ids(cache, unread)
                    seg_states += self._seg_states(states, unread, state)
                    state, unread = states[-1], []
                choice, token = self._choose(state, allowed, len(reply))
                choices.append(choice)
                forced = (token,)
            if forced[0] == self.chat.end:
                break
            for token in forced:
                at = self.grammar.advance(at, token)
            reply += forced
            unread += forced
        if self.seg_id in unread:
            states = self._prefill_ids(cache, unread)
            seg_states += self._seg_states(states, unread, state)
            unread = []
        cache.pending = [*unread, self.chat.end]
        return self._raw_reply(reply, seg_states, state, choices)

    def _choose(self, state: Tensor, allowed: np.ndarray, position: int) -> tuple[Choice, int]:
        """The most probable of several allowed tokens."""
        among = torch.as_tensor(allowed, device=state.device)
        logp = self.model.logits_among(state, among).log_softmax(0)
        (best, second), order = (values.tolist() for values in logp.topk(2))
        return Choice(position, best, int(allowed[order[1]]), second), int(allowed[order[0]])

    def _seg_states(self, states: Tensor, ids: Sequence[int], before: Tensor | None = None) -> list[Tensor]:
        """Of the states ``(T, hidden)`` of tokens those that prompt the mask decoder: at each [SEG], or before it.

        Args:
            before: state before the first token, where the model uses it.
        """
        if self.state_before_seg:
            first = states[:1] if before is None else before[None]
            states = torch.cat([first, states[:-1]])
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
