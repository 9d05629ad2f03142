"""Link the detections of successive frames to tracks, with the delay that later corrections need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_micro.io import to_unit_range
from lisa_micro.models.trackers.linking import Revision, identities
from lisa_micro.models.trackers.overlap import OverlapTracker
from lisa_micro.protocols import Detections, Tracker
from lisa_micro.types import Micrograph

CONFIRM, GAP = 3, 5
"""Defaults of :class:`lisa_micro.models.trackers.overlap.OverlapTracker` in a video."""


@dataclass(eq=False)
class LinkedFrame:
    """A frame with final track IDs.

    Attributes:
        frame: frame number, from 0.
        image: the micrograph.
        labels: ``(H, W)`` int32 track IDs.
    """

    frame: int
    image: Micrograph
    labels: np.ndarray


class TrackLinker:
    """Links detections to tracks while the frames of a video arrive in order.

    An :class:`~lisa_micro.models.trackers.overlap.OverlapTracker` assigns the track IDs. Another tracker may predict
    where each particle is; otherwise its position in the previous frame is used. A frame is final when no revision can
    change it any more, or when the video ends.

    Args:
        tracker: predicts the positions of the particles; ``None`` for none.
        confirm, gap: as for the overlap tracker.

    Attributes:
        overlap: the overlap tracker.
        note: sentence about the selection of tracks by the request, ``""`` if it selects all.
    """

    def __init__(self, tracker: Tracker | None = None, confirm: int = CONFIRM, gap: int = GAP):
        self.tracker = tracker
        self.overlap = OverlapTracker(confirm, gap)
        self.note = ""
        self._window: deque[LinkedFrame] = deque()
        self._count = 0
        self._selected: set[int] | None = set()  # selected track IDs; None selects all
        self._selected_in: int | None = None  # frame in which the selection was made

    def step(
        self, image: Micrograph, detections: Detections, shift: tuple[float, float] | None = None
    ) -> Iterator[LinkedFrame]:
        """Link the next frame.

        Args:
            image: the frame.
            detections: instances detected in it.
            shift: displacement of the whole image since the previous frame, x, y in px, if known.

        Yields:
            frames that are final now, in order.
        """
        if self._count == 0:
            self.overlap.reset(image, detections.labels)
            labels = detections.labels.copy()
            if self.tracker is not None:
                self.tracker.reset(to_unit_range(image.pixels), labels)
        elif self.tracker is None:
            labels = self.overlap.step(image, detections.labels, shift=shift)
        else:
            pixels = to_unit_range(image.pixels)
            predicted = self.tracker.step(pixels)
            labels = self.overlap.step(image, detections.labels, expected=predicted)
            if set(identities(labels)) - set(identities(predicted)):
                self.tracker.step(pixels, labels)
        self._window.append(LinkedFrame(self._count, image, labels))
        self._revise(self.overlap.revisions)
        self._select(detections, self._window[-1].labels)
        self._count += 1
        while len(self._window) > self.overlap.lookback:
            yield self._final(self._window.popleft())

    def finish(self) -> Iterator[LinkedFrame]:
        """Finish the video and yield the remaining frames."""
        self._revise(self.overlap.finish())
        while self._window:
            yield self._final(self._window.popleft())

    def _revise(self, revisions: list[Revision]) -> None:
        for revision in revisions:
            for linked in self._window:
                if linked.frame >= revision.first_frame:
                    for old, new in revision.names.items():
                        linked.labels[linked.labels == old] = new
            if self._selected is not None:
                self._selected |= {new for old, new in revision.names.items() if old in self._selected and new}

    def _select(self, detections: Detections, labels: np.ndarray) -> None:
        """Select the requested tracks in the first frame that contains any."""
        if self._selected_in is not None or not detections.labels.any() or detections.selected == ():
            return
        self._selected_in = self._count
        if detections.selected is None:
            self._selected = None
            return
        chosen = np.isin(detections.labels, detections.selected)
        counts = np.bincount(labels[chosen].ravel(), minlength=1)
        whole = np.bincount(labels.ravel(), minlength=len(counts))[: len(counts)]
        self._selected = {int(k) for k in np.flatnonzero(counts) if k and 2 * counts[k] > whole[k]}
        number = len(self._selected)
        selects, tracked = ("1 instance", "this is") if number == 1 else (f"{number} instances", "these are")
        self.note = f"The request selects {selects} in frame {self._count}; only {tracked} tracked."

    def _final(self, linked: LinkedFrame) -> LinkedFrame:
        if self._selected is None:
            return linked
        if self._selected_in is None or linked.frame < self._selected_in:
            linked.labels = np.zeros_like(linked.labels)
            return linked
        for k in identities(linked.labels):
            birth = self.overlap.births.get(k)
            if birth is not None and self._selected & set(birth.parents):
                self._selected.add(k)
        linked.labels = np.where(np.isin(linked.labels, list(self._selected)), linked.labels, 0).astype(np.int32)
        return linked
