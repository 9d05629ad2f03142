"""What was segmented, kept frame by frame while a video is followed, so that a run that was killed can go on.

Segmenting takes nearly all the time. What it gave is appended to one file, each frame as a whole or not at all; a run
that goes on reads those frames back and does all the rest again, so that its result cannot differ from that of a run
that was never interrupted.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.types import InputError

JOURNAL = "frames.part"
"""Name of the file in the folder of results; it is gone when the run is complete."""
_MAGIC = b"LISAMJ01"
_HEAD = struct.Struct("<II")  # length and CRC-32 of what follows


class Journal:
    """Records of frames: a small dictionary and a label image each.

    Args:
        folder: of the results.
        request: what the segmentation depends on (prompt, weights, video ...), of plain JSON values.
        resume: whether to go on with the records that are there.

    Attributes:
        kept: how many frames are there from an earlier run.

    Raises:
        InputError: records of another request are to be gone on with, or the folder cannot be written.
    """

    def __init__(self, folder: Path, request: dict[str, Any], resume: bool):
        self.path = folder / JOURNAL
        self.kept = 0
        self._offsets: list[int] = []
        head = json.dumps(request, sort_keys=True).encode()
        try:
            if resume and self.path.is_file() and self.path.stat().st_size:
                self._file = self.path.open("r+b")
                self._restore(head, folder)
            else:
                self._file = self.path.open("w+b")
                self._file.write(_MAGIC + _HEAD.pack(len(head), zlib.crc32(head)) + head)
                self._file.flush()
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from error

    def _restore(self, head: bytes, folder: Path) -> None:
        """Find the whole records; what a killed run left of another one behind them is cut off."""
        file = self._file
        magic = file.read(len(_MAGIC))
        written = self._record()
        if magic != _MAGIC or written != head:
            file.close()
            raise InputError(
                f"What was begun in {folder} was another request, video or model; "
                "take another folder, or begin anew with --force."
            )
        end = file.tell()
        while self._record() is not None:
            self._offsets.append(end)
            end = file.tell()
        file.seek(end)
        file.truncate()
        self.kept = len(self._offsets)

    def _record(self) -> bytes | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, check = _HEAD.unpack(head)
        body = self._file.read(length)
        return body if len(body) == length and zlib.crc32(body) == check else None

    def read(self, number: int) -> tuple[dict[str, Any], np.ndarray]:
        """Frame ``number`` of those kept: its dictionary and its ``(H, W)`` int32 labels."""
        self._file.seek(self._offsets[number])
        body = self._record()
        assert body is not None  # its checksum was right when the file was opened
        (length,) = struct.unpack_from("<I", body)
        facts = json.loads(body[4 : 4 + length])
        height, width = facts.pop("shape")
        labels = np.frombuffer(zlib.decompress(body[4 + length :]), "<i4").reshape(height, width)
        return facts, labels.astype(np.int32)

    def append(self, facts: dict[str, Any], labels: np.ndarray) -> None:
        """Keep the next frame.

        Raises:
            InputError: the disk is full, or the file cannot be written any more.
        """
        text = json.dumps({**facts, "shape": list(labels.shape)}).encode()
        body = struct.pack("<I", len(text)) + text + zlib.compress(np.ascontiguousarray(labels, "<i4").tobytes(), 1)
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(_HEAD.pack(len(body), zlib.crc32(body)) + body)
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self.path.parent} cannot be written: {error.strerror or error}.") from error

    def close(self) -> None:
        """Leave the file for another run."""
        self._file.close()

    def remove(self) -> None:
        """The run is complete."""
        self._file.close()
        self.path.unlink(missing_ok=True)
