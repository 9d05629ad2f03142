"""Tokenizer and conversation format of official LISA checkpoints.

Official inference uses the slow Llama tokenizer of transformers in 2023. The models were trained on what it does to a
prompt, so it is written here in a few lines that no version of a library changes: white space beside an added token
(``<im_start>``, ``[SEG]``, ...) is removed, the line break after ``<im_end>`` included, and each text between added
tokens begins with a space of its own.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers

from lisa_micro.language.words import SEG
from lisa_micro.types import InputError

IM_START, IM_END = "<im_start>", "<im_end>"
MARKS = (IM_START, IM_END, "<im_patch>", "<image>", "<s>", "</s>", "<unk>")
"""Removed from a user's words: they would stand for the image or for the end of a turn. ``[SEG]`` is not among them:
in the official code one in the request prompts a mask, too."""


@dataclass(frozen=True)
class Template:
    """Text of a conversation: ``opening`` before the image, ``after`` with the user's ``{words}`` behind the image,
    ``again`` for later turns. A reply ends with the end token of the tokenizer."""

    opening: str
    after: str
    again: str


_IMAGE_END = IM_END + "\n{words}"
_V1_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_LLAMA2_SYSTEM = (
    "You are a helpful language and vision assistant. "
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
)
TEMPLATES = {
    "llava_v1": Template(f"{_V1_SYSTEM} USER: {IM_START}", f"{_IMAGE_END} ASSISTANT:", "USER: {words} ASSISTANT:"),
    "llava_llama_2": Template(
        f"[INST] <<SYS>>\n{_LLAMA2_SYSTEM}\n<</SYS>>\n\n{IM_START}",
        f"{_IMAGE_END} [/INST]",
        "[INST] {words} [/INST]",
    ),
}
"""LISA's conversation formats by their official names. All published checkpoints were trained with ``llava_v1``, even
the 13B ones on Llama 2."""


# --------------------------------------------------------------------------------------------------- vocabulary


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a protocol buffer message: number and value (bytes for fields with a length or a fixed size)."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(at)
            yield number, value
            continue
        size, at = varint(at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + size > len(data):
            raise ValueError("the file is truncated")
        yield number, data[at : at + size]
        at += size


def _as_bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field is a number instead of bytes")
    return value


def read_pieces(path: Path) -> list[tuple[str, float]]:
    """Pieces and scores of a SentencePiece BPE model (``tokenizer.model``), by token id.

    Raises:
        InputError: the file is not such a model.
    """
    try:
        pieces: list[tuple[str, float]] = []
        kind: int | bytes = 1
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(_as_bytes(value)))
                # a score of 0 is the default, which some writers omit
                score = struct.unpack("<f", _as_bytes(piece[2]))[0] if 2 in piece else 0.0
                pieces.append((_as_bytes(piece[1]).decode(), score))
            elif number == 2:
                kind = dict(_fields(_as_bytes(value))).get(3, 1)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{path} is not a readable SentencePiece model; download it again.") from error
    if kind != 2 or not pieces:
        raise InputError(f"{path} is not a SentencePiece BPE model, as Llama needs; download it again.")
    return pieces


def build_bpe(pieces: list[tuple[str, float]]) -> Tokenizer:
    """Build a byte-pair tokenizer with the pieces of a SentencePiece model. The file does not hold the merges: any two
    pieces whose concatenation is a piece are merged, in order of its score."""
    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces:
        halves = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        halves = [pair for pair in halves if pair[0] in ids and pair[1] in ids]
        merges += [(-score, pair) for pair in sorted(halves, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
    merges.sort(key=lambda merge: merge[0])
    model = models.BPE(
        vocab=ids, merges=[pair for _, pair in merges], unk_token=pieces[0][0], fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


class OfficialTokenizer:
    """Converts text to token ids and back, as the slow Llama tokenizer does.

    Args:
        base: tokenizer of plain text.
        added: added tokens and their ids.
        start, end: ids of ``<s>`` and ``</s>``.
    """

    def __init__(self, base: Tokenizer, added: dict[str, int], start: int = 1, end: int = 2):
        self.base, self.added, self.start, self.end = base, dict(added), start, end
        self._names = {number: token for token, number in added.items()}
        longest_first = sorted(added, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    @classmethod
    def read(cls, folder: Path, vocab_size: int, start: int = 1, end: int = 2) -> OfficialTokenizer:
        """Read ``tokenizer.model`` (or ``tokenizer.json``) and ``added_tokens.json``.

        Args:
            vocab_size: rows of the model's embedding; all ids must be smaller.

        Raises:
            InputError: a file is missing or unreadable, ``[SEG]`` is missing, or an id lies outside the vocabulary.
        """
        slow, fast, path = folder / "tokenizer.model", folder / "tokenizer.json", folder / "added_tokens.json"
        if slow.is_file():
            base = build_bpe(read_pieces(slow))
        elif fast.is_file():
            try:
                base = Tokenizer.from_file(str(fast))
            except Exception as error:  # tokenizers raises plain exceptions
                raise InputError(f"{fast} is not a readable tokenizer; download it again.") from error
        else:
            raise InputError(f"{folder} has neither tokenizer.model nor tokenizer.json; download the whole checkpoint.")
        try:
            added = json.loads(path.read_text())
            added = {str(token): int(number) for token, number in added.items() if token}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise InputError(
                f"{path} is missing or unreadable; download it again: it holds the ids of [SEG] and of the image marks."
            ) from error
        absent = [token for token in (SEG, IM_START, IM_END) if token not in added]
        if absent:
            raise InputError(f"{path} lacks {', '.join(absent)}; give a LISA checkpoint with image marks.")
        outside = [token for token, number in added.items() if not 0 <= number < vocab_size]
        if outside:
            raise InputError(
                f"{path} gives {', '.join(outside)} ids outside the vocabulary of {vocab_size} tokens; "
                "download it again."
            )
        return cls(base, added, start, end)

    @property
    def seg(self) -> int:
        """Id of ``[SEG]``."""
        return self.added[SEG]

    def ids(self, text: str) -> list[int]:
        """Ids of a text that can contain added tokens, without ``<s>``."""
        out: list[int] = []
        parts = self._split.split(text)  # text, added token, text, ...
        for number, part in enumerate(parts):
            if number % 2:
                out.append(self.added[part])
                continue
            part = part.lstrip() if number else part
            part = part.rstrip() if number < len(parts) - 1 else part
            if part:
                out += self.base.encode(part, add_special_tokens=False).ids
        return out

    def text(self, ids: list[int]) -> str:
        """Ids -> text. Added tokens are written by name, with spaces around them but not before a punctuation mark."""
        out: list[str] = []
        run: list[int] = []
        for number in [*ids, None]:
            if number is not None and number not in self._names:
                run.append(number)
                continue
            if run:
                out.append(self.base.decode(run, skip_special_tokens=False))
            if number is not None:
                out.append(self._names[number])
            run = []
        joined = " ".join(piece.strip() for piece in out if piece.strip())
        return re.sub(rf"({'|'.join(map(re.escape, self.added))}) (?=[.,;:!?)\]])", r"\1", joined)


class OfficialChat:
    """Conversation format in tokens. It is a :class:`lisa_micro.assistant.engine.Chat`."""

    def __init__(self, tokenizer: OfficialTokenizer, template: str = "llava_v1"):
        if template not in TEMPLATES:
            raise InputError(f"Unknown conversation format {template!r}; choose one of {', '.join(TEMPLATES)}.")
        self.tokenizer, self.template = tokenizer, TEMPLATES[template]
        self.end = tokenizer.end

    def clean(self, text: str) -> str:
        """A user's words without :data:`MARKS` and added tokens other than ``[SEG]``."""
        marks = [mark for mark in (*MARKS, *self.tokenizer.added) if mark != SEG]
        former = None
        while former != text:  # removing one mark can put another one together
            former = text
            for mark in marks:
                text = text.replace(mark, " ")
        return text.strip()

    def shortened(self, text: str, most: int) -> str:
        """A user's words, cut after ``most`` tokens."""
        ids = self.tokenizer.ids(self.clean(text))
        return text if len(ids) <= most else self.tokenizer.text(ids[:most]).rstrip("\ufffd")

    def user_ids(self, text: str, first: bool) -> tuple[list[int], list[int]]:
        """Ids before and after the embeddings of the image. In a later turn there is no image, and the first list is
        empty."""
        template, words = self.template, self.clean(text)
        if first:
            opening = [self.tokenizer.start, *self.tokenizer.ids(template.opening)]
            return opening, self.tokenizer.ids(template.after.format(words=words))
        # the format for Llama 2 begins each turn with <s>
        start = [self.tokenizer.start] if template.again.startswith("[INST]") else []
        return [], start + self.tokenizer.ids(template.again.format(words=words))

    def reply_ids(self, reply: str) -> list[int]:
        """Ids of a given reply, with the end of the turn."""
        return [*self.tokenizer.ids(reply), self.end]

    def text(self, ids: list[int]) -> str:
        """Ids of a reply -> text, ``[SEG]`` included."""
        return self.tokenizer.text([i for i in ids if i not in (self.end, self.tokenizer.start)])
