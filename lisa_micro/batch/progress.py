"""Progress of a run: counts, speed and time left, for a callback and for a file that others can look at."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lisa_micro.io.files import json_text

PROGRESS_FILE = "progress.json"
EVERY_SECONDS = 1.0
"""How often the file is written."""
_RECENT = 200  # outcomes over which the speed is taken


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done, failed: numbers of images, those of earlier runs in the same folder included.
        total: number of images.
        earlier: how many of them earlier runs had done.
        images_per_second: over the last images of this run; 0 before the first.
        seconds_left: estimate; ``None`` while it is not known.
    """

    done: int
    failed: int
    total: int
    earlier: int
    images_per_second: float
    seconds_left: float | None

    @property
    def text(self) -> str:
        """One line for people."""
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done + self.failed} of {self.total} images{failed}{left}"


def duration(seconds: float) -> str:
    """A duration for people, such as ``3 min`` or ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Tracker:
    """Counts outcomes and tells about them.

    Args:
        folder: of the run; ``progress.json`` is written there.
        total: number of images.
        told: called after each image.
    """

    def __init__(self, folder: Path, total: int, told: Callable[[Progress], None] | None = None):
        self._path, self._total, self._told = folder / PROGRESS_FILE, total, told
        self._done = self._failed = self._earlier = 0
        self._times: deque[float] = deque([time.monotonic()], maxlen=_RECENT)
        self._written = 0.0

    @property
    def now(self) -> Progress:
        """How far the run is."""
        span = self._times[-1] - self._times[0]
        speed = (len(self._times) - 1) / span if span > 0 else 0.0
        rest = self._total - self._done - self._failed
        return Progress(self._done, self._failed, self._total, self._earlier, speed, rest / speed if speed else None)

    def found(self, failed: bool) -> None:
        """Count an image whose results were there already."""
        self._earlier += 1
        self._count(failed)

    def finished(self, failed: bool) -> None:
        """Count an image that was done now."""
        self._times.append(time.monotonic())
        self._count(failed)
        self._tell()

    def close(self) -> Progress:
        """Write the file a last time; return how far the run came."""
        self._write()
        return self.now

    def _count(self, failed: bool) -> None:
        if failed:
            self._failed += 1
        else:
            self._done += 1

    def _tell(self) -> None:
        if self._told is not None:
            self._told(self.now)
        if time.monotonic() - self._written > EVERY_SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        now = self.now
        record = {
            "done": now.done,
            "failed": now.failed,
            "total": now.total,
            "done_by_earlier_runs": now.earlier,
            "images_per_second": now.images_per_second,
            "seconds_left": now.seconds_left,
            "updated": time.time(),
        }
        staged = self._path.with_name(f".{PROGRESS_FILE}.part")
        try:
            staged.write_text(json_text(record) + "\n", encoding="utf-8")
            staged.replace(self._path)
        except OSError:  # a full disk is told by the results, which matter
            staged.unlink(missing_ok=True)
