"""A video that is read one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.types import Box, InputError, Micrograph

Frames = Callable[[], Iterator[np.ndarray]]
"""Function that starts a new iteration over the frames, ``(H, W)`` float32 each."""


@dataclass(frozen=True)
class Facts:
    """What is known about a video before its frames are read.

    Attributes:
        shape: ``(H, W)`` px of the first frame.
        length: number of frames stated by the file, or ``None``.
        pixel_size_nm, pixel_size_origin, modality: as in :class:`lisa_micro.types.Micrograph`.
        frame_time_s: seconds from frame to frame, or ``None`` if unknown.
        frame_time_origin: source of the frame time: ``"user"``, ``"imagej"``, ``"ome"``, ``"movie"`` (playback rate),
            ``"rosettasciio"``, ``"axes"``, ``"simulator"`` or ``"none"``.
        notes: notices for the user, one sentence each.
        field: part of every frame that shows the specimen, XYXY px; ``None``: all of it.
    """

    shape: tuple[int, int]
    length: int | None = None
    pixel_size_nm: float | None = None
    pixel_size_origin: str = "none"
    modality: str | None = None
    frame_time_s: float | None = None
    frame_time_origin: str = "none"
    notes: tuple[str, ...] = ()
    field: Box | None = None


class VideoStream:
    """A video whose frames are read during iteration; only one frame is in memory.

    Each iteration starts at the first frame. Frames are ``(H, W)`` float32, intensities as in the file, colour as
    luminance. A frame that is damaged or of another size than the first ends the video, and a note in :attr:`notes`
    says so.

    Args:
        source: path or description.
        facts: what is known in advance.
        frames: starts a new iteration over the frames.
    """

    def __init__(self, source: str, facts: Facts, frames: Frames):
        self.source, self.facts, self.frames = source, facts, frames
        self._found: list[str] = []

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""
        return self.facts.shape

    @property
    def length(self) -> int | None:
        """Number of frames stated by the file, or ``None``; a truncated video has fewer."""
        return self.facts.length

    @property
    def pixel_size_nm(self) -> float | None:
        """Edge length of a pixel in nm, or ``None`` if unknown; :attr:`facts` has its origin."""
        return self.facts.pixel_size_nm

    @property
    def frame_time_s(self) -> float | None:
        """Seconds from frame to frame, or ``None`` if unknown; :attr:`facts` has its origin."""
        return self.facts.frame_time_s

    @property
    def notes(self) -> tuple[str, ...]:
        """Notices for the user; more may be added during reading."""
        return tuple(dict.fromkeys((*self.facts.notes, *self._found)))

    def __len__(self) -> int:
        if self.facts.length is None:
            raise TypeError("the file does not state its number of frames; iterate over the video instead")
        return self.facts.length

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        try:
            for frame in self.frames():
                if frame.shape != self.shape:
                    sizes = [f"{shape[1]} x {shape[0]}" for shape in (frame.shape, self.shape)]
                    self._found.append(
                        f"Frame {count} is {sizes[0]} px but the first frame is {sizes[1]} px; "
                        f"only the {_frames(count)} before it can be used."
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
            self._found.append("The video has only one frame, so no motion can be measured.")

    def micrographs(self) -> Iterator[Micrograph]:
        """The frames as micrographs with the video's pixel size; a data bar is filled with the field's median."""
        facts = self.facts
        for number, frame in enumerate(self):
            if facts.field is not None:
                frame = _without_data_bar(frame, facts.field)
            source = f"{self.source}, frame {number}"
            yield Micrograph(frame, facts.pixel_size_nm, source, facts.pixel_size_origin, facts.modality)


def _without_data_bar(frame: np.ndarray, field: Box) -> np.ndarray:
    x0, y0, x1, y1 = field
    inside = frame[y0:y1, x0:x1]
    out = np.full_like(frame, np.nanmedian(inside[::4, ::4]))
    out[y0:y1, x0:x1] = inside
    return out


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def facts_of(image: Micrograph, length: int | None, omit: str = "pages") -> Facts:
    """Facts of a video from its first frame.

    Args:
        image: the first frame.
        length: number of frames.
        omit: notes of the image that contain this text (which page was read) do not apply to the video.
    """
    notes = tuple(note for note in image.notes if omit not in note)
    return Facts(image.shape, length, image.pixel_size_nm, image.pixel_size_origin, image.modality, None, "none", notes)


def timed(facts: Facts, seconds: float | None, origin: str) -> Facts:
    """Facts with the frame time stated by a file. A time of 0, which many programs write if unknown, is ignored."""
    if seconds is None:
        return facts
    if seconds == 0:
        note = "Ignored the file's frame time of 0 s, so times are unknown; give the frame time."
        return replace(facts, notes=(*facts.notes, note))
    return replace(facts, frame_time_s=seconds, frame_time_origin=origin)
