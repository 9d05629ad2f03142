"""Frames with instances in, final identities out: a tracker, and the few frames that its second thoughts need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_micro.io import to_unit_range
from lisa_micro.models.trackers.base import Tracker
from lisa_micro.models.trackers.linking import Revision, identities
from lisa_micro.models.trackers.overlap import OverlapTracker
from lisa_micro.types import Micrograph
from lisa_micro.video.detect import Look

CONFIRM, GAP = 3, 5


@dataclass
class Followed:
    """One frame: its number, the micrograph, and ``labels`` ``(H, W)`` int32, the identities in it."""

    frame: int
    image: Micrograph
    labels: np.ndarray


class Following:
    """Follows what is looked at through a video.

    Who is who, is decided by an :class:`~lisa_micro.models.trackers.overlap.OverlapTracker`. Another tracker tells it
    where to expect each particle, and hears of what is new; else that is where it was in the frame before.

    A frame is final when no revision can reach it any more, or when the video ends.

    Args:
        tracker: another tracker, or ``None``.
        confirm, gap: as for the overlap tracker.
    """

    def __init__(self, tracker: Tracker | None = None, confirm: int = CONFIRM, gap: int = GAP):
        self.tracker = tracker
        self.linker = OverlapTracker(confirm, gap)
        self.applied: str = ""
        self._window: deque[Followed] = deque()
        self._count = 0
        self._chosen: set[int] | None = set()
        self._decided: int | None = None  # the frame in which it was decided who is meant

    def step(self, image: Micrograph, look: Look, shift: tuple[float, float] | None = None) -> Iterator[Followed]:
        """The next frame.

        Args:
            image: the frame.
            look: what is in it.
            shift: x, y px by which all has moved since the frame before, where known.

        Yields:
            frames that are final now, in order.
        """
        if self._count == 0:
            self.linker.reset(image, look.labels)
            labels = look.labels.copy()
            if self.tracker is not None:
                self.tracker.reset(to_unit_range(image.pixels), labels)
        elif self.tracker is None:
            labels = self.linker.step(image, look.labels, shift=shift)
        else:
            unit = to_unit_range(image.pixels)
            carried = self.tracker.step(unit)
            labels = self.linker.step(image, look.labels, expected=carried)
            if set(identities(labels)) - set(identities(carried)):
                self.tracker.step(unit, labels)
        self._window.append(Followed(self._count, image, labels))
        self._revise(self.linker.revisions)
        self._choose(look, self._window[-1].labels)
        self._count += 1
        while len(self._window) > self.linker.lookback:
            yield self._final(self._window.popleft())

    def finish(self) -> Iterator[Followed]:
        """The video has ended: the frames that were waiting."""
        self._revise(self.linker.finish())
        while self._window:
            yield self._final(self._window.popleft())

    def _revise(self, revisions: list[Revision]) -> None:
        for revision in revisions:
            for followed in self._window:
                if followed.frame >= revision.first_frame:
                    for old, new in revision.names.items():
                        followed.labels[followed.labels == old] = new
            if self._chosen is not None:
                self._chosen |= {new for old, new in revision.names.items() if old in self._chosen and new}

    def _choose(self, look: Look, labels: np.ndarray) -> None:
        """Which particles are meant, is decided in the first frame in which any are."""
        if self._decided is not None or not look.labels.any() or look.asked == ():
            return
        self._decided = self._count
        if look.asked is None:
            self._chosen = None
            return
        chosen = np.isin(look.labels, look.asked)
        counts = np.bincount(labels[chosen].ravel(), minlength=1)
        whole = np.bincount(labels.ravel(), minlength=len(counts))[: len(counts)]
        self._chosen = {int(k) for k in np.flatnonzero(counts) if k and 2 * counts[k] > whole[k]}
        self.applied = f"The {len(self._chosen)} that the request means in frame {self._count} are followed."

    def _final(self, followed: Followed) -> Followed:
        if self._chosen is None:
            return followed
        if self._decided is None or followed.frame < self._decided:
            followed.labels = np.zeros_like(followed.labels)
            return followed
        for k in identities(followed.labels):
            birth = self.linker.births.get(k)
            if birth is not None and self._chosen & set(birth.parents):
                self._chosen.add(k)
        followed.labels = np.where(np.isin(followed.labels, list(self._chosen)), followed.labels, 0).astype(np.int32)
        return followed
