"""Conversations about a tracked video."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from lisa_micro.assistant.conversation import Clock
from lisa_micro.assistant.language_engine import CONTEXT_TOKENS, KVCache, RawReply
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.language.program import Program, parse_program
from lisa_micro.language.program.syntax import Words
from lisa_micro.language.vocabulary import Vocabulary
from lisa_micro.protocols import Assistant
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.analysis import Findings
from lisa_micro.video.events import NECK_RATIO
from lisa_micro.video.questions.answer import VideoAnswer, answer_program
from lisa_micro.video.questions.frames import nouns
from lisa_micro.video.questions.values import VideoMeasurements
from lisa_micro.video.track_data import TrackData

if TYPE_CHECKING:
    from lisa_micro.assistant.engine import Engine

_TURNS = 3  # turns that are read again when a long conversation is restarted


class QuestionAssistant(Protocol):
    """What an assistant with the capability ``video_questions`` has beside :class:`lisa_micro.protocols.Assistant`.

    Attributes:
        engine: the model, with one method per step.
    """

    engine: Engine

    def readable(self, prompt: str) -> tuple[str, tuple[str, ...]]:
        """Return a prompt at the length that the model reads, and notes about it."""
        ...

    def intensities(self, pixels: np.ndarray) -> np.ndarray:
        """Return intensities as the model expects them, float32 in 0..1."""
        ...


def answer_question(tracks: TrackData, question: str, assistant: Assistant, video: object = None) -> VideoAnswer:
    """Answer one question about a tracked video.

    Args:
        tracks: tracks of the video.
        question: the question in words.
        assistant: model with the capability ``video_questions``.
        video: as for :class:`VideoConversation`.

    Raises:
        InputError: if the question is empty, or if the assistant or the video cannot be used.
    """
    return VideoConversation(tracks, assistant, video).ask(question)


class VideoConversation:
    """Questions about a tracked video, in order; later ones may refer to earlier ones.

    The language model reads them together with one frame: the first with a neck (x/R above 0.1), or the first with any
    instance. If a reply states that something is absent which exists in another frame, the question is read again with
    that frame.

    Args:
        tracks: tracks of the video.
        assistant: model with the capability ``video_questions``.
        video: the video, as for :func:`lisa_micro.read_video`; ``None`` uses the file named in the record. If that file
            is gone, the frame is drawn from the labels, and a note says so.
        findings: analysis of the tracks, if there is one already.

    Attributes:
        answers: the answers so far.

    Raises:
        InputError: if the assistant lacks the capability, or if the video has another size.
    """

    def __init__(self, tracks: TrackData, assistant: Assistant, video: object = None, findings: Findings | None = None):
        if not assistant.capabilities.video_questions:
            raise InputError(f"Preset {assistant.preset!r} cannot answer questions about videos; use micro.")
        self.tracks, self.assistant = tracks, cast(QuestionAssistant, assistant)
        self.measurements = VideoMeasurements(tracks, findings)
        self.answers: list[VideoAnswer] = []
        self._stream, self._missing_video = self._open(video)
        self._shown = self._first()  # frame that the language model is shown
        self._prefilled: dict[int, KVCache] = {}
        self._cache: KVCache | None = None

    def ask(self, question: str) -> VideoAnswer:
        """Answer the next question.

        Args:
            question: any words; text beyond :data:`lisa_micro.language.MAX_PROMPT` characters is cut, with a note.

        Raises:
            InputError: if the question is empty, or if the video ends before the frame that is shown to the model.
        """
        prompt, notes = self.assistant.readable(question)
        clock = Clock()
        vocabulary = self.assistant.engine.vocabulary
        written = self._read(prompt)
        program = parse_program(written.raw, vocabulary)
        absent = denied_concept(program, vocabulary)
        if absent is not None and not self.measurements.frames.unknown(absent):
            first = self.measurements.frames.first(absent)
            if first is not None and first != self._shown:
                self._shown, self._cache = first, None
                written = self._read(prompt)
                program = parse_program(written.raw, vocabulary)
                absent = denied_concept(program, vocabulary)
        clock.lap("language")
        concepts: list[str] = []
        if len(written.states):
            engine = self.assistant.engine
            concepts = [engine.code_names[k] for k in engine.nearest_concept(written.states)]
        answer = answer_program(self.measurements, program, concepts, vocabulary)
        if answer.refusal == "absent":
            answer = replace(answer, text=self._absence(answer.text, absent))
        if self._missing_video:
            notes = (*notes, self._missing_video)
        clock.lap("measure")
        answer = replace(answer, prompt=prompt, raw=written.raw, notes=(*notes, *answer.notes), seconds=clock.seconds)
        self.answers.append(answer)
        return answer

    def _absence(self, text: str, concept: str | None) -> str:
        """Extend a statement about the shown frame to all frames."""
        if concept is not None:
            unknown = self.measurements.frames.unknown(concept)
            if unknown:
                return unknown
            if self.measurements.frames.first(concept) is None:
                return f"There are no {nouns(concept)[1]} in any frame."
        return text.replace("in this micrograph", f"in frame {self._shown}, with which the question was read")

    def _read(self, prompt: str) -> RawReply:
        engine = self.assistant.engine
        # stored again only at the end, so that a failed question leaves no partial state
        cache, self._cache = self._cache, None
        if cache is None or cache.length > CONTEXT_TOKENS:
            cache = self._prefill(self._shown).fork()
            for number, answer in enumerate(self.answers[-_TURNS:]):
                engine.prefill_turn(cache, answer.prompt, answer.raw, first=number == 0)
        written, _ = engine.generate(cache, prompt, first=not self.answers)
        self._cache = cache
        return written

    def _prefill(self, t: int) -> KVCache:
        if t not in self._prefilled:
            features = self.assistant.engine.encode(self.assistant.intensities(self._frame(t).pixels))
            self._prefilled[t] = self.assistant.engine.prefill_image(features)
        return self._prefilled[t]

    def _first(self) -> int:
        tracks = self.tracks
        frames = tracks.tracks["frame"]
        if len(tracks.necks):
            necks = tracks.necks.loc[tracks.necks["x_over_R"] > NECK_RATIO, "frame"]
            frames = necks if len(necks) else frames
        return int(frames.min()) if len(frames) else 0

    def _open(self, video: object) -> tuple[VideoStream | None, str]:
        """Open the video; if the recorded file is gone, return ``None`` and a note."""
        source = str(self.tracks.record.get("video", {}).get("source", ""))
        given = video is not None
        try:
            if not given and not (source and os.path.exists(source)):
                raise InputError(f"There is no file {source}.")
            stream = read_video(video if given else Path(source))
        except InputError:
            if given:
                raise
            name = f" ({Path(source).name})" if source else ""
            return None, (
                f"The video{name} could not be read again, so that the question was read with a picture drawn from the "
                "labels; the numbers are not affected."
            )
        if stream.shape != self.tracks.shape:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (stream.shape, self.tracks.shape)]
            raise InputError(
                f"The video is {sizes[0]} px, but the tracked video is {sizes[1]} px; give the same video."
            )
        return stream, ""

    def _frame(self, t: int) -> Micrograph:
        if self._stream is None:
            return Micrograph(draw_labels(self.tracks.labels[t]), self.tracks.pixel_size_nm, f"labels of frame {t}")
        for k, image in enumerate(self._stream.micrographs()):
            if k == t:
                return image
        raise InputError(f"The video ends before frame {t}, which the model is shown; give the same video.")


def draw_labels(labels: np.ndarray) -> np.ndarray:
    """Draw labels like a bright-field TEM image: dark particles with lighter edges on a bright background.

    Args:
        labels: ``(H, W)`` int32.

    Returns:
        ``(H, W)`` float32, 0..1.
    """
    from scipy import ndimage

    edge = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    picture = np.where(labels > 0, np.where(edge, 0.45, 0.25), 0.8).astype(np.float32)
    return ndimage.gaussian_filter(picture, 1.0)


def denied_concept(program: Program, vocabulary: Vocabulary) -> str | None:
    """The concept that a reply of version 1 says is absent; ``None`` if it says so of none."""
    if program.targets or not program.absent:
        return None
    return vocabulary.named_in(" ".join(part.text for part in program.parts if isinstance(part, Words)))
