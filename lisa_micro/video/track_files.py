"""Write the files of a tracked video and read them back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lisa_micro.io import LabelStack, LabelStackWriter, check_output, write_files, write_json
from lisa_micro.types import InputError
from lisa_micro.video.ctc import write_ctc
from lisa_micro.video.track_data import TrackData

if TYPE_CHECKING:
    import pandas as pd

TRACK_FILES = ("tracks.csv", "events.csv", "necks.csv", "lineage.json", "labels.tif", "answer.json", "drift.csv")
"""Names of the files; :func:`write_tracks` also writes the folder ``ctc``."""

_Data = TypeVar("_Data", bound=TrackData)


def write_tracks(tracks: TrackData, folder: str | os.PathLike[str], force: bool = False) -> list[Path]:
    """Write :data:`TRACK_FILES`, and the folder ``ctc`` for the tools of the Cell Tracking Challenge.

    The folder ``ctc`` has masks and ``res_track.txt``, in which a particle has at most one parent, the largest.

    Args:
        tracks: tracks to write.
        folder: output folder, created if it is missing.
        force: replace earlier results.

    Returns:
        paths of the files.

    Raises:
        InputError: if the folder cannot be written, or has results and ``force`` is false.
    """
    folder = check_output(folder, force, names=TRACK_FILES)
    stack = folder / "labels.tif"
    writers: dict[str, Callable[[Path], None]] = {
        "tracks.csv": lambda path: tracks.tracks.to_csv(path, index=False),
        "events.csv": lambda path: _with_text_ids(tracks.events).to_csv(path, index=False),
        "necks.csv": lambda path: tracks.necks.to_csv(path, index=False),
        "lineage.json": lambda path: write_json(path, tracks.lineage),
    }
    if not (isinstance(tracks.labels, LabelStack) and tracks.labels.path.resolve() == stack.resolve()):
        writers["labels.tif"] = lambda path: _write_labels(tracks, path)
    if tracks.drift is not None:
        drift = tracks.drift
        writers["drift.csv"] = lambda path: _drift_table(drift).to_csv(path, index=False)
    else:
        (folder / "drift.csv").unlink(missing_ok=True)
    writers["answer.json"] = lambda path: write_json(path, tracks.record)
    written = write_files(folder, writers)
    written += [write_ctc(tracks.labels, tracks.tracks, tracks.lineage, folder / "ctc")]
    return written if "labels.tif" in writers else [*written, stack]


def _write_labels(tracks: TrackData, path: Path) -> None:
    with LabelStackWriter(path, tracks.pixel_size_nm, tracks.frame_time_s) as writer:
        for labels in tracks.labels:
            writer.append(labels)


def _drift_table(drift: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"frame": np.arange(len(drift)), "x_px": drift[:, 0], "y_px": drift[:, 1]})


def read_tracks(folder: str | os.PathLike[str], kind: type[_Data]) -> _Data:
    """Read what :func:`write_tracks` wrote.

    Args:
        folder: results folder.
        kind: class of the result, such as :class:`lisa_micro.video.tracks.Tracks`.

    Raises:
        InputError: if a file is missing or unreadable.
    """
    import pandas as pd

    folder = Path(folder)
    try:
        record = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
        tables = [pd.read_csv(folder / f"{name}.csv") for name in ("tracks", "events", "necks")]
        drift = folder / "drift.csv"
        path = pd.read_csv(drift)[["x_px", "y_px"]].to_numpy(float) if drift.is_file() else None
        video = record["video"]
        return kind(
            tables[0],
            _with_tuple_ids(tables[1]),
            tables[2],
            {int(k): entry for k, entry in lineage.items()},
            LabelStack(folder / "labels.tif"),
            (video["height_px"], video["width_px"]),
            video["pixel_size_nm"],
            video["frame_time_s"],
            record["concept"],
            path,
            tuple(record["notes"]),
            record,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} does not hold the results of 'lisa-micro track', or not all of them.") from error


def _with_text_ids(events: pd.DataFrame) -> pd.DataFrame:
    """Format the track IDs before and after an event as text, such as ``"3 7"``."""
    return events.assign(**{name: [" ".join(map(str, ids)) for ids in events[name]] for name in ("before", "after")})


def _with_tuple_ids(events: pd.DataFrame) -> pd.DataFrame:
    def ids(text: object) -> tuple[int, ...]:
        # a column of single track IDs is read as numbers, with NaN for none
        if isinstance(text, float):
            return () if np.isnan(text) else (int(text),)
        return tuple(int(part) for part in str(text).split())

    split = events.copy()
    for name in ("before", "after"):
        split[name] = [ids(value) for value in events[name]]
    return split
