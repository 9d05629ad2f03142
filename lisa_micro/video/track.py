"""Track the particles of a video: detect in each frame, link to tracks, measure, and find events."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict, Unpack, cast

import numpy as np

from lisa_micro.assistant.conversation import Clock
from lisa_micro.io import LabelStack, LabelStackWriter, check_output
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.models.trackers import BUILDERS, build_tracker
from lisa_micro.protocols import Assistant, Detections, FrameDetector, Tracker
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.checkpoint import CHECKPOINT_FILE, Checkpoint, SavedFrame
from lisa_micro.video.denoise import averaged
from lisa_micro.video.detectors import (
    AnswerDetector,
    BoxDetector,
    LabelPropagator,
    VideoAssistant,
    WordDetector,
)
from lisa_micro.video.drift import Drift
from lisa_micro.video.events import EventLog, event_table
from lisa_micro.video.linker import GAP, LinkedFrame, TrackLinker
from lisa_micro.video.track_data import PackedLabels
from lisa_micro.video.track_files import TRACK_FILES
from lisa_micro.video.track_tables import TableBuilder
from lisa_micro.video.tracks import Tracks

Progress = Callable[[int, "int | None"], None]
"""Called with the number of frames done, and of all frames or ``None`` if the file does not state it."""

AVERAGE, MOST_AVERAGED = 1, 10
"""Default and largest number of frames before and after each frame with which it is averaged."""
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


@dataclass(frozen=True, kw_only=True)
class TrackOptions(RunOptions):
    """Options of :func:`track`.

    Attributes:
        boxes: ``(N, 4)`` XYXY px in the first frame, instead of words: the particles in them are tracked.
        labels: ``(H, W)`` integer track IDs in the first frame, instead of words. They are propagated by the network of
            the tracker, whatever they mark. Two tracks that coalesce both continue until one is lost.
        tracker: name known to :func:`lisa_micro.models.trackers.build_tracker`, or a tracker. ``None`` chooses
            ``"overlap"``, or ``"deaot-t"`` for labels.
        checkpoint: weights file of the tracker, unless its weights are included in the package.
        pixel_size_nm, frame_time_s: replace the values of the file.
    """

    boxes: object = None
    labels: np.ndarray | None = None
    tracker: str | Tracker | None = None
    checkpoint: str | os.PathLike[str] | None = None
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None


class TrackKeywords(TypedDict, total=False):
    """The fields of :class:`TrackOptions` as keyword arguments."""

    drift: bool
    average: int | None
    out: str | os.PathLike[str] | None
    resume: bool
    force: bool
    progress: Progress | None
    boxes: object
    labels: np.ndarray | None
    tracker: str | Tracker | None
    checkpoint: str | os.PathLike[str] | None
    pixel_size_nm: float | None
    frame_time_s: float | None


def track(assistant: Assistant | None, video: object, words: str = "", **options: Unpack[TrackKeywords]) -> Tracks:
    """Track every particle that a request means through a video.

    The request is read once, with the first frame. A constraint in it ("the three largest") selects particles in the
    first frame that contains any; these are tracked with all that they become. Memory does not grow with the length of
    the video, except for the tables and, without ``out``, for some kilobytes of labels per frame.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`; may be ``None`` if ``labels`` are given.
        video: as for :func:`lisa_micro.read_video`.
        words: the request.
        options: fields of :class:`TrackOptions`.

    Raises:
        InputError: if not exactly one of words, boxes and labels is given; if an option is unknown or out of range; if
            the video, the boxes, the labels or the tracker cannot be used; if the model lacks the capability; if
            ``out`` has other results.

    Examples:
        >>> import lisa_micro as lm
        >>> video = lm.simulate_sintering(seed=1, frames=3, shape=(96, 96), n_particles=3)
        >>> tracks = lm.track(lm.load_assistant(), video, "segment all nanoparticles")  # doctest: +SKIP
        >>> len(tracks)  # doctest: +SKIP
        3
    """
    chosen = _options(options)
    labels = chosen.labels
    if bool(words.strip()) + (chosen.boxes is not None) + (labels is not None) != 1:
        raise InputError("Give words, or boxes or labels of the first frame: exactly one of the three.")
    stream = read_video(video, chosen.pixel_size_nm, chosen.frame_time_s)
    tracker = _tracker(chosen, "auto" if assistant is None else str(assistant.device))
    detector = _detector(assistant, stream, words, chosen, tracker)
    request: dict[str, object] = {
        "prompt": words,
        "boxes_px": detector.boxes.tolist() if isinstance(detector, BoxDetector) else None,
        "preset": "" if assistant is None else assistant.preset,
        "weights_sha256": None if assistant is None else assistant.weights_sha256,
    }
    if isinstance(detector, LabelPropagator):
        digest = hashlib.sha256(np.ascontiguousarray(detector.labels).tobytes()).hexdigest()
        request |= {"labels_sha256": digest, "carried_by": f"{detector.tracker.name} {detector.tracker.weights_sha256}"}
        tracker = None  # it detects, and does not predict positions for the linking
    if chosen.average is None:
        alone = isinstance(detector, AnswerDetector)
        chosen = replace(chosen, average=0 if alone else AVERAGE)
    return link_detections(stream, detector, chosen, tracker=tracker, request=request)


def _options(keywords: TrackKeywords) -> TrackOptions:
    known = [field.name for field in fields(TrackOptions)]
    unknown = [name for name in keywords if name not in known]
    if unknown:
        raise InputError(f"Unknown option {unknown[0]!r} of track; choose from {', '.join(sorted(known))}.")
    return TrackOptions(**keywords)


def _tracker(options: TrackOptions, device: str) -> Tracker | None:
    """Build the tracker; ``None`` for overlap, which every run uses."""
    tracker = options.tracker or ("overlap" if options.labels is None else "deaot-t")
    if not isinstance(tracker, str):
        return None if tracker.name == "overlap" else tracker
    if tracker == "overlap":
        if options.checkpoint is not None:
            raise InputError("Tracker 'overlap' has no weights; omit checkpoint.")
        return None
    if tracker not in BUILDERS:
        raise InputError(f"Unknown tracker {tracker!r}; choose one of {', '.join(BUILDERS)}.")
    return build_tracker(tracker, None if options.checkpoint is None else Path(options.checkpoint), device)


def _detector(
    assistant: Assistant | None, video: VideoStream, words: str, options: TrackOptions, tracker: Tracker | None
) -> FrameDetector:
    if options.labels is not None:
        if tracker is None:
            raise InputError("Tracker 'overlap' cannot propagate labels; choose deaot-t or another DeAOT.")
        return LabelPropagator(tracker, options.labels, video.shape)
    if assistant is None:
        raise InputError("Tracking by words or boxes needs an assistant; pass lisa_micro.load_assistant().")
    able = assistant.capabilities
    if options.boxes is not None:
        if not (able.video and able.boxes):
            raise InputError(f"Preset {assistant.preset!r} cannot track from boxes; use words or labels instead.")
        return BoxDetector(cast(VideoAssistant, assistant), options.boxes, video.shape)
    if able.video:
        return WordDetector(cast(VideoAssistant, assistant), words)
    if able.words:
        return AnswerDetector(assistant, words)
    raise InputError(f"Preset {assistant.preset!r} does not understand words; use labels of the first frame instead.")


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
        try:
            release = version("lisa-micro")
        except PackageNotFoundError:  # run from a folder without being installed
            release = ""
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
            "version": release,
            "seconds": seconds,
        }
