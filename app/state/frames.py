"""Pictures of the frames of a video, kept in one file of the session."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.types import InputError

_JPEG_QUALITY = 88


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
