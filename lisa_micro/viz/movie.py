"""A followed video as a movie: identities in colours that stay, marks where something happens, time and scale bar."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.files import write_files
from lisa_micro.scale_bar import DEFAULT_FONT, load_font
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz.overlay import PALETTE, close_pairs, draw_overlay, draw_scale_bar

if TYPE_CHECKING:
    import pandas as pd

EVENT_COLOURS: dict[str, tuple[int, int, int]] = {
    "appear": (90, 230, 130),
    "contact": (120, 190, 255),
    "neck": (200, 160, 255),
    "coalesce": (255, 90, 80),
    "split": (255, 190, 60),
    "vanish": (235, 235, 235),
    "leave": (190, 190, 190),
}
"""Kind of event -> RGB of its mark."""
_CODECS = ("libx264", "libopenh264", "mpeg4")  # the first that this build of FFmpeg has
_CRF = "20"  # constant quality of x264: lower is better and larger; thin contours need about this
_MOST_NAMES = 80


def write_overlay_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray | Micrograph],
    labels: Iterable[np.ndarray],
    events: pd.DataFrame | None = None,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
    rate: float = 10.0,
    hold: int = 6,
    names: bool = True,
    enlarge: bool = True,
) -> Path:
    """Writes an MP4, frame by frame, so that memory does not grow with its length.

    Args:
        path: ends in ``.mp4``; appears when it is complete.
        frames: ``(H, W)`` intensities of any range, all of one size.
        labels: ``(H, W)`` identities of each frame. Where one of the two ends before the other, the movie ends.
        events: one row an event: ``kind``, ``frame``, ``x_px``, ``y_px`` (in the coordinates of its frame), ``after``
            (identities; where it is there, the mark follows what is left of the event). Each is marked for ``hold``
            frames.
        pixel_size_nm: for the scale bar; ``None`` for none.
        frame_time_s: for the time; without it the number of the frame is shown.
        rate: frames a second of the movie.
        hold: frames.
        names: whether to write its identity on every particle (of at most 80).
        enlarge: small frames are shown enlarged, as by :func:`lisa_micro.io.draw_overlay`.

    Returns:
        the path.

    Raises:
        InputError: no frame, frames of several sizes, a rate or hold that cannot be, a name without ``.mp4``, or a
            folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"the overlay video is an MP4: give a name that ends in .mp4, not {path.name!r}")
    if not (math.isfinite(rate) and 0 < rate <= 1000) or hold < 1:
        raise InputError("give a rate above 0 and at most 1000 frames a second, and hold marks for at least 1 frame")
    marks = _Marks(events, hold)
    pictures = _pictures(frames, labels, marks, pixel_size_nm, frame_time_s, names, enlarge)
    return write_files(path.parent, {path.name: lambda part: _encode(part, pictures, rate)})[0]


@dataclass
class StableColours:
    """A colour for every identity that it keeps. A new one gets a colour that none of its neighbours has, and of those
    the one that the fewest identities have; later neighbours may share it."""

    chosen: dict[int, int] = field(default_factory=dict)

    def table(self, labels: np.ndarray) -> np.ndarray:
        """``(labels.max() + 1, 3)`` uint8 RGB for ``(H, W)`` identities."""
        names = np.unique(labels[labels > 0]).tolist()
        fresh = [name for name in names if name not in self.chosen]
        near: dict[int, set[int]] = {name: set() for name in fresh}
        for a, b in close_pairs(labels).tolist() if fresh else []:
            for one, other in ((a, b), (b, a)):
                if one in near:
                    near[one].add(other)
        used = np.bincount(list(self.chosen.values()), minlength=len(PALETTE))
        for name in fresh:
            taken = {self.chosen.get(other) for other in near[name]}
            order = sorted(range(len(PALETTE)), key=lambda k: (k in taken, used[k], k))
            self.chosen[name] = order[0]
            used[order[0]] += 1
        table = np.zeros((int(labels.max(initial=0)) + 1, 3), np.uint8)
        for name in names:
            table[name] = PALETTE[self.chosen[name]]
        return table


class _Marks:
    """Events that are shown in a frame."""

    def __init__(self, events: pd.DataFrame | None, hold: int) -> None:
        self.hold = hold
        self._rows: dict[int, list[tuple[str, float, float, tuple[int, ...]]]] = {}
        if events is None or len(events) == 0:
            return
        missing = {"kind", "frame", "x_px", "y_px"} - set(events.columns)
        if missing:
            raise InputError(f"the table of events has no column {sorted(missing)[0]!r}")
        after = events["after"] if "after" in events else [()] * len(events)
        for kind, frame, x, y, names in zip(
            events["kind"], events["frame"], events["x_px"], events["y_px"], after, strict=True
        ):
            self._rows.setdefault(int(frame), []).append((str(kind), float(x), float(y), tuple(names)))

    def at(self, frame: int) -> Iterator[tuple[str, int, float, float, tuple[int, ...]]]:
        """Kind, age in frames, x, y and identities after of each; the newest first, of one frame the last first."""
        for age in range(min(self.hold, frame + 1)):
            for kind, x, y, names in reversed(self._rows.get(frame - age, [])):
                # what was there in the first frame has not just happened
                if frame - age > 0 and math.isfinite(x) and math.isfinite(y):
                    yield kind, age, x, y, names


def _pictures(
    frames: Iterable[np.ndarray | Micrograph],
    labels: Iterable[np.ndarray],
    marks: _Marks,
    pixel_size_nm: float | None,
    frame_time_s: float | None,
    names: bool,
    enlarge: bool,
) -> Iterator[np.ndarray]:
    """``(h, w, 3)`` uint8, both even, as the codecs want it."""
    colours = StableColours()
    shape: tuple[int, ...] | None = None
    for number, (frame, found) in enumerate(zip(frames, labels, strict=False)):
        pixels = frame.pixels if isinstance(frame, Micrograph) else np.asarray(frame)
        if pixels.ndim != 2 or pixels.shape != np.shape(found):
            raise InputError(f"frame {number} of shape {pixels.shape} does not fit labels of shape {np.shape(found)}")
        if shape is not None and pixels.shape != shape:
            raise InputError(f"frame {number} is of shape {pixels.shape}, those before it of {shape}: use one size")
        shape = pixels.shape
        picture = draw_overlay(pixels, found, fill=0.3, enlarge=enlarge, colours=colours.table(found))
        time = f"frame {number}" if frame_time_s is None else _time_text(number * frame_time_s, frame_time_s)
        picture = _annotate(picture, found, list(marks.at(number)), marks.hold, time, names, pixel_size_nm)
        yield np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")


def _time_text(time_s: float, step_s: float) -> str:
    """A time with as many decimals as its steps need, at most three."""
    decimals = int(np.clip(-math.floor(math.log10(step_s)) if 0 < step_s < 1 else 0, 0, 3))
    return f"{time_s:.{decimals}f} s"


def _annotate(
    picture: np.ndarray,
    labels: np.ndarray,
    marks: list[tuple[str, int, float, float, tuple[int, ...]]],
    hold: int,
    time: str,
    names: bool,
    pixel_size_nm: float | None,
) -> np.ndarray:
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    scale = image.size[0] / labels.shape[1]
    text_px = max(11, min(48, round(min(image.size) / 32)))
    spots = _centres(labels)
    if names and len(spots) <= _MOST_NAMES:
        small = load_font(DEFAULT_FONT, max(9, round(text_px * 0.62)))
        for name, (x, y) in spots.items():
            at = ((x + 0.5) * scale, (y + 0.5) * scale)
            draw.text(
                at, str(name), font=small, fill=(255, 255, 255), anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0)
            )
    written: list[tuple[float, float]] = []
    for kind, age, x, y, after in marks:  # the newest first; an older one close by gets no words
        if len(after) == 1 and after[0] in spots:
            x, y = spots[after[0]]
        at = ((x + 0.5) * scale, (y + 0.5) * scale)
        alone = all(math.hypot(at[0] - other[0], at[1] - other[1]) > 4 * text_px for other in written)
        _ring(
            draw, kind if alone else "", EVENT_COLOURS.get(kind, (255, 255, 255)), age / hold, at, text_px, image.size
        )
        written += [at] if alone else []
    _stamp(draw, time, text_px)
    if pixel_size_nm is not None:
        draw_scale_bar(draw, image.size, pixel_size_nm / scale)
    return np.asarray(image)


def _centres(labels: np.ndarray) -> dict[int, tuple[float, float]]:
    """Identity -> x, y of its centroid."""
    rows, columns = np.nonzero(labels)
    names, index = np.unique(labels[rows, columns], return_inverse=True)
    count = np.maximum(np.bincount(index, minlength=len(names)), 1)
    x, y = (np.bincount(index, weights=v, minlength=len(names)) / count for v in (columns, rows))
    return {int(name): (float(a), float(b)) for name, a, b in zip(names, x, y, strict=True)}


def _ring(
    draw: Any,
    words: str,
    colour: tuple[int, int, int],
    age: float,
    at: tuple[float, float],
    text_px: int,
    size: tuple[int, int],
) -> None:
    """A ring that widens and fades, with words below it (above where there is no room)."""
    x, y = at
    alpha = round(255 * (1 - 0.6 * age))
    radius = text_px * (1.0 + 0.8 * age)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=(*colour, alpha), width=max(2, text_px // 8))
    if not words:
        return
    font = load_font(DEFAULT_FONT, max(9, round(text_px * 0.7)))
    below, above = y + radius + text_px * 0.6, y - radius - text_px * 0.6
    half = draw.textlength(words, font=font) / 2 + 3
    place = (float(np.clip(x, half, max(size[0] - half, half))), below if below < size[1] - text_px else above)
    draw.text(place, words, font=font, fill=(*colour, alpha), anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0, alpha))


def _stamp(draw: Any, text: str, text_px: int) -> None:
    """Top left: the time."""
    font = load_font(DEFAULT_FONT, text_px)
    pad = round(text_px * 0.5)
    width = draw.textlength(text, font=font)
    box = [pad, pad, 3 * pad + width, 3 * pad + text_px]
    draw.rounded_rectangle(box, radius=round(pad * 0.7), fill=(10, 12, 16, 190))
    draw.text((2 * pad, 2 * pad + text_px / 2), text, font=font, fill=(255, 255, 255), anchor="lm")


def _encode(path: Path, pictures: Iterator[np.ndarray], rate: float) -> None:
    from fractions import Fraction
    from itertools import chain

    import av

    av.logging.set_level(av.logging.PANIC)  # FFmpeg writes to the terminal itself; what matters is raised
    first = next(pictures, None)
    if first is None:
        raise InputError("there is no frame to make an overlay video of")
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(_codec(), rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"  # what every browser and player shows
        if stream.codec_context.name == "libx264":
            stream.options = {"crf": _CRF, "preset": "veryfast"}
        for picture in chain((first,), pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _codec() -> str:
    import av

    for name in _CODECS:
        try:
            av.codec.Codec(name, "w")
        except (av.FFmpegError, ValueError):
            continue
        return name
    raise InputError("this build of PyAV writes neither H.264 nor MPEG-4; install av from the package index")
