"""Frame detector of all that is like an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import numpy as np

from lisa_micro.assistant.exemplar_words import narrow
from lisa_micro.assistant.like import PHRASE
from lisa_micro.exemplar import Exemplar, parse_exemplar
from lisa_micro.language import Vocabulary
from lisa_micro.measure import particle_properties
from lisa_micro.protocols import Detections, DetectorState
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import Micrograph


class LikeVideoAssistant(Protocol):
    """What an assistant with the capability ``exemplars`` has for this detector."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The concepts of the reply language."""
        ...

    def learn_exemplar(
        self, image: Micrograph, boxes: object = None, not_like: object = None, *, exemplar: Exemplar | None = None
    ) -> Exemplar:
        """Learn from boxes."""
        ...

    def segment_like(self, image: Micrograph, *, exemplar: Exemplar) -> Segmentation:
        """Segment everything that is like an exemplar."""
        ...

    def parse(self, image: Micrograph, prompt: str) -> str:
        """The raw reply to words."""
        ...


class LikeDetector:
    """Detects everything that is like boxes in the first frame, or like an exemplar of another micrograph.

    Args:
        assistant: model with the capability ``exemplars``.
        words: a condition, such as "larger than 20 nm"; read once, with the first frame. Empty: none.
        like, unlike: ``(N, 4)`` XYXY px in the first frame; ``None``: none.
        exemplar: what was learnt before; ``None``: the boxes alone.
    """

    replays = False

    def __init__(
        self,
        assistant: LikeVideoAssistant,
        words: str = "",
        like: object = None,
        unlike: object = None,
        exemplar: Exemplar | None = None,
    ):
        self.assistant, self.words = assistant, words
        self.state = DetectorState(concept="object", phrase=PHRASE, reply=f"Tracking {PHRASE}.")
        self._given = (like, unlike, exemplar)
        self._exemplar: Exemplar | None = None
        self._memory: dict[str, object] | None = None

    def detect(self, frame: Micrograph, number: int) -> Detections:
        """Detect what is alike in a frame; learn from the boxes first if this is the first frame."""
        if self._exemplar is None:
            like, unlike, known = self._given
            self._exemplar = self.assistant.learn_exemplar(frame, like, unlike, exemplar=known)
            self.state.raw = self.assistant.parse(frame, self.words) if self.words.strip() else ""
            self._memory = {"exemplar": self._exemplar.plain(), "raw": self.state.raw}
        found = self.assistant.segment_like(frame, exemplar=self._exemplar)
        selected = None
        if self.state.raw:
            properties = particle_properties(found.labels, frame.pixels)
            kept = narrow(self.state.raw, self.assistant.vocabulary, found.labels, properties, frame)
            self.state.where = kept.where
            self.state.notes += [note for note in kept.notes if note not in self.state.notes]
            selected = tuple((np.flatnonzero(kept.keep) + 1).tolist())
        return Detections(found.labels, selected, found.score, found.presence)

    def memory(self) -> Mapping[str, object] | None:
        """Return the exemplar and the reply to the words."""
        return self._memory

    def restore(self, memory: Mapping[str, object]) -> None:
        """Restore what :meth:`memory` returned; nothing is learnt or read again."""
        self._memory = dict(memory)
        self._exemplar = parse_exemplar(memory["exemplar"], "The exemplar of the interrupted run")
        self.state.raw = cast(str, memory["raw"])
