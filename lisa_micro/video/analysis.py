"""Analyse the tracks of a video: growth of necks, sizes, motion and relaxation; report them as tables, plots, movie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from lisa_micro.io.files import write_files
from lisa_micro.io.video import VideoStream, read_video
from lisa_micro.measure.growth import pair_growth
from lisa_micro.measure.motion import mean_squared_displacement, pair_distances, relaxations, sizes_over_time
from lisa_micro.types import InputError
from lisa_micro.video.track_data import LabelFrames, TrackData
from lisa_micro.viz.movie import write_overlay_video
from lisa_micro.viz.plot_files import PLOT_FILES, save_plots

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILES = ("growth.csv", "distances.csv", "sizes.csv", "msd.csv", "relaxation.csv")
MOVIE_FILE = "overlay.mp4"
REPORT_FILES = (*TABLE_FILES, *PLOT_FILES, MOVIE_FILE)
"""Names of all files that :func:`write_report` may write."""


class Findings:
    """Results derived from tracks. Each is computed on first access and kept; made by :func:`analyse`.

    Args:
        tracks: tracks of a video.
    """

    def __init__(self, tracks: TrackData):
        self.tracks = tracks

    @cached_property
    def growth(self) -> pd.DataFrame:
        """Growth law ``(x/R)^n = B (t - t0) / R^m`` fitted to every pair; columns of
        :func:`lisa_micro.measure.pair_growth`. If the start of a contact was observed, it bounds t0."""
        tracks = self.tracks
        return pair_growth(tracks.necks, tracks.pixel_size_nm, onsets=self._onsets(), shape=tracks.shape)

    def _onsets(self) -> dict[tuple[int, int], tuple[float, float]]:
        tracks = self.tracks
        if tracks.frame_time_s is None:
            return {}
        seen = tracks.events[(tracks.events["kind"] == "contact") & (tracks.events["uncertainty_frames"] > 0)]
        spans: dict[tuple[int, int], tuple[float, float]] = {}
        for pair, frame, within in zip(seen["after"], seen["frame"], seen["uncertainty_frames"], strict=True):
            # of a pair with two contacts, the later one counts: the last rows belong to it
            a, b = sorted(pair)
            spans[a, b] = ((frame - within) * tracks.frame_time_s, frame * tracks.frame_time_s)
        return spans

    @cached_property
    def distances(self) -> pd.DataFrame:
        """Centre distance and shrinkage of every pair in contact; see
        :func:`lisa_micro.measure.motion.pair_distances`."""
        pairs = self.tracks.necks[["particle_a", "particle_b"]].drop_duplicates().itertuples(index=False)
        return pair_distances(self.tracks.tracks, [(int(a), int(b)) for a, b in pairs])

    @cached_property
    def sizes(self) -> pd.DataFrame:
        """Statistics of the sizes in each frame; see :func:`lisa_micro.measure.motion.sizes_over_time`."""
        return sizes_over_time(self.tracks.tracks)

    @cached_property
    def msd(self) -> pd.DataFrame:
        """Mean squared displacement by lag; see :func:`lisa_micro.measure.motion.mean_squared_displacement`."""
        return mean_squared_displacement(self.tracks.tracks)

    @cached_property
    def relaxation(self) -> pd.DataFrame:
        """Relaxation of coalesced particles to a round shape; see :func:`lisa_micro.measure.motion.relaxations`."""
        born = [k for k, life in self.tracks.lineage.items() if len(life["parents"]) > 1]
        return relaxations(self.tracks.tracks, born)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables by file name, in the order of :data:`TABLE_FILES`."""
        found = (self.growth, self.distances, self.sizes, self.msd, self.relaxation)
        return dict(zip(TABLE_FILES, found, strict=True))


def analyse(tracks: TrackData) -> Findings:
    """Analyse the tracks of a video.

    Args:
        tracks: tracks of a video, such as :class:`lisa_micro.video.tracks.Tracks`.
    """
    return Findings(tracks)


class NapariLayers(TypedDict):
    """Arguments of napari's layers; see :func:`napari_layers`."""

    tracks: np.ndarray
    graph: dict[int, list[int]]
    labels: LabelFrames


def napari_layers(tracks: TrackData) -> NapariLayers:
    """Return arguments for ``napari.Viewer.add_tracks`` and ``add_labels``.

    Returns:
        ``tracks``: ``(N, 4)`` float64 rows of track ID, frame, y, x (px), sorted by track ID and frame; ``graph``:
            track
        ID -> list of its parents; ``labels``: the label frames, indexed by frame, ``(H, W)`` int32 each. Use them as
        ``viewer.add_tracks(layers["tracks"], graph=layers["graph"])``.
    """
    table = tracks.tracks.sort_values(["identity", "frame"])
    rows = table[["identity", "frame", "centroid_y_px", "centroid_x_px"]].to_numpy(float)
    graph = {k: list(life["parents"]) for k, life in tracks.lineage.items() if life["parents"]}
    return {"tracks": rows, "graph": graph, "labels": tracks.labels}


def write_report(
    findings: Findings,
    folder: str | os.PathLike[str],
    video: object = None,
    plots: bool = True,
    movie: bool = True,
) -> tuple[list[Path], list[str]]:
    """Write :data:`REPORT_FILES` into a folder and replace earlier ones.

    Args:
        findings: from :func:`analyse`.
        folder: output folder, created if it is missing.
        video: video for the movie, as for :func:`lisa_micro.read_video`, of the same length and size as the tracks;
            ``None`` uses the file that the tracks come from.
        plots: whether to draw the plots.
        movie: whether to make the movie, which reads the video once more.

    Returns:
        paths of the files, and one sentence for each file that could not be made.
    """
    folder = Path(folder)
    notes: list[str] = []
    tracks, tables = findings.tracks, findings.tables()
    written = write_files(folder, {name: _csv(table) for name, table in tables.items()})
    for name in (*(() if plots else PLOT_FILES), *(() if movie else (MOVIE_FILE,))):
        (folder / name).unlink(missing_ok=True)  # from an earlier run with other options
    if plots:
        written += save_plots(folder, tracks.tracks, tracks.events, tracks.necks, findings.growth)
    if movie:
        try:
            written.append(_movie(tracks, folder / MOVIE_FILE, video))
        except (InputError, OSError) as error:
            (folder / MOVIE_FILE).unlink(missing_ok=True)
            notes.append(f"The movie was not made: {error}")
    return written, notes


def _csv(table: pd.DataFrame) -> Callable[[Path], None]:
    return lambda path: table.to_csv(path, index=False)


def _movie(tracks: TrackData, path: Path, video: object) -> Path:
    source = tracks.record.get("video", {}).get("source") if video is None else video
    if source is None:
        raise InputError("the record does not name the video; pass it as video.")
    stream = read_video(source, tracks.pixel_size_nm, tracks.frame_time_s)
    if tuple(stream.shape) != tuple(tracks.shape):
        raise InputError(f"{stream.source} has frames of another size than the tracked video.")
    events = _in_frames(tracks)
    return write_overlay_video(
        path, _pixels(stream, len(tracks)), tracks.labels, events, tracks.pixel_size_nm, tracks.frame_time_s
    )


def _pixels(stream: VideoStream, count: int) -> Iterator[np.ndarray]:
    return (image.pixels for image in islice(stream.micrographs(), count))


def _in_frames(tracks: TrackData) -> pd.DataFrame:
    """Return the events within the video; a particle that vanishes with the last frame has its event after it."""
    return tracks.events[tracks.events["frame"] < len(tracks)]
