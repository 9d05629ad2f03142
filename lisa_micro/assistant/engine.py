"""The model at work: images encoded, replies written token by token with the key-value cache kept."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lisa_micro.assistant.grammar_processor import GrammarProcessor
from lisa_micro.language import Target
from lisa_micro.language.words import ABSENT, SEG
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel

MAX_REPLY_TOKENS = 96
CONTEXT_TOKENS = 4096
"""A conversation that has grown beyond this begins anew with its last turns; the base model reads up to 8192."""


@dataclass
class Memory:
    """What the language model has read so far: its cache, how many tokens are in it, and tokens that were written but
    not read back yet."""

    cache: object
    length: int = 0
    pending: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """A reply: its text with special tokens, token ids, and the hidden states of its [SEG] tokens ``(S, hidden)``."""

    raw: str
    ids: list[int]
    states: Tensor


def concepts_of(engine: Engine, targets: Sequence[Target], states: Tensor) -> list[str]:
    """What targets of a reply stand for: what its words say, else the concept whose code the [SEG] lies nearest to.

    Args:
        targets: those that have a state. states: ``(S, hidden)``, S at least the number of targets.
    """
    named = engine.nearest_concept(states)
    return [target.concept or engine.code_names[named[k]] for k, target in enumerate(targets)]


class Engine:
    """Runs a :class:`LisaModel` for one reply at a time.

    Args:
        model: with a merged (or no) adapter, in evaluation mode.
        tokenizer: with the reply language's tokens.
        bf16: compute in bfloat16.
    """

    def __init__(self, model: LisaModel, tokenizer, device: torch.device, bf16: bool):
        self.model, self.device, self.bf16 = model, device, bf16
        self.chat = ChatFormat(tokenizer)
        self.grammar = GrammarProcessor(tokenizer)
        self.vocabulary, self.code_names = model.config.vocabulary, model.config.code_names
        self.before = model.config.seg_state == "before"
        self.seg_id, self.absent_id = self.chat.special[SEG], self.chat.special[ABSENT]

    def _cast(self):
        if self.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # seeing

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, tokens: bool = True, side: int | None = None) -> ImageFeatures:
        """``(H, W)`` float32 in 0..1 -> features of both towers; without ``tokens`` for the mask decoder alone, seen
        with a longest side of ``side`` px, if given."""
        image = torch.as_tensor(np.ascontiguousarray(pixels), device=self.device)[None, None]
        with self._cast():
            return self.model.encode_image(image, tokens, side)

    # reading and writing

    @torch.inference_mode()
    def begin(self, features: ImageFeatures) -> Memory:
        """A conversation about an image: the opening and the image tokens are read once."""
        from transformers import DynamicCache

        memory = Memory(DynamicCache())
        opening = torch.tensor([self.chat.user_ids("", first=True)[0]], device=self.device)
        with self._cast():
            words = self.model.embed(opening)
            self._read(memory, torch.cat([words, features.tokens.to(words.dtype)], 1))
        return memory

    def _read(self, memory: Memory, embeddings: Tensor) -> Tensor:
        """Feed embeddings ``(1, T, hidden)``; the states ``(T, hidden)``."""
        states = self.model.states(embeddings, past_key_values=memory.cache, use_cache=True)
        memory.length += embeddings.shape[1]
        return states[0]

    def _read_ids(self, memory: Memory, ids: list[int]) -> Tensor:
        return self._read(memory, self.model.embed(torch.tensor([ids], device=self.device)))

    @staticmethod
    def fork(memory: Memory) -> Memory:
        """An independent copy, so that several conversations can start from one reading of an image."""
        import copy

        return Memory(copy.deepcopy(memory.cache), memory.length, list(memory.pending))

    def ask_ids(self, memory: Memory, text: str, first: bool) -> list[int]:
        """The user's turn in tokens, with what the last reply left unread."""
        _, after = self.chat.user_ids(text, first)
        return memory.pending + after

    @torch.inference_mode()
    def write(self, memory: Memory, text: str, first: bool) -> tuple[Written, int]:
        """Read the user's words and write a reply.

        Returns:
            the reply, and the length of the memory before it, for :meth:`rewrite_absent`.
        """
        with self._cast():
            states = self._read_ids(memory, self.ask_ids(memory, text, first))
            memory.pending = []
            start = memory.length
            return self._continue(memory, states[-1], []), start

    @torch.inference_mode()
    def rewrite_absent(self, memory: Memory, start: int) -> Written:
        """Take the reply back and write another one that begins with ``<absent>``: the decoder saw nothing of the
        kind."""
        if memory.length > start:
            # the number to remove, negative: what a positive one means depends on the version of transformers
            memory.cache.crop(start - memory.length)
        memory.length, memory.pending = start, []
        with self._cast():
            states = self._read_ids(memory, [self.absent_id])
            return self._continue(memory, states[-1], [self.absent_id])

    @torch.inference_mode()
    def recite(self, memory: Memory, text: str, reply: str, first: bool) -> None:
        """Read a turn that was spoken before: the user's words and the reply, without writing anything."""
        with self._cast():
            self._read_ids(memory, self.ask_ids(memory, text, first) + self.chat.reply_ids(reply))
        memory.pending = []

    def _continue(self, memory: Memory, state: Tensor, reply: list[int]) -> Written:
        """Greedy decoding under the grammar. Where only one token is allowed it is taken without asking the model, and
        read together with the next one."""
        unread: list[int] = []
        found: list[Tensor] = []
        while len(reply) < MAX_REPLY_TOKENS:
            allowed = self.grammar.allowed(reply)
            choices = allowed.nonzero()[:, 0]
            if len(choices) == 1:
                token = int(choices[0])
            else:
                if unread:
                    states = self._read_ids(memory, unread)
                    found += self._seg_states(states, unread)
                    state, unread = states[-1], []
                logits = self.model.logits(state[None])[0]
                width = min(len(logits), len(allowed))
                logits = logits[:width].masked_fill(~allowed[:width].to(logits.device), float("-inf"))
                token = int(logits.argmax())
                if token == self.seg_id and self.before:
                    found.append(state)
            if token == self.chat.end:
                break
            reply.append(token)
            unread.append(token)
        if self.seg_id in unread:
            states = self._read_ids(memory, unread)
            found += self._seg_states(states, unread)
            unread = []
        # the end of the turn, and what was not read yet, is read with the next question
        memory.pending = [*unread, self.chat.end]
        hidden = torch.stack(found).float() if found else torch.zeros(0, 0)
        return Written(self.chat.text(reply), reply, hidden)

    def _seg_states(self, states: Tensor, ids: list[int]) -> list[Tensor]:
        """States at the [SEG] tokens among those just read; none where the model takes the state before [SEG]."""
        return [] if self.before else [s for s, t in zip(states, ids, strict=True) if t == self.seg_id]

    # outlining

    @torch.inference_mode()
    def decode_words(self, features: ImageFeatures, states: Tensor) -> MaskOutputs:
        """States of N [SEG] tokens -> maps."""
        with self._cast():
            return self.model.decode_words(features, states.to(self.device))

    @torch.inference_mode()
    def decode_concept(self, features: ImageFeatures, number: int) -> MaskOutputs:
        """The concept's own code: for measuring (which particles does a neck join?), never in place of words."""
        with self._cast():
            return self.model.decode_code(features, number)

    @torch.inference_mode()
    def decode_boxes(self, features: ImageFeatures, boxes: np.ndarray) -> MaskOutputs:
        """Boxes ``(N, 4)`` XYXY px -> maps."""
        with self._cast():
            return self.model.decode_boxes(features, torch.as_tensor(boxes, dtype=torch.float32, device=self.device))

    @torch.inference_mode()
    def decode_points(self, features: ImageFeatures, points: np.ndarray, labels: np.ndarray) -> MaskOutputs:
        """Points ``(N, P, 2)`` XY px, labels ``(N, P)`` -> maps."""
        with self._cast():
            return self.model.decode_points(
                features,
                torch.as_tensor(points, dtype=torch.float32, device=self.device),
                torch.as_tensor(labels, dtype=torch.int64, device=self.device),
            )

    @torch.inference_mode()
    def decode_exemplars(
        self, features: ImageFeatures, pixels: np.ndarray, boxes: np.ndarray, signs: np.ndarray
    ) -> MaskOutputs:
        """All that is like some boxes ``(K, 4)`` XYXY px with signs ``(K,)`` 1 and unlike those with -1 -> maps, N = 1.
        ``pixels``: ``(H, W)`` float32 in 0..1, as encoded."""
        image = torch.as_tensor(np.ascontiguousarray(pixels), device=self.device)[None, None]
        given = torch.as_tensor(boxes, dtype=torch.float32, device=self.device)
        with self._cast():
            return self.model.decode_exemplars(features, image, given, torch.as_tensor(signs, device=self.device))

    @torch.inference_mode()
    def nearest_concept(self, states: Tensor) -> list[int]:
        """Which concept's code the projected [SEG] states lie nearest to."""
        return self.model.nearest_concepts(self.model.seg_projector(states.to(self.device)))

    def on_micrograph(self, maps: Tensor, features: ImageFeatures, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Maps ``(N, h, w)`` -> float32 ``(N, H, W)`` logits at the micrograph's size, or at ``shape``."""
        return self.model.to_micrograph(maps, features, shape).float().cpu().numpy()
