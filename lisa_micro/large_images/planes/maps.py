"""Maps of a large plane in a compressed temporary file: written in rows, read in windows."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 256, 2048
"""px: height and width of a block of the file."""


class MapStore:
    """Maps ``(C, H, W)`` uint8 of one prompt. Rows are appended from top to bottom; any window can be read afterwards.

    Args:
        channels: C.
        shape: ``(H, W)`` px.
        folder: where the temporary file is made; ``None``: the system's folder for such files.
    """

    def __init__(self, channels: int, shape: tuple[int, int], folder: Path | None = None):
        self.channels, self.shape = channels, shape
        self._file = tempfile.TemporaryFile(prefix=".lisa-micro-maps-", dir=folder)  # noqa: SIM115 - closed by close()
        self._places: dict[tuple[int, int], tuple[int, int]] = {}
        self._waiting = np.zeros((channels, 0, shape[1]), np.uint8)
        self._written = 0  # rows in the file

    def append(self, rows: np.ndarray) -> None:
        """Append finished rows ``(C, h, W)`` uint8."""
        self._waiting = np.concatenate([self._waiting, rows], axis=1)
        while self._waiting.shape[1] >= ROWS or (
            self._waiting.shape[1] and self._written + self._waiting.shape[1] == self.shape[0]
        ):
            block, self._waiting = self._waiting[:, :ROWS], self._waiting[:, ROWS:].copy()
            for left in range(0, self.shape[1], COLUMNS):
                part = np.ascontiguousarray(block[:, :, left : left + COLUMNS])
                packed = zlib.compress(part.tobytes(), 1)
                place = self._file.seek(0, 2)
                self._file.write(packed)
                self._places[self._written // ROWS, left // COLUMNS] = (place, len(packed))
            self._written += block.shape[1]

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The window ``(C, y1 - y0, x1 - x0)``, which must lie within the rows appended so far."""
        out = np.zeros((self.channels, y1 - y0, x1 - x0), np.uint8)
        for j in range(y0 // ROWS, -(-y1 // ROWS)):
            for i in range(x0 // COLUMNS, -(-x1 // COLUMNS)):
                top, left = j * ROWS, i * COLUMNS
                height, width = min(ROWS, self.shape[0] - top), min(COLUMNS, self.shape[1] - left)
                place, length = self._places[j, i]
                self._file.seek(place)
                block = np.frombuffer(zlib.decompress(self._file.read(length)), np.uint8)
                block = block.reshape(self.channels, height, width)
                a, b = max(y0, top), min(y1, top + height)
                c, d = max(x0, left), min(x1, left + width)
                out[:, a - y0 : b - y0, c - x0 : d - x0] = block[:, a - top : b - top, c - left : d - left]
        return out

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
