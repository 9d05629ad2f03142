"""Holds the language model to the reply language while it writes: a logits processor for one tokenizer."""

from __future__ import annotations

import re

import torch

from lisa_micro.language.grammar import DEAD, Automaton, value_automaton, where_automaton
from lisa_micro.language.words import ABSENT, END_VALUE, END_WHERE, SEG, VALUE, WHERE

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class GrammarProcessor:
    """Masks the tokens that would leave the reply language.

    - Inside ``<where>`` and ``<value>`` only tokens that keep the text a prefix of a canonical one; the
      closing tag only where the text is complete; nothing else.
    - Outside: no closing tags; ``<where>`` only right after ``[SEG]``, ``<value>`` only once there is one;
      ``<absent>`` only as the first token; no token with a digit, since every number of a reply is measured
      (but in an ``<absent>`` reply, which may have to repeat a name such as "C60").

    Args:
        tokenizer: a Hugging Face tokenizer with the special tokens of ``lisa_micro.language.words`` added,
            each a single token.
        prompt_length: how many of the tokens handed to :meth:`__call__` are prompt and not reply (0 where the
            model is given embeddings, since ``generate`` then hands over the new tokens only).

    Raises:
        ValueError: a special token is not in the tokenizer.
    """

    def __init__(self, tokenizer, prompt_length: int = 0) -> None:
        self.prompt_length = prompt_length
        vocabulary = tokenizer.get_vocab()
        missing = [t for t in (SEG, WHERE, END_WHERE, VALUE, END_VALUE, ABSENT) if t not in vocabulary]
        if missing:
            raise ValueError(f"the tokenizer lacks the special tokens {', '.join(missing)}")
        self.size = max(max(vocabulary.values()) + 1, len(tokenizer))
        self._seg, self._where, self._value = (vocabulary[t] for t in (SEG, WHERE, VALUE))
        self._absent = vocabulary[ABSENT]
        self._close = {self._where: vocabulary[END_WHERE], self._value: vocabulary[END_VALUE]}
        self._automata: dict[int, Automaton] = {
            self._where: where_automaton(),
            self._value: value_automaton(),
        }
        special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
        alphabet = frozenset("".join(a.alphabet() for a in self._automata.values()))
        self._text: dict[int, str] = {}
        digit_tokens = []
        for token, number in vocabulary.items():
            if number in special or _BYTE_TOKEN.fullmatch(token):
                continue
            # the marks of byte-level and of sentencepiece vocabularies for a space
            text = token.replace("Ġ", " ").replace("▁", " ")
            if any(character.isdigit() for character in text):
                digit_tokens.append(number)
            if text and alphabet.issuperset(text):
                self._text[number] = text
        self._masks: dict[tuple[int, int], torch.Tensor] = {}
        self._outside = torch.ones(self.size, dtype=torch.bool)
        self._outside[[*self._close.values(), self._where, self._absent]] = False
        self._outside[self._value] = False
        self._outside_absent = self._outside.clone()
        self._outside[digit_tokens] = False

    def allowed(self, reply: list[int]) -> torch.Tensor:
        """The tokens that may come next.

        Args:
            reply: token numbers of the reply so far.

        Returns:
            ``(size,)`` bool on the CPU, size = vocabulary with added tokens. Do not change it: it is cached.
        """
        opened = next((k for k in range(len(reply) - 1, -1, -1) if self._is_tag(reply[k])), None)
        if opened is not None and reply[opened] in self._automata:
            return self._inside(reply[opened], reply[opened + 1 :])
        mask = self._outside_absent if reply and reply[0] == self._absent else self._outside
        if not reply or self._seg in reply:
            mask = mask.clone()
            mask[self._absent] = not reply
            mask[self._value] = self._seg in reply
            mask[self._where] = bool(reply) and reply[-1] == self._seg
        return mask

    def _is_tag(self, token: int) -> bool:
        return token in self._automata or token in self._close.values()

    def _inside(self, tag: int, tokens: list[int]) -> torch.Tensor:
        automaton = self._automata[tag]
        state = 0
        for position, token in enumerate(tokens):
            text = self._text.get(token)
            if text is None:
                state = DEAD
                break
            state = automaton.step(state, text.lstrip(" ") if position == 0 else text)
        key = (tag, state)
        if key not in self._masks:
            self._masks[key] = self._mask(automaton, state, self._close[tag])
        return self._masks[key]

    def _mask(self, automaton: Automaton, state: int, close: int) -> torch.Tensor:
        mask = torch.zeros(self.size, dtype=torch.bool)
        if state == DEAD or automaton.accepts(state):  # a dead text can only be ended
            mask[close] = True
        possible = automaton.next_characters(state)
        for number, text in self._text.items():
            if state == 0 and len(text) > 1:
                text = text.lstrip(" ")  # sentencepiece begins a word with a space
            if text and text[0] in possible and automaton.step(state, text) != DEAD:
                mask[number] = True
        return mask

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores with all forbidden tokens at minus infinity; the interface of transformers' ``generate``.

        Args:
            input_ids: ``(B, L)`` tokens so far, the first ``prompt_length`` of them prompt.
            scores: ``(B, V)`` logits; V may exceed the vocabulary by padding, which is never allowed.
        """
        out = torch.full_like(scores, float("-inf"))
        for row in range(scores.shape[0]):
            mask = self.allowed(input_ids[row, self.prompt_length :].tolist())
            width = min(len(mask), scores.shape[1])
            allowed = mask[:width].to(scores.device).nonzero()[:, 0]
            out[row, allowed] = scores[row, allowed]
        return out
