"""A video and a request in; identities, tracks, events and lineage out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.conversation import Clock
from lisa_micro.io import LabelStack, LabelStackWriter, check_output
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.models.trackers.base import Tracker
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.checkpoint import JOURNAL, Journal
from lisa_micro.video.denoise import averaged
from lisa_micro.video.detect import Asking, Boxed, Carried, Look, Looker, Request
from lisa_micro.video.drift import Drift
from lisa_micro.video.events import EventLog, event_table
from lisa_micro.video.link import GAP, Followed, Following
from lisa_micro.video.tracks import TRACK_FILES, PackedLabels, Tables, Tracks

Progress = Callable[[int, "int | None"], None]
"""(frames done, frames in all or ``None`` where the file does not say)."""
_DRAFT = "labels.part.tif"
AVERAGE, MOST_AVERAGED = 1, 10


def track(
    assistant: Any,
    video: Any,
    words: str = "",
    *,
    boxes: object = None,
    labels: np.ndarray | None = None,
    tracker: str | Tracker | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    drift: bool = False,
    average: int | None = None,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Tracks:
    """Follows every particle that a request means through a video.

    The words are read once, with the first frame; a constraint in them ("the three largest") says which of the
    particles of that frame are followed, with all that becomes of them. Where the first frame shows nothing of the
    kind, that happens in the first frame that does, and a note says so.

    Memory does not grow with the length of the video but for the tables and, without ``out``, some kilobytes of labels
    a frame.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`; None where ``labels`` are given, which need none.
        video: as for :func:`lisa_micro.read_video`.
        words: the request.
        boxes: ``(N, 4)`` XYXY px of the first frame, in place of words: the particles in them are followed.
        labels: ``(H, W)`` integers, identities in the first frame, in place of words: they are carried on by the
            tracker's network alone, whatever they are of. Where two coalesce, both go on until one is lost.
        tracker: a name that :func:`lisa_micro.models.trackers.build_tracker` knows, or a tracker. None: ``"overlap"``,
            with ``labels`` ``"deaot-t"``.
        checkpoint: weights of the tracker, where it has any and they do not come with the package.
        drift: measure the drift of the sample, and tell positions without it too.
        average: outlines are drawn on the mean of each frame with so many before and after it, brought into register,
            which has less noise (see :func:`lisa_micro.video.denoise.averaged`); 0 takes each frame alone. None:
            1, or 0 for an assistant of another kind, which gets the frames as they are.
        pixel_size_nm, frame_time_s: go before what the file says.
        out: folder that gets all files (see :meth:`lisa_micro.video.tracks.Tracks.save`) and, while it runs, what
            is needed to go on when it is killed.
        resume: go on with the run that was begun in ``out``; a complete one is read back. The result is the same as
            without the interruption.
        force: replace results that are in ``out``.
        progress: told after each frame.

    Raises:
        InputError: not one of words, boxes and labels; ``average`` is not between 0 and 10; a video, boxes or a tracker
            that cannot be used; ``out`` holds other results; one sentence each.
    """
    if bool(words.strip()) + (boxes is not None) + (labels is not None) != 1:
        raise InputError(
            "Say in words what to follow, or give boxes or labels of it in the first frame: one of the three."
        )
    stream = read_video(video, pixel_size_nm, frame_time_s)
    device = str(getattr(assistant, "device", "auto"))
    chosen = _tracker(tracker or ("overlap" if labels is None else "deaot-t"), checkpoint, device)
    if labels is not None:
        if chosen is None:
            raise InputError("The tracker 'overlap' cannot carry labels on; take deaot-t, or another DeAOT.")
        look: Any = Carried(chosen, labels, stream.shape)
    elif boxes is not None:
        look = Boxed(assistant, boxes, stream.shape)
    elif isinstance(assistant, Assistant):
        look = Request(assistant, words)
    else:
        look = Asking(assistant, words)
    asked = {
        "prompt": words,
        "boxes_px": None if boxes is None else np.asarray(look.boxes).tolist(),
        "preset": getattr(assistant, "preset", ""),
        "weights_sha256": getattr(assistant, "weights_sha256", None),
    }
    if labels is not None:
        digest = hashlib.sha256(np.ascontiguousarray(look.labels).tobytes()).hexdigest()
        asked |= {"labels_sha256": digest, "carried_by": f"{chosen.name} {chosen.weights_sha256}"}
    if average is None:
        average = AVERAGE if isinstance(assistant, Assistant) or labels is not None else 0
    return follow(
        stream,
        look,
        tracker=None if labels is not None else chosen,
        drift=drift,
        average=average,
        out=out,
        resume=resume,
        force=force,
        progress=progress,
        asked=asked,
    )


def _tracker(tracker: str | Tracker, checkpoint: str | os.PathLike[str] | None, device: str) -> Tracker | None:
    if not isinstance(tracker, str):
        return None if getattr(tracker, "name", "") == "overlap" else tracker
    if tracker == "overlap":
        if checkpoint is not None:
            raise InputError("The tracker 'overlap' has no weights; leave the checkpoint out.")
        return None
    from lisa_micro.models.trackers import BUILDERS, build_tracker

    if tracker not in BUILDERS:
        raise InputError(f"There is no tracker {tracker!r}; choose one of overlap, {', '.join(BUILDERS)}.")
    return build_tracker(tracker, None if checkpoint is None else Path(checkpoint), device)


def follow(
    video: VideoStream,
    look: Looker,
    *,
    tracker: Tracker | None = None,
    drift: bool = False,
    average: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    asked: dict[str, Any] | None = None,
) -> Tracks:
    """:func:`track` with anything that finds the instances of a frame.

    Args:
        video: the video.
        look: frame and its number -> what is in it. It may have ``concept`` (what is followed) and ``notes``; one that
            depends on earlier frames also ``memory()``, a dictionary of plain values, and ``recall(memory)``.
        tracker: ``None`` for overlap.
        asked: what the segmentation depends on, of plain JSON values; goes into the record.
        average: as for :func:`track`, but 0 where it is not given: ``look`` may know its frames by their number.
        drift, out, resume, force, progress: as for :func:`track`.

    Raises:
        InputError: as :func:`track`.
    """
    if not 0 <= average <= MOST_AVERAGED:
        raise InputError(f"A frame is averaged with 0 to {MOST_AVERAGED} before and after it, not with {average}.")
    asked = {**(asked or {}), "average": average}
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise InputError("A run is gone on with in its folder of results; give out.")
    journal = None
    if folder is not None:
        if check_folder(folder, resume, force):
            return _complete(folder, asked)
        facts = {"source": video.source, "shape": list(video.shape), "pixel_size_nm": video.pixel_size_nm}
        journal = Journal(folder, {**asked, **facts}, resume)
    try:
        return _Run(video, look, tracker, drift, average, folder, journal, progress, asked).result(force or resume)
    finally:
        if journal is not None:
            journal.close()
            (journal.path.parent / _DRAFT).unlink(missing_ok=True)


def check_folder(folder: str | os.PathLike[str], resume: bool, force: bool) -> bool:
    """Sees to it, before anything long begins, that a run may use a folder, and makes it.

    Returns:
        whether it is complete already and only to be read back.

    Raises:
        InputError: it cannot be written, or holds results or a run that was begun, and neither ``resume`` nor ``force``
            says what to do with it.
    """
    folder = Path(folder)
    begun = (folder / JOURNAL).is_file()
    if resume and not force and not begun and (folder / "answer.json").is_file():
        return True
    if begun and not (resume or force):
        raise InputError(
            f"{folder} holds a run that was not completed; go on with --resume, or begin anew with --force."
        )
    check_output(folder, force or (resume and begun), names=TRACK_FILES)
    return False


def _complete(folder: Path, asked: dict[str, Any]) -> Tracks:
    tracks = Tracks.load(folder)
    if any(tracks.record.get(key) != value for key, value in asked.items()):
        raise InputError(f"{folder} holds the results of another request; take another folder, or use --force.")
    return tracks


@dataclass
class _Run:
    video: VideoStream
    look: Any
    tracker: Tracker | None
    with_drift: bool
    average: int
    folder: Path | None
    journal: Journal | None
    progress: Progress | None
    asked: dict[str, Any]

    def result(self, force: bool) -> Tracks:
        clock = Clock()
        following = Following(self.tracker)
        drift = Drift() if self.with_drift else None
        self.path: list[np.ndarray] = []
        self.first_found: int | None = None
        count = kept = 0
        writer = (
            None
            if self.folder is None
            else LabelStackWriter(self.folder / _DRAFT, self.video.pixel_size_nm, self.video.frame_time_s)
        )
        self.store = writer or PackedLabels()
        # whether contacts mean anything, is known when the first instances are
        self.tables: Tables | None = None
        self.log: EventLog | None = None
        for image, clear in averaged(self.video.micrographs(), self.average):
            clock.lap("average")
            found, old = self._look(clear, count)
            kept += old
            clock.lap("segment")
            if self.first_found is None and found.labels.any():
                self.first_found = count
            shift = None
            if drift is not None:
                self.path.append(drift.step(image.pixels))
                shift = tuple((self.path[-1] - self.path[-2]).tolist()) if count else None
                clock.lap("drift")
            ready = list(following.step(image, found, shift))
            clock.lap("track")
            for followed in ready:
                self._measure(followed, following)
            clock.lap("measure")
            count += 1
            if self.progress is not None:
                self.progress(count, self.video.length)
        for followed in following.finish():
            self._measure(followed, following)
        clock.lap("measure")
        if not count:
            raise InputError(f"{self.video.source} holds no frame.")
        assert self.tables is not None and self.log is not None
        self.log.finish(count - 1)
        if writer is not None:
            writer.close()
        tracks, necks = self.tables.tables()
        size, interval = self.video.pixel_size_nm, self.video.frame_time_s
        notes = self._notes(following, count)
        result = Tracks(
            tracks,
            event_table(self.log.events, interval, size),
            necks,
            self.log.lineage(),
            self.store if writer is None else LabelStack(writer.path),
            self.video.shape,
            size,
            interval,
            self.concept,
            np.array(self.path) if drift is not None else None,
            notes,
        )
        result.record = self._record(result, count, kept, clock.seconds)
        if self.folder is not None:
            (self.folder / _DRAFT).replace(self.folder / "labels.tif")
            result.labels = LabelStack(self.folder / "labels.tif")
            result.save(self.folder, force=True)
            if self.journal is not None:
                self.journal.remove()
        return result

    @property
    def concept(self) -> str:
        return getattr(self.look, "concept", "particle")

    def _look(self, image: Micrograph, number: int) -> tuple[Look, bool]:
        """What is in a frame, and whether an earlier run had found that."""
        notes = getattr(self.look, "notes", [])
        known_before = self.journal is not None and number < self.journal.kept
        if known_before and not getattr(self.look, "replays", False):
            facts, labels = self.journal.read(number)
            notes += [note for note in facts["notes"] if note not in notes]
            if facts["memory"] is not None:
                self.look.recall(facts["memory"])
            asked = None if facts["asked"] is None else tuple(facts["asked"])
            return Look(labels, asked, facts["score"], facts["presence"]), True
        known = len(notes)
        memory = self._memory()
        found = self.look(image, number)
        if found.labels.shape != self.video.shape:
            raise InputError(f"labels of frame {number} are of shape {found.labels.shape}, not {self.video.shape}")
        if self.journal is not None and not known_before:
            news = self._memory()
            facts = {
                "asked": None if found.asked is None else list(found.asked),
                "score": float(found.score),
                "presence": float(found.presence),
                # the notes of the first frame are all there are, those from before it included
                "notes": list(notes[known if number else 0 :]),
                "memory": news if news != memory else None,
            }
            self.journal.append(facts, found.labels)
        return found, False

    def _memory(self) -> dict[str, Any] | None:
        return self.look.memory() if hasattr(self.look, "memory") else None

    def _measure(self, followed: Followed, following: Following) -> None:
        if self.tables is None or self.log is None:
            contacts = self.concept == "particle"
            self.tables = Tables(self.video.pixel_size_nm, self.video.frame_time_s, contacts)
            self.log = EventLog(GAP, contacts)
        self.tables.contacts = self.log.contacts = self.concept == "particle"
        at = self.path[followed.frame] if self.path else None
        properties, necks = self.tables.add(followed.frame, followed.labels, followed.image.pixels, at)
        self.log.update(followed.frame, properties, necks, following.linker.births)
        self.store.append(followed.labels)

    def _notes(self, following: Following, count: int) -> tuple[str, ...]:
        notes = [*self.video.notes, *getattr(self.look, "notes", [])]
        if self.first_found is None:
            notes.append("Nothing of what was asked for was found in any frame.")
        elif self.first_found:
            notes.append(
                f"Nothing of what was asked for was found before frame {self.first_found}; it is followed from there."
            )
        if following.applied:
            notes.append(following.applied)
        if self.video.frame_time_s is None and count > 1:
            notes.append("No frame time is known, so times are not given; give it with --frame-time S.")
        return tuple(dict.fromkeys(notes))

    def _record(self, result: Tracks, count: int, kept: int, seconds: dict[str, float]) -> dict[str, Any]:
        try:
            release = version("lisa-micro")
        except PackageNotFoundError:  # run from a folder without being installed
            release = ""
        facts = self.video.facts
        tracker = getattr(self.look, "tracker", self.tracker)
        kinds = result.events["kind"].value_counts()
        return {
            "prompt": "",
            **self.asked,
            "reply": getattr(self.look, "reply", ""),
            "raw": getattr(self.look, "raw", ""),
            "where": getattr(self.look, "where", ""),
            "concept": self.concept,
            "notes": list(result.notes),
            "video": {
                "source": self.video.source,
                "frames": count,
                "width_px": self.video.shape[1],
                "height_px": self.video.shape[0],
                "pixel_size_nm": facts.pixel_size_nm,
                "pixel_size_origin": facts.pixel_size_origin,
                "frame_time_s": facts.frame_time_s,
                "frame_time_origin": facts.frame_time_origin,
                "modality": facts.modality,
            },
            "tracker": "overlap" if tracker is None else tracker.name,
            "tracker_sha256": "" if tracker is None else tracker.weights_sha256,
            "drift_corrected": self.with_drift,
            "identities": len(result.lineage),
            "events": {str(kind): int(number) for kind, number in kinds.items()},
            "frames_resumed": kept,
            "version": release,
            "seconds": seconds,
        }
