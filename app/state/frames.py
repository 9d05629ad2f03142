"""Pictures of the frames of a video, stored in one file of the session."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from lisa_micro.geometry import resize_long_side
from lisa_micro.io import to_unit_range
from lisa_micro.types import InputError

_JPEG_QUALITY = 88


class FrameStore:
    """JPEG pictures of the frames of a video in one file, written in order and read in any order.

    Args:
        path: of the new file.
        longest: longer side of a picture, px; smaller frames are not enlarged.
    """

    def __init__(self, path: Path, longest: int):
        self.path, self.longest = path, longest
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, pixels: np.ndarray) -> None:
        """Store the next frame, ``(H, W)`` intensities of any range.

        Raises:
            InputError: the file cannot be written.
        """
        content = grey_jpeg(pixels, self.longest)
        try:
            with self.path.open("ab") as file:
                file.write(content)
        except OSError as error:
            raise InputError(f"Cannot store the video: {error.strerror or error}.") from error
        self._ends.append(self._ends[-1] + len(content))

    def __getitem__(self, t: int) -> bytes:
        """Frame ``t`` as a JPEG file.

        Raises:
            IndexError: the video has no such frame.
            OSError: the file was removed.
        """
        if not 0 <= t < len(self):
            raise IndexError(f"there is no frame {t}")
        with self.path.open("rb") as file:
            file.seek(self._ends[t])
            return file.read(self._ends[t + 1] - self._ends[t])


def grey_jpeg(pixels: np.ndarray, longest: int) -> bytes:
    """Encode ``(H, W)`` intensities as a grey JPEG file with robust contrast, its longer side at most ``longest``."""
    from PIL import Image

    resizing = resize_long_side(pixels.shape, min(max(pixels.shape), longest))
    grey = np.clip(resizing.image(to_unit_range(pixels)), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((grey * 255).round().astype(np.uint8)).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
