"""What is done with a video on the page, without the page: following it, stopping and going on, asking about it, and
packing what came of it."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.language import check_prompt
from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.exports import HEAD, MOST_INPUT_BYTES, plain_name, zip_folder
from lisa_micro_app.handlers import Pending, follow
from lisa_micro_app.jobs import Cancelled, Desk, Ticket
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.clip import NO_VIDEO, Begun, Clip, Run, VideoState
from lisa_micro_app.state.current_video import check_idle
from lisa_micro_app.views.video_frames import identity_colours

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.session import Session

NOTHING_FOLLOWED = "Follow something in the video first; then it can be asked about."
_RECENT = 12
"""Frames whose time tells how long the rest will take."""
_FOUND = "found.part"


@dataclass(frozen=True)
class Progress(Pending):
    """As :class:`lisa_micro_app.handlers.Pending`, of a video: frames done, frames in all, and s left, None where
    not known yet.

    ``kept`` frames of those done had been found before.
    """

    done: int = 0
    total: int = 0
    left: int | None = None
    kept: int = 0


@dataclass
class _Watch:
    """How far a job is; written by the desk, read by the page."""

    total: int
    kept: int = 0
    done: int = 0
    stopped: bool = False
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT + 1))

    def step(self, done: int) -> None:
        self.done = done
        if done >= self.kept:  # frames found before take no time and tell nothing
            self._times.append(time.monotonic())

    def left(self) -> int | None:
        """s until the end."""
        if len(self._times) < 2:
            return None
        mean = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        waiting = time.monotonic() - self._times[-1]
        return max(0, round(mean * (self.total - self.done) - min(waiting, mean)))


def follow_video(session: Session, desk: Desk, words: object, limits: Limits) -> Iterator[Progress]:
    """Follow what the words mean through the video that is open: yields how far it is; the run is in what the session
    keeps at the end. Where the same words about it were begun before, what was found then is used. A run that is called
    off, or takes too long, gives the frames that there was time for.

    Raises:
        InputError: no video, no words, something is still being done, or it cannot be done.
    """
    mine, clip = session.video, _clip(session)
    check_idle(session)
    text, notes = check_prompt(str(words or ""))
    watch, folder = _Watch(len(clip)), session.new_file()

    def job(ticket: Ticket) -> tuple[Tracks, dict[int, str]]:
        try:
            return _track(mine, clip, text, folder, watch, ticket, desk)
        except Cancelled:
            watch.stopped = True
            raise
        finally:
            _keep_begun(mine, clip, text, folder, watch, session.new_file(".begun"))

    mine.ticket = ticket = desk.submit(job, long_seconds=limits.video_seconds)
    start = time.monotonic()
    yield from _progress(ticket, desk, Progress(text, clip.name, total=len(clip)), watch)
    if ticket.cancelled or watch.stopped:
        yield from _shorten(session, desk, clip, text, notes, limits)
        if not ticket.cancelled:
            raise AdvisedError(
                f"Tracking took longer than {limits.video_seconds:.0f} s and was stopped; its results are kept",
                Advice.RESUME,
            )
        return
    if ticket.error is not None:
        raise ticket.error
    _take(mine, clip, text, notes, folder, ticket.result, time.monotonic() - start)


def _shorten(
    session: Session, desk: Desk, clip: Clip, text: str, notes: tuple[str, ...], limits: Limits
) -> Iterator[Progress]:
    """Make a run of the frames that were looked at before it was called off; none where there was no time for any."""
    mine, folder = session.video, session.new_file()
    watch = _Watch(0)

    def job(ticket: Ticket) -> tuple[Tracks, dict[int, str]] | None:
        begun = mine.begun
        if begun is None or not begun.frames or not begun.fits(clip, text):
            return None
        watch.total = begun.frames
        return _track(mine, clip, text, folder, watch, ticket, desk, begun.frames)

    mine.ticket = ticket = desk.submit(job, long_seconds=limits.video_seconds)
    for progress in _progress(ticket, desk, Progress(text, clip.name), watch):
        yield progress if progress.done else replace(progress, stage="Stopping after this frame")
    if ticket.error is not None:
        raise ticket.error
    if not ticket.cancelled and ticket.result is not None:
        _take(mine, clip, text, notes, folder, ticket.result, 0.0)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _track(
    mine: VideoState,
    clip: Clip,
    text: str,
    folder: Path,
    watch: _Watch,
    ticket: Ticket,
    desk: Desk,
    count: int | None = None,
) -> tuple[Tracks, dict[int, str]]:
    """For the desk: follow, from what was found before where there is such. Tracks and colours of the identities."""
    from lisa_micro.video.checkpoint import CHECKPOINT_FILE
    from lisa_micro.video.track import track

    ticket.step("Reading your words with the first frame")
    folder.mkdir()
    begun = mine.begun if mine.begun is not None and mine.begun.fits(clip, text) else None
    if begun is not None:
        watch.kept = begun.frames
        shutil.copyfile(begun.path, folder / CHECKPOINT_FILE)

    def progress(done: int, total: int | None) -> None:
        watch.step(done)
        ticket.step(f"Frame {done} of {watch.total}")
        if done == len(clip):  # what was found goes with the end of the run, but serves for another frame time
            shutil.copyfile(folder / CHECKPOINT_FILE, folder / _FOUND)
        desk.let_others()

    tracks = track(desk.opened, clip.stream(count), text, out=folder, resume=begun is not None, progress=progress)
    ticket.step("Measuring the growth of necks")
    _ = tracks.findings.growth  # kept there; it takes a while
    return tracks, identity_colours(tracks)


def _keep_begun(mine: VideoState, clip: Clip, text: str, folder: Path, watch: _Watch, path: Path) -> None:
    """For the desk, when a run has ended in whatever way: keep what was found in its frames at ``path``, in place of
    what was kept before. A run without a result leaves nothing else."""
    from lisa_micro.video.checkpoint import CHECKPOINT_FILE

    source = next((folder / name for name in (_FOUND, CHECKPOINT_FILE) if (folder / name).is_file()), None)
    frames, old = max(watch.kept, watch.done), mine.begun
    if source is not None and frames and mine.clip is not None and mine.clip.key == clip.key:
        os.replace(source, path)
        mine.begun = Begun(path, clip, text, frames)
        if old is not None:
            old.path.unlink(missing_ok=True)
    if not (folder / "answer.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)


def _take(
    mine: VideoState,
    clip: Clip,
    text: str,
    notes: tuple[str, ...],
    folder: Path,
    result: tuple[Tracks, dict[int, str]],
    seconds: float,
) -> None:
    """Put a run in place of the last one."""
    if mine.clip is None or mine.clip.key != clip.key:  # another video was opened meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        return
    tracks, colours = result
    (folder / _FOUND).unlink(missing_ok=True)
    tracks.notes = tuple(dict.fromkeys((*notes, *tracks.notes)))
    mine.forget_run()
    whole = len(tracks) == len(clip)
    mine.run = Run(f"r-{folder.name}", clip, text, folder, tracks, whole, seconds, colours)


def _progress(ticket: Ticket, desk: Desk, first: Progress, watch: _Watch) -> Iterator[Progress]:
    for pending in follow(ticket, desk, first):
        assert isinstance(pending, Progress)
        yield replace(pending, done=watch.done, total=watch.total, left=watch.left(), kept=watch.kept)


def unfinished(mine: VideoState) -> Begun | None:
    """What was begun and can be gone on with."""
    begun, clip = mine.begun, mine.clip
    if begun is None or clip is None or begun.frames >= len(clip) or not begun.fits(clip, begun.words):
        return None
    return begun


def go_on(session: Session, desk: Desk, limits: Limits) -> Iterator[Progress]:
    """Go on with the run that was stopped; as :func:`follow_video`.

    Raises:
        InputError: there is none, and as there.
    """
    begun = unfinished(session.video)
    if begun is None:
        raise InputError("There is nothing to go on with; press “Follow”.")
    yield from follow_video(session, desk, begun.words, limits)


def stop(session: Session) -> bool:
    """Call off what is being done with the video; whether there was anything."""
    return session.video.cancel()


def _clip(session: Session) -> Clip:
    clip = session.video.clip
    if clip is None:
        raise InputError(NO_VIDEO)
    return clip


def ask_video(session: Session, desk: Desk, question: object, limits: Limits) -> Iterator[Pending]:
    """Ask about what was followed: yields where the question stands; the answer is in the conversation that the session
    keeps, at the end. A question that is called off leaves no trace.

    Raises:
        InputError: nothing was followed, nothing asked, something is still being done, or it cannot be answered.
    """
    mine = session.video
    clip, run = _clip(session), mine.run
    if run is None:
        raise InputError(NOTHING_FOLLOWED)
    check_idle(session)
    text, _ = check_prompt(str(question or ""))
    if mine.conversation is not None and len(mine.conversation.answers) >= limits.questions:
        raise InputError(f"A video can be asked {limits.questions} questions; follow it again to begin anew.")

    def job(ticket: Ticket) -> Any:
        ticket.step("Reading your question")
        conversation = mine.conversation or run.tracks.chat(desk.opened, run.clip.stream(len(run.tracks)))
        before = list(conversation.answers)
        conversation.ask(text)
        if ticket.cancelled:
            conversation.answers[:] = before
        return conversation

    mine.ticket = ticket = desk.submit(job)
    yield from follow(ticket, desk, Pending(text, clip.name))
    if ticket.error is not None:
        raise ticket.error
    if not ticket.cancelled and mine.run is run:
        mine.conversation = ticket.result


def command(run: Run, video: str, preset: str) -> str:
    """The command that repeats a run.

    Args:
        video: path of the video there.
        preset: of the assistant.
    """
    options = "" if preset == "micro" else f" --preset {shlex.quote(preset)}"
    if run.clip.given_nm is not None:
        options += f" --pixel-size {run.clip.given_nm:.12g}"
    if run.clip.given_s is not None:
        options += f" --frame-time {run.clip.given_s:.12g}"
    return f"lisa-micro track --out again --force{options} -- {shlex.quote(video)} {shlex.quote(run.words)}"


def pack_video(session: Session, preset: str) -> Path:
    """All that ``lisa-micro track`` writes about the run, the video, and ``repeat.sh``, as one archive in the session's
    folder. Plots and movie are drawn when this is first asked for.

    Args:
        preset: of the assistant.

    Raises:
        InputError: nothing was followed, or the archive cannot be written.
    """
    mine = session.video
    with mine.packing:
        run = mine.run
        if run is None:
            raise InputError("There is nothing to download yet; follow something first.")
        if mine.archive is not None and mine.archive.is_file():
            return mine.archive
        work = session.new_file()
        try:
            path = _pack(run, work, session.new_file(".zip"), preset)
        except OSError as error:  # such as a new run that took the place of this one
            raise InputError(f"The download cannot be written: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if mine.run is not run:
            path.unlink(missing_ok=True)
            raise InputError("The video was followed again meanwhile; download once more.")
        mine.archive = path
        return path


def _pack(run: Run, work: Path, path: Path, preset: str) -> Path:
    from lisa_micro.video.analysis import write_report

    name = plain_name(run.clip.name)
    video = Path(name).stem if run.clip.path.is_dir() else name
    _, missing = write_report(run.tracks.findings, run.folder, run.clip.stream(len(run.tracks)))
    # linked, not copied: labels and movie may be large
    shutil.copytree(run.folder, work / "results", copy_function=os.link)
    script = [HEAD, *(f"# {note}" for note in missing)]
    source = run.clip.path
    if sum(file.stat().st_size for file in (source.iterdir() if source.is_dir() else [source])) > MOST_INPUT_BYTES:
        script.append(f"# input/{video} is not in the archive: put your own file there")
    elif source.is_dir():
        shutil.copytree(source, work / "input" / video, copy_function=os.link)
    else:
        (work / "input").mkdir()
        os.link(source, work / "input" / video)
    if not run.whole:
        script.append(f"# This run was stopped after {len(run.tracks)} of {len(run.clip)} frames; this follows all.")
    script.append(command(run, f"input/{video}", preset) + "\n")
    (work / "repeat.sh").write_text("\n".join(script), encoding="utf-8")
    return zip_folder(work, path)
