"""Looking at the frames of a video for one request: its words are read once, its prompt serves for all frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lisa_micro.assistant import constraints
from lisa_micro.assistant.assistant import UNSURE
from lisa_micro.assistant.engine import concepts_of
from lisa_micro.assistant.outline import ImageView, Outline
from lisa_micro.geometry import check_boxes
from lisa_micro.io import to_unit_range
from lisa_micro.language import Reply, parse_reply
from lisa_micro.language.display import display, noun_phrase
from lisa_micro.models.trackers.base import Tracker, check_labels
from lisa_micro.types import CONCEPTS, InputError, Micrograph

if TYPE_CHECKING:
    from lisa_micro.assistant import Assistant

_PATIENCE = 8  # frames after each other in which a request that named nothing is read again; then ever more rarely


@dataclass(frozen=True)
class Look:
    """One frame, looked at.

    Attributes:
        labels: ``(H, W)`` int32, all instances of what is followed, 0 where nothing was found.
        asked: numbers of the instances that the request means; ``None`` where it means all, or says nothing of which.
        score, presence: 0..1, as in :class:`lisa_micro.results.answer.Segmentation`.
    """

    labels: np.ndarray
    asked: tuple[int, ...] | None = None
    score: float = 1.0
    presence: float = 1.0


Looker = Callable[[Micrograph, int], Look]
"""Frame and its number -> what is in it."""


@dataclass
class Request:
    """Words about a video. It is a :data:`Looker`.

    The language model reads the words with the first frame. The state of the reply's [SEG] token then prompts the mask
    decoder in every frame, whose SAM tower is the only other thing that runs. Where the reply names nothing, because
    the first frame shows nothing of the kind, the words are read again with later frames. Of a reply with several
    targets one is followed: the particles, or else the first.

    Attributes:
        concept: what is followed; ``"particle"`` until the words were read.
        reply, raw: as in :class:`lisa_micro.results.answer.Answer`; where: the constraint.
        notes: what a user should know.
    """

    assistant: Assistant
    words: str
    concept: str = "particle"
    reply: str = ""
    raw: str = ""
    where: str = ""
    phrase: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words, notes = self.assistant.readable(self.words)
        self.notes += notes
        self._states: torch.Tensor | None = None
        self._clauses: Sequence[Any] = ()
        self._tried = self._target = 0

    def __call__(self, frame: Micrograph, number: int) -> Look:
        nothing = Look(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
        engine = self.assistant.engine
        if self._states is None:
            if not self._due(number):
                return nothing
            self._read(frame)
            if self._states is None:
                return nothing
        features = engine.encode(to_unit_range(frame.pixels), tokens=False)
        view = ImageView(engine, frame.pixels, features)
        outline = view.outline(engine.decode_words(features, self._states), 0, self.concept)
        if not self._there(outline):
            return Look(nothing.labels, (), outline.score, outline.presence)
        asked = None
        if self._clauses:
            keep, remarks = constraints.apply(
                self._clauses, outline.properties, frame.shape, frame.pixel_size_nm, self.concept
            )
            self.notes += [remark for remark in remarks if remark not in self.notes]
            asked = tuple((np.flatnonzero(keep) + 1).tolist())
        return Look(outline.labels, asked, outline.score, outline.presence)

    def _due(self, number: int) -> bool:
        """Whether to read the words with this frame: at first with each, then at twice the number each time."""
        if number >= _PATIENCE and number < 2 * self._tried:
            return False
        self._tried = number
        return True

    def _read(self, frame: Micrograph) -> None:
        engine = self.assistant.engine
        features = engine.encode(to_unit_range(frame.pixels))
        written, _ = engine.write(engine.begin(features), self.words, first=True)
        reply = parse_reply(written.raw, engine.vocabulary)
        targets = reply.targets[: len(written.states)]
        self.raw = written.raw
        if not targets:
            self.reply = display(reply, vocabulary=self.assistant.engine.vocabulary)
            return
        concepts = concepts_of(engine, targets, written.states)
        self._target = concepts.index("particle") if "particle" in concepts else 0
        self.concept = concepts[self._target]
        if len(targets) > 1:
            self.notes.append(f"The request names several things; the {self.concept}s are followed.")
        self.notes += reply.notes
        self._states = written.states[self._target : self._target + 1].float()
        self._take(reply)

    def _take(self, reply: Reply) -> None:
        """Keep what the reply says of the target. Its values are those of one frame, and no answer about a video."""
        target = reply.targets[self._target]
        self._clauses, self.where = target.clauses, target.where
        self.phrase = noun_phrase(self.concept, target.clauses, self.assistant.engine.vocabulary)
        told = f"Following {self.phrase}."
        self.reply = told if reply.values else display(reply, vocabulary=self.assistant.engine.vocabulary)

    def memory(self) -> dict[str, Any]:
        """What has been read so far, in plain values: the reply, which target, and the prompt that came of it."""
        states = None if self._states is None else self._states[0].tolist()
        return {"raw": self.raw, "target": self._target, "concept": self.concept, "state": states, "tried": self._tried}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from :meth:`memory`."""
        self.raw, self._target, self._tried = memory["raw"], memory["target"], memory["tried"]
        reply = parse_reply(self.raw, self.assistant.engine.vocabulary)
        if memory["state"] is None:
            self.reply = display(reply, vocabulary=self.assistant.engine.vocabulary)
            return
        self._states = torch.tensor([memory["state"]], dtype=torch.float32)
        self.concept = memory["concept"]
        self._take(reply)

    def _there(self, outline: Outline) -> bool:
        threshold = self.assistant.engine.model.config.presence_threshold.get(outline.concept, UNSURE)
        return outline.presence >= threshold and bool(outline.labels.any())


class Boxed:
    """Boxes around particles in the first frame: those are followed. It is a :data:`Looker`.

    All particles of each frame are outlined, by the concept's own code; those of the first frame in which the boxes
    lie are meant.

    Args:
        assistant: the model.
        boxes: ``(N, 4)`` XYXY px of the first frame.
        shape: ``(H, W)`` px.

    Raises:
        InputError: see :func:`lisa_micro.geometry.check_boxes`.
    """

    concept = "particle"

    def __init__(self, assistant: Assistant, boxes: object, shape: tuple[int, int]):
        self.assistant = assistant
        self.boxes, notes = check_boxes(boxes, shape)
        self.notes = list(notes)

    def __call__(self, frame: Micrograph, number: int) -> Look:
        engine = self.assistant.engine
        features = engine.encode(to_unit_range(frame.pixels), tokens=False)
        view = ImageView(engine, frame.pixels, features)
        outline = view.outline(engine.decode_concept(features, CONCEPTS.index("particle")), 0, "particle")
        if number:
            return Look(outline.labels, None, outline.score, outline.presence)
        drawn = self.assistant.segment_boxes(frame, self.boxes).labels
        asked = []
        for k in range(1, len(self.boxes) + 1):
            inside = np.bincount(outline.labels[drawn == k], minlength=1)
            inside[0] = 0
            if inside.max(initial=0) * 2 > np.count_nonzero(drawn == k) > 0:
                asked.append(int(inside.argmax()))
            else:
                self.notes.append(f"In box {k} no particle was found.")
        return Look(outline.labels, tuple(sorted(set(asked))), outline.score, outline.presence)


class Carried:
    """Outlines of the first frame, of whatever they are: a tracker with a network carries them on, and nothing else
    looks at the frames. It is a :data:`Looker`.

    What the tracker has seen is not kept on disk, so that a run that goes on looks at all frames anew (``replays``).

    Args:
        tracker: that carries them.
        labels: ``(H, W)`` integers, the identities in the first frame.
        shape: ``(H, W)`` px.

    Raises:
        InputError: labels that cannot be used, of another size, or without any instance.
    """

    concept = "particle"
    replays = True

    def __init__(self, tracker: Tracker, labels: np.ndarray, shape: tuple[int, int]):
        self.tracker, self.labels = tracker, check_labels(labels, shape)
        self.notes: list[str] = []
        if not self.labels.any():
            raise InputError("The labels of the first frame hold no instance; there is nothing to follow.")

    def __call__(self, frame: Micrograph, number: int) -> Look:
        pixels = to_unit_range(frame.pixels)
        if number:
            return Look(self.tracker.step(pixels))
        self.tracker.reset(pixels, self.labels)
        return Look(self.labels)


class Asking:
    """Any assistant that answers a micrograph: asked the same of every frame. It is a :data:`Looker`."""

    concept = "particle"

    def __init__(self, assistant: Any, words: str):
        self.assistant, self.words = assistant, words
        self.notes: list[str] = []

    def __call__(self, frame: Micrograph, number: int) -> Look:
        answer = self.assistant.ask(frame, self.words)
        if not answer.segments:
            return Look(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
        segment = answer.segments[0]
        return Look(np.asarray(segment.labels, np.int32), None, segment.score, segment.presence)
