"""Frame detectors: find the instances of one request in each frame of a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

import numpy as np
import torch

from lisa_micro.assistant.measuring import FoundMeasures
from lisa_micro.assistant.targets import ImageView, is_present
from lisa_micro.execution import Result, tell
from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.geometry import check_boxes
from lisa_micro.io import to_unit_range
from lisa_micro.language.program import Program, concepts_in, parse_program
from lisa_micro.language.program.describe import Describer, tidy
from lisa_micro.language.program.replies import sets_of
from lisa_micro.language.program.syntax import Ordinal
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
    """Memory of a :class:`WordDetector`: its raw reply, which target of it is detected, its concept, the [SEG] state of
    each concept that the reply refers to (none before the request was understood), and the last frame with which the
    request was read."""

    raw: str
    target: int
    concept: str
    states: dict[str, list[float]]
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
        self._states: dict[str, torch.Tensor] = {}  # concept -> (hidden,) state of a [SEG] token
        self._program = Program()
        self._tried = self._target = 0

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect the instances of a frame; read the request first if that was not possible before."""
        engine, state = self.assistant.engine, self.state
        nothing = Detections(np.zeros(frame.shape, np.int32), (), 0.0, 0.0)
        if not self._states and self._is_due(number):
            self._read(frame)
        if not self._states:
            return nothing
        features = engine.encode(to_unit_range(frame.pixels), tokens=False)
        view = ImageView(engine, frame.pixels, features)
        maps = engine.decode_words(features, torch.stack(list(self._states.values())))
        found = {concept: view.instances(maps, k, concept) for k, concept in enumerate(self._states)}
        instances = found[state.concept]
        if not is_present(engine, instances):
            return Detections(nothing.labels, (), instances.score, instances.presence)
        selected = None
        if self._program.targets[self._target].pipeline:
            absent = [concept for concept, one in found.items() if not is_present(engine, one)]
            selected = self._selected(FoundMeasures(frame, found, absent))
        return Detections(instances.labels, selected, instances.score, instances.presence)

    def _selected(self, measures: FoundMeasures) -> tuple[int, ...]:
        """The labels of the instances of a frame that fulfil the constraint."""
        executor = Executor(measures, self._program.targets, self.assistant.engine.vocabulary)
        target, notes = self._program.targets[self._target], self.state.notes
        try:
            keep = executor.keep(self.state.concept, target.pipeline)
        except Impossible as error:
            message = str(error)
            keep = np.zeros(len(measures.instances_of(self.state.concept)), bool)
            executor.notes.append(f"{message[0].upper()}{message[1:]}.")
        notes += [note for note in executor.notes if note not in notes]
        return tuple((np.flatnonzero(keep) + 1).tolist())

    def _is_due(self, number: int) -> bool:
        """Whether to read the request with this frame: first with each frame, then whenever the number doubles."""
        if number >= _PATIENCE and number < 2 * self._tried:
            return False
        self._tried = number
        return True

    def _read(self, frame: Micrograph) -> None:
        engine, state = self.assistant.engine, self.state
        features = engine.encode(to_unit_range(frame.pixels))
        cache = engine.prefill_image(features)
        written, _ = engine.generate(cache, self.words, first=True)
        program = parse_program(written.raw, engine.vocabulary)
        targets = program.targets[: len(written.states)]
        state.raw = written.raw
        if not targets:
            state.reply = tell(Result(program), engine.vocabulary)
            return
        nearest = engine.nearest_concept(written.states)
        concepts = [target.concept or engine.code_names[nearest[k]] for k, target in enumerate(targets)]
        self._target = concepts.index("particle") if "particle" in concepts else 0
        state.concept = concepts[self._target]
        if len(targets) > 1:
            state.notes.append(f"The request names several things; only the {state.concept}s are tracked.")
        state.notes += program.notes
        states = {concept: written.states[k].float() for k, concept in reversed(list(enumerate(concepts)))}
        further = [concept for concept in concepts_in(program) if concept not in states]
        if further:
            states |= dict(zip(further, engine.concept_states(cache, further), strict=True))
        needed = (state.concept, *concepts_in(Program((program.targets[self._target],))), *_earlier(program, concepts))
        self._states = {concept: states[concept] for concept in dict.fromkeys(needed)}
        self._use(program)

    def _use(self, program: Program) -> None:
        """Take over what the reply says of the target."""
        state, vocabulary = self.state, self.assistant.engine.vocabulary
        self._program = program
        target = program.targets[self._target]
        state.where = target.where
        describer = Describer(program.targets, vocabulary)
        phrase = tidy(describer.phrase(state.concept, target.pipeline).definite())
        state.phrase = phrase.removeprefix("the ")
        state.reply = f"Tracking {phrase if target.pipeline else f'all {state.phrase}'}."

    def memory(self) -> Mapping[str, object]:
        """Return the reply, its target and the prompts of the mask decoder."""
        states = {concept: one.tolist() for concept, one in self._states.items()}
        return _WordMemory(
            raw=self.state.raw, target=self._target, concept=self.state.concept, states=states, tried=self._tried
        )

    def restore(self, memory: Mapping[str, object]) -> None:
        """Restore what :meth:`memory` returned; the request is not read again."""
        saved = cast(_WordMemory, memory)
        vocabulary = self.assistant.engine.vocabulary
        self.state.raw, self._target, self._tried = saved["raw"], saved["target"], saved["tried"]
        program = parse_program(saved["raw"], vocabulary)
        if not saved["states"]:
            self.state.reply = tell(Result(program), vocabulary)
            return
        self._states = {name: torch.tensor(one, dtype=torch.float32) for name, one in saved["states"].items()}
        self.state.concept = saved["concept"]
        self._use(program)


def _earlier(program: Program, concepts: Sequence[str]) -> tuple[str, ...]:
    """The concepts of targets that constraints refer to by their number."""
    numbered = any(isinstance(of, Ordinal) for target in program.targets for of in sets_of(target.pipeline))
    return tuple(concepts) if numbered else ()


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
