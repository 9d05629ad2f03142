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
MOST_LINES = 30
"""Lines of a picture that are read, the largest ones."""
LEAST_CERTAINTY = 0.3
"""Lines that are less certain are not returned."""


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
                "Det.limit_type": "max",
                "Det.limit_side_len": 4000,
                "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        self._lock = threading.Lock()

    def lines(self, picture: np.ndarray) -> list[TextLine]:
        """See :meth:`TextReader.lines`."""
        colour = _in_colour(picture)
        boxes: Any
        found: Any  # rapidocr returns one of several types, depending on what is asked
        with self._lock:
            detected: Any = self._engine(colour, use_det=True, use_cls=False, use_rec=False)
            boxes = detected.boxes
            if boxes is None or not len(boxes):
                return []
            if len(boxes) > MOST_LINES:  # a texture, in which letters are larger than what else is found
                order = np.argsort([-np.prod(np.ptp(corners, axis=0)) for corners in boxes])
                boxes = boxes[order[:MOST_LINES]]
            found = self._engine.recognize_txt(self._engine.crop_text_regions(colour, boxes))
        lines = []
        for corners, text, certainty in zip(boxes, found.txts, found.scores, strict=True):
            if certainty < LEAST_CERTAINTY or not str(text).strip():
                continue
            x0, y0 = np.floor(np.min(corners, axis=0)).astype(int)
            x1, y1 = np.ceil(np.max(corners, axis=0)).astype(int)
            lines.append(TextLine((int(x0), int(y0), int(x1), int(y1)), str(text), float(certainty)))
        return lines

    def read(self, line: np.ndarray) -> tuple[str, float]:
        """See :meth:`TextReader.read`."""
        with self._lock:
            found: Any = self._engine(_in_colour(line), use_det=False, use_cls=False, use_rec=True)
        if not found.txts:
            return "", 0.0
        return str(found.txts[0]), float(found.scores[0])


def _in_colour(picture: np.ndarray) -> np.ndarray:
    """``(H, W)`` as ``(H, W, 3)``, as rapidocr wants it."""
    return np.repeat(np.ascontiguousarray(picture)[..., None], 3, axis=2)
