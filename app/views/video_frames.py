"""Frames of a video for the browser: pictures, labels and measurements, one frame per request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lisa_micro.measure import column
from lisa_micro.results.quantities import number
from lisa_micro.types import InputError
from lisa_micro.viz.browser import labels_png
from lisa_micro_app.state.session import Session

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks

_BOX = ["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]


def frame_facts(tracks: Tracks, t: int) -> dict[str, Any]:
    """The particles of frame ``t`` as plain data: ``boxes`` (XYXY px) and ``lines`` (``[[name, value with unit],
    ...]``), by track ID."""
    rows = tracks.tracks[tracks.tracks["frame"] == t]
    unit, square = ("px", "px²") if tracks.pixel_size_nm is None else ("nm", "nm²")
    boxes = dict(zip(map(str, rows["identity"]), rows[_BOX].astype(int).values.tolist(), strict=True))
    lines: dict[str, list[list[str]]] = {}
    shown = (("diameter", unit), ("area", square), ("circularity", ""), ("contacts", ""))
    measured = [(name, column(name, unit), of) for name, of in shown if column(name, unit) in rows]
    for row in rows.to_dict("records"):
        identity = int(row["identity"])
        lines[str(identity)] = [[name, f"{number(row[key])} {of}".rstrip()] for name, key, of in measured]
        entry = tracks.lineage.get(identity)
        if entry is not None and entry["parents"]:
            parents = entry["parents"]
            lines[str(identity)].append(["formed from", " and ".join(map(str, parents))])
    return {"boxes": boxes, "lines": lines}


def served(session: Session, key: str, name: str) -> tuple[bytes, str] | None:
    """One frame of a session's video.

    Args:
        session: that sends the request.
        key: of its clip, for a picture; of its run, for labels and measurements.
        name: ``<frame>.jpg`` (picture), ``<frame>.png`` (track IDs, as
            :func:`lisa_micro_app.views.masks.labels_png`) or ``<frame>.json`` (see :func:`frame_facts`).

    Returns:
        content and media type; ``None`` if it does not exist.
    """
    video = session.video
    digits, _, kind = name.partition(".")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 9):
        return None
    clip, run = video.clip, video.run
    t = int(digits)
    try:
        if kind == "jpg" and clip is not None and clip.key == key:
            return clip.frames[t], "image/jpeg"
        if run is not None and run.key == key and t < len(run.tracks):
            if kind == "png":
                return labels_png(run.tracks.labels[t], run.clip.frames.longest), "image/png"
            if kind == "json":
                return json.dumps(frame_facts(run.tracks, t)).encode(), "application/json"
    except (IndexError, OSError, InputError):  # removed meanwhile
        return None
    return None
