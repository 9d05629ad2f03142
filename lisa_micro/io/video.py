"""Videos in: one door for movies, stacks and folders of frames, read one frame at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.arrays import to_plane
from lisa_micro.io.pictures import open_picture
from lisa_micro.io.reader import _PICTURE_MAGIC, _TIFF_MAGIC, _head, read_micrograph
from lisa_micro.io.units import check_pixel_size
from lisa_micro.io.volumes import ROSETTASCIIO, is_mrc
from lisa_micro.types import InputError, Micrograph

MOVIE_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".webp", ".mrc", *ROSETTASCIIO)
"""What counts as a frame in a folder of frames."""

Frames = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """What a file says about its video before it is read.

    Attributes:
        shape: ``(H, W)`` px of the first frame.
        length: number of frames it states, ``None`` where it does not.
        pixel_size_nm, pixel_size_origin, modality: as in :class:`lisa_micro.types.Micrograph`.
        frame_time_s: seconds from frame to frame, ``None`` where unknown.
        frame_time_origin: ``"user"``, ``"imagej"``, ``"ome"``, ``"movie"`` (the rate of playback), ``"rosettasciio"``,
            ``"simulator"`` or ``"none"``.
        notes: what a user should know, one sentence each.
    """

    shape: tuple[int, int]
    length: int | None = None
    pixel_size_nm: float | None = None
    pixel_size_origin: str = "none"
    modality: str | None = None
    frame_time_s: float | None = None
    frame_time_origin: str = "none"
    notes: tuple[str, ...] = ()


class VideoStream:
    """A video that is read while it is iterated over, from its first frame each time; one frame is in memory.

    Frames are ``(H, W)`` float32, intensities as in the file, colour as luminance. A frame that cannot be read, or is
    of another size than the first, ends the video; a note in :attr:`notes` then says so.

    Args:
        source: path or description.
        facts: see there.
        frames: makes a new iterator over the frames.
    """

    def __init__(self, source: str, facts: Facts, frames: Frames):
        self.source, self.facts, self._frames = source, facts, frames
        self._found: list[str] = []

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""
        return self.facts.shape

    @property
    def length(self) -> int | None:
        """Number of frames as the file states it, ``None`` where it does not; a video cut short has fewer."""
        return self.facts.length

    @property
    def pixel_size_nm(self) -> float | None:
        """Edge of a pixel in nm, ``None`` where unknown; :attr:`facts` says where it comes from."""
        return self.facts.pixel_size_nm

    @property
    def frame_time_s(self) -> float | None:
        """Seconds from frame to frame, ``None`` where unknown; :attr:`facts` says where it comes from."""
        return self.facts.frame_time_s

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know; may grow while the video is read."""
        return tuple(dict.fromkeys((*self.facts.notes, *self._found)))

    def __len__(self) -> int:
        if self.facts.length is None:
            raise TypeError("the file does not state how many frames it has; iterate over it")
        return self.facts.length

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        try:
            for frame in self._frames():
                if frame.shape != self.shape:
                    sizes = [f"{shape[1]} x {shape[0]}" for shape in (frame.shape, self.shape)]
                    self._found.append(
                        f"Frame {count} is {sizes[0]} px and the first {sizes[1]} px; "
                        f"{_frames(count)} before it can be used."
                    )
                    return
                yield frame
                count += 1
        except InputError as error:
            if not count:
                raise
            self._found.append(f"The video is cut short: {_frames(count)} could be read and are used ({error})")
            return
        if self.length is not None and count < self.length:
            self._found.append(
                f"The video is cut short: {count} of its {self.length} frames could be read and are used."
            )
        if count == 1:
            self._found.append("The video has one frame only, so nothing can move in it.")

    def micrographs(self) -> Iterator[Micrograph]:
        """The frames as micrographs with the video's pixel size."""
        facts = self.facts
        for number, frame in enumerate(self):
            source = f"{self.source}, frame {number}"
            yield Micrograph(frame, facts.pixel_size_nm, source, facts.pixel_size_origin, facts.modality)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def check_frame_time(value: object) -> float | None:
    """A frame time in s that a user gave: ``None`` stays ``None``.

    Raises:
        InputError: it is not a positive finite number.
    """
    try:
        number = None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if number is not None and not (np.isfinite(number) and number > 0) or isinstance(value, bool):
        raise InputError(f"The frame time must be a positive number of seconds, not {value!r}.")
    return number


def read_video(
    source: str | os.PathLike[str] | np.ndarray | VideoStream | Any,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
) -> VideoStream:
    """Opens a video; its frames are read when they are iterated over.

    Movies (MP4, MOV, AVI, MKV, WebM), TIFF stacks (frame interval as ImageJ and OME write it), MRC stacks, animated
    GIF, and, where the extra ``[formats]`` is installed, stacks in DM3, DM4, EMD, SER and TVIPS. A folder is a video of
    the images in it, in natural order of their names (``f2`` before ``f10``).

    Args:
        source: path of a file or folder; or an array ``(T, H, W)``; or a simulated video; or a video.
        pixel_size_nm: edge of a pixel in nm; goes before what the file says.
        frame_time_s: seconds from frame to frame; goes before what the file says.

    Returns:
        the video. What a user should know is in its ``notes``.

    Raises:
        InputError: nothing that can be read as a video, no frame in it, or a pixel size or frame time that is not
            positive; one sentence each.
    """
    size, interval = check_pixel_size(pixel_size_nm), check_frame_time(frame_time_s)
    if isinstance(source, VideoStream):
        video = source
    elif isinstance(source, str | os.PathLike):
        video = _open(Path(source))
    else:
        video = _from_memory(source)
    facts = video.facts
    if size is not None:
        facts = replace(facts, pixel_size_nm=size, pixel_size_origin="user")
    if interval is not None:
        notes = tuple(note for note in facts.notes if "frame time" not in note)
        facts = replace(facts, frame_time_s=interval, frame_time_origin="user", notes=notes)
    return VideoStream(video.source, facts, video._frames)


def _open(path: Path) -> VideoStream:
    from lisa_micro.io import stacks

    if path.is_dir():
        return _folder(path)
    head = _head(path)
    if head[:4] in _TIFF_MAGIC:
        return VideoStream(str(path), *stacks.tiff_stack(path))
    if _is_movie(path, head):
        from lisa_micro.io.movies import open_movie

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
    return path.suffix.lower() in MOVIE_SUFFIXES and not head.startswith(_PICTURE_MAGIC)


def _facts(image: Micrograph, length: int | None, leave: str = "pages") -> Facts:
    """What the first frame says of all; notes on which page of how many was read are none of a video's."""
    notes = tuple(note for note in image.notes if leave not in note)
    return Facts(image.shape, length, image.pixel_size_nm, image.pixel_size_origin, image.modality, None, "none", notes)


def _picture(path: Path) -> VideoStream:
    """An animation, or a picture as a video of one frame."""
    first = read_micrograph(path)
    count = int(first.metadata.get("pages", 1))

    def frames() -> Iterator[np.ndarray]:
        with open_picture(path) as picture:
            for page in range(count):
                try:
                    picture.seek(page)
                    array = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA") else picture)
                except Exception as error:
                    raise InputError(f"frame {page} of {path.name} is damaged or cut short.") from error
                yield to_plane(array, path.name)[0]

    # one picture is read by its own reader, which knows more modes
    return VideoStream(str(path), _facts(first, count), frames if count > 1 else lambda: iter([first.pixels]))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``f2`` before ``f10``: digits compare as numbers."""
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
        raise InputError(f"{path} holds no images; give a folder with one image a frame, or a video file.")
    first = read_micrograph(files[0])
    facts = _facts(first, len(files))
    kinds = sorted({entry.suffix.lower() for entry in files})
    if len(kinds) > 1:
        note = (
            f"The folder holds images of several kinds ({', '.join(kinds)}); all are frames, in order of their names."
        )
        facts = replace(facts, notes=(*facts.notes, note))
    return VideoStream(str(path), facts, lambda: (read_micrograph(file).pixels for file in files))


def _from_memory(source: Any) -> VideoStream:
    """An array, a sequence of frames, or a simulated video (which is known by what it has, not by its class: reading
    does not depend on the simulator)."""
    if hasattr(source, "frame_time_s") and hasattr(source, "shape") and hasattr(source, "__iter__"):
        facts = Facts(
            tuple(source.shape),
            len(source),
            source.pixel_size_nm,
            "simulator",
            getattr(source, "modality", None),
            source.frame_time_s,
            "simulator",
        )
        return VideoStream("simulation", facts, lambda: iter(source))
    try:
        count = len(source)
        first = np.asarray(source[0])
    except Exception as error:
        raise InputError(f"A video must be a path or an array (T, H, W), not {type(source).__name__}.") from error
    if first.ndim != 2 or first.dtype.kind not in "biufc":
        raise InputError(f"A video array must be (T, H, W) of numbers; its first frame is of shape {first.shape}.")
    plane, notes = to_plane(first, "The first frame")
    return VideoStream(
        "array",
        Facts(plane.shape, count, notes=tuple(notes)),
        lambda: (to_plane(np.asarray(frame), "A frame")[0] for frame in source),
    )


__all__ = ["Facts", "VideoStream", "check_frame_time", "natural_key", "read_video"]
