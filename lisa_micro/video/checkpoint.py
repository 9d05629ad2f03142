"""Checkpoint of a running track job: the detections of each frame, so that an interrupted run can resume.

Detection takes most of the time. The detections of each frame are appended to one file, each as a whole or not at all.
A resumed run reads them back and repeats all other steps, so that its result equals that of an uninterrupted run.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_micro.protocols import Detections
from lisa_micro.types import InputError

CHECKPOINT_FILE = "frames.part"
"""Name of the file in the results folder; it is removed when the run is complete."""
_MAGIC = b"LISAMJ01"
_HEAD = struct.Struct("<II")  # length and CRC-32 of the record that follows


@dataclass(frozen=True, eq=False)
class SavedFrame:
    """One record of a checkpoint.

    Attributes:
        detections: detections of the frame.
        notes: notes that the detector added in this frame.
        memory: memory of the detector, ``None`` if it did not change.
    """

    detections: Detections
    notes: Sequence[str] = ()
    memory: Mapping[str, object] | None = None


class Checkpoint:
    """File with one record per frame.

    Args:
        folder: results folder.
        request: plain JSON values that determine the detections (prompt, weights, video, ...).
        resume: whether to use the records of an earlier run.

    Attributes:
        saved: number of frames from an earlier run.

    Raises:
        InputError: if the records belong to another request, or the folder cannot be written.
    """

    def __init__(self, folder: Path, request: Mapping[str, object], resume: bool):
        self.path = folder / CHECKPOINT_FILE
        self.saved = 0
        self._offsets: list[int] = []
        head = json.dumps(request, sort_keys=True).encode()
        first = _MAGIC + _HEAD.pack(len(head), zlib.crc32(head)) + head
        try:
            if resume and self.path.is_file() and not self._begins_only(first):
                self._file = self.path.open("r+b")
                self._restore(head, folder)
            else:
                self._file = self.path.open("w+b")
                self._file.write(first)
                self._file.flush()
        except OSError as error:
            raise InputError(f"Cannot write to {folder}: {error.strerror or error}.") from error

    def _begins_only(self, first: bytes) -> bool:
        """Whether the file ends within what it begins with: it was empty, or the disk was full."""
        with self.path.open("rb") as file:
            content = file.read(len(first))
        return len(content) < len(first) and first.startswith(content)

    def _restore(self, head: bytes, folder: Path) -> None:
        """Find the complete records and remove an incomplete one at the end."""
        file = self._file
        magic = file.read(len(_MAGIC))
        if magic != _MAGIC or self._record() != head:
            file.close()
            raise InputError(
                f"{folder} has an interrupted run of another request, video or model; "
                "choose another folder, or start over with --force."
            )
        end = file.tell()
        while self._record() is not None:
            self._offsets.append(end)
            end = file.tell()
        file.seek(end)
        file.truncate()
        self.saved = len(self._offsets)

    def _record(self) -> bytes | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, check = _HEAD.unpack(head)
        body = self._file.read(length)
        return body if len(body) == length and zlib.crc32(body) == check else None

    def read(self, number: int) -> SavedFrame:
        """Read the record of a saved frame.

        Args:
            number: frame number below :attr:`saved`.
        """
        self._file.seek(self._offsets[number])
        body = self._record()
        assert body is not None  # the checksum was correct when the file was opened
        (length,) = struct.unpack_from("<I", body)
        facts = json.loads(body[4 : 4 + length])
        labels = np.frombuffer(zlib.decompress(body[4 + length :]), "<i4").reshape(facts["shape"]).astype(np.int32)
        selected = None if facts["asked"] is None else tuple(facts["asked"])
        detections = Detections(labels, selected, facts["score"], facts["presence"])
        return SavedFrame(detections, facts["notes"], facts["memory"])

    def append(self, frame: SavedFrame) -> None:
        """Append the record of the next frame.

        Raises:
            InputError: if the disk is full, or the file cannot be written.
        """
        found = frame.detections
        facts = {
            "asked": None if found.selected is None else list(found.selected),
            "score": float(found.score),
            "presence": float(found.presence),
            "notes": list(frame.notes),
            "memory": frame.memory,
            "shape": list(found.labels.shape),
        }
        text = json.dumps(facts).encode()
        packed = zlib.compress(np.ascontiguousarray(found.labels, "<i4").tobytes(), 1)
        body = struct.pack("<I", len(text)) + text + packed
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(_HEAD.pack(len(body), zlib.crc32(body)) + body)
            self._file.flush()
        except OSError as error:
            raise InputError(f"Cannot write to {self.path.parent}: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file and keep it for a later run."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file after a complete run."""
        self._file.close()
        self.path.unlink(missing_ok=True)
