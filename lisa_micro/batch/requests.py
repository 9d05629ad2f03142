"""What is asked about every image of a batch. Requests in words are one kind; others implement :class:`Request`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast, runtime_checkable

from lisa_micro.exemplar import Exemplar
from lisa_micro.io.lazy import Plane
from lisa_micro.language import check_prompt
from lisa_micro.protocols import Assistant, Capabilities, TilingMode
from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:  # brings torch
    from lisa_micro.large_images.planes import PlaneAnswer


class Request(Protocol):
    """One request. It is sent to worker processes, so it must be picklable.

    A new kind implements these members and is passed to :func:`lisa_micro.batch` as it is.
    """

    @property
    def title(self) -> str:
        """How the request is named in tables and reports."""
        ...

    def record(self) -> Mapping[str, object]:
        """The request as plain JSON values. It is part of the identity of an item: another record is another result."""
        ...

    def check(self, capabilities: Capabilities, preset: str) -> None:
        """Check that the model can answer.

        Raises:
            InputError: it cannot.
        """
        ...

    def answer(self, assistant: Assistant, image: Micrograph, tiling: TilingMode) -> Answer:
        """Answer for one image.

        Raises:
            InputError: the image cannot be answered; it becomes a row of ``failed.csv``.
        """
        ...


@runtime_checkable
class PlaneRequest(Protocol):
    """A request that can also be answered for a plane that is too large to be read whole."""

    def answer_plane(self, assistant: Assistant, plane: Plane, scratch: Path) -> PlaneAnswer:
        """Answer for one plane, part by part.

        Args:
            scratch: folder for a temporary file.

        Raises:
            InputError: the plane cannot be answered; it becomes a row of ``failed.csv``.
        """
        ...


@dataclass(frozen=True)
class WordsRequest:
    """A request in words.

    Attributes:
        words: such as ``"segment all particles"``.

    Raises:
        InputError: an empty request.
    """

    words: str

    def __post_init__(self) -> None:
        check_prompt(self.words)

    @property
    def title(self) -> str:
        """The words."""
        return self.words

    def record(self) -> Mapping[str, object]:
        """The request as plain JSON values."""
        return {"kind": "words", "words": self.words}

    def check(self, capabilities: Capabilities, preset: str) -> None:
        """Check that the model reads words.

        Raises:
            InputError: it does not.
        """
        if not capabilities.words:
            raise InputError(f"The model {preset!r} takes no words; choose another preset.")

    def answer(self, assistant: Assistant, image: Micrograph, tiling: TilingMode) -> Answer:
        """Ask in a conversation of its own, so that no request depends on another."""
        return assistant.open_conversation(image, tiling).ask(self.words)

    def answer_plane(self, assistant: Assistant, plane: Plane, scratch: Path) -> PlaneAnswer:
        """Segment tile by tile, as ``lisa-micro segment`` does above the limit of memory."""
        from lisa_micro.large_images.planes import segment_plane
        from lisa_micro.large_images.planes.segment import TilingAssistant

        # segment_plane itself refuses a model without the capability
        return segment_plane(cast(TilingAssistant, assistant), plane, self.words, scratch=scratch)


@dataclass(frozen=True, eq=False)
class ExemplarRequest:
    """Everything that is like an example, which was learnt on another micrograph.

    Attributes:
        exemplar: from :func:`lisa_micro.exemplar.read_exemplar`.
        words: a condition that narrows what is alike, such as ``"larger than 20 nm"``; ``""``: none.
    """

    exemplar: Exemplar
    words: str = ""

    @property
    def title(self) -> str:
        """The example by the name of its micrograph, and the words."""
        name = f"all like the example of {self.exemplar.source or 'another micrograph'}"
        return f"{name}, {self.words}" if self.words else name

    def record(self) -> Mapping[str, object]:
        """The request as plain JSON values."""
        return {"kind": "exemplar", "title": self.title, "exemplar": self.exemplar.digest(), "words": self.words}

    def check(self, capabilities: Capabilities, preset: str) -> None:
        """Check that the model finds what is alike.

        Raises:
            InputError: it does not.
        """
        if not capabilities.exemplars:
            raise InputError(f"The model {preset!r} cannot find what is like an example; choose another preset.")

    def answer(self, assistant: Assistant, image: Micrograph, tiling: TilingMode) -> Answer:
        """Find what is alike; the exemplar decides at which scale, and whether in tiles."""
        from lisa_micro.assistant.like import like_answer  # torch, which the driver of a run does without

        found = assistant.segment_like(image, exemplar=self.exemplar, words=self.words)
        return like_answer(found, self.words)


Requests: TypeAlias = str | Request | Sequence[str | Request]


def as_requests(requests: Requests) -> tuple[Request, ...]:
    """Requests from words, request objects, or several of them.

    Raises:
        InputError: none, an empty one, or the same one twice.
    """
    if isinstance(requests, str) or not isinstance(requests, Sequence):
        requests = [requests]
    listed = tuple(WordsRequest(one) if isinstance(one, str) else one for one in requests)
    if not listed:
        raise InputError("No request was given; say what to segment, such as 'segment all particles'.")
    titles = [one.title for one in listed]
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"The request {title!r} was given twice; leave one out.")
    return listed
