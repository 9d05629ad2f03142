"""Readers of letters in pictures: a protocol of two methods, and rapidocr behind it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from lisa_micro.types import Box

THREADS = 2
"""Threads of a reader; its networks are small."""


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    Attributes:
        box: XYXY px. text: as read. certainty: 0..1.
    """

    box: Box
    text: str
    certainty: float


class TextReader(Protocol):
    """Reads letters."""

    def lines(self, picture: np.ndarray) -> list[TextLine]:
        """Find and read the lines of a picture.

        Args:
            picture: ``(H, W)`` uint8.
        """
        ...

    def read(self, line: np.ndarray) -> tuple[str, float]:
        """Read a picture that holds a single line.

        Args:
            line: ``(H, W)`` uint8.

        Returns:
            the text, and how certain it is, 0..1.
        """
        ...


def text_reader() -> TextReader | None:
    """The reader that is installed: rapidocr, from the extra ``scalebar``; ``None`` without it."""
    try:
        there = find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None
    except (ImportError, ValueError):  # blocked, or a broken installation
        there = False
    return _rapidocr() if there else None


@lru_cache(maxsize=1)
def _rapidocr() -> TextReader | None:
    try:
        return RapidReader()
    except Exception:  # a broken installation; pictures are read all the same
        return None


class RapidReader:
    """A :class:`TextReader` by rapidocr, whose networks (PP-OCR) are part of its package: nothing is downloaded."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Global.max_side_len": 4000,
                "Global.text_score": 0.3,
                "Det.limit_type": "max",
                "Det.limit_side_len": 4000,
                "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        self._lock = threading.Lock()

    def lines(self, picture: np.ndarray) -> list[TextLine]:
        """See :meth:`TextReader.lines`."""
        found = self._run(picture, True)
        if found.boxes is None or found.txts is None:
            return []
        lines = []
        for corners, text, certainty in zip(found.boxes, found.txts, found.scores, strict=True):
            x0, y0 = np.floor(np.min(corners, axis=0)).astype(int)
            x1, y1 = np.ceil(np.max(corners, axis=0)).astype(int)
            lines.append(TextLine((int(x0), int(y0), int(x1), int(y1)), str(text), float(certainty)))
        return lines

    def read(self, line: np.ndarray) -> tuple[str, float]:
        """See :meth:`TextReader.read`."""
        found = self._run(line, False)
        if not found.txts:
            return "", 0.0
        return str(found.txts[0]), float(found.scores[0])

    def _run(self, picture: np.ndarray, find: bool) -> Any:
        colour = np.repeat(np.ascontiguousarray(picture)[..., None], 3, axis=2)
        with self._lock:
            return self._engine(colour, use_det=find, use_cls=False, use_rec=True)
