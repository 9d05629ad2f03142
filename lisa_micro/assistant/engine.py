"""Inference engine: decodes replies token by token, held to the grammar, and prompts the mask decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lisa_micro.assistant.choices import Choice, Tried, best_of, forks, total
from lisa_micro.assistant.grammars import Grammar, grammar_for
from lisa_micro.assistant.language_engine import KVCache, LanguageEngine, RawReply
from lisa_micro.language import Vocabulary
from lisa_micro.language.program import parse_program, render_program
from lisa_micro.language.words import SEG
from lisa_micro.measure.uncertainty import MeasuringError
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_REPLY_TOKENS = 96
SURE = -0.3
"""Log-probability of a reply from which on no other one is looked for."""
FORKS = 4
"""Decisions at which another reply is tried where the first one is less sure, and another reading looked for."""
FAR = 2.0
"""How much less probable than the best reply another one may become, where requests judge replies too."""


class Engine(LanguageEngine):
    """Runs a model that writes the reply language. Decoding is held to the grammar; it is greedy, and where the reply
    is not sure it is tried again from the closest decisions: the most probable reply as a whole is taken.

    Args:
        model, device, bf16: see :class:`LanguageEngine`.
        tokenizer: with the tokens of the reply language.
        measuring_errors: the model's own error by concept, as far as it is known.
    """

    chat: ChatFormat

    def __init__(
        self,
        model: LisaModel,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        bf16: bool,
        measuring_errors: Mapping[str, MeasuringError] | None = None,
    ):
        super().__init__(model, ChatFormat(tokenizer), device, bf16)
        self.measuring_errors: Mapping[str, MeasuringError] = measuring_errors or {}
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
        raws = [one.raw for one in tried]
        requested = [weight * logp for logp in self.request_logp(raws, text)] if weight else [0.0] * len(tried)
        best, agreement = best_of(
            [
                Tried(total(one.choices), request, *self._meaning(one.raw))
                for one, request in zip(tried, requested, strict=True)
            ]
        )
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

    def _meaning(self, raw: str) -> tuple[str, frozenset[str] | None]:
        """What a reply means, in one form of words, and the concepts that it is about; None for a refusal."""
        program = parse_program(raw, self.vocabulary)
        about = None if program.refusals else frozenset(target.concept or "" for target in program.targets)
        return render_program(program, self.vocabulary), about

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
