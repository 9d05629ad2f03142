"""Trackers on the same detections: LISA-micro's overlap tracker, laptrack and trackpy."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from competitors.processes import Clock, peak_gb
from competitors.videos import DetectedVideo
from lisa_micro.extras import require
from lisa_micro.metrics import track_overlaps, track_scores

RANGES = (5.0, 10.0, 15.0, 20.0, 30.0)
"""px; largest step of a particle from frame to frame that is tried."""
RUNS = 3


@dataclass(eq=False)
class Linked:
    """Detections with track IDs.

    Attributes:
        labels: ``(H, W)`` int32 of each frame: track IDs.
        parents: track ID -> the tracks from which it comes.
        seconds: of wall and processor time, from label images to track IDs.
    """

    labels: list[np.ndarray]
    parents: dict[int, tuple[int, ...]]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Tracker:
    """A way of linking.

    Attributes:
        title: as shown in tables.
        package: import name; ``""``: part of LISA-micro.
        link: detections and a setting -> tracks.
        grid: settings to choose from; empty: it has none.
    """

    title: str
    package: str
    link: Callable[..., Linked]
    grid: Sequence[dict[str, float]] = field(default=())


def link_micro(frames: list[np.ndarray]) -> Linked:
    """LISA-micro's tracker with the settings that every video gets; it sees one frame after another."""
    from lisa_micro.protocols import Detections
    from lisa_micro.types import Micrograph
    from lisa_micro.video.linker import TrackLinker

    blank = Micrograph(np.zeros(frames[0].shape, np.float32))  # the tracker does not look at intensities
    clock = Clock()
    linker, linked = TrackLinker(), []
    for labels in frames:
        linked += linker.step(blank, Detections(labels))
    linked += linker.finish()
    seconds = clock.read()
    parents = {identity: tuple(birth.parents) for identity, birth in linker.overlap.births.items()}
    return Linked([one.labels for one in linked], parents, seconds)


def link_trackpy(frames: list[np.ndarray], reach: float, memory: float) -> Linked:
    """trackpy on centres: the particles of a frame are assigned to those of the last at the least sum of squared
    distances (Crocker and Grier, J. Colloid Interface Sci. 179 (1996) 298)."""
    import trackpy

    trackpy.quiet()
    clock = Clock()
    table = trackpy.link(centres(frames), reach, memory=int(memory), adaptive_stop=1.0, adaptive_step=0.9)
    seconds = clock.read()
    return Linked(renamed(frames, table["frame"], table["label"], table["particle"]), {}, seconds)


def link_laptrack(frames: list[np.ndarray], reach: float, gap: float, merging: float) -> Linked:
    """laptrack on centres: links, gaps and, if ``merging`` is 1, coalescences as linear assignments (Jaqaman et al.,
    Nature Methods 5 (2008) 695). ``reach`` in px is squared, as its costs are."""
    from laptrack import LapTrack

    clock = Clock()
    tracker = LapTrack(
        cutoff=reach**2,
        gap_closing_cutoff=reach**2 if gap else False,
        gap_closing_max_frame_count=int(gap),
        merging_cutoff=reach**2 if merging else False,
    )
    # the other columns come back with the tracks, in the order of the rows
    tracks, splits, merges = tracker.predict_dataframe(centres(frames), ["x", "y"], only_coordinate_cols=False)
    seconds = clock.read()
    return _from_laptrack(frames, tracks.reset_index(drop=True), splits, merges, seconds)


def link_laptrack_overlap(frames: list[np.ndarray], cutoff: float, gap: float, merging: float) -> Linked:
    """laptrack on overlaps: the cost of a link is 1 - IoU, that of a coalescence 1 - the share of the vanishing
    particle that the other covers; ``merging`` is the largest cost of one, 0 for none."""
    from laptrack import OverLapTrack

    clock = Clock()
    tracker = OverLapTrack(
        cutoff=cutoff,
        metric_coefs=(1.0, 0.0, -1.0, 0.0, 0.0),
        gap_closing_cutoff=cutoff if gap else False,
        gap_closing_metric_coefs=(1.0, 0.0, -1.0, 0.0, 0.0),
        gap_closing_max_frame_count=int(gap),
        merging_cutoff=merging or False,
        merging_metric_coefs=(1.0, 0.0, 0.0, -1.0, 0.0),
    )
    tracks, splits, merges = tracker.predict_overlap_dataframe(np.stack(frames))
    seconds = clock.read()
    return _from_laptrack(frames, tracks.reset_index(), splits, merges, seconds)


TRACKERS = {
    "micro": Tracker("LISA-micro, overlap", "", link_micro),
    "laptrack": Tracker(
        "laptrack, centres",
        "laptrack",
        link_laptrack,
        [dict(zip(("reach", "gap", "merging"), one, strict=True)) for one in product(RANGES, (0, 2), (0, 1))],
    ),
    "laptrack-overlap": Tracker(
        "laptrack, overlap",
        "laptrack",
        link_laptrack_overlap,
        [
            dict(zip(("cutoff", "gap", "merging"), one, strict=True))
            for one in product((0.7, 0.9, 0.99), (0, 2), (0, 0.9))
        ],
    ),
    "trackpy": Tracker(
        "trackpy",
        "trackpy",
        link_trackpy,
        [dict(zip(("reach", "memory"), one, strict=True)) for one in product(RANGES, (0, 2))],
    ),
}


def choose_tracker(name: str, folders: list[str]) -> dict[str, Any]:
    """Choose the setting with the highest mean HOTA on videos that are not scored.

    Returns:
        ``setting``, ``hota``, ``tried``; empty for a tracker without settings.

    Raises:
        InputError: its package is not installed.
    """
    tracker = installed(name)
    if not tracker.grid:
        return {}
    videos = [DetectedVideo(Path(folder)) for folder in folders]
    frames = [list(video.detected()) for video in videos]
    scores = [
        fmean(score(video, tracker.link(one, **setting))["hota"] for video, one in zip(videos, frames, strict=True))
        for setting in tracker.grid
    ]
    best = int(np.argmax(scores))
    return {"setting": tracker.grid[best], "hota": scores[best], "tried": len(scores)}


def track(name: str, folder: str, setting: dict[str, float]) -> dict[str, Any]:
    """Link the detections of a video.

    Returns:
        the scores of :func:`score`; ``seconds`` and ``processor_s`` per frame, medians of :data:`RUNS` runs after one
        that is not counted; ``peak_gb``.

    Raises:
        InputError: the package of the tracker is not installed.
    """
    tracker, video = installed(name), DetectedVideo(Path(folder))
    frames = list(video.detected())
    seconds = []
    for _ in range(1 + RUNS):
        linked = tracker.link(frames, **setting)
        seconds.append(linked.seconds)
    peak = peak_gb(os.getpid())  # before the scores, which are no part of tracking
    wall, processor = np.median(seconds[1:], axis=0) / len(frames)
    return {**score(video, linked), "seconds": float(wall), "processor_s": float(processor), "peak_gb": peak}


def installed(name: str) -> Tracker:
    """A tracker of :data:`TRACKERS`.

    Raises:
        InputError: its package is not installed.
    """
    tracker = TRACKERS[name]
    if tracker.package:
        require(f"The tracker {name}", tracker.package)
    return tracker


def score(video: DetectedVideo, linked: Linked) -> dict[str, float]:
    """Scores of tracks; see :func:`lisa_micro.metrics.track_scores`."""
    return track_scores(track_overlaps(video.true(), linked.labels), video.parents(), linked.parents)


def centres(frames: Sequence[np.ndarray]) -> Any:
    """A table (pandas) of all detections: ``frame``, ``label``, ``x``, ``y`` (centroid, px)."""
    import pandas as pd
    from skimage.measure import regionprops_table

    tables = []
    for number, labels in enumerate(frames):
        found = pd.DataFrame(regionprops_table(labels, properties=("label", "centroid")))
        found.columns = ["label", "y", "x"]
        tables.append(found.assign(frame=number))
    return pd.concat(tables, ignore_index=True)


def renamed(frames: Sequence[np.ndarray], frame: Any, label: Any, identity: Any) -> list[np.ndarray]:
    """Replace the labels of detections by track IDs.

    Args:
        frames: ``(H, W)`` labels of each frame.
        frame, label, identity: ``(n,)`` of all detections; identities count from 0.

    Returns:
        ``(H, W)`` int32 of each frame, track IDs from 1; detections without one are left out.
    """
    names: dict[int, dict[int, int]] = defaultdict(dict)
    for t, k, name in zip(np.asarray(frame), np.asarray(label), np.asarray(identity), strict=True):
        names[int(t)][int(k)] = int(name) + 1
    renamed_frames = []
    for number, labels in enumerate(frames):
        table = np.zeros(int(labels.max()) + 1, np.int32)
        for k, name in names[number].items():
            table[k] = name
        renamed_frames.append(table[labels])
    return renamed_frames


def parents_from(*tables: Any) -> dict[int, tuple[int, ...]]:
    """Parents from laptrack's tables of splits and merges, with track IDs from 1."""
    parents: Mapping[int, list[int]] = defaultdict(list)
    for table in tables:
        for _, one in table.iterrows():
            parents[int(one["child_track_id"]) + 1].append(int(one["parent_track_id"]) + 1)
    return {child: tuple(sorted(names)) for child, names in parents.items()}


def _from_laptrack(
    frames: list[np.ndarray], tracks: Any, splits: Any, merges: Any, seconds: tuple[float, float]
) -> Linked:
    labels = renamed(frames, tracks["frame"], tracks["label"], tracks["track_id"])
    return Linked(labels, parents_from(splits, merges), seconds)
