"""What follows from the tracks of a video: growth of necks, sizes, motion, relaxation; as tables, plots and a movie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.files import write_files
from lisa_micro.io.video import read_video
from lisa_micro.measure.growth import pair_growth
from lisa_micro.measure.motion import mean_squared_displacement, pair_distances, relaxations, sizes_over_time
from lisa_micro.types import InputError
from lisa_micro.viz.movie import write_overlay_video
from lisa_micro.viz.plot_files import PLOT_FILES, save_plots

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.video.tracks import Tracks

TABLE_FILES = ("growth.csv", "distances.csv", "sizes.csv", "msd.csv", "relaxation.csv")
MOVIE_FILE = "overlay.mp4"
FINDING_FILES = (*TABLE_FILES, *PLOT_FILES, MOVIE_FILE)
"""All names that :func:`save_findings` may write."""


class Findings:
    """Computed when first asked for, kept afterwards.

    Args:
        tracks: what was followed.
    """

    def __init__(self, tracks: Tracks):
        self.tracks = tracks

    @cached_property
    def growth(self) -> pd.DataFrame:
        """The growth law ``(x/R)^n = B (t - t0) / R^m`` fitted to every pair; columns as of
        :func:`lisa_micro.measure.pair_growth`. t0 is bounded by the frames between which the contact began, where that
        was seen."""
        tracks = self.tracks
        return pair_growth(tracks.necks, tracks.pixel_size_nm, onsets=self._onsets(), shape=tracks.shape)

    def _onsets(self) -> dict[tuple[int, int], tuple[float, float]]:
        tracks = self.tracks
        if tracks.frame_time_s is None:
            return {}
        seen = tracks.events[(tracks.events["kind"] == "contact") & (tracks.events["uncertainty_frames"] > 0)]
        spans: dict[tuple[int, int], tuple[float, float]] = {}
        for pair, frame, within in zip(seen["after"], seen["frame"], seen["uncertainty_frames"], strict=True):
            # a pair that met twice began at the later meeting: that is what its rows go on from
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
        """Size distribution of every frame in numbers; see :func:`lisa_micro.measure.motion.sizes_over_time`."""
        return sizes_over_time(self.tracks.tracks)

    @cached_property
    def msd(self) -> pd.DataFrame:
        """Mean squared displacement against lag; see :func:`lisa_micro.measure.motion.mean_squared_displacement`."""
        return mean_squared_displacement(self.tracks.tracks)

    @cached_property
    def relaxation(self) -> pd.DataFrame:
        """How fast each coalesced particle becomes round; see :func:`lisa_micro.measure.motion.relaxations`."""
        born = [k for k, life in self.tracks.lineage.items() if len(life["parents"]) > 1]
        return relaxations(self.tracks.tracks, born)

    def tables(self) -> dict[str, pd.DataFrame]:
        """File name -> table, in the order of :data:`TABLE_FILES`."""
        found = (self.growth, self.distances, self.sizes, self.msd, self.relaxation)
        return dict(zip(TABLE_FILES, found, strict=True))


def napari_layers(tracks: Tracks) -> dict[str, Any]:
    """What ``napari.Viewer.add_tracks`` and ``add_labels`` take.

    Returns:
        ``tracks``: ``(N, 4)`` float64 rows identity, frame, y, x (px), by identity and frame; ``graph``: identity ->
        list of its parents; ``labels``: the label frames (index one for ``(H, W)`` int32). Use them as
        ``viewer.add_tracks(layers["tracks"], graph=layers["graph"])``.
    """
    table = tracks.tracks.sort_values(["identity", "frame"])
    rows = table[["identity", "frame", "centroid_y_px", "centroid_x_px"]].to_numpy(float)
    graph = {k: list(life["parents"]) for k, life in tracks.lineage.items() if life["parents"]}
    return {"tracks": rows, "graph": graph, "labels": tracks.labels}


def save_findings(
    tracks: Tracks,
    folder: str | os.PathLike[str],
    video: Any = None,
    plots: bool = True,
    movie: bool = True,
) -> tuple[list[Path], list[str]]:
    """Writes :data:`FINDING_FILES` into a folder; older ones are replaced.

    Args:
        tracks: what was followed.
        folder: made where it is missing.
        video: as for :func:`lisa_micro.read_video`, for the movie, and of the same length and size; ``None``: the file
            that the tracks come from.
        plots: whether to draw the plots.
        movie: whether to make the movie, which reads the video once more.

    Returns:
        the paths, and a sentence for everything that could not be made: nothing of it stops the rest.
    """
    folder = Path(folder)
    notes: list[str] = []
    findings = tracks.findings
    tables = findings.tables()
    written = write_files(folder, {name: _csv(table) for name, table in tables.items()})
    for name in (*(() if plots else PLOT_FILES), *(() if movie else (MOVIE_FILE,))):
        (folder / name).unlink(missing_ok=True)  # of an earlier run with other options
    if plots:
        written += save_plots(folder, tracks.tracks, tracks.events, tracks.necks, findings.growth)
    if movie:
        try:
            written.append(_movie(tracks, folder / MOVIE_FILE, video))
        except (InputError, OSError) as error:
            (folder / MOVIE_FILE).unlink(missing_ok=True)
            notes.append(f"The movie with overlays was not made: {error}")
    return written, notes


def _csv(table: pd.DataFrame) -> Any:
    return lambda path: table.to_csv(path, index=False)


def _movie(tracks: Tracks, path: Path, video: Any) -> Path:
    source = tracks.record.get("video", {}).get("source") if video is None else video
    if source is None:
        raise InputError("the tracks do not say which video they come from; give it.")
    stream = read_video(source, tracks.pixel_size_nm, tracks.frame_time_s)
    if tuple(stream.shape) != tuple(tracks.shape):
        raise InputError(f"{stream.source} has frames of another size than what was followed.")
    events = _in_frames(tracks)
    return write_overlay_video(
        path, _pixels(stream, len(tracks)), tracks.labels, events, tracks.pixel_size_nm, tracks.frame_time_s
    )


def _pixels(stream: Any, count: int) -> Iterator[np.ndarray]:
    return (image.pixels for image in islice(stream.micrographs(), count))


def _in_frames(tracks: Tracks) -> pd.DataFrame:
    """Events that lie in the video: what has vanished with the last frame would be marked after it."""
    return tracks.events[tracks.events["frame"] < len(tracks)]
