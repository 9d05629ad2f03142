"""The data of a tracked video: tables, events, lineage and labels, without anything that is derived from them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lisa_micro.types import InputError, Track
from lisa_micro.video.events import Lineage

if TYPE_CHECKING:
    import pandas as pd


class LabelFrames(Protocol):
    """Label images of a video: ``frames[t]`` and iteration give ``(H, W)`` int32 track IDs."""

    def __len__(self) -> int: ...

    def __getitem__(self, t: int) -> np.ndarray: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


class PackedLabels:
    """Label images in memory, compressed to some kilobytes each."""

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, tuple[int, ...]]] = []

    def append(self, labels: np.ndarray) -> None:
        """Add ``(H, W)`` labels."""
        self._packed.append((zlib.compress(labels.astype("<i4").tobytes(), 1), labels.shape))

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, t: int) -> np.ndarray:
        packed, shape = self._packed[t]
        return np.frombuffer(zlib.decompress(packed), "<i4").reshape(shape).astype(np.int32)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[t] for t in range(len(self)))


@dataclass(eq=False, repr=False)
class TrackData:
    """Tracks of a video. :class:`lisa_micro.video.tracks.Tracks` adds files, reports and questions.

    Attributes:
        tracks: one row per particle and frame: ``frame``, ``time_s`` (NaN if the frame time is unknown), ``identity``
            (the track ID), then the columns of :func:`lisa_micro.measure_particles`; with drift correction also
            ``sample_x_px`` and ``sample_y_px``, the centroid in the frame of the sample.
        events: see :func:`lisa_micro.video.events.event_table`.
        necks: one row per contact and frame: ``frame``, ``time_s``, then the columns of
            :func:`lisa_micro.measure_necks`, with track IDs as ``particle_a`` and ``particle_b``.
        lineage: track ID -> :class:`lisa_micro.video.events.LineageEntry`.
        labels: track IDs of each frame as label images.
        shape: ``(H, W)`` px.
        pixel_size_nm, frame_time_s: ``None`` if unknown.
        concept: concept of the tracked instances.
        drift: ``(T, 2)`` x, y px since the first frame; ``None`` without drift correction.
        notes: what a user should know, one sentence each.
        record: enough to repeat the run, as in ``answer.json``.
    """

    tracks: pd.DataFrame
    events: pd.DataFrame
    necks: pd.DataFrame
    lineage: Lineage
    labels: LabelFrames
    shape: tuple[int, int]
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    concept: str = "particle"
    drift: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.labels)

    @property
    def identities(self) -> list[int]:
        """All track IDs, ascending."""
        return sorted(self.lineage)

    def track(self, identity: int) -> Track:
        """Return one track.

        Args:
            identity: track ID.

        Raises:
            InputError: if there is no such track.
        """
        if identity not in self.lineage:
            raise InputError(f"There is no track {identity} in this video; its track IDs are in Tracks.identities.")
        rows = self.tracks[self.tracks["identity"] == identity]
        boxes = rows[["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]].to_numpy(float)
        return Track(identity, rows["frame"].to_numpy(), boxes, tuple(self.lineage[identity]["parents"]))

    def pair(self, a: int, b: int) -> pd.DataFrame:
        """Return the rows of :attr:`necks` between two tracks, in order of frames."""
        first, second = min(a, b), max(a, b)
        return self.necks[(self.necks["particle_a"] == first) & (self.necks["particle_b"] == second)]

    def counts(self) -> np.ndarray:
        """Return the number of particles in each frame, ``(T,)``."""
        return np.bincount(self.tracks["frame"].to_numpy(np.int64), minlength=len(self))
