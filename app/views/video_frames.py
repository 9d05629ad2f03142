"""Frames of a video for the browser, one at a time and in any order: as pictures, as identities, with measurements."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.measure import column
from lisa_micro.types import InputError
from lisa_micro_app.views.masks import labels_png
from lisa_micro_app.views.tables import number

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.clip import Clip, Run
    from lisa_micro_app.state.session import Session

KEPT = "video"
"""Name under which this page keeps its things in the session."""
_JPEG_QUALITY = 88
_BOX = ["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]


class FrameStore:
    """Pictures of the frames of a video, in one file: written in order, had in any order.

    Args:
        path: of the file; a new one.
        longest: longer side of a picture, px; a smaller frame is not enlarged.

    Attributes:
        thumbnail: the first frame, small.
    """

    def __init__(self, path: Path, longest: int):
        self.path, self.longest = path, longest
        self.thumbnail = b""
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, pixels: np.ndarray) -> None:
        """Keep the next frame, ``(H, W)`` intensities of any range.

        Raises:
            InputError: the disk is full.
        """
        content = grey_jpeg(pixels, self.longest)
        if not self.thumbnail:
            self.thumbnail = grey_jpeg(pixels, 160)
        try:
            with self.path.open("ab") as file:
                file.write(content)
        except OSError as error:
            raise InputError(f"The video cannot be kept: {error.strerror or error}.") from error
        self._ends.append(self._ends[-1] + len(content))

    def __getitem__(self, t: int) -> bytes:
        """Frame ``t`` as a JPEG file.

        Raises:
            IndexError: there is no such frame.
            OSError: the file is gone.
        """
        if not 0 <= t < len(self):
            raise IndexError(f"there is no frame {t}")
        with self.path.open("rb") as file:
            file.seek(self._ends[t])
            return file.read(self._ends[t + 1] - self._ends[t])


def grey_jpeg(pixels: np.ndarray, longest: int) -> bytes:
    """``(H, W)`` in grey with robust contrast as a JPEG file, its longer side at most ``longest`` px."""
    from PIL import Image

    resizing = resize_long_side(pixels.shape, min(max(pixels.shape), longest))
    grey = np.clip(resizing.image(to_unit_range(pixels)), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((grey * 255).round().astype(np.uint8)).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def frame_facts(tracks: Tracks, t: int) -> dict[str, Any]:
    """What the page shows of the particles of frame ``t``: ``boxes`` (identity -> XYXY px) and ``lines`` (identity ->
    ``[[name, value with unit], ...]``)."""
    rows = tracks.tracks[tracks.tracks["frame"] == t]
    unit, square = ("px", "px²") if tracks.pixel_size_nm is None else ("nm", "nm²")
    boxes = dict(zip(map(str, rows["identity"]), rows[_BOX].astype(int).values.tolist(), strict=True))
    lines: dict[str, list[list[str]]] = {}
    shown = (("diameter", unit), ("area", square), ("circularity", ""), ("contacts", ""))
    there = [(name, column(name, unit), of) for name, of in shown if column(name, unit) in rows]
    for row in rows.to_dict("records"):
        identity = int(row["identity"])
        lines[str(identity)] = [[name, f"{number(row[key])} {of}".rstrip()] for name, key, of in there]
        parents = tracks.lineage.get(identity, {}).get("parents", [])
        if parents:
            lines[str(identity)].append(["came of", " and ".join(map(str, parents))])
    return {"boxes": boxes, "lines": lines}


def identity_colours(tracks: Tracks) -> dict[int, str]:
    """Identity -> ``#rrggbb``, those of the movie that the command line makes. Only frames in which somebody is new are
    looked at."""
    from lisa_micro.viz.movie import StableColours
    from lisa_micro.viz.overlay import PALETTE
    from lisa_micro_app.state.conversation import hex_colour

    colours = StableColours()
    for t in sorted({life["first_frame"] for life in tracks.lineage.values()}):
        if t < len(tracks):
            colours.table(tracks.labels[t])
    return {name: hex_colour(PALETTE[k]) for name, k in colours.chosen.items()}


def served(session: Session, key: str, name: str) -> tuple[bytes, str] | None:
    """One frame for the browser.

    Args:
        session: whose page asks.
        key: of its clip, for a picture; of its run, for labels and facts.
        name: ``<frame>.jpg`` (the frame), ``<frame>.png`` (identities, as
            :func:`lisa_micro_app.views.masks.labels_png`) or ``<frame>.json`` (see :func:`frame_facts`).

    Returns:
        content and media type; ``None`` where there is no such thing.
    """
    kept = session.extras.get(KEPT)
    digits, _, kind = name.partition(".")
    if kept is None or not (digits.isascii() and digits.isdigit() and len(digits) < 9):
        return None
    clip: Clip | None = kept.clip
    run: Run | None = kept.run
    t = int(digits)
    try:
        if kind == "jpg" and clip is not None and clip.key == key:
            return clip.frames[t], "image/jpeg"
        if run is not None and run.key == key and t < len(run.tracks):
            if kind == "png":
                return labels_png(run.tracks.labels[t], run.clip.frames.longest), "image/png"
            if kind == "json":
                return json.dumps(frame_facts(run.tracks, t)).encode(), "application/json"
    except (IndexError, OSError, InputError):  # taken away meanwhile
        return None
    return None
