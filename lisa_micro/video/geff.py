"""Tracks as a graph in the Graph Exchange File Format (GEFF), in which a particle may have two parents.

The Cell Tracking Challenge format allows one parent only, so coalescence is lost there; here both edges are kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lisa_micro.extras import require
from lisa_micro.io.files import temporary_prefix
from lisa_micro.types import InputError
from lisa_micro.video.track_data import TrackData


def write_geff(tracks: TrackData, path: str | os.PathLike[str]) -> Path:
    """Write a node for each particle and frame, and an edge to what becomes of it.

    Nodes have ``t`` (frame), ``y`` and ``x`` (centroid in px), ``track`` (track ID) and ``area_px2``. Edges join the
    consecutive frames of a track, and the last frame of each parent with the first frame of the particle into which it
    went. Axes are scaled to seconds and nanometres where these are known.

    Args:
        tracks: tracks of a video.
        path: folder, by convention ``NAME.geff``; an earlier one is replaced.

    Returns:
        the path.

    Raises:
        InputError: the package geff is missing, or the folder cannot be written.
    """
    require("Writing GEFF", "geff")
    import geff
    import networkx

    graph = networkx.DiGraph()
    ends: dict[int, tuple[int, int]] = {}
    table = tracks.tracks.sort_values(["identity", "frame"], kind="stable")
    columns = ("identity", "frame", "centroid_y_px", "centroid_x_px", "area_px2")
    for node, row in enumerate(table[list(columns)].itertuples(index=False)):
        identity, frame = int(row[0]), int(row[1])
        graph.add_node(node, t=frame, y=float(row[2]), x=float(row[3]), track=identity, area_px2=float(row[4]))
        first, last = ends.get(identity, (node, node))
        if last != node:
            graph.add_edge(last, node)
        ends[identity] = (first, node)
    for identity, entry in tracks.lineage.items():
        for parent in entry["parents"]:
            if identity in ends and parent in ends:
                graph.add_edge(ends[parent][1], ends[identity][0])
    nm, seconds = tracks.pixel_size_nm, tracks.frame_time_s
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=path.parent))
        try:
            geff.write(
                graph,
                draft / "tracks.geff",
                axis_names=["t", "y", "x"],
                axis_units=["frame", "pixel", "pixel"],
                axis_types=["time", "space", "space"],
                axis_scales=[seconds, nm, nm],
                scaled_units=["second" if seconds else None, *(["nanometer" if nm else None] * 2)],
                overwrite=True,
            )
            shutil.rmtree(path, ignore_errors=True)
            (draft / "tracks.geff").replace(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(f"Cannot write to {path}: {error.strerror or error}.") from error
    return path
