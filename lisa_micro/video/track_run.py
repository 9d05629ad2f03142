"""Run a frame detector over a video: detect, link, measure, find events, and write the results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lisa_micro.assistant.conversation import Clock
from lisa_micro.extras import release
from lisa_micro.io import LabelStack, LabelStackWriter, check_output
from lisa_micro.io.files import disk_problem
from lisa_micro.io.video import VideoStream
from lisa_micro.protocols import Detections, FrameDetector, Tracker
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.checkpoint import CHECKPOINT_FILE, Checkpoint, SavedFrame
from lisa_micro.video.denoise import averaged
from lisa_micro.video.drift import Drift
from lisa_micro.video.events import EventLog, event_table
from lisa_micro.video.linker import GAP, LinkedFrame, TrackLinker
from lisa_micro.video.track_data import PackedLabels
from lisa_micro.video.track_files import TRACK_FILES
from lisa_micro.video.track_tables import TableBuilder
from lisa_micro.video.tracks import Tracks

Progress = Callable[[int, "int | None"], None]
"""Called with the number of frames done, and of all frames or ``None`` if the file does not state it."""

MOST_AVERAGED = 10
"""Largest number of frames before and after each frame with which it is averaged."""
_DRAFT = "labels.part.tif"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a track run.

    Attributes:
        drift: measure the drift of the sample, and also give positions in the frame of the sample.
        average: instances are detected on the mean of each frame and this many frames before and after it, registered
            to each other, which reduces noise (see :func:`lisa_micro.video.denoise.averaged`); 0 uses each frame alone.
            ``None`` chooses 1 if the frames are segmented by ``micro`` or labels are propagated, otherwise 0.
        out: results folder for all files (see :func:`lisa_micro.video.track_files.write_tracks`) and, during the run,
            for the checkpoint.
        resume: resume the run that was started in ``out``, with the same result as without the interruption; a complete
            run is read back.
        force: replace the results in ``out``.
        progress: called after each frame.
    """

    drift: bool = False
    average: int | None = None
    out: str | os.PathLike[str] | None = None
    resume: bool = False
    force: bool = False
    progress: Progress | None = None


def link_detections(
    video: VideoStream,
    detector: FrameDetector,
    options: RunOptions | None = None,
    *,
    tracker: Tracker | None = None,
    request: Mapping[str, object] | None = None,
) -> Tracks:
    """Track what any frame detector detects.

    Args:
        video: the video.
        detector: detects the instances of each frame.
        options: options of the run; ``average`` of ``None`` means 0.
        tracker: predicts positions for the linking; ``None`` uses overlap alone.
        request: plain JSON values that determine the detections; they are added to the record.

    Raises:
        InputError: as for :func:`track`.
    """
    options = options or RunOptions()
    average = options.average or 0
    if not 0 <= average <= MOST_AVERAGED:
        raise InputError(f"Each frame can be averaged with 0 to {MOST_AVERAGED} frames on each side, not {average}.")
    request = {**(request or {}), "average": average}
    folder = None if options.out is None else Path(options.out)
    if options.resume and folder is None:
        raise InputError("To resume a run, pass its results folder as out.")
    checkpoint = None
    if folder is not None:
        if check_folder(folder, options.resume, options.force):
            return _complete(folder, request)
        facts = {"source": video.source, "shape": list(video.shape), "pixel_size_nm": video.pixel_size_nm}
        checkpoint = Checkpoint(folder, {**request, **facts}, options.resume)
    try:
        run = _Run(video, detector, tracker, replace(options, average=average), checkpoint, request)
        return run.result()
    except OSError as error:
        reason = disk_problem(error)
        if not reason:
            raise
        raise InputError(
            f"Cannot write to {folder}: {reason}. Free some disk space and continue with --resume."
        ) from error
    finally:
        if checkpoint is not None:
            checkpoint.close()
            (checkpoint.path.parent / _DRAFT).unlink(missing_ok=True)


def check_folder(folder: str | os.PathLike[str], resume: bool, force: bool) -> bool:
    """Check the output folder before any long computation, and create it.

    Returns:
        whether it has a complete run that only needs to be read back.

    Raises:
        InputError: if the folder cannot be written, or has results or an interrupted run while neither ``resume`` nor
            ``force`` is set.
    """
    folder = Path(folder)
    started = (folder / CHECKPOINT_FILE).is_file()
    if resume and not force and not started and (folder / "answer.json").is_file():
        return True
    if started and not (resume or force):
        raise InputError(f"{folder} has an interrupted run; continue it with --resume, or start over with --force.")
    check_output(folder, force or (resume and started), names=TRACK_FILES)
    return False


def _complete(folder: Path, request: Mapping[str, object]) -> Tracks:
    tracks = Tracks.load(folder)
    if any(tracks.record.get(key) != value for key, value in request.items()):
        raise InputError(f"{folder} has the results of another request; choose another folder, or use --force.")
    return tracks


class _Run:
    """One pass through a video."""

    def __init__(
        self,
        video: VideoStream,
        detector: FrameDetector,
        tracker: Tracker | None,
        options: RunOptions,
        checkpoint: Checkpoint | None,
        request: Mapping[str, object],
    ):
        self.video, self.detector, self.tracker = video, detector, tracker
        self.options, self.checkpoint, self.request = options, checkpoint, request
        self.linker = TrackLinker(tracker)
        self.folder = None if options.out is None else Path(options.out)
        self.path: list[np.ndarray] = []  # drift of each frame, x, y px
        self.first_found: int | None = None  # first frame with a detection
        self.count = self.resumed = 0
        # whether contacts are measured depends on the concept, which may be known only after the first detection
        self.tables = TableBuilder(video.pixel_size_nm, video.frame_time_s, contacts=True)
        self.log = EventLog(GAP, contacts=True)

    def result(self) -> Tracks:
        """Run, write the files, and remove the checkpoint."""
        clock = Clock()
        writer = None
        if self.folder is not None:
            writer = LabelStackWriter(self.folder / _DRAFT, self.video.pixel_size_nm, self.video.frame_time_s)
        store = PackedLabels() if writer is None else writer
        drift = Drift() if self.options.drift else None
        for image, mean in averaged(self.video.micrographs(), self.options.average or 0):
            clock.lap("average")
            detections = self._detect(mean, self.count)
            clock.lap("segment")
            if self.first_found is None and detections.labels.any():
                self.first_found = self.count
            shift = None
            if drift is not None:
                self.path.append(drift.step(image.pixels))
                if self.count:
                    x, y = (self.path[-1] - self.path[-2]).tolist()
                    shift = (x, y)
                clock.lap("drift")
            ready = list(self.linker.step(image, detections, shift))
            clock.lap("track")
            for linked in ready:
                self._measure(linked, store)
            clock.lap("measure")
            self.count += 1
            if self.options.progress is not None:
                self.options.progress(self.count, self.video.length)
        for linked in self.linker.finish():
            self._measure(linked, store)
        clock.lap("measure")
        if not self.count:
            raise InputError(f"{self.video.source} has no frame.")
        self.log.finish(self.count - 1)
        if isinstance(store, LabelStackWriter):
            store.close()
        result = self._tracks(LabelStack(store.path) if isinstance(store, LabelStackWriter) else store)
        result.record = self._record(result, clock.seconds)
        if self.folder is not None:
            (self.folder / _DRAFT).replace(self.folder / "labels.tif")
            result.labels = LabelStack(self.folder / "labels.tif")
            result.save(self.folder, force=True)
            if self.checkpoint is not None:
                self.checkpoint.remove()
        return result

    def _detect(self, image: Micrograph, number: int) -> Detections:
        """Detect in a frame, or read the detections of an earlier run."""
        notes = self.detector.state.notes
        saved = self.checkpoint is not None and number < self.checkpoint.saved
        if self.checkpoint is not None and saved and not self.detector.replays:
            frame = self.checkpoint.read(number)
            notes += [note for note in frame.notes if note not in notes]
            if frame.memory is not None:
                self.detector.restore(frame.memory)
            self.resumed += 1
            return frame.detections
        known, before = len(notes), self.detector.memory()
        detections = self.detector.detect(image, number)
        if detections.labels.shape != self.video.shape:
            shapes = f"{detections.labels.shape}, not {self.video.shape}"
            raise InputError(f"The detector returned labels of the shape {shapes}, for frame {number}.")
        if self.checkpoint is not None and not saved:
            after = self.detector.memory()
            # with the first frame all notes are saved, those from before it included
            new = notes[known if number else 0 :]
            self.checkpoint.append(SavedFrame(detections, new, after if after != before else None))
        return detections

    def _measure(self, linked: LinkedFrame, store: PackedLabels | LabelStackWriter) -> None:
        self.tables.contacts = self.log.contacts = self.detector.state.concept == "particle"
        drift = self.path[linked.frame].tolist() if self.path else None
        properties, necks = self.tables.add(linked.frame, linked.labels, linked.image.pixels, drift)
        self.log.update(linked.frame, properties, necks, self.linker.overlap.births)
        store.append(linked.labels)

    def _tracks(self, labels: LabelStack | PackedLabels) -> Tracks:
        tracks, necks = self.tables.tables()
        size, interval = self.video.pixel_size_nm, self.video.frame_time_s
        return Tracks(
            tracks,
            event_table(self.log.events, interval, size),
            necks,
            self.log.lineage(),
            labels,
            self.video.shape,
            size,
            interval,
            self.detector.state.concept,
            np.array(self.path) if self.options.drift else None,
            self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        notes = [*self.video.notes, *self.detector.state.notes]
        if self.first_found is None:
            notes.append("Nothing that the request means was detected in any frame.")
        elif self.first_found:
            notes.append(
                f"Nothing that the request means was detected before frame {self.first_found}; tracks start there."
            )
        if self.linker.note:
            notes.append(self.linker.note)
        if self.video.frame_time_s is None and self.count > 1:
            notes.append("The frame time is unknown, so that times are not given; give it to get seconds.")
        return tuple(dict.fromkeys(notes))

    def _record(self, result: Tracks, seconds: dict[str, float]) -> dict[str, object]:
        facts, state = self.video.facts, self.detector.state
        name, weights = ("overlap", "") if self.tracker is None else (self.tracker.name, self.tracker.weights_sha256)
        kinds = result.events["kind"].value_counts()
        return {
            "prompt": "",
            **self.request,
            "reply": state.reply,
            "raw": state.raw,
            "where": state.where,
            "concept": state.concept,
            "notes": list(result.notes),
            "video": {
                "source": self.video.source,
                "frames": self.count,
                "width_px": self.video.shape[1],
                "height_px": self.video.shape[0],
                "pixel_size_nm": facts.pixel_size_nm,
                "pixel_size_origin": facts.pixel_size_origin,
                "frame_time_s": facts.frame_time_s,
                "frame_time_origin": facts.frame_time_origin,
                "modality": facts.modality,
            },
            "tracker": state.tracker or name,
            "tracker_sha256": state.tracker_sha256 if state.tracker else weights,
            "drift_corrected": self.options.drift,
            "identities": len(result.lineage),
            "events": {str(kind): int(number) for kind, number in kinds.items()},
            "frames_resumed": self.resumed,
            "version": release(),
            "seconds": seconds,
        }
