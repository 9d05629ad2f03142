"""Tracking on the page Video: start, stop and resume a run, and ask about its results."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.language import check_prompt
from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.handlers import Pending, job_progress
from lisa_micro_app.jobs import Cancelled, Job, JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.clip import Clip, PartialRun, Run, VideoState
from lisa_micro_app.state.conversation import hex_colour
from lisa_micro_app.state.current_video import check_idle, current_clip

if TYPE_CHECKING:
    from lisa_micro.video.questions.dialogue import VideoConversation
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.session import Session

NOTHING_TRACKED = "Press “Track” first; then ask about the tracks."
_RECENT_FRAMES = 12
"""Number of frames from which the remaining time is estimated."""
_DETECTIONS = "detections.part"
"""Copy of the checkpoint of a complete run, which is removed with the end of the run."""


@dataclass(frozen=True)
class Progress(Pending):
    """The progress of tracking.

    Attributes:
        done, total: number of frames.
        left: estimated time left, s; ``None`` if unknown.
        resumed: number of frames that were read from a checkpoint.
    """

    done: int = 0
    total: int = 0
    left: int | None = None
    resumed: int = 0


@dataclass
class _FrameCounter:
    """Counts the frames of a job; written by the queue's thread and read by the page."""

    total: int
    resumed: int = 0
    done: int = 0
    stopped: bool = False
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_FRAMES + 1))

    def step(self, done: int) -> None:
        self.done = done
        if done >= self.resumed:  # frames from a checkpoint take no time
            self._times.append(time.monotonic())

    def left(self) -> int | None:
        """Estimated time left, s."""
        if len(self._times) < 2:
            return None
        mean = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        waiting = time.monotonic() - self._times[-1]
        return max(0, round(mean * (self.total - self.done) - min(waiting, mean)))


@dataclass(frozen=True)
class _Request:
    """What to track: the clip, the words, notes about the words, and the folder of the results."""

    clip: Clip
    words: str
    notes: tuple[str, ...]
    folder: Path


_Tracked = tuple["Tracks", dict[int, str]]
"""Tracks, and the colours of their IDs."""


def track_video(session: Session, queue: JobQueue, words: object, limits: Limits) -> Iterator[Progress]:
    """Track what the words mean through the open video. Yields the progress; at the end the run is in the session's
    state. A checkpoint of the same request is used. A run that is stopped, or exceeds the time limit, gives the tracks
    of its first frames.

    Raises:
        InputError: no video is open, an empty request, the video is being processed, or tracking failed.
    """
    state, clip = session.video, current_clip(session)
    check_idle(session)
    text, notes = check_prompt(str(words or ""))
    request, counter = _Request(clip, text, notes, session.new_file()), _FrameCounter(len(clip))

    def task(job: Job[_Tracked]) -> _Tracked:
        try:
            return _track(state, request, counter, job, queue)
        except Cancelled:
            counter.stopped = True
            raise
        finally:
            _keep_checkpoint(state, request, counter, session.new_file(".partial"))

    job = queue.submit(task, long_seconds=limits.video_seconds)
    state.job = job
    start = time.monotonic()
    yield from _count(job, queue, Progress(text, clip.name, total=len(clip)), counter)
    if job.cancelled or counter.stopped:
        yield from _track_partial(session, queue, replace(request, folder=session.new_file()), limits)
        if not job.cancelled:
            raise AdvisedError(
                f"Tracking took longer than {limits.video_seconds:.0f} s and was stopped; its results are kept",
                Advice.RESUME,
            )
        return
    _store_run(state, request, job.outcome(), time.monotonic() - start)


def _track_partial(session: Session, queue: JobQueue, request: _Request, limits: Limits) -> Iterator[Progress]:
    """Track the frames of the checkpoint of a stopped run; without a checkpoint there are no tracks."""
    state, counter = session.video, _FrameCounter(0)

    def task(job: Job[_Tracked | None]) -> _Tracked | None:
        partial = state.partial
        if partial is None or not partial.frames or not partial.fits(request.clip, request.words):
            return None
        counter.total = partial.frames
        return _track(state, request, counter, job, queue, partial.frames)

    job = queue.submit(task, long_seconds=limits.video_seconds)
    state.job = job
    for progress in _count(job, queue, Progress(request.words, request.clip.name), counter):
        yield progress if progress.done else replace(progress, stage="Stopping after this frame")
    tracked = None if job.cancelled else job.outcome()
    if tracked is not None:
        _store_run(state, request, tracked, 0.0)
    else:
        shutil.rmtree(request.folder, ignore_errors=True)


def _track(
    state: VideoState,
    request: _Request,
    counter: _FrameCounter,
    job: Job[_Tracked] | Job[_Tracked | None],
    queue: JobQueue,
    count: int | None = None,
) -> _Tracked:
    """Track in the queue's thread, from the checkpoint if there is one for this request.

    Args:
        count: number of leading frames; ``None``: all.
    """
    from lisa_micro.video.checkpoint import CHECKPOINT_FILE
    from lisa_micro.video.track import track

    clip, folder = request.clip, request.folder
    job.step("Reading the request with the first frame")
    folder.mkdir()
    partial = state.partial if state.partial is not None and state.partial.fits(clip, request.words) else None
    if partial is not None:
        counter.resumed = partial.frames
        shutil.copyfile(partial.path, folder / CHECKPOINT_FILE)

    def progress(done: int, total: int | None) -> None:
        counter.step(done)
        job.step(f"Frame {done} of {counter.total}")
        if done == len(clip):  # the checkpoint is removed at the end of a run, but serves another frame time
            shutil.copyfile(folder / CHECKPOINT_FILE, folder / _DETECTIONS)
        queue.run_short_jobs()

    frames = clip.stream(count)
    tracks = track(queue.assistant, frames, request.words, out=folder, resume=partial is not None, progress=progress)
    job.step("Measuring the growth of necks")
    _ = tracks.findings.growth  # computed here and cached, because it takes a while
    return tracks, _track_colours(tracks)


def _track_colours(tracks: Tracks) -> dict[int, str]:
    """The colour ``#rrggbb`` of each track ID, the same as in the movie of the command line. Reads only frames in which
    a track starts."""
    from lisa_micro.viz.movie import StableColours
    from lisa_micro.viz.overlay import PALETTE

    colours = StableColours()
    for t in sorted({entry["first_frame"] for entry in tracks.lineage.values()}):
        if t < len(tracks):
            colours.table(tracks.labels[t])
    return {name: hex_colour(PALETTE[k]) for name, k in colours.chosen.items()}


def _keep_checkpoint(state: VideoState, request: _Request, counter: _FrameCounter, path: Path) -> None:
    """Move the checkpoint of a run that has ended to ``path``, in place of the last one. Runs in the queue's thread; a
    run without results leaves no other file."""
    from lisa_micro.video.checkpoint import CHECKPOINT_FILE

    clip, folder = request.clip, request.folder
    source = next((folder / name for name in (_DETECTIONS, CHECKPOINT_FILE) if (folder / name).is_file()), None)
    frames, old = max(counter.resumed, counter.done), state.partial
    if source is not None and frames and state.clip is not None and state.clip.key == clip.key:
        os.replace(source, path)
        state.partial = PartialRun(path, clip, request.words, frames)
        if old is not None:
            old.path.unlink(missing_ok=True)
    if not (folder / "answer.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)


def _store_run(state: VideoState, request: _Request, tracked: _Tracked, seconds: float) -> None:
    """Replace the last run by a new one."""
    clip, folder = request.clip, request.folder
    if state.clip is None or state.clip.key != clip.key:  # another video was opened meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        return
    tracks, colours = tracked
    (folder / _DETECTIONS).unlink(missing_ok=True)
    tracks.notes = tuple(dict.fromkeys((*request.notes, *tracks.notes)))
    state.forget_run()
    whole = len(tracks) == len(clip)
    state.run = Run(f"r-{folder.name}", clip, request.words, folder, tracks, whole, seconds, colours)


def _count(
    job: Job[_Tracked] | Job[_Tracked | None], queue: JobQueue, start: Progress, counter: _FrameCounter
) -> Iterator[Progress]:
    """The progress of a job with the number of its frames."""
    for progress in job_progress(job, queue, start):
        yield replace(progress, done=counter.done, total=counter.total, left=counter.left(), resumed=counter.resumed)


def unfinished(state: VideoState) -> PartialRun | None:
    """The checkpoint of a run that can be resumed, or ``None``."""
    partial, clip = state.partial, state.clip
    if partial is None or clip is None or partial.frames >= len(clip) or not partial.fits(clip, partial.words):
        return None
    return partial


def resume(session: Session, queue: JobQueue, limits: Limits) -> Iterator[Progress]:
    """Resume the run that was stopped; as :func:`track_video`.

    Raises:
        InputError: there is no run to resume, or as there.
    """
    partial = unfinished(session.video)
    if partial is None:
        raise InputError("There is no run to resume; press “Track”.")
    yield from track_video(session, queue, partial.words, limits)


def stop(session: Session) -> bool:
    """Cancel the current job of the video; return whether there was one."""
    return session.video.cancel()


def ask_video(session: Session, queue: JobQueue, question: object, limits: Limits) -> Iterator[Pending]:
    """Ask about the tracks. Yields the progress; at the end the answer is in the session's video conversation. A
    cancelled question leaves no trace.

    Raises:
        InputError: there are no tracks, an empty question, the video is being processed, or the model cannot answer.
    """
    state, clip = session.video, current_clip(session)
    run = state.run
    if run is None:
        raise InputError(NOTHING_TRACKED)
    check_idle(session)
    text, _ = check_prompt(str(question or ""))
    if state.conversation is not None and len(state.conversation.answers) >= limits.questions:
        raise InputError(f"The limit of {limits.questions} questions is reached; track the video again to start anew.")

    def task(job: Job[VideoConversation]) -> VideoConversation:
        job.step("Reading your question")
        conversation = state.conversation or run.tracks.chat(queue.assistant, run.clip.stream(len(run.tracks)))
        before = list(conversation.answers)
        conversation.ask(text)
        if job.cancelled:
            conversation.answers[:] = before
        return conversation

    job = queue.submit(task)
    state.job = job
    yield from job_progress(job, queue, Pending(text, clip.name))
    if not job.cancelled:
        conversation = job.outcome()
        if state.run is run:
            state.conversation = conversation
