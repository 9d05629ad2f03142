"""Read movies with PyAV (FFmpeg): MP4, MOV, AVI and other containers with a video stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.arrays import check_size
from lisa_micro.io.stream import Facts, Frames
from lisa_micro.types import InputError

_FASTEST, _SLOWEST = 1e-6, 1e6  # plausible seconds per frame


def open_movie(path: Path) -> tuple[Facts, Frames]:
    """Facts and frames of a movie. Its frame time is that of playback, and a note says so.

    Raises:
        InputError: no video stream, no frame that can be decoded, or too large.
    """
    with _opened(path) as (_, stream):
        rate = stream.average_rate or stream.base_rate
        declared = int(stream.frames or 0)
    try:
        first = next(_decoded(path))
    except StopIteration as error:
        raise InputError(f"{path.name} holds no frame that can be read: it is empty, damaged or cut short.") from error
    frame_time, notes = None, []
    if rate and _FASTEST < 1 / float(rate) < _SLOWEST:
        frame_time = 1 / float(rate)
        notes.append(
            f"The frame time of {frame_time:.4g} s comes from the movie's playback rate; give the true frame time "
            "if it differs."
        )
    else:
        notes.append("The movie states no usable frame time, so times are unknown; give the frame time.")
    facts = Facts(
        first.shape,
        declared or None,
        frame_time_s=frame_time,
        frame_time_origin="none" if frame_time is None else "movie",
        notes=tuple(notes),
    )
    return facts, lambda: _decoded(path)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream."""
    import av

    av.logging.set_level(av.logging.PANIC)  # FFmpeg writes to the terminal itself; what matters is raised here
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path.name} is not a readable video: it is damaged, cut short, or of another type."
        ) from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path.name} holds no video stream.")
        stream = container.streams.video[0]
        # decoding is not safe without codec parameters, which a file cut within its first frame lacks
        if stream.codec_context is None or not stream.codec_context.width:
            raise InputError(f"{path.name} holds no frame that can be read: it is damaged or cut short.")
        check_size(stream.codec_context.height, stream.codec_context.width, path.name)
        yield container, stream


def _decoded(path: Path) -> Iterator[np.ndarray]:
    """Frames ``(H, W)`` float32, luminance in the bit depth of the file."""
    import av

    with _opened(path) as (container, stream):
        count = 0
        try:
            for frame in container.decode(stream):
                deep = max(component.bits for component in frame.format.components) > 8
                yield frame.to_ndarray(format="gray16le" if deep else "gray").astype(np.float32)
                count += 1
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"Frame {count} of {path.name} is damaged or cut short.") from error
