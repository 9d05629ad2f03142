"""What the parts of the package expect of each other: protocols and the plain values that they exchange.

Nothing here imports torch. What a model can do is read from :attr:`Assistant.capabilities`, never from its class, its
attributes or its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from lisa_micro.exemplar import Exemplar
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.types import InputError, Micrograph

Progress = Callable[[str, int, int], None]
"""Progress callback: (name of the stage, steps done, steps in total)."""

History = Sequence[tuple[str, str]]
"""Earlier turns of a conversation: (request, reply in the reply language)."""


# ---------------------------------------------------------------------------------------------------- assistants


@dataclass(frozen=True)
class Capabilities:
    """What a model can do.

    Attributes:
        words: it answers requests in words.
        follow_ups: a request can refer to earlier ones of the same conversation.
        reply_language: its replies are programs of the reply language: they have constraints and value slots, can be
            parsed, and say when something is absent.
        boxes, points: it segments the objects that boxes or points mark.
        everything: it segments all objects without a prompt.
        exemplars: it segments everything that looks like a marked example.
        tiling: it answers words tile by tile, so that large micrographs are segmented at full resolution.
        video: it detects what one prompt means in many frames, without reading the words again.
        video_questions: it answers questions about a tracked video.
        concepts: names of the concepts that it has learned; empty for a model with an open vocabulary or without words.
        largest_side: longest side, px, at which it sees a micrograph; larger ones are scaled down. ``None``: no limit.
    """

    words: bool = False
    follow_ups: bool = False
    reply_language: bool = False
    boxes: bool = False
    points: bool = False
    everything: bool = False
    exemplars: bool = False
    tiling: bool = False
    video: bool = False
    video_questions: bool = False
    concepts: tuple[str, ...] = ()
    largest_side: int | None = None


class TilingMode(StrEnum):
    """How words about a micrograph are segmented.

    - ``auto``: in tiles where the micrograph is large and the model can, else at once.
    - ``off``: at once, scaled down to what the model sees.
    - ``tiled``: in overlapping tiles at full resolution.
    - ``cascade``: particles are detected on the scaled micrograph and segmented from their boxes in crops at full
      resolution; fast where particles are few.
    """

    AUTO = "auto"
    OFF = "off"
    TILED = "tiled"
    CASCADE = "cascade"

    @classmethod
    def parse(cls, value: str) -> TilingMode:
        """The mode of a name.

        Raises:
            InputError: there is no such mode.
        """
        try:
            return cls(value)
        except ValueError:
            *names, last = list(cls)
            raise InputError(f"Unknown tiling mode {value!r}; choose {', '.join(names)} or {last}.") from None


class Conversation(Protocol):
    """Requests about one micrograph, in order.

    Attributes:
        progress: called while a long request is answered; ``None``: not called. It may be replaced between requests.
    """

    progress: Progress | None

    @property
    def image(self) -> Micrograph:
        """The micrograph."""
        ...

    @property
    def answers(self) -> list[Answer]:
        """The answers so far. An entry may be replaced by a copy with further notes."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """How the micrograph is processed, where a user should know: that it is scaled down, for example. Every answer
        repeats them."""
        ...

    def ask(self, prompt: str) -> Answer:
        """Answer the next request.

        Raises:
            InputError: an empty prompt. The conversation stays as it was.
        """
        ...

    def reinterpret(self, reading: Reading) -> Answer:
        """Replace the last answer by that of another reading of its request.

        Args:
            reading: such as :attr:`lisa_micro.results.answer.Answer.alternative`. The new answer offers the reading
                that it replaces.

        Raises:
            InputError: there is no answer yet, or the model does not write programs that can be read in another way.
        """
        ...


class Assistant(Protocol):
    """A model that segments micrographs; :attr:`capabilities` tells by which prompts.

    A method whose capability is missing raises :class:`lisa_micro.types.InputError`, which names the model.
    """

    @property
    def preset(self) -> str:
        """Name or folder that the model was loaded from."""
        ...

    @property
    def device(self) -> object:
        """Where the model runs; its ``str`` is a name that torch knows."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the weights, hexadecimal."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        ...

    def encode(self, image: Micrograph) -> float:
        """Encode a micrograph ahead of requests.

        Returns:
            seconds that it took; next to none for a micrograph that was encoded lately.
        """
        ...

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """Answer one request: the first of a new :meth:`open_conversation`.

        Raises:
            InputError: an empty prompt.
        """
        ...

    def chat(self, image: Micrograph) -> Conversation:
        """The same as :meth:`open_conversation` with its defaults."""
        ...

    def open_conversation(
        self,
        image: Micrograph,
        tiling: TilingMode | str = TilingMode.AUTO,
        *,
        tile: int | None = None,
        halo: int | None = None,
        history: Sequence[Answer] = (),
        progress: Progress | None = None,
    ) -> Conversation:
        """Begin a conversation about one micrograph. This is the only place where it is decided whether to tile.

        Args:
            image: of any size.
            tiling: see :class:`TilingMode`.
            tile: side of a tile, px; ``None``: chosen by the model.
            halo: overlap of a tile with its neighbours on each side, px, less than half of a tile; ``None``: a fixed
                share of the tile.
            history: answers of an earlier conversation about the same micrograph, which this one continues.
            progress: see :attr:`Conversation.progress`.

        Raises:
            InputError: an unknown mode, tiles that cannot be, or tiles asked of a model without
                :attr:`Capabilities.tiling`.
        """
        ...

    def parse(self, image: Micrograph, prompt: str, history: History = ()) -> str:
        """The raw reply to a request, without segmenting anything.

        Args:
            history: earlier turns.
        """
        ...

    def segment_boxes(self, image: Micrograph, boxes: object) -> Segmentation:
        """Segment one instance per box ``(N, 4)`` XYXY px; instance k comes from box k.

        Raises:
            InputError: boxes of another shape, not finite, or outside of the micrograph.
        """
        ...

    def segment_points(self, image: Micrograph, points: object, point_labels: object = None) -> Segmentation:
        """Segment one object from points ``(P, 2)`` XY px; labels ``(P,)``: 1 = on the object (default), 0 = not on it.

        Raises:
            InputError: points that cannot be used, or none that is on the object.
        """
        ...

    def segment_everything(self, image: Micrograph) -> Segmentation:
        """Segment all objects without a prompt."""
        ...

    def learn_exemplar(
        self, image: Micrograph, boxes: object = None, not_like: object = None, *, exemplar: Exemplar | None = None
    ) -> Exemplar:
        """Learn from boxes ``(N, 4)`` XYXY px around objects that are meant, and around such that are not, to find what
        is alike in other micrographs; with ``exemplar``, the boxes are added to it.

        Raises:
            InputError: boxes that cannot be used or contradict each other, or that hold no object.
        """
        ...

    def segment_like(
        self,
        image: Micrograph,
        boxes: object = None,
        not_like: object = None,
        *,
        exemplar: Exemplar | None = None,
        words: str = "",
        progress: Progress | None = None,
    ) -> Segmentation:
        """Segment everything that is like the content of boxes of this micrograph, like an exemplar, or both.

        Args:
            image: of any size.
            boxes, not_like: as for :meth:`learn_exemplar`; one or both may be missing where there is an exemplar.
            exemplar: of this model, made on any micrograph.
            words: a condition that narrows what is alike; empty: none.
            progress: called while a large micrograph is segmented.

        Raises:
            InputError: as :meth:`learn_exemplar`; nothing is like the boxes; or an exemplar of other weights.
        """
        ...


# ---------------------------------------------------------------------------------------------------- segmenters


@dataclass(frozen=True, eq=False)
class Prediction:
    """One mask for each of N prompts.

    Attributes:
        masks: ``(N, H, W)`` bool, at the size of the micrograph.
        scores: ``(N,)`` float32, 0..1, predicted IoU of each mask.
        logits: ``(N, h, w)`` float32 at the model's own resolution, covering the whole micrograph, positive inside;
            ``None`` where the model has none.
        notes: what a user should know, one sentence each.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Instances:
    """Everything that was found in a micrograph without a prompt.

    Attributes:
        labels: ``(H, W)`` int32, 0 = background, k = instance k, 1..n without gaps; instances do not overlap.
        scores: ``(n,)`` float32, 0..1: predicted IoU times stability of each.
        tried: number of prompts that were decoded.
        notes: what a user should know, one sentence each.
        presence: 0..1, probability that there is any object, for models that predict it; else 1.
    """

    labels: np.ndarray
    scores: np.ndarray
    tried: int = 0
    notes: tuple[str, ...] = ()
    presence: float = 1.0


@runtime_checkable
class Segmenter(Protocol):
    """A promptable segmenter: an image is encoded once, then points, boxes and masks prompt masks.

    Attributes:
        name: the name by which it was built.
        weights_sha256: sha256 of the weights, hexadecimal.
    """

    name: str
    weights_sha256: str

    def encode(self, image: Micrograph) -> object:
        """Encode an image for all later prompts, and return what the model keeps of it.

        Raises:
            InputError: an image without pixels, or with other than two axes.
        """
        ...

    def predict(
        self, points: object = None, point_labels: object = None, boxes: object = None, mask_inputs: object = None
    ) -> Prediction:
        """Segment N objects of the encoded image. A prompt has points, a box, a mask, or several of them.

        Args:
            points: ``(N, P, 2)`` XY px of the micrograph.
            point_labels: ``(N, P)``, 1 = on the object (default), 0 = not on it, -1 = no point (fills up the array).
            boxes: ``(N, 4)`` XYXY px of the micrograph.
            mask_inputs: ``(N, h, w)`` of any size, each covering the whole micrograph: bool or integers (0 = outside),
                or floating-point logits, positive inside, such as :attr:`Prediction.logits` of an earlier call.

        Raises:
            InputError: no encoded image, no prompt, or a prompt that the model cannot use.
        """
        ...

    def everything(self) -> Instances:
        """Segment all objects of the encoded image without a prompt.

        Raises:
            InputError: no encoded image.
        """
        ...


# --------------------------------------------------------------------------- video: frame detectors and trackers


@dataclass(frozen=True, eq=False)
class Detections:
    """The instances detected in one frame.

    Attributes:
        labels: ``(H, W)`` int32 instance labels, 0 where nothing was detected.
        selected: labels of the instances that the request selects; ``None`` if it selects all of them.
        score, presence: 0..1, as in :class:`lisa_micro.results.answer.Segmentation`.
    """

    labels: np.ndarray
    selected: tuple[int, ...] | None = None
    score: float = 1.0
    presence: float = 1.0


@dataclass
class DetectorState:
    """What a detector knows about its request. Detectors update it while they run.

    Attributes:
        concept: concept of the detected instances; ``"particle"`` until the request is known better.
        reply, raw: as in :class:`lisa_micro.results.answer.Answer`.
        where: constraint of the request in the reply language, ``""`` if there is none.
        phrase: noun phrase of what is detected, for messages.
        tracker, tracker_sha256: name and weights of the tracker that produces the detections, ``""`` if none does.
        notes: what a user should know, one sentence each.
    """

    concept: str = "particle"
    reply: str = ""
    raw: str = ""
    where: str = ""
    phrase: str = ""
    tracker: str = ""
    tracker_sha256: str = ""
    notes: list[str] = field(default_factory=list)


class FrameDetector(Protocol):
    """Detects instances in the frames of a video, which it is given in order.

    Attributes:
        state: what the detector knows about its request.
        replays: whether a resumed run must detect in all frames again, because the detections of a frame depend on the
            pixels of earlier ones.
    """

    state: DetectorState
    replays: bool

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect the instances of a frame.

        Args:
            frame: the frame.
            number: its number, from 0.
        """
        ...

    def memory(self) -> Mapping[str, object] | None:
        """Return what later frames need from earlier ones as plain JSON values; ``None`` if they need nothing."""
        ...

    def restore(self, memory: Mapping[str, object]) -> None:
        """Restore what :meth:`memory` returned in an earlier run."""
        ...


Frame: TypeAlias = "np.ndarray | Micrograph"
"""A frame of a video: ``(H, W)`` float in 0..1, or a micrograph, which is rescaled with its robust contrast."""


@runtime_checkable
class Tracker(Protocol):
    """Propagates labels through a video, one frame at a time.

    The caller chooses the track IDs, which are positive integers. A tracker never renumbers them. Labels are ``(H, W)``
    int32 at the size of the frame: 0 is background, and k marks the pixels of track k.

    Attributes:
        name: the name under which :func:`lisa_micro.models.trackers.build_tracker` builds it.
        weights_sha256: SHA-256 of the weights file, hexadecimal; ``""`` for a tracker without weights.
    """

    name: str
    weights_sha256: str

    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """Start a new video and discard the state of the previous one.

        Args:
            first_frame: first frame of the video.
            first_labels: ``(H, W)`` integer track IDs in that frame; all 0 if no track is known yet.

        Raises:
            InputError: if the frame or the labels are invalid, or if their sizes differ.
        """
        ...

    def step(self, frame: Frame, labels: np.ndarray | None = None) -> np.ndarray:
        """Track into the next frame.

        Args:
            frame: next frame, of the same size as the first.
            labels: ``(H, W)`` integer track IDs that are known in this frame. Nonzero pixels override the prediction: a
                new ID starts a track, a known ID is corrected.

        Returns:
            ``(H, W)`` int32 track IDs.

        Raises:
            InputError: if :meth:`reset` was not called, or if the frame or the labels are invalid or of another size.
        """
        ...
