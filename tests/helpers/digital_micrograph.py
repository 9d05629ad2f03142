"""Writes tags of DigitalMicrograph byte by byte, from what is publicly known of its formats DM3 and DM4."""

from __future__ import annotations

import struct

import numpy as np


class DMWriter:
    """Tags of a DigitalMicrograph file, version 3 or 4: lengths are 4 or 8 bytes, big endian; values are
    little."""

    def __init__(self, version: int):
        self.version = version

    def size(self, value: int) -> bytes:
        return struct.pack(">q" if self.version == 4 else ">l", value)

    def group(self, tags: list[bytes], root: bool = False) -> bytes:
        extra = b"" if root or self.version == 3 else self.size(0)
        return b"\x01\x00" + extra + self.size(len(tags)) + b"".join(tags)

    def _head(self, kind: int, name: str) -> bytes:
        return struct.pack(">bh", kind, len(name)) + name.encode()

    def folder(self, name: str, tags: list[bytes]) -> bytes:
        return self._head(20, name) + self.group(tags)

    def _value(self, name: str, info: list[int], data: bytes) -> bytes:
        skip = b"" if self.version == 3 else b"\0" * 8
        return self._head(21, name) + skip + b"%%%%" + self.size(len(info)) + b"".join(map(self.size, info)) + data

    def integer(self, name: str, value: int) -> bytes:
        return self._value(name, [5], struct.pack("<L", value))

    def real(self, name: str, value: float) -> bytes:
        return self._value(name, [6], struct.pack("<f", value))

    def text(self, name: str, value: str) -> bytes:
        return self._value(name, [20, 4, len(value)], value.encode("utf-16-le"))

    def array(self, name: str, values: np.ndarray) -> bytes:
        return self._value(name, [20, 4, values.size], values.astype("<u2").tobytes())

    def file(self, image: np.ndarray, scale: float, unit: str) -> bytes:
        def axis() -> bytes:
            return self.folder("", [self.real("Origin", 0), self.real("Scale", scale), self.text("Units", unit)])

        brightness = [self.real("Origin", 0), self.real("Scale", 1), self.text("Units", "")]
        data = [
            self.folder(
                "Calibrations",
                [
                    self.folder("Brightness", brightness),
                    self.folder("Dimension", [axis() for _ in image.shape]),
                ],
            ),
            self.array("Data", image.ravel()),
            self.integer("DataType", 10),
            self.folder("Dimensions", [self.integer("", side) for side in image.shape[::-1]]),
            self.integer("PixelDepth", 2),
        ]
        entry = [
            self.folder("ImageData", data),
            self.folder("ImageTags", [self.text("Note", "made for a test")]),
            self.text("Name", "particles"),
        ]
        body = self.group([self.folder("ImageList", [self.folder("", entry)])], root=True)
        return struct.pack(">l", self.version) + self.size(len(body)) + struct.pack(">l", 1) + body + b"\0" * 8
