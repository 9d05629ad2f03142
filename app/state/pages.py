"""State of the pages Correct, Words against boxes and Find all like this, and of the API: plain typed data."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.correction.actions import CorrectionAction
from lisa_micro.correction.replay import Correction
from lisa_micro.exemplar import Exemplar
from lisa_micro.io import Looking
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import Micrograph
from lisa_micro_app.state.conversation import AS_READ, Picture

if TYPE_CHECKING:  # brings the evaluation suites
    from lisa_micro.evaluate.comparison import Comparison


@dataclass
class LayerEdit:
    """The correction of one layer.

    Attributes:
        segment: the segmentation as the model gave it.
        correction: the actions so far.
        undone: actions that can be redone; the one undone last is at the end.
        accepted: the actions at the time of acceptance; ``None`` if it is not accepted.
        lock: held while the layer changes.
    """

    segment: Segmentation
    correction: Correction
    undone: list[CorrectionAction] = field(default_factory=list)
    accepted: tuple[CorrectionAction, ...] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured segmentation of a corrected layer, with the correction and the micrograph that it belongs to."""

    correction: Correction
    image: Micrograph
    segment: Segmentation


@dataclass
class CorrectionState:
    """State of the page Correct.

    Attributes:
        edits: corrections by (number of the turn, layer).
        layer: the chosen layer; ``None``: the first one.
        accepted: numbers of the accepted turns.
        examples: names of training examples, by micrograph.
        example_count: number of training examples, which outlasts the conversation.
        measured: the last measurements.
        views: number of views sent to the page, so that it notices one that repeats.
    """

    edits: dict[tuple[int, int], LayerEdit] = field(default_factory=dict)
    layer: int | None = None
    accepted: frozenset[int] = frozenset()
    examples: dict[str, str] = field(default_factory=dict)
    example_count: int = 0
    measured: Measured | None = None
    views: int = 0

    def forget(self, number: int) -> None:
        """Drop the corrections of a turn whose answer was replaced."""
        self.edits = {key: edit for key, edit in self.edits.items() if key[0] != number}
        self.accepted -= {number}

    def without_conversation(self) -> CorrectionState:
        """The state after the conversation is cleared."""
        return CorrectionState(example_count=self.example_count)


@dataclass(frozen=True, eq=False)
class Truth:
    """True labels ``(H, W)`` of a micrograph, by its key, and the name of their file."""

    picture: str
    labels: np.ndarray
    name: str


@dataclass(eq=False)
class Compared:
    """A comparison and its inputs.

    Attributes:
        comparison: the result.
        picture, name, path, given_nm: the micrograph: its key, name, file, and the pixel size given by the user.
        looking: how the micrograph was read.
        words, boxes: the prompts.
        pictures, difference: what the page shows of the overlays and of the map of differences, once drawn.
    """

    comparison: Comparison
    picture: str
    name: str
    path: str | None
    given_nm: float | None
    words: str
    boxes: list[list[float]]
    pictures: list[dict[str, Any]] | None = None
    difference: dict[str, Any] | None = None
    looking: Looking = AS_READ


@dataclass
class ComparisonState:
    """State of the page Words against boxes."""

    truth: Truth | None = None
    compared: Compared | None = None


@dataclass(frozen=True, eq=False)
class FoundAlike:
    """What was found like examples, and the inputs.

    Attributes:
        number: of the search, within the session.
        picture: the micrograph.
        words: the condition, empty if none.
        like, unlike: boxes XYXY px.
        segment: what was found.
        exemplar: what was learnt from the boxes and the loaded exemplar.
        notes: on the words.
    """

    number: int
    picture: Picture
    words: str
    like: list[list[float]]
    unlike: list[list[float]]
    segment: Segmentation
    exemplar: Exemplar
    notes: tuple[str, ...] = ()


@dataclass
class LikeState:
    """State of the page Find all like this.

    Attributes:
        loaded, loaded_name: an exemplar of another micrograph, and its file's name; ``None``: the boxes alone.
        found: the last result.
        searches, views: number of searches and of views sent to the page so far.
    """

    loaded: Exemplar | None = None
    loaded_name: str = ""
    found: FoundAlike | None = None
    searches: int = 0
    views: int = 0


@dataclass
class ProgramState:
    """What a program has opened.

    Attributes:
        images, videos: keys of micrographs and of videos, by the names that the program uses.
        exemplars: what was learnt, by the names that the program uses.
        working: held while a request about the video is answered.
    """

    images: dict[str, str] = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    exemplars: dict[str, Exemplar] = field(default_factory=dict)
    working: threading.Lock = field(default_factory=threading.Lock)
