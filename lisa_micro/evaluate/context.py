"""The context of an evaluation: assistant, limits, progress, and how requests are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from lisa_micro.assistant.language_engine import RawReply
from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""(what, number of steps) -> context that yields a function to call after each step."""
History = Sequence[tuple[str, str]]
"""Earlier turns of a conversation: (user, reply in the reply language) each."""
MOST_DEFECTS = 20
"""Number of exceptions that are described in the report."""
T = TypeVar("T")


class Assistant(Protocol):
    """The methods of an assistant that an evaluation uses.

    An assistant may also be :class:`Parsing` (the raw reply without masks, which is faster), have ``chat(micrograph)``
    for conversations, and be :class:`Described` and :class:`Weighted`.
    """

    def ask(self, micrograph: Micrograph, prompt: str, /) -> Answer:
        """Answer one request."""


@runtime_checkable
class Described(Protocol):
    """An assistant that states what it was loaded from."""

    @property
    def preset(self) -> str:
        """Name or folder of the preset."""

    @property
    def device(self) -> object:
        """Device on which it runs."""


@runtime_checkable
class Weighted(Protocol):
    """An assistant that states its weights."""

    @property
    def weights_sha256(self) -> str:
        """Checksum of the weights."""


@runtime_checkable
class Parsing(Protocol):
    """An assistant that can give the raw reply without segmenting."""

    @property
    def parse(self) -> Callable[..., str]:
        """``parse(micrograph, prompt)`` or ``parse(micrograph, prompt, history=...)``."""


@runtime_checkable
class Doubting(Protocol):
    """An assistant that knows when it is unsure."""

    @property
    def written(self) -> Callable[..., RawReply]:
        """``written(micrograph, prompt, history)``: the reply as the language model wrote it."""

    @property
    def doubts(self) -> Callable[[RawReply], bool]:
        """Whether an answer with a reply would say how the request was understood, and ask back."""


@dataclass
class Context:
    """One evaluation.

    Attributes:
        load: loads the assistant; called when the first suite needs it.
        preset, device: what ``load`` loads, for suites that load it themselves.
        data: folder of the data sets; ``None`` for that of the environment variable ``LISA_MICRO_DATA``.
        limit: number of images, scenes or requests; ``None`` for the number of each suite.
        seed: seed of everything that is drawn at random.
        prompts: file of requests with expected replies, for the suites ``language``, ``programs`` and ``wordings``.
        progress: shows progress; nothing is shown if ``None``.
        defects: exceptions raised by the assistant, one sentence each, at most :data:`MOST_DEFECTS`.
        asked, raised: number of requests, and of those that raised an exception.
    """

    load: Callable[[], Assistant]
    preset: str = "micro"
    device: str = "auto"
    data: Path | None = None
    limit: int | None = None
    seed: int = 0
    prompts: Path | None = None
    progress: Progress | None = None
    defects: list[str] = field(default_factory=list)
    asked: int = 0
    raised: int = 0
    _assistant: Assistant | None = None

    @property
    def assistant(self) -> Assistant:
        """The assistant, loaded on first use."""
        if self._assistant is None:
            self._assistant = self.load()
        return self._assistant

    @property
    def loaded(self) -> Assistant | None:
        """The assistant, or ``None`` if no suite has needed it."""
        return self._assistant

    def steps(self, what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """A progress bar; the function that it yields is called after each step."""
        return self.progress(what, total) if self.progress else nullcontext(lambda: None)

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of the weights of the assistant, if it was loaded and states one."""
        return self._assistant.weights_sha256 if isinstance(self._assistant, Weighted) else None

    def limited(self, items: Iterable[T], most: int | None = None) -> list[T]:
        """The first items: as many as the limit allows, or ``most`` without limit."""
        every = list(items)
        return every[: self.limit if self.limit is not None else most]

    def ask(self, micrograph: Micrograph, prompt: str) -> Answer:
        """Ask the assistant.

        If it raises an exception, an empty answer that is not a decline is returned: one defect does not discard an
        hour of results, and counts against the model.

        Raises:
            Exception: what the assistant raised, if each of the first three requests failed.
        """
        return self._guarded(prompt, lambda: self.assistant.ask(micrograph, prompt), Answer("", prompt=prompt))

    def read(self, micrograph: Micrograph, prompt: str, history: History = ()) -> str:
        """The raw reply to a request, by ``parse`` if the assistant has it; ``""`` if it raises an exception.

        Args:
            micrograph: the micrograph.
            prompt: the request.
            history: earlier turns; only if :attr:`reads_history`.
        """
        assistant = self.assistant
        if not isinstance(assistant, Parsing):
            return self.ask(micrograph, prompt).raw
        parse = assistant.parse
        extra = {"history": tuple(history)} if history else {}
        return self._guarded(prompt, lambda: parse(micrograph, prompt, **extra), "")

    def read_doubting(self, micrograph: Micrograph, prompt: str, history: History = ()) -> tuple[str, bool]:
        """:meth:`read`, and whether the assistant is unsure about it; one that cannot tell is sure."""
        assistant = self.assistant
        if not isinstance(assistant, Doubting):
            return self.read(micrograph, prompt, history), False
        written, doubts = assistant.written, assistant.doubts

        def read() -> tuple[str, bool]:
            reply = written(micrograph, prompt, tuple(history))
            return reply.raw, doubts(reply)

        return self._guarded(prompt, read, ("", False))

    @property
    def reads_history(self) -> bool:
        """Whether :meth:`read` accepts earlier turns."""
        assistant = self.assistant
        return isinstance(assistant, Parsing) and "history" in inspect.signature(assistant.parse).parameters

    def _guarded(self, prompt: str, call: Callable[[], T], otherwise: T) -> T:
        self.asked += 1
        try:
            return call()
        except InputError:
            raise
        except Exception as error:
            self.raised += 1
            if len(self.defects) < MOST_DEFECTS:
                self.defects.append(f"{prompt[:120]!r} raised {type(error).__name__}: {error}")
            if self.raised == self.asked == 3:  # nothing works: fail instead of reporting zeros
                raise
            return otherwise


def scores_of(answer: Answer, labels: np.ndarray) -> np.ndarray | None:
    """Confidence of the instances of ``answer.labels``.

    Returns:
        ``(n,)`` in ascending order of the labels; ``None`` unless all tables of the answer have a column ``score``.
    """
    tables = [segment.table() for segment in answer.segments]
    counts = [segment.count for segment in answer.segments]
    if not tables or any("score" not in t or len(t) != n for t, n in zip(tables, counts, strict=True)):
        return None
    scores = np.concatenate([np.asarray(table["score"], float) for table in tables])
    kept = np.unique(labels[labels > 0])
    return scores[kept - 1] if len(kept) == 0 or kept[-1] <= len(scores) else None


def declined(answer: Answer) -> bool:
    """Whether a request for something absent was answered correctly: declined, and nothing segmented."""
    return answer.declined and not any(segment.count for segment in answer.segments)


def came_back_empty(answer: Answer) -> bool:
    """Whether a request for something present was declined or segmented nothing."""
    return answer.declined or not any(segment.count for segment in answer.segments)
