"""The grammar that holds a language model to the version of the reply language that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lisa_micro.language import Vocabulary
from lisa_micro.language.decoding import GrammarProcessor
from lisa_micro.language.program.decoding import ProgramGrammar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lisa_micro.models.lisa.chat import ChatFormat


class Grammar(Protocol):
    """Which tokens may come next in a reply. A state is a value; how it looks is up to the grammar."""

    def read(self, tokens: Sequence[int]) -> Any:
        """The state after some tokens from the beginning of a reply.

        Raises:
            ValueError: they are no beginning of a reply.
        """
        ...

    def advance(self, at: Any, token: int) -> Any:
        """The state after one more token."""
        ...

    def allowed(self, at: Any) -> np.ndarray:
        """Numbers of the tokens that may come next, ascending."""
        ...

    def forced(self, at: Any) -> tuple[int, ...]:
        """Tokens that must come next; empty where there is a choice or where that is not known."""
        ...


class FirstGrammar:
    """Version 1 of the reply language; a state is the tokens so far.

    Args:
        processor: masks tokens.
    """

    def __init__(self, processor: GrammarProcessor):
        self.processor = processor

    def read(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """See :meth:`Grammar.read`."""
        return tuple(tokens)

    def advance(self, at: tuple[int, ...], token: int) -> tuple[int, ...]:
        """See :meth:`Grammar.advance`."""
        return (*at, token)

    def allowed(self, at: tuple[int, ...]) -> np.ndarray:
        """See :meth:`Grammar.allowed`."""
        return self.processor.allowed(list(at)).nonzero()[:, 0].numpy()

    def forced(self, at: tuple[int, ...]) -> tuple[int, ...]:
        """See :meth:`Grammar.forced`."""
        return ()


def grammar_for(tokenizer: PreTrainedTokenizerBase, chat: ChatFormat, version: int, vocabulary: Vocabulary) -> Grammar:
    """The grammar of a version of the reply language."""
    if version == 1:
        return FirstGrammar(GrammarProcessor(tokenizer))
    return ProgramGrammar(tokenizer, chat.end, vocabulary)
