"""Frame detectors: find the instances of one request in each frame of a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

import numpy as np
import torch

from lisa_micro.assistant import constraints
from lisa_micro.assistant.engine import concepts_of
from lisa_micro.assistant.targets import PRESENCE_THRESHOLD, ImageView, TargetInstances
from lisa_micro.geometry import check_boxes
from lisa_micro.io import to_unit_range
from lisa_micro.language import Clause, Reply, parse_reply
from lisa_micro.language.display import display, noun_phrase
from lisa_micro.models.trackers.base import check_labels
from lisa_micro.protocols import Detections, DetectorState, Tracker
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import CONCEPTS, InputError, Micrograph

if TYPE_CHECKING:
    from lisa_micro.assistant.engine import Engine

_PATIENCE = 8  # a request that named nothing is read again with each of the first frames, then ever more rarely


class IndependentDetector:
    """Base class of detectors without a memory of earlier frames."""

    replays = False

    def __init__(self, state: DetectorState | None = None):
        self.state = state or DetectorState()

    def memory(self) -> None:
        """Return ``None``: frames are independent of each other."""

    def restore(self, memory: Mapping[str, object]) -> None:
        """Do nothing: frames are independent of each other."""


class FunctionDetector(IndependentDetector):
    """Detections from a function, such as labels that are known.

    Args:
        function: maps a frame and its number to the detections.
        concept: concept of the instances.
    """

    def __init__(self, function: Callable[[Micrograph, int], Detections], concept: str = "particle"):
        super().__init__(DetectorState(concept))
        self._function = function

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Call the function."""
        return self._function(frame, number)


class VideoAssistant(Protocol):
    """What an assistant with the capability ``video`` has beside :class:`lisa_micro.protocols.Assistant`.

    Attributes:
        engine: the model, with one method per step, so that a request is read once for many frames.
    """

    engine: Engine

    def readable(self, prompt: str) -> tuple[str, tuple[str, ...]]:
        """Return a prompt at the length that the model reads, and notes about it."""
        ...

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """Segment one instance per box."""
        ...


class _WordMemory(TypedDict):
    """Memory of a :class:`WordDetector`: its raw reply, which target of it is detected, the concept, the [SEG] state
    (``None`` before the request was understood), and the last frame with which the request was read."""

    raw: str
    target: int
    concept: str
    state: list[float] | None
    tried: int


class WordDetector:
    """Detects what a request in words means.

    The language model reads the request with the first frame. The state of the [SEG] token in its reply then prompts
    the mask decoder in every frame, so that only the SAM tower and the decoder run. If the reply names nothing, because
    the first frame shows nothing of the kind, the request is read again with later frames. Of a reply with several
    targets one is detected: the particles, otherwise the first target.

    Args:
        assistant: model with the capability ``video``.
        words: request of the user.

    Raises:
        InputError: if the request is empty.
    """

    replays = False

    def __init__(self, assistant: VideoAssistant, words: str):
        self.assistant = assistant
        self.words, notes = assistant.readable(words)
        self.state = DetectorState(notes=list(notes))
        self._prompt: torch.Tensor | None = None  # (1, hidden) state of the [SEG] token
        self._clauses: Sequence[Clause] = ()
        self._tried = self._target = 0

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect the instances of a frame; read the request first if that was not possible before."""
        engine, state = self.assistant.engine, self.state
        nothing = Detections(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
        if self._prompt is None and self._is_due(number):
            self._read(frame)
        if self._prompt is None:
            return nothing
        features = engine.encode(to_unit_range(frame.pixels), tokens=False)
        view = ImageView(engine, frame.pixels, features)
        instances = view.instances(engine.decode_words(features, self._prompt), 0, state.concept)
        if not self._is_present(instances):
            return Detections(nothing.labels, (), instances.score, instances.presence)
        selected = None
        if self._clauses:
            keep, notes = constraints.apply(
                self._clauses, instances.properties, frame.shape, frame.pixel_size_nm, state.concept
            )
            state.notes += [note for note in notes if note not in state.notes]
            selected = tuple((np.flatnonzero(keep) + 1).tolist())
        return Detections(instances.labels, selected, instances.score, instances.presence)

    def _is_due(self, number: int) -> bool:
        """Whether to read the request with this frame: first with each frame, then whenever the number doubles."""
        if number >= _PATIENCE and number < 2 * self._tried:
            return False
        self._tried = number
        return True

    def _read(self, frame: Micrograph) -> None:
        engine, state = self.assistant.engine, self.state
        features = engine.encode(to_unit_range(frame.pixels))
        written, _ = engine.generate(engine.prefill_image(features), self.words, first=True)
        reply = parse_reply(written.raw, engine.vocabulary)
        targets = reply.targets[: len(written.states)]
        state.raw = written.raw
        if not targets:
            state.reply = display(reply, vocabulary=engine.vocabulary)
            return
        concepts = concepts_of(engine, targets, written.states)
        self._target = concepts.index("particle") if "particle" in concepts else 0
        state.concept = concepts[self._target]
        if len(targets) > 1:
            state.notes.append(f"The request names several things; only the {state.concept}s are tracked.")
        state.notes += reply.notes
        self._prompt = written.states[self._target : self._target + 1].float()
        self._use(reply)

    def _use(self, reply: Reply) -> None:
        """Take over what the reply says of the target."""
        state, vocabulary = self.state, self.assistant.engine.vocabulary
        target = reply.targets[self._target]
        self._clauses, state.where = target.clauses, target.where
        state.phrase = noun_phrase(state.concept, target.clauses, vocabulary)
        # values in the reply would be those of a single frame, so it is not shown
        state.reply = f"Tracking {state.phrase}." if reply.values else display(reply, vocabulary=vocabulary)

    def memory(self) -> Mapping[str, object]:
        """Return the reply, its target and the prompt of the mask decoder."""
        prompt = None if self._prompt is None else self._prompt[0].tolist()
        return _WordMemory(
            raw=self.state.raw, target=self._target, concept=self.state.concept, state=prompt, tried=self._tried
        )

    def restore(self, memory: Mapping[str, object]) -> None:
        """Restore what :meth:`memory` returned; the request is not read again."""
        saved = cast(_WordMemory, memory)
        self.state.raw, self._target, self._tried = saved["raw"], saved["target"], saved["tried"]
        reply = parse_reply(saved["raw"], self.assistant.engine.vocabulary)
        if saved["state"] is None:
            self.state.reply = display(reply, vocabulary=self.assistant.engine.vocabulary)
            return
        self._prompt = torch.tensor([saved["state"]], dtype=torch.float32)
        self.state.concept = saved["concept"]
        self._use(reply)

    def _is_present(self, instances: TargetInstances) -> bool:
        threshold = self.assistant.engine.model.config.presence_threshold.get(instances.concept, PRESENCE_THRESHOLD)
        return instances.presence >= threshold and bool(instances.labels.any())


class BoxDetector(IndependentDetector):
    """Detects all particles and selects those that boxes mark in the first frame.

    Args:
        assistant: model with the capability ``video``.
        boxes: ``(N, 4)`` XYXY px in the first frame.
        shape: ``(H, W)`` of the video.

    Raises:
        InputError: if the boxes are invalid; see :func:`lisa_micro.geometry.check_boxes`.
    """

    def __init__(self, assistant: VideoAssistant, boxes: object, shape: tuple[int, int]):
        super().__init__()
        self.assistant = assistant
        self.boxes, notes = check_boxes(boxes, shape)
        self.state.notes += notes

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect all particles of a frame; in frame 0 also select the particle in each box."""
        engine = self.assistant.engine
        features = engine.encode(to_unit_range(frame.pixels), tokens=False)
        view = ImageView(engine, frame.pixels, features)
        instances = view.instances(engine.decode_concept(features, CONCEPTS.index("particle")), 0, "particle")
        selected = None if number else self._selected(instances.labels, frame)
        return Detections(instances.labels, selected, instances.score, instances.presence)

    def _selected(self, labels: np.ndarray, frame: Micrograph) -> tuple[int, ...]:
        marked = self.assistant.segment_boxes(frame, self.boxes).labels
        selected = set()
        for k in range(1, len(self.boxes) + 1):
            counts = np.bincount(labels[marked == k], minlength=1)
            counts[0] = 0
            if counts.max(initial=0) * 2 > np.count_nonzero(marked == k) > 0:
                selected.add(int(counts.argmax()))
            else:
                self.state.notes.append(f"No particle was detected in box {k}.")
        return tuple(sorted(selected))


class LabelPropagator(IndependentDetector):
    """Propagates labels of the first frame with a tracker that has a network; no model detects anything.

    The memory of the tracker is not saved, so that a resumed run processes all frames again.

    Args:
        tracker: tracker that propagates the labels.
        labels: ``(H, W)`` integers, track IDs in the first frame.
        shape: ``(H, W)`` of the video.

    Raises:
        InputError: if the labels are invalid, have another size, or have no instance.
    """

    replays = True

    def __init__(self, tracker: Tracker, labels: np.ndarray, shape: tuple[int, int]):
        super().__init__(DetectorState(tracker=tracker.name, tracker_sha256=tracker.weights_sha256))
        self.tracker, self.labels = tracker, check_labels(labels, shape)
        if not self.labels.any():
            raise InputError("The labels of the first frame have no instance, so that there is nothing to track.")

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Propagate the labels to the next frame."""
        pixels = to_unit_range(frame.pixels)
        if number:
            return Detections(self.tracker.step(pixels))
        self.tracker.reset(pixels, self.labels)
        return Detections(self.labels)


class AnsweringAssistant(Protocol):
    """The part of an assistant that :class:`AnswerDetector` uses."""

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """Answer a request about a micrograph."""
        ...


class AnswerDetector(IndependentDetector):
    """Asks an assistant the same request about every frame and takes the first segmentation of each answer.

    Args:
        assistant: any model with the capability ``words``.
        words: request of the user.
    """

    def __init__(self, assistant: AnsweringAssistant, words: str):
        super().__init__()
        self.assistant, self.words = assistant, words

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Ask about a frame."""
        answer = self.assistant.ask(frame, self.words)
        if not answer.segments:
            return Detections(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
        segment = answer.segments[0]
        return Detections(np.asarray(segment.labels, np.int32), None, segment.score, segment.presence)
