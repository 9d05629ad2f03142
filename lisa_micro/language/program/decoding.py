"""Constrained decoding of version 2 for one tokenizer: which tokens may come next, and which must.

The state is a small value that is carried along token by token. The masks are found by walking a tree of the
vocabulary's tokens together with the grammar, and are kept per state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lisa_micro.language.program import terms
from lisa_micro.language.program.automaton import ProgramAutomaton, State
from lisa_micro.language.program.grammar import MARKS
from lisa_micro.language.program.level import DIGITS
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.words import ABSENT

_LAST_PIECE = re.compile(r"(?: ?[^\W\d_]+| ?\d+| ?[^\w\s]+|\s+)$")
"""What byte-level tokenizers spell together: a word, a number or a run of signs with the space before it, or spaces."""
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
PROGRAM, TALK, FREE = "program", "talk", "free"
"""Modes of a reply: a program; words alone; words without limits, behind ``<absent>`` or ``<unknown>``."""


class Tokenizer(Protocol):
    """What is needed of a Hugging Face fast tokenizer with :data:`terms.PROGRAM_TOKENS` added."""

    all_special_ids: list[int]

    def get_vocab(self) -> dict[str, int]: ...

    def get_added_vocab(self) -> dict[str, int]: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int]) -> str: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Decoding:
    """Where a reply stands.

    Attributes:
        mode: of :data:`PROGRAM`, :data:`TALK`, :data:`FREE`.
        state: of the automaton.
        text: what was written since the last special token.
        tokens: the tokens of that text.
    """

    mode: str
    state: State
    text: str = ""
    tokens: tuple[int, ...] = ()


class _Node:
    """A node of the tree of tokens: the tokens that end here, and the next characters."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.children: dict[str, _Node] = {}


class ProgramGrammar:
    """Holds a language model to version 2 of the reply language.

    A reply is one of

    - a program: begins with a noun of the vocabulary, ``<unknown>`` or ``<cannot>``, and stays canonical;
    - talk: begins with a capital or anything else that begins no program; words without digits, no special tokens,
      since every number of a reply is measured;
    - ``<absent>`` and words, where the runtime begins a reply so.

    Args:
        tokenizer: with :data:`terms.PROGRAM_TOKENS` added, each a single token that takes the space before it.
        end: the token that ends a turn.
        vocabulary: the concepts that targets and sets may name.

    Raises:
        ValueError: a special token is not in the tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer, end: int, vocabulary: Vocabulary = FULL_VOCABULARY) -> None:
        known = tokenizer.get_vocab()
        missing = [token for token in terms.PROGRAM_TOKENS if token not in known]
        if missing:
            raise ValueError(f"the tokenizer lacks the special tokens {', '.join(missing)}")
        self.tokenizer, self.end = tokenizer, end
        self.size = max(max(known.values()) + 1, len(tokenizer))
        self.automaton = ProgramAutomaton(vocabulary)
        self._marks = {known[token]: mark for token, mark in MARKS.items()}
        self._mark_tokens = {mark: number for number, mark in self._marks.items()}
        self._absent = known[ABSENT]
        special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
        self._text: dict[int, str] = {}
        self._tree = _Node()
        alphabet = self.automaton.alphabet()
        words: list[int] = []
        self._begins_word = any(token.startswith("▁") for token in known)
        for token, number in known.items():
            if number in special or _BYTE_TOKEN.fullmatch(token):
                continue
            # the marks of byte-level and of sentencepiece vocabularies for a space
            text = token.replace("Ġ", " ").replace("▁", " ")
            self._text[number] = text
            words.append(number)
            if alphabet.issuperset(text):
                self._plant(text, number)
        for mark, number in self._mark_tokens.items():
            self._plant(mark, number)
        digits = [number for number in words if any(character.isdigit() for character in self._text[number])]
        set_of_digits = set(digits)
        self._free = np.array(sorted([*words, end]), np.int64)
        self._talk = np.array(sorted({*words, end} - set(digits)), np.int64)
        # talk begins with a capital; a small letter could be a slip into a program
        self._begins_talk = [n for n in words if self._text[n].strip()[:1].isupper() and n not in set_of_digits]
        self._allowed: dict[tuple[str, State], np.ndarray] = {}
        self._forced: dict[Decoding, tuple[int, ...]] = {}

    def _plant(self, text: str, number: int) -> None:
        node = self._tree
        for character in text:
            node = node.children.setdefault(character, _Node())
        node.tokens.append(number)

    # reading

    def start(self) -> Decoding:
        """Before the first token of a reply."""
        return Decoding(PROGRAM, self.automaton.start)

    def advance(self, at: Decoding, token: int) -> Decoding:
        """After one more token.

        Raises:
            ValueError: the token is not allowed here.
        """
        if at.mode != PROGRAM:
            return at
        first = at == self.start()
        if token == self._absent:
            if first:
                return Decoding(FREE, at.state)
        elif token in self._marks:
            state = self.automaton.step(at.state, self._marks[token])
            if state is not None:
                return Decoding(FREE if self.automaton.free(state) else PROGRAM, state)
        elif token in self._text:
            text = self._text[token]
            state = self.automaton.read(self._inner(at, text), at.state)
            if state is not None:
                return Decoding(PROGRAM, state, at.text + text, (*at.tokens, token))
            if first:
                return Decoding(TALK, at.state)
        raise ValueError(f"token {token} does not go on with the reply")

    def read(self, tokens: Sequence[int]) -> Decoding:
        """After some tokens from the beginning of a reply.

        Raises:
            ValueError: they are no reply.
        """
        at = self.start()
        for token in tokens:
            at = self.advance(at, token)
        return at

    def _inner(self, at: Decoding, text: str) -> str:
        """Sentencepiece begins a word with a space, also where the grammar has none."""
        return text.lstrip(" ") if self._begins_word and not at.tokens else text

    # choosing

    def allowed(self, at: Decoding) -> np.ndarray:
        """Numbers of the tokens that may come next, ascending int64. Do not change it: it is kept."""
        if at.mode != PROGRAM:
            return self._free if at.mode == FREE else self._talk
        begins = not at.tokens
        key = (f"{begins}", at.state)
        found = self._allowed.get(key)
        if found is None:
            found = self._allowed[key] = self._find_allowed(at, begins)
        return found

    def _find_allowed(self, at: Decoding, begins: bool) -> np.ndarray:
        tokens: list[int] = []
        self._walk(self._tree, at.state, tokens)
        if begins and self._begins_word and " " in self._tree.children:
            self._walk(self._tree.children[" "], at.state, tokens)
        if self.automaton.accepts(at.state):
            tokens.append(self.end)
        if at.state == self.automaton.start and begins:
            tokens += self._begins_talk
        return np.unique(np.array(tokens, np.int64))

    def _walk(self, node: _Node, state: State, tokens: list[int]) -> None:
        following = self.automaton.following(state)
        for character in following if len(following) < len(node.children) else node.children:
            child = node.children.get(character)
            if child is None:
                continue
            after = self.automaton.step(state, character)
            if after is None:
                continue
            tokens += child.tokens
            if child.children:
                self._walk(child, after, tokens)

    def forced(self, at: Decoding) -> tuple[int, ...]:
        """The tokens that must come next whatever the model says, in the tokenizer's own spelling; empty where there is
        a choice. An engine feeds them together, without a step for each."""
        if at.mode != PROGRAM:
            return ()
        found = self._forced.get(at)
        if found is None:
            found = self._forced[at] = tuple(self._find_forced(at))
        return found

    def _find_forced(self, at: Decoding) -> list[int]:
        run, open_end = self._run(at.state)
        out: list[int] = []
        text, tokens = at.text, list(at.tokens)
        pieces = re.split(f"([{re.escape(''.join(self._mark_tokens))}])", run)
        for k, piece in enumerate(pieces):
            if piece in self._mark_tokens:
                out.append(self._mark_tokens[piece])
                text, tokens = "", []
                continue
            last = k == len(pieces) - 1
            text += piece
            spelled = self.tokenizer.encode(text, add_special_tokens=False)
            if spelled[: len(tokens)] != tokens:
                return out  # the model has spelled the text so far in another way
            fresh = spelled[len(tokens) :]
            if last and fresh:
                fresh = self._settled(text, fresh, open_end)
            out += fresh
        return out

    def _run(self, state: State) -> tuple[str, str]:
        """The text that must follow a state, and the characters between which there is a choice behind it."""
        run = ""
        while not self.automaton.accepts(state) and not self.automaton.free(state):
            following = self.automaton.following(state)
            if len(following) != 1:
                return run, following
            after = self.automaton.step(state, following)
            assert after is not None
            run, state = run + following, after
        return run, ""

    def _settled(self, text: str, fresh: list[int], choices: str) -> list[int]:
        """Of the tokens at the end of a text those whose spelling does not depend on what follows: all where no choice
        goes on with the last word, run of signs or space, else those before it."""
        end = _LAST_PIECE.search(text)
        if end is None or (choices and self._ends(text, choices)):
            return fresh
        kept, length = [], len(text) - sum(len(self._text[token]) for token in fresh)
        for token in fresh:
            length += len(self._text[token])
            if length > end.start():
                break
            kept.append(token)
        return kept

    def _ends(self, text: str, choices: str) -> bool:
        """Whether none of the characters that may follow would be spelled together with the end of a text."""
        others = [c for c in choices if c not in self._mark_tokens]
        if text[-1].isspace():
            return all(c in DIGITS for c in others) and self._apart(text, others)
        if text[-1].isalpha():
            return not any(c.isalpha() for c in others)
        if text[-1].isdigit():
            return not any(c.isdigit() for c in others) or self._apart(text, others)
        return all(c.isalnum() or c.isspace() for c in others)

    def _apart(self, text: str, choices: list[str]) -> bool:
        """Whether the spelling of a text stays as it is with each of some characters behind it."""
        alone = self.tokenizer.encode(text, add_special_tokens=False)
        return all(self.tokenizer.encode(text + c, add_special_tokens=False)[: len(alone)] == alone for c in choices)
