"""What every suite is handed: the assistant, the limits of the run, progress; and how it asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""(what, number of steps) -> context that gives a function to call after each step."""
History = Sequence[tuple[str, str]]
"""Exchanges before a request: (user, reply in the reply language) each."""
MOST_DEFECTS = 20


class Assistant(Protocol):
    """The part of an assistant that is judged.

    It may also have ``parse(micrograph or None, prompt) -> str``, the raw reply without masks, which is
    faster; ``parse(..., history=((user, reply), ...))``, without which requests that refer to earlier ones
    are left out; ``chat(micrograph)``, whose answers ``ask`` in one conversation; ``weights_sha256``.
    """

    def ask(self, micrograph: Micrograph, prompt: str) -> Answer:
        """The answer to one request."""


@dataclass
class Context:
    """One evaluation.

    Attributes:
        load: gives the assistant; called when the first suite needs it.
        preset, device: what ``load`` loads, for suites that load it themselves.
        data: folder of the data sets, None for that of the environment variable ``LISA_MICRO_DATA``.
        limit: number of images, scenes or requests; None for the suite's own.
        seed: of everything drawn by chance.
        prompts: file of requests with expected replies, for the language suite.
        progress: shows progress; silent unless given.
        defects: what the assistant raised, one sentence each, at most :data:`MOST_DEFECTS`.
        asked, raised: number of requests, and of those that raised.
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
    _assistant: Any = None

    @property
    def assistant(self) -> Assistant:
        """The assistant, loaded when it is first needed."""
        if self._assistant is None:
            self._assistant = self.load()
        return self._assistant

    @property
    def loaded(self) -> Assistant | None:
        """The assistant if a suite has needed it."""
        return self._assistant

    def steps(self, what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """A progress bar; the function it gives is called after each step."""
        return self.progress(what, total) if self.progress else nullcontext(lambda: None)

    def limited(self, items: Iterable, most: int | None = None) -> list:
        """The first items, as many as the limit says, or ``most`` where there is none."""
        items = list(items)
        return items[: self.limit if self.limit is not None else most]

    def ask(self, micrograph: Micrograph, prompt: str) -> Answer:
        """The assistant's answer. Where it raises, which it never should, an empty answer that is not a
        decline: one defect does not throw away an hour of results, and counts against the model.

        Raises:
            Exception: what the assistant raised, where it has failed on each of the first three requests.
        """
        return self._guarded(prompt, lambda: self.assistant.ask(micrograph, prompt), Answer("", prompt=prompt))

    def read(self, micrograph: Micrograph, prompt: str, history: History = ()) -> str:
        """The raw reply to a request, by ``parse`` where the assistant has it, else by asking; ``""`` where
        it raises.

        Args:
            micrograph: what the request is about.
            prompt: the request.
            history: what was said before; only where :attr:`reads_history`.
        """
        parse = getattr(self.assistant, "parse", None)
        if parse is None:
            return self.ask(micrograph, prompt).raw
        extra = {"history": tuple(history)} if history else {}
        return self._guarded(prompt, lambda: parse(micrograph, prompt, **extra), "")

    @property
    def reads_history(self) -> bool:
        """Whether :meth:`read` can be given what was said before."""
        parse = getattr(self.assistant, "parse", None)
        return parse is not None and "history" in inspect.signature(parse).parameters

    def _guarded(self, prompt: str, call: Callable[[], Any], otherwise: Any) -> Any:
        self.asked += 1
        try:
            return call()
        except InputError:
            raise
        except Exception as error:
            self.raised += 1
            if len(self.defects) < MOST_DEFECTS:
                self.defects.append(f"{prompt[:120]!r} raised {type(error).__name__}: {error}")
            if self.raised == self.asked == 3:  # nothing works: say so instead of counting zeros
                raise
            return otherwise


def scores_of(answer: Answer, labels: np.ndarray) -> np.ndarray | None:
    """``(n,)`` confidence of the instances of ``answer.labels`` in ascending label order where the answer's
    tables have a column ``score``, else None."""
    tables = [segment.table() for segment in answer.segments]
    counts = [segment.count for segment in answer.segments]
    if not tables or any("score" not in t or len(t) != n for t, n in zip(tables, counts, strict=True)):
        return None
    scores = np.concatenate([np.asarray(table["score"], float) for table in tables])
    kept = np.unique(labels[labels > 0])
    return scores[kept - 1] if len(kept) == 0 or kept[-1] <= len(scores) else None


def declined(answer: Answer) -> bool:
    """Whether a request for what is not there was answered well: told so, and nothing outlined."""
    return answer.declined and not any(segment.count for segment in answer.segments)


def came_back_empty(answer: Answer) -> bool:
    """Whether a request for what is there was turned down: told that there is none, or nothing outlined."""
    return answer.declined or not any(segment.count for segment in answer.segments)
