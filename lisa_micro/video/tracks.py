"""The result of following a video: identities, tables, events and lineage, and their files."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lisa_micro.io import LabelStack, LabelStackWriter, check_output, write_files, write_json
from lisa_micro.measure import Neck, measure_necks, particle_properties, particle_table
from lisa_micro.measure.contacts import MAX_GAP
from lisa_micro.measure.waists import body_gap
from lisa_micro.types import InputError, Track

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.video.analysis import Findings
    from lisa_micro.video.questions.answer import VideoAnswer, VideoConversation

TRACK_FILES = ("tracks.csv", "events.csv", "necks.csv", "lineage.json", "labels.tif", "answer.json", "drift.csv")
"""Names of the files; beside them the folder ``ctc``."""


class LabelFrames(Protocol):
    """Label images of a video: ``frames[t]`` and iteration give ``(H, W)`` int32 identities."""

    def __len__(self) -> int: ...

    def __getitem__(self, t: int) -> np.ndarray: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


class PackedLabels:
    """Label images in memory, each compressed to some kilobytes."""

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, tuple[int, int]]] = []

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


@dataclass
class Tracks:
    """Everything that was found in a video.

    Attributes:
        tracks: one row a particle and frame: ``frame``, ``time_s`` (NaN where the frame time is unknown),
            ``identity``, then the columns of :func:`lisa_micro.measure_particles`; with drift correction also
            ``sample_x_px``, ``sample_y_px``: the centroid where it would be had the sample not drifted.
        events: see :func:`lisa_micro.video.events.event_table`.
        necks: one row a contact and frame: ``frame``, ``time_s``, then the columns of
            :func:`lisa_micro.measure_necks`, with identities as ``particle_a`` and ``particle_b``.
        lineage: identity -> ``parents``, ``children``, ``first_frame``, ``last_frame``, ``frames``, ``end``.
        labels: identities of each frame.
        shape: ``(H, W)`` px. pixel_size_nm, frame_time_s: ``None`` where unknown.
        concept: what was followed.
        drift: ``(T, 2)`` x, y px since the first frame, ``None`` where it was not corrected.
        notes: what a user should know, one sentence each.
        record: enough to repeat the run, as in ``answer.json``.
    """

    tracks: pd.DataFrame
    events: pd.DataFrame
    necks: pd.DataFrame
    lineage: dict[int, dict[str, Any]]
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
        """All that were followed, ascending."""
        return sorted(self.lineage)

    def track(self, identity: int) -> Track:
        """One particle through the video.

        Raises:
            InputError: nobody has that identity.
        """
        if identity not in self.lineage:
            raise InputError(f"there is no identity {identity} in this video")
        rows = self.tracks[self.tracks["identity"] == identity]
        boxes = rows[["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]].to_numpy(float)
        return Track(identity, rows["frame"].to_numpy(), boxes, tuple(self.lineage[identity]["parents"]))

    def pair(self, a: int, b: int) -> pd.DataFrame:
        """The rows of :attr:`necks` of two particles, in order of frames."""
        first, second = min(a, b), max(a, b)
        return self.necks[(self.necks["particle_a"] == first) & (self.necks["particle_b"] == second)]

    def counts(self) -> np.ndarray:
        """``(T,)`` number of particles in each frame."""
        return np.bincount(self.tracks["frame"].to_numpy(np.int64), minlength=len(self))

    def chat(self, assistant: Any, video: Any = None) -> VideoConversation:
        """A conversation about the video in words; see :class:`lisa_micro.video.questions.answer.VideoConversation`."""
        from lisa_micro.video.questions.answer import VideoConversation

        return VideoConversation(self, assistant, video)

    def ask(self, assistant: Any, question: str, video: Any = None) -> VideoAnswer:
        """One question about the video in words; arguments as for :meth:`chat`.

        Raises:
            InputError: an empty question, or an assistant or a video that cannot be used.
        """
        return self.chat(assistant, video).ask(question)

    @cached_property
    def findings(self) -> Findings:
        """What follows from the tracks: growth, sizes, motion, relaxation; computed when first asked for."""
        from lisa_micro.video.analysis import Findings

        return Findings(self)

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> list[Path]:
        """Writes all files: :data:`TRACK_FILES`, and in ``ctc`` what the Cell Tracking Challenge's tools read (masks
        and ``res_track.txt``; there a particle has at most one parent: the largest).

        Args:
            folder: made where it is missing.
            force: replace results that are there.

        Raises:
            InputError: the folder cannot be written, or holds results and ``force`` is false.
        """
        from lisa_micro.video.ctc import write_ctc

        folder = check_output(folder, force, names=TRACK_FILES)
        stack = folder / "labels.tif"
        writers = {
            "tracks.csv": lambda path: self.tracks.to_csv(path, index=False),
            "events.csv": lambda path: _joined(self.events).to_csv(path, index=False),
            "necks.csv": lambda path: self.necks.to_csv(path, index=False),
            "lineage.json": lambda path: write_json(path, self.lineage),
            "answer.json": lambda path: write_json(path, self.record),
        }
        if not (isinstance(self.labels, LabelStack) and self.labels.path.resolve() == stack.resolve()):
            writers["labels.tif"] = self._write_labels
        if self.drift is not None:
            writers["drift.csv"] = self._write_drift
        else:
            (folder / "drift.csv").unlink(missing_ok=True)
        written = write_files(folder, writers)
        written += [write_ctc(self.labels, self.tracks, self.lineage, folder / "ctc")]
        return written if "labels.tif" in writers else [*written, stack]

    def _write_labels(self, path: Path) -> None:
        with LabelStackWriter(path, self.pixel_size_nm, self.frame_time_s) as writer:
            for labels in self.labels:
                writer.append(labels)

    def _write_drift(self, path: Path) -> None:
        import pandas as pd

        assert self.drift is not None
        columns = {"frame": np.arange(len(self.drift)), "x_px": self.drift[:, 0], "y_px": self.drift[:, 1]}
        pd.DataFrame(columns).to_csv(path, index=False)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tracks:
        """What :meth:`save` wrote.

        Raises:
            InputError: the folder does not hold it, or not all of it.
        """
        import pandas as pd

        folder = Path(folder)
        try:
            record = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
            lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
            tables = [pd.read_csv(folder / f"{name}.csv") for name in ("tracks", "events", "necks")]
            drift = folder / "drift.csv"
            moved = pd.read_csv(drift)[["x_px", "y_px"]].to_numpy(float) if drift.is_file() else None
            video = record["video"]
            return cls(
                tables[0],
                _split(tables[1]),
                tables[2],
                {int(k): entry for k, entry in lineage.items()},
                LabelStack(folder / "labels.tif"),
                (video["height_px"], video["width_px"]),
                video["pixel_size_nm"],
                video["frame_time_s"],
                record["concept"],
                moved,
                tuple(record["notes"]),
                record,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} does not hold the results of a followed video.") from error


def _joined(events: pd.DataFrame) -> pd.DataFrame:
    """Identities as text, "3 7"."""
    return events.assign(**{name: [" ".join(map(str, ids)) for ids in events[name]] for name in ("before", "after")})


def _split(events: pd.DataFrame) -> pd.DataFrame:
    def ids(text: object) -> tuple[int, ...]:
        # a column of single identities is read as numbers, with NaN for none
        if isinstance(text, float):
            return () if np.isnan(text) else (int(text),)
        return tuple(int(part) for part in str(text).split())

    return events.assign(**{name: [ids(value) for value in events[name]] for name in ("before", "after")})


def _as_necks(table: pd.DataFrame) -> list[Neck]:
    columns = ("particle_a", "particle_b", "x0_px", "y0_px", "x1_px", "y1_px", "x_px", "R_px")
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    return [Neck(a, b, ((x0, y0), (x1, y1)), x, radius) for a, b, x0, y0, x1, y1, x, radius in rows]


_PARTS = 100
"""Tables of single frames that are kept apart."""


class Tables:
    """Rows of the tables as frames become final.

    Args:
        pixel_size_nm, frame_time_s: ``None`` where unknown.
        contacts: whether to measure necks.
    """

    def __init__(self, pixel_size_nm: float | None, frame_time_s: float | None, contacts: bool):
        self.pixel_size_nm, self.frame_time_s, self.contacts = pixel_size_nm, frame_time_s, contacts
        self._tracks: list[pd.DataFrame] = []
        self._necks: list[pd.DataFrame] = []

    def add(
        self, frame: int, labels: np.ndarray, pixels: np.ndarray, drift: Sequence[float] | None
    ) -> tuple[dict[str, np.ndarray], list[Neck]]:
        """Measure a frame; its properties and necks."""

        properties = particle_properties(labels, pixels)
        table = particle_table(properties, self.pixel_size_nm).rename(columns={"label": "identity"})
        if drift is not None:
            table["sample_x_px"] = table["centroid_x_px"] - drift[0]
            table["sample_y_px"] = table["centroid_y_px"] - drift[1]
        necks = measure_necks(labels if self.contacts else np.zeros_like(labels), self.pixel_size_nm)
        # outlines that reach over to each other are no contact: those come and go, and would begin many frames early
        pairs = zip(necks["particle_a"], necks["particle_b"], strict=True)
        real = np.array([body_gap(labels, a, b) <= MAX_GAP for a, b in pairs], bool)
        necks = necks[real].reset_index(drop=True)
        necks["neck"] = np.arange(1, len(necks) + 1)
        for rows, store in ((table, self._tracks), (necks, self._necks)):
            rows.insert(0, "frame", frame)
            rows.insert(1, "time_s", frame * (np.nan if self.frame_time_s is None else self.frame_time_s))
            # an empty table would only make the types of the columns doubtful
            if len(rows) or not store:
                store.append(rows)
            if len(store) > _PARTS:  # many small tables need ten times the memory of a large one
                store[:] = [self._whole(store)]
        return properties, _as_necks(necks)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Tracks and necks of all frames."""
        return self._whole(self._tracks), self._whole(self._necks)

    @staticmethod
    def _whole(parts: list[pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
