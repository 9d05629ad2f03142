"""State of the page Video: the open clip, its tracks, partial runs and questions.

:mod:`lisa_micro_app.state.video_files` opens clips; :mod:`lisa_micro_app.state.video_run` tracks them.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.io.video import Facts, VideoStream, read_video
from lisa_micro_app.state.frames import FrameStore

if TYPE_CHECKING:
    from lisa_micro.video.questions.dialogue import VideoConversation
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.jobs import Job

NO_VIDEO = "Open a video first: drop a file on the left, or click a sample."


@dataclass(frozen=True)
class Clip:
    """An open video.

    Attributes:
        key: unique name within the session.
        name: the user's name of the file, for display; never used as a path.
        path: of the file, or of the folder with the frames.
        upload: the file that the user sent or that was simulated.
        facts: metadata of the file, with the number of frames that could be read.
        frames: pictures of the frames.
        given_nm, given_s: pixel size and frame time as typed by the user, or ``None``.
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
        """Pixel size as typed, else that of the file."""
        return self.facts.pixel_size_nm if self.given_nm is None else self.given_nm

    @property
    def frame_time_s(self) -> float | None:
        """Frame time as typed, else that of the file."""
        return self.facts.frame_time_s if self.given_s is None else self.given_s

    def stream(self, count: int | None = None) -> VideoStream:
        """The frames as a stream with the user's name of the file.

        Args:
            count: number of leading frames; ``None``: all.
        """
        from itertools import islice

        number = len(self) if count is None else min(count, len(self))
        facts = replace(self.facts, length=number)
        video = VideoStream(self.name, facts, lambda: islice(iter(read_video(self.path)), number))
        return read_video(video, self.given_nm, self.given_s)


@dataclass(frozen=True)
class Run:
    """The results of tracking a clip, or its first frames.

    Attributes:
        key: unique name within the session.
        clip: the clip with its pixel size and frame time at that time.
        words: the request.
        folder: of the results.
        tracks: the tracks.
        whole: whether all frames were tracked.
        seconds: time that it took.
        colours: colour ``#rrggbb`` of each track ID.
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
class PartialRun:
    """The checkpoint of a run: detections in its first frames, from which it can be resumed.

    Attributes:
        path: of the checkpoint file.
        clip: that was tracked.
        words: the request.
        frames: number of frames with detections.
    """

    path: Path
    clip: Clip
    words: str
    frames: int

    def fits(self, clip: Clip, words: str) -> bool:
        """Whether the detections are valid for a request: same words, same clip, same pixel size. The frame time does
        not affect detections."""
        return (self.clip.key, self.words, self.clip.pixel_size_nm) == (clip.key, words, clip.pixel_size_nm)


@dataclass
class VideoState:
    """State of the page Video.

    Attributes:
        clip: the open video.
        run: its tracks.
        partial: the last checkpoint.
        job: the current or last job.
        conversation: questions about :attr:`run` and their answers.
        archive: the packed results.
        links: links to result files that programs download.
        samples: files of simulated samples, by name.
        opened: number of videos opened so far.
        packing: held while the archive is written.
    """

    clip: Clip | None = None
    run: Run | None = None
    partial: PartialRun | None = None
    job: Job[Any] | None = None
    conversation: VideoConversation | None = None
    archive: Path | None = None
    links: list[Path] = field(default_factory=list)
    samples: dict[str, Path] = field(default_factory=dict)
    opened: int = 0
    packing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs."""
        return self.job is not None and not self.job.finished

    def cancel(self) -> bool:
        """Cancel the current job; return whether there was one."""
        if self.job is None or self.job.finished:
            return False
        self.job.cancel()
        return True

    def close(self) -> None:
        """Cancel the job and drop all data; the session removes the files."""
        self.cancel()
        self.clip = self.run = self.partial = self.conversation = None

    def forget_run(self) -> None:
        """Remove the results and the questions about them."""
        if self.run is not None:
            shutil.rmtree(self.run.folder, ignore_errors=True)
        if self.archive is not None:
            self.archive.unlink(missing_ok=True)
        remove(*self.links)
        self.links = []
        self.run = self.conversation = self.archive = None

    def forget(self) -> None:
        """Remove the clip and its results; files of samples are kept."""
        self.forget_run()
        if self.partial is not None:
            self.partial.path.unlink(missing_ok=True)
        if self.clip is not None:
            self.clip.frames.path.unlink(missing_ok=True)
            if self.clip.upload not in self.samples.values():
                remove(self.clip.upload, self.clip.path)
        self.clip = self.partial = None


def remove(*paths: Path) -> None:
    """Remove files and folders that exist."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
