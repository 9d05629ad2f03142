"""What the app keeps about a session's video: the clip, its pixel size and frame time, which can be changed, and what
came of following it. How a clip is opened stands in :mod:`lisa_micro_app.state.video_files`, what is done with it in
:mod:`lisa_micro_app.state.video_run`."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.io.video import Facts, VideoStream, read_video
from lisa_micro_app.state.frames import FrameStore

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.jobs import Ticket

NO_VIDEO = "Open a video first: drop a file on the left, or click a sample."


@dataclass(frozen=True)
class Clip:
    """A video that is open.

    Attributes:
        key: names it within the session.
        name: as the user calls it; to be shown, never to be opened.
        path: of its file, or of the folder that its frames lie in.
        upload: the file that the user sent, or that was simulated.
        facts: what the file says, with the number of frames that could be read.
        frames: their pictures.
        given_nm, given_s: pixel size and frame time that the user typed, or None.
    """

    key: str
    name: str
    path: Path
    upload: Path
    facts: Facts
    frames: FrameStore
    given_nm: float | None = None
    given_s: float | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def pixel_size_nm(self) -> float | None:
        """As typed, else as the file says."""
        return self.facts.pixel_size_nm if self.given_nm is None else self.given_nm

    @property
    def frame_time_s(self) -> float | None:
        """As typed, else as the file says."""
        return self.facts.frame_time_s if self.given_s is None else self.given_s

    def stream(self, count: int | None = None) -> VideoStream:
        """The frames, under the user's own name for them.

        Args:
            count: only so many.
        """
        from itertools import islice

        number = len(self) if count is None else min(count, len(self))
        facts = replace(self.facts, length=number)
        video = VideoStream(self.name, facts, lambda: islice(iter(read_video(self.path)), number))
        return read_video(video, self.given_nm, self.given_s)


@dataclass(frozen=True)
class Run:
    """A clip that was followed, or the frames of it that there was time for.

    Attributes:
        key: names it within the session.
        clip: as it was known then.
        folder: of the results.
        whole: whether all frames were followed.
        colours: identity -> ``#rrggbb``.
    """

    key: str
    clip: Clip
    words: str
    folder: Path
    tracks: Tracks
    whole: bool
    seconds: float
    colours: dict[int, str]


@dataclass(frozen=True)
class Begun:
    """What was found in frames so far, kept so that it need not be found again.

    Attributes:
        path: of the file.
        clip, words: what was asked about.
        frames: how many.
    """

    path: Path
    clip: Clip
    words: str
    frames: int

    def fits(self, clip: Clip, words: str) -> bool:
        """Whether it holds for a request: the same words about the same pixels. The frame time makes no difference to
        what is in a frame."""
        return (self.clip.key, self.words, self.clip.pixel_size_nm) == (clip.key, words, clip.pixel_size_nm)


@dataclass
class VideoState:
    """All about the video of a session.

    Attributes:
        begun: see there.
        ticket: of what is being done.
        conversation: about :attr:`run`, in words.
        archive: the results, packed.
        fetched: links to files of :attr:`run`, for a program to fetch.
    """

    clip: Clip | None = None
    run: Run | None = None
    begun: Begun | None = None
    ticket: Ticket | None = None
    conversation: Any = None
    archive: Path | None = None
    fetched: list[Path] = field(default_factory=list)
    samples: dict[str, Path] = field(default_factory=dict)
    counted: int = 0
    packing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return self.ticket is not None and not self.ticket.finished

    def cancel(self) -> bool:
        """Call off what is being done; whether there was anything."""
        if not self.busy:
            return False
        assert self.ticket is not None
        self.ticket.cancel()
        return True

    def close(self) -> None:
        """The session ends; its folder is removed by it."""
        self.cancel()
        self.clip = self.run = self.begun = self.conversation = None

    def forget_run(self) -> None:
        """Drop results and what was said about them."""
        if self.run is not None:
            shutil.rmtree(self.run.folder, ignore_errors=True)
        if self.archive is not None:
            self.archive.unlink(missing_ok=True)
        remove(*self.fetched)
        self.fetched = []
        self.run = self.conversation = self.archive = None

    def forget(self) -> None:
        """Drop the clip and all that came of it; samples stay."""
        self.forget_run()
        if self.begun is not None:
            self.begun.path.unlink(missing_ok=True)
        if self.clip is not None:
            self.clip.frames.path.unlink(missing_ok=True)
            if self.clip.upload not in self.samples.values():
                remove(self.clip.upload, self.clip.path)
        self.clip = self.begun = None


def remove(*paths: Path) -> None:
    """Files and folders, where they are."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
