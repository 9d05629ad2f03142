"""What the dock widget does, without a window: it loads the model, keeps conversations, and makes layers of answers.

All methods that compute run in one worker thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.napari.features import features_table, instance_rows, measured
from lisa_micro.napari.films import Film, frames_of, micrograph_of
from lisa_micro.napari.layers import RECORD, LayerData, answer_layers, named, tracks_layers
from lisa_micro.napari.writer import plane
from lisa_micro.protocols import Assistant, Conversation, Progress
from lisa_micro.results.answer import Answer, Reading
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:  # importing torch takes seconds, so that is left to the worker
    from lisa_micro.video.tracks import Tracks

MOST_CONVERSATIONS = 8
"""Conversations that are kept; a further one ends the one used least recently."""

Load = Callable[[str], Assistant]
"""Loads a preset by name."""


def load_preset(preset: str) -> Assistant:
    """Load a preset; torch is imported here, so in the thread that calls it."""
    import lisa_micro

    return lisa_micro.load_assistant(preset)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a request gave.

    Attributes:
        text: the reply.
        layers: to be added, the topmost last.
        notes: notices for the user, one sentence each.
        alternative: another reading of the request, offered where the first one is unsure.
        image: the micrograph; ``None`` for a video.
        tracks: of a video.
    """

    text: str
    layers: Sequence[LayerData] = ()
    notes: tuple[str, ...] = ()
    alternative: Reading | None = None
    image: Micrograph | None = None
    tracks: Tracks | None = None


class Session:
    """The model and the conversations of one dock widget.

    Args:
        load: loads a preset.
    """

    def __init__(self, load: Load = load_preset):
        self._load = load
        self._assistant: tuple[str, Assistant] | None = None
        # the film is kept too, since the identity of its array is part of the key
        self._conversations: OrderedDict[Hashable, tuple[Conversation, Film]] = OrderedDict()
        self._last: Hashable = None

    def loaded(self, preset: str) -> bool:
        """Whether a preset is loaded."""
        return self._assistant is not None and self._assistant[0] == preset

    def assistant(self, preset: str) -> Assistant:
        """The assistant of a preset, loaded at the first call. Another preset ends all conversations.

        Raises:
            InputError: see :func:`lisa_micro.load_assistant`.
        """
        if self._assistant is None or self._assistant[0] != preset:
            self._conversations.clear()
            self._last = self._assistant = None  # frees the memory of the other model first
            self._assistant = preset, self._load(preset)
        return self._assistant[1]

    def ask(self, preset: str, film: Film, words: str, progress: Progress | None = None) -> Outcome:
        """Answer a request about the frame that is shown; later requests about it can refer to earlier ones.

        Raises:
            InputError: no words, or a layer or preset that cannot be used.
        """
        if not words.strip():
            raise InputError("There is no request; type what to segment, such as: all sintering necks.")
        assistant = self.assistant(preset)
        key = (id(film.data), film.frame, film.user_nm, film.size.nm)
        if key not in self._conversations:
            self._conversations[key] = assistant.open_conversation(micrograph_of(film)), film
            while len(self._conversations) > MOST_CONVERSATIONS:
                self._conversations.popitem(last=False)
        self._conversations.move_to_end(key)
        conversation = self._conversations[key][0]
        conversation.progress = progress
        answer = conversation.ask(words)
        self._last = key
        return self._outcome(answer, conversation.image, film, assistant)

    def reinterpret(self, reading: Reading) -> Outcome:
        """Replace the last answer by that of another reading of its request.

        Raises:
            InputError: there is no answer yet.
        """
        if self._last not in self._conversations or self._assistant is None:
            raise InputError("There is no answer that can be read in another way; ask first.")
        conversation, film = self._conversations[self._last]
        answer = conversation.reinterpret(reading)
        return self._outcome(answer, conversation.image, film, self._assistant[1])

    def find_alike(
        self,
        preset: str,
        film: Film,
        boxes: np.ndarray,
        unlike: np.ndarray,
        words: str = "",
        progress: Progress | None = None,
    ) -> Outcome:
        """Segment everything that looks like the content of boxes in the frame that is shown.

        Args:
            preset: name of the preset.
            film: the image layer.
            boxes, unlike: ``(N, 4)`` XYXY px around objects that are meant, and around such that are not.
            words: a condition that narrows what is alike; empty: none.
            progress: called while a large micrograph is segmented.

        Raises:
            InputError: no box, or see :meth:`lisa_micro.protocols.Assistant.segment_like`.
        """
        from lisa_micro.assistant.like import like_answer

        _check_examples(boxes)
        assistant = self.assistant(preset)
        image = micrograph_of(film)
        found = assistant.segment_like(
            image, boxes.tolist(), unlike.tolist() or None, words=words.strip(), progress=progress
        )
        return self._outcome(like_answer(found, words.strip()), image, film, assistant)

    def track(
        self,
        preset: str,
        film: Film,
        words: str,
        boxes: np.ndarray,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Outcome:
        """Track what words mean, or what is like the content of boxes of the first frame, through a stack of frames.

        Args:
            preset, film: as for :meth:`find_alike`.
            words: the request; with boxes, a condition.
            boxes: ``(N, 4)`` XYXY px in the first frame; without any, the words are followed.
            progress: called after each frame.

        Raises:
            InputError: neither words nor boxes, or see :func:`lisa_micro.track`.
        """
        from lisa_micro.video.track import track

        if not words.strip() and not len(boxes):
            raise InputError("There is nothing to track; type what to track, such as: all nanoparticles.")
        video = frames_of(film)
        assistant = self.assistant(preset)
        if len(boxes):
            tracks = track(assistant, video, words, like=boxes.tolist(), progress=progress)
        else:
            tracks = track(assistant, video, words, progress=progress)
        layers = named(tracks_layers(tracks, film.transform), film.name)
        return Outcome(_told(tracks), layers, tracks.notes, tracks=tracks)

    @staticmethod
    def _outcome(answer: Answer, image: Micrograph, film: Film, assistant: Assistant) -> Outcome:
        layers = answer_layers(answer, image, film.place)
        for _, options, _ in layers:
            options["metadata"][RECORD] |= {"preset": assistant.preset, "weights_sha256": assistant.weights_sha256}
        segment_notes = (note for segment in answer.segments for note in segment.notes)
        notes = tuple(dict.fromkeys((*image.notes, *answer.notes, *segment_notes)))
        return Outcome(answer.text, layers, notes, answer.alternative, image)


def measure_again(labels: Any, options: Mapping[str, Any], film: Film | None) -> Any:
    """Measure a labels layer as it is, for its features.

    Args:
        labels: data of the layer, ``(H, W)`` or of one frame.
        options: its ``features`` and ``metadata``, and the ``scale`` and ``units`` for a layer made by hand.
        film: the image layer beneath, for intensities and the pixel size; ``None``: only what the layer says.

    Returns:
        the features table.

    Raises:
        InputError: a stack of labels.
    """
    from lisa_micro.napari.films import layer_pixel_size

    now = plane(labels)
    record = (options.get("metadata") or {}).get(RECORD)
    record = record if isinstance(record, Mapping) else {}
    image = None if film is None or film.shape != now.shape else micrograph_of(film)
    nm = record.get("pixel_size_nm") or layer_pixel_size(options).nm
    if image is not None and image.pixel_size_nm is not None:
        nm = image.pixel_size_nm
    features = options.get("features")
    before = None if features is None or not len(features) else instance_rows(features, now)
    table = measured(now, None if image is None else image.pixels, nm, before, str(record.get("concept", "object")))
    return features_table(table)


def _check_examples(boxes: np.ndarray) -> None:
    if not len(boxes):
        raise InputError("There is no box; draw at least one around an object that is meant.")


def _told(tracks: Tracks) -> str:
    """What was tracked, in a sentence."""
    summary = tracks.summary()
    events = [f"{number} {kind}" for kind, number in list(summary.items())[2:]]
    told = f"{summary['tracks']} tracks of {tracks.concept}s in {summary['frames']} frames"
    return f"{told}; events: {', '.join(events)}." if events else f"{told}."
