"""The conversation's format in tokens: SmolLM2's chat marks, image tokens at the head of the first turn."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from lisa_micro.language.program.terms import PROGRAM_TOKENS

START, END = "<|im_start|>", "<|im_end|>"


class ChatFormat:
    """Turns text into token ids and back for one tokenizer (with the reply language's tokens added).

    A conversation reads ``<|im_start|>user\\n`` image tokens ``\\n`` words ``<|im_end|>\\n<|im_start|>assistant\\n``
    reply ``<|im_end|>``, then ``\\n<|im_start|>user\\n`` words and so on. There is no system turn: it would always be
    the same.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        added = tokenizer.get_added_vocab()
        self.special = {t: added[t] for t in PROGRAM_TOKENS if t in added}
        self.end = tokenizer.convert_tokens_to_ids(END)
        self._opening = self._ids(f"{START}user\n")
        self._again = self._ids(f"\n{START}user\n")
        self._closing = self._ids(f"{END}\n{START}assistant\n")
        self._program = self._ids(f"{START}program\n")
        self._said = self._ids(f"{END}\n{START}user\n")

    @property
    def writes_programs(self) -> bool:
        """Whether the tokenizer has the tokens of version 2 of the reply language."""
        return len(self.special) == len(PROGRAM_TOKENS)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def clean(self, text: str) -> str:
        """A user's words without the marks of the format, so that nobody speaks in another's turn."""
        for mark in (START, END, *PROGRAM_TOKENS):
            text = text.replace(mark, " ")
        return text.strip()

    def shortened(self, text: str, most: int) -> str:
        """A user's words cut after ``most`` tokens; unchanged where they are no more. Letters of some scripts take
        several tokens each, so a bound on characters does not bound the time."""
        ids = self._ids(self.clean(text))
        return text if len(ids) <= most else self.tokenizer.decode(ids[:most]).rstrip("\ufffd")

    def user_ids(self, text: str, first: bool) -> tuple[list[int], list[int]]:
        """Ids before and after the image tokens (of a later turn, the first list is empty and there are none)."""
        words = self._ids(self.clean(text))
        if first:
            return self._opening, self._ids("\n") + words + self._closing
        return [], self._again + words + self._closing

    def reply_ids(self, reply: str) -> list[int]:
        """Ids of a reply as the model must write it, with the end of the turn."""
        return [*self._ids(reply), self.end]

    def back_ids(self, reply: str, words: str) -> tuple[list[int], list[int]]:
        """Ids of the way back, from a reply to the request that it answers: ``<|im_start|>program\\n`` reply
        ``<|im_end|>\\n<|im_start|>user\\n``, and words ``<|im_end|>``."""
        return self._program + self._ids(reply) + self._said, [*self._ids(self.clean(words)), self.end]

    def text(self, ids: list[int]) -> str:
        """Ids of a reply -> text, special tokens of the reply language as text, end of turn left out."""
        return self.tokenizer.decode([i for i in ids if i != self.end], skip_special_tokens=False)
