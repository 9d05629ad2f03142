"""Track the particles that a request means through a video."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypedDict, Unpack, cast

import numpy as np

from lisa_micro.assistant.like import is_given
from lisa_micro.exemplar import Exemplar
from lisa_micro.geometry import check_boxes
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.models.trackers import BUILDERS, build_tracker
from lisa_micro.protocols import Assistant, FrameDetector, Tracker
from lisa_micro.types import InputError
from lisa_micro.video.detectors import AnswerDetector, BoxDetector, LabelPropagator, VideoAssistant, WordDetector
from lisa_micro.video.like import LikeDetector, LikeVideoAssistant
from lisa_micro.video.track_run import Progress, RunOptions, link_detections
from lisa_micro.video.tracks import Tracks

AVERAGE = 1
"""Default number of frames before and after each frame with which it is averaged."""


@dataclass(frozen=True, kw_only=True)
class TrackOptions(RunOptions):
    """Options of :func:`track`.

    Attributes:
        boxes: ``(N, 4)`` XYXY px in the first frame, instead of words: the particles in them are tracked.
        like, unlike: ``(N, 4)`` XYXY px in the first frame, instead of or beside words: everything like what is in the
            like boxes, and unlike what is in the others, is tracked. Words then state a condition.
        exemplar: the same, learnt before from another micrograph; boxes are added to it.
        labels: ``(H, W)`` integer track IDs in the first frame, instead of words. They are propagated by the network of
            the tracker, whatever they mark. Two tracks that coalesce both continue until one is lost.
        tracker: name known to :func:`lisa_micro.models.trackers.build_tracker`, or a tracker. ``None`` chooses
            ``"overlap"``, or ``"deaot-t"`` for labels.
        checkpoint: weights file of the tracker, unless its weights are included in the package.
        pixel_size_nm, frame_time_s: replace the values of the file.
    """

    boxes: object = None
    like: object = None
    unlike: object = None
    exemplar: Exemplar | None = None
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
    like: object
    unlike: object
    exemplar: Exemplar | None
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
        InputError: if not exactly one of words, examples, boxes and labels is given; if an option is unknown or out of
            range; if the video, the boxes, the labels or the tracker cannot be used; if the model lacks the capability;
            if ``out`` has other results.

    Examples:
        >>> import lisa_micro as lm
        >>> video = lm.simulate_sintering(seed=1, frames=3, shape=(96, 96), n_particles=3)
        >>> tracks = lm.track(lm.load_assistant(), video, "segment all nanoparticles")  # doctest: +SKIP
        >>> len(tracks)  # doctest: +SKIP
        3
    """
    chosen = _options(options)
    labels = chosen.labels
    by_example = is_given(chosen.like) or chosen.exemplar is not None
    said = bool(words.strip()) and not by_example  # beside examples, words are a condition
    if said + (chosen.boxes is not None) + (labels is not None) + by_example != 1:
        raise InputError("Give words, examples, or boxes or labels of the first frame: exactly one of the four.")
    stream = read_video(video, chosen.pixel_size_nm, chosen.frame_time_s)
    tracker = _tracker(chosen, "auto" if assistant is None else str(assistant.device))
    request: dict[str, object] = {
        "prompt": words,
        "boxes_px": None,
        "preset": "" if assistant is None else assistant.preset,
        "weights_sha256": None if assistant is None else assistant.weights_sha256,
    }
    if labels is None:
        how = _detect_alike if by_example else _detect
        plan = how(assistant, stream, words, chosen, tracker)
    else:
        plan = _propagate(labels, stream, tracker)
    if chosen.average is None:
        chosen = replace(chosen, average=plan.average)
    return link_detections(stream, plan.detector, chosen, tracker=plan.tracker, request=request | plan.facts)


def _options(keywords: TrackKeywords) -> TrackOptions:
    known = [option.name for option in fields(TrackOptions)]
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


@dataclass(frozen=True)
class _Plan:
    """How to track: the detector, what it adds to the record, the default number of averaged frames, and the tracker
    that predicts positions for the linking."""

    detector: FrameDetector
    facts: dict[str, object] = field(default_factory=dict)
    average: int = AVERAGE
    tracker: Tracker | None = None


def _propagate(labels: np.ndarray, video: VideoStream, tracker: Tracker | None) -> _Plan:
    if tracker is None:
        raise InputError("Tracker 'overlap' cannot propagate labels; choose deaot-t or another DeAOT.")
    detector = LabelPropagator(tracker, labels, video.shape)
    digest = hashlib.sha256(np.ascontiguousarray(detector.labels).tobytes()).hexdigest()
    return _Plan(detector, {"labels_sha256": digest, "carried_by": f"{tracker.name} {tracker.weights_sha256}"})


def _detect(
    assistant: Assistant | None, video: VideoStream, words: str, options: TrackOptions, tracker: Tracker | None
) -> _Plan:
    """Choose the detector by the capabilities of the model."""
    if assistant is None:
        raise InputError("Tracking by words or boxes needs an assistant; pass lisa_micro.load_assistant().")
    able = assistant.capabilities
    if options.boxes is not None:
        if not (able.video and able.boxes):
            raise InputError(f"Preset {assistant.preset!r} cannot track from boxes; use words or labels instead.")
        boxes = BoxDetector(cast(VideoAssistant, assistant), options.boxes, video.shape)
        return _Plan(boxes, {"boxes_px": boxes.boxes.tolist()}, tracker=tracker)
    if able.video:
        return _Plan(WordDetector(cast(VideoAssistant, assistant), words), tracker=tracker)
    if able.words:
        return _Plan(AnswerDetector(assistant, words), average=0, tracker=tracker)
    raise InputError(f"Preset {assistant.preset!r} does not understand words; use labels of the first frame instead.")


def _detect_alike(
    assistant: Assistant | None, video: VideoStream, words: str, options: TrackOptions, tracker: Tracker | None
) -> _Plan:
    """The detector of everything that is like examples."""
    if assistant is None:
        raise InputError("Tracking by examples needs an assistant; pass lisa_micro.load_assistant().")
    if not assistant.capabilities.exemplars:
        raise InputError(f"Preset {assistant.preset!r} has no exemplar encoder, so it cannot track by examples.")
    like, unlike = (
        check_boxes(given, video.shape)[0] if is_given(given) else None for given in (options.like, options.unlike)
    )
    exemplar = options.exemplar
    detector = LikeDetector(cast(LikeVideoAssistant, assistant), words, like, unlike, exemplar)
    facts: dict[str, object] = {
        "like_px": None if like is None else like.tolist(),
        "unlike_px": None if unlike is None else unlike.tolist(),
        "exemplar": None if exemplar is None else exemplar.digest(),
    }
    return _Plan(detector, facts, tracker=tracker)
