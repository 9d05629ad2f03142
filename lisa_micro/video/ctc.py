"""Export tracks in the format of the Cell Tracking Challenge."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io.files import temporary_prefix
from lisa_micro.types import InputError
from lisa_micro.video.events import LineageEntry

if TYPE_CHECKING:
    import pandas as pd


def ctc_rows(
    tracks: pd.DataFrame, lineage: Mapping[int, LineageEntry]
) -> tuple[list[tuple[int, int, int, int]], dict[tuple[int, int], int]]:
    """Convert tracks to rows without gaps and with at most one parent, as the format requires.

    After a gap, a particle continues as a new label whose parent is the label before the gap. Of several parents, the
    one with the largest last area is kept.

    Args:
        tracks: table with the columns ``frame``, ``identity`` and ``area_px2``.
        lineage: ``parents`` of each track.

    Returns:
        rows (label, first frame, last frame, parent or 0) with labels 1, 2, ...; and (frame, track ID) -> label.
    """
    runs: dict[int, list[tuple[int, int]]] = {}
    last_area: dict[int, float] = {}
    if not len(tracks):
        return [], {}
    ids, frame = (tracks[name].to_numpy(np.int64) for name in ("identity", "frame"))
    area = tracks["area_px2"].to_numpy(float)
    order = np.lexsort((frame, ids))
    names, begins = np.unique(ids[order], return_index=True)
    for identity, rows in zip(names.tolist(), np.split(order, begins[1:]), strict=True):
        frames = frame[rows]
        breaks = np.flatnonzero(np.diff(frames) > 1)
        starts, stops = np.r_[frames[0], frames[breaks + 1]], np.r_[frames[breaks], frames[-1]]
        runs[identity] = list(zip(starts.tolist(), stops.tolist(), strict=True))
        last_area[identity] = float(area[rows[-1]])
    result: list[tuple[int, int, int, int]] = []
    of: dict[tuple[int, int], int] = {}
    final: dict[int, int] = {}  # track ID -> label of its last run
    for identity in sorted(runs, key=lambda k: (runs[k][0][0], k)):
        parents = [p for p in lineage[identity]["parents"] if p in final] if identity in lineage else []
        parent = final[max(parents, key=lambda p: last_area[p])] if parents else 0
        for start, stop in runs[identity]:
            label = len(result) + 1
            result.append((label, start, stop, parent))
            of.update({(t, identity): label for t in range(start, stop + 1)})
            final[identity] = parent = label
    return result, of


def write_ctc(
    labels: Iterable[np.ndarray], tracks: pd.DataFrame, lineage: Mapping[int, LineageEntry], folder: Path
) -> Path:
    """Write ``mask000.tif``, ``mask001.tif``, ... (uint16) and ``res_track.txt``; an earlier export is replaced.

    Args:
        labels: ``(H, W)`` track IDs of each frame.
        tracks, lineage: see :func:`ctc_rows`.
        folder: output folder; it appears when it is complete.

    Returns:
        ``folder``.

    Raises:
        InputError: if it cannot be written, or if there are more than 65535 labels, the limit of the format.
    """
    import tifffile

    rows, of = ctc_rows(tracks, lineage)
    if len(rows) > np.iinfo(np.uint16).max:
        raise InputError(f"The Cell Tracking Challenge format holds at most 65535 labels, but there are {len(rows)}.")
    frames = tracks["frame"].max() if len(tracks) else 0
    digits = max(3, len(str(int(frames))))
    try:
        draft = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=folder.parent))
        try:
            for t, image in enumerate(labels):
                table = np.zeros(int(image.max(initial=0)) + 1, np.uint16)
                for identity in np.flatnonzero(np.bincount(image.ravel()))[1 if (image == 0).any() else 0 :]:
                    table[identity] = of.get((t, int(identity)), 0)
                tifffile.imwrite(draft / f"mask{t:0{digits}}.tif", table[image], compression="zlib")
            text = "".join(f"{label} {start} {stop} {parent}\n" for label, start, stop, parent in rows)
            (draft / "res_track.txt").write_text(text, encoding="ascii")
            draft.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            draft.replace(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    return folder
