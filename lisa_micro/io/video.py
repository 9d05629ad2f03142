"""Read videos: movies, stacks, folders of frames, and sequences of images in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from lisa_micro.io.arrays import to_plane
from lisa_micro.io.formats import stacks
from lisa_micro.io.formats.movies import open_movie
from lisa_micro.io.formats.pictures import open_picture
from lisa_micro.io.formats.volumes import ROSETTASCIIO, is_mrc
from lisa_micro.io.memory import DataArray, Signal, Tensor, coordinate_step, signal_pixel_size, tensor_array
from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.reader import PICTURE_MAGIC, TIFF_MAGIC, file_head, read_plain
from lisa_micro.io.stream import Facts, VideoStream, facts_of, timed
from lisa_micro.io.survey import surveyed
from lisa_micro.io.times import check_frame_time, in_seconds
from lisa_micro.io.units import check_pixel_size, to_nm
from lisa_micro.types import InputError, Micrograph

MOVIE_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".webp", ".mrc", *ROSETTASCIIO)
"""Suffixes of the files that count as frames in a folder."""
RAW_SUFFIXES = (".mrc", ".mrcs", ".rec", *ROSETTASCIIO)
"""Suffixes of raw data, into which nothing is drawn."""


@runtime_checkable
class TimedFrames(Protocol):
    """A simulated video: frames with pixel size and frame time."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""

    @property
    def pixel_size_nm(self) -> float | None:
        """Edge length of a pixel in nm."""

    @property
    def modality(self) -> str | None:
        """Imaging mode."""

    @property
    def frame_time_s(self) -> float | None:
        """Seconds from frame to frame."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


VideoLike: TypeAlias = "VideoStream | str | os.PathLike[str] | np.ndarray | TimedFrames | Signal | DataArray | Any"
"""Everything that is accepted as a video; besides the named types any sequence of images."""


def read_video(
    source: VideoLike,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
) -> VideoStream:
    """Open a video; its frames are read during iteration.

    Supported files: movies (MP4, MOV, AVI, MKV, WebM), TIFF stacks (with the frame interval of ImageJ or OME), MRC
    stacks, animated GIF, and, with the extra ``[formats]``, stacks in DM3, DM4, EMD, SER and TVIPS. A folder is a video
    of the images in it, sorted by name in natural order (``f2`` before ``f10``).

    Args:
        source: path of a file or folder; array ``(T, H, W)`` or ``(T, H, W, 3)``; sequence of images of any kind that
            :func:`lisa_micro.read_micrograph` accepts; HyperSpy signal with one navigation axis; xarray ``DataArray``
            with dimensions time, y, x; simulated video; or a video that is already open.
        pixel_size_nm: edge length of a pixel in nm; takes precedence over the file's own.
        frame_time_s: seconds from frame to frame; takes precedence over the file's own.

    Returns:
        the video; notices for the user are in its ``notes``.

    Raises:
        InputError: not readable as a video, no frames, or a pixel size or frame time that is not positive.
    """
    size, interval = check_pixel_size(pixel_size_nm), check_frame_time(frame_time_s)
    if isinstance(source, VideoStream):
        video = source
    elif isinstance(source, str | os.PathLike):
        video = _open(Path(source))
    else:
        video = _from_memory(source)
    facts = video.facts
    if isinstance(source, str | os.PathLike) and not str(source).lower().endswith(RAW_SUFFIXES):
        facts = _looked_at(video)
    if size is not None:
        facts = replace(facts, pixel_size_nm=size, pixel_size_origin="user")
    if interval is not None:
        notes = tuple(note for note in facts.notes if "frame time" not in note)
        facts = replace(facts, frame_time_s=interval, frame_time_origin="user", notes=notes)
    return VideoStream(video.source, facts, video.frames)


def _looked_at(video: VideoStream) -> Facts:
    """The facts of a video with what is burnt into its first frame: data bar and scale bar."""
    facts = video.facts
    first = next(iter(video.frames()), None)
    if first is None:
        return facts
    known = Micrograph(first, facts.pixel_size_nm, video.source, facts.pixel_size_origin, facts.modality, facts.notes)
    seen = surveyed(known)
    notes = tuple(dict.fromkeys(seen.notes))
    return replace(
        facts,
        pixel_size_nm=seen.pixel_size_nm,
        pixel_size_origin=seen.pixel_size_origin,
        notes=notes,
        field=seen.field,
    )


def _open(path: Path) -> VideoStream:
    if path.is_dir():
        return _folder(path)
    head = file_head(path)
    if head[:4] in TIFF_MAGIC:
        return VideoStream(str(path), *stacks.tiff_stack(path))
    if _is_movie(path, head):
        return VideoStream(str(path), *open_movie(path))
    if path.suffix.lower() in ROSETTASCIIO:
        return VideoStream(str(path), *stacks.rosettasciio_stack(path))
    if is_mrc(path, head):
        return VideoStream(str(path), *stacks.mrc_stack(path))
    return _picture(path)


def _is_movie(path: Path, head: bytes) -> bool:
    if head[4:8] in (b"ftyp", b"moov", b"wide") or head[:4] == b"\x1aE\xdf\xa3":
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return path.suffix.lower() in MOVIE_SUFFIXES and not head.startswith(PICTURE_MAGIC)


def _picture(path: Path) -> VideoStream:
    """An animation, or a single picture as a video of one frame."""
    first = read_plain(path)
    count = int(first.metadata.get("pages", 1))

    def frames() -> Iterator[np.ndarray]:
        with open_picture(path) as picture:
            for page in range(count):
                try:
                    picture.seek(page)
                    array = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA") else picture)
                except Exception as error:
                    raise InputError(f"Frame {page} of {path.name} is damaged or cut short.") from error
                yield to_plane(array, path.name)[0]

    # a single picture is left to its own reader, which knows more modes
    return VideoStream(str(path), facts_of(first, count), frames if count > 1 else lambda: iter([first.pixels]))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares digits as numbers: ``f2`` comes before ``f10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _folder(path: Path) -> VideoStream:
    try:
        entries = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    files = sorted(
        (entry for entry in entries if entry.suffix.lower() in PICTURE_SUFFIXES), key=lambda e: natural_key(e.name)
    )
    if not files:
        raise InputError(f"{path} holds no images; give a folder with one image per frame, or a video file.")
    first = read_plain(files[0])
    facts = facts_of(first, len(files))
    kinds = sorted({entry.suffix.lower() for entry in files})
    if len(kinds) > 1:
        note = f"The folder holds images of several types ({', '.join(kinds)}); all are used, sorted by name."
        facts = replace(facts, notes=(*facts.notes, note))
    return VideoStream(str(path), facts, lambda: (read_plain(file).pixels for file in files))


def _from_memory(source: object) -> VideoStream:
    """A simulated video, a HyperSpy signal or data array with a time axis, or a sequence of frames."""
    if isinstance(source, TimedFrames):
        facts = Facts(
            (int(source.shape[0]), int(source.shape[1])),
            len(source),
            source.pixel_size_nm,
            "simulator",
            source.modality,
            source.frame_time_s,
            "simulator",
        )
        return VideoStream("simulation", facts, lambda: iter(source))
    if isinstance(source, Signal):
        return _from_signal(source)
    if isinstance(source, DataArray):
        return _from_data_array(source)
    frames = tensor_array(source) if isinstance(source, Tensor) else source
    return _from_frames(frames, PixelSize(None))


def _from_frames(frames: Any, size: PixelSize, source: str = "array") -> VideoStream:
    """A video from a sequence of frames: arrays, micrographs or anything else that is accepted as a micrograph."""
    try:
        count = len(frames)
        first = frames[0]
    except Exception as error:
        raise InputError(f"A video must be a path or an array (T, H, W), not {type(frames).__name__}.") from error
    if isinstance(first, np.ndarray | np.generic) and first.ndim not in (2, 3):
        raise InputError(f"A video array must be (T, H, W) of numbers; its first frame is of shape {first.shape}.")
    plane = read_plain(first)
    origin = plane.pixel_size_origin if size.nm is None else size.origin
    pixel_size_nm = plane.pixel_size_nm if size.nm is None else size.nm
    facts = Facts(plane.shape, count, pixel_size_nm, origin, plane.modality, notes=(*plane.notes, *size.notes))
    return VideoStream(source, facts, lambda: (read_plain(frame).pixels for frame in frames))


def _from_signal(signal: Signal) -> VideoStream:
    """A video from a HyperSpy signal with one navigation axis."""
    plane, stack = list(signal.axes_manager.signal_axes), list(signal.axes_manager.navigation_axes)
    if len(plane) != 2 or len(stack) != 1:
        raise InputError(
            "A HyperSpy signal must have one navigation axis and two signal axes to be a video, not "
            f"{len(stack)} and {len(plane)}."
        )
    order = [stack[0].index_in_array, plane[1].index_in_array, plane[0].index_in_array]
    frames = np.moveaxis(np.asarray(signal.data), order, [0, 1, 2])
    video = _from_frames(frames, signal_pixel_size(plane[0], plane[1]), "signal")
    seconds = in_seconds(float(stack[0].scale), str(stack[0].units or ""))
    return VideoStream(video.source, timed(video.facts, seconds, "axes"), video.frames)


def _from_data_array(source: DataArray) -> VideoStream:
    """A video from a data array whose first dimension is time."""
    if len(source.dims) != 3:
        raise InputError(f"A data array must have the dimensions time, y and x, not {tuple(source.dims)}.")
    time, rows, columns = source.dims
    steps = [coordinate_step(source, name) for name in (columns, rows)]
    edges = [None if step is None else to_nm(step, unit) for step, unit in steps]
    video = _from_frames(np.asarray(source.values), combine(edges[0], edges[1], "axes"), "data array")
    step, unit = coordinate_step(source, time)
    seconds = None if step is None else in_seconds(step, unit)
    return VideoStream(video.source, timed(video.facts, seconds, "axes"), video.frames)


__all__ = ["Facts", "VideoStream", "check_frame_time", "natural_key", "read_video"]
