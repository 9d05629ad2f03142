"""Exemplars: what boxes around objects have taught a model, without the micrograph, as one small JSON file.

NumPy only; :mod:`lisa_micro.assistant.exemplars` makes exemplars and finds what is like them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.files import write_files
from lisa_micro.types import InputError

FORMAT = "lisa-micro exemplar"
VERSION = 1
SUFFIX = ".json"
MOST_BYTES = 4 * 1024 * 1024
"""Largest file that is read."""
_MOST_CHANNELS = 1024
_MOST_TOKENS = 16
_MOST_BOXES = 100_000
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Exemplar:
    """What boxes have taught. It serves any micrograph, with the weights that it was made with.

    Attributes:
        tokens: ``(T, D)`` float32 prompt tokens of the mask decoder: of the like boxes, the unlike ones, the task.
        gram: ``(C, C)`` float32 weighted second moments of the pixels' features. target: ``(C,)`` float32, their
            weighted sum, unlike pixels counted negative. Together they are a ridge regression, which may be averaged
            over micrographs.
        like, unlike: number of boxes of each kind.
        object_px: typical side of a like box, px of the micrograph. seen_px: the same in px of the tower's input.
        pixel_size_nm: of the micrograph, ``None`` if unknown.
        model: fingerprint of the weights that it depends on, hexadecimal.
        source: file name of the micrograph, for people.
    """

    tokens: np.ndarray
    gram: np.ndarray
    target: np.ndarray
    like: int
    unlike: int
    object_px: float
    seen_px: float
    pixel_size_nm: float | None
    model: str
    source: str = ""

    def scale_on(self, pixel_size_nm: float | None) -> float:
        """Scale (px of the tower's input per px of the micrograph) at which another micrograph shows such objects as
        large as they were seen: by the two pixel sizes if both are known, otherwise as if they were equal."""
        scale = self.seen_px / self.object_px
        if self.pixel_size_nm is not None and pixel_size_nm is not None:
            scale *= pixel_size_nm / self.pixel_size_nm
        return scale

    def object_on(self, pixel_size_nm: float | None) -> float:
        """Typical size of such objects on another micrograph, px of that micrograph."""
        return self.seen_px / self.scale_on(pixel_size_nm)

    def joined(self, other: Exemplar) -> Exemplar:
        """Both together: further boxes, on the same micrograph or on another one. An exemplar without like boxes adds
        what is not alike.

        Raises:
            InputError: they were made with other weights.
        """
        if self.model != other.model or self.tokens.shape != other.tokens.shape:
            raise InputError("The exemplars were made with different weights; make them anew with one model.")
        first, second = (self, other) if self.like else (other, self)
        tokens = first.tokens.copy()
        tokens[0] = _mean(first.tokens[0], first.like, second.tokens[0], second.like)
        if first.unlike + second.unlike:
            tokens[1] = _mean(first.tokens[1], first.unlike, second.tokens[1], second.unlike)
        if second.like:
            gram = _mean(first.gram, first.like, second.gram, second.like)
            target = _mean(first.target, first.like, second.target, second.like)
        else:
            gram, target = first.gram + second.gram, first.target + second.target
        return Exemplar(
            tokens=tokens,
            gram=gram,
            target=target,
            like=first.like + second.like,
            unlike=first.unlike + second.unlike,
            object_px=first.object_px,
            seen_px=first.seen_px,
            pixel_size_nm=first.pixel_size_nm,
            model=first.model,
            source=first.source,
        )

    def plain(self) -> dict[str, Any]:
        """Plain JSON values, as in the file."""
        size = len(self.gram)
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "source": self.source,
            "like": self.like,
            "unlike": self.unlike,
            "object_px": self.object_px,
            "seen_px": self.seen_px,
            "pixel_size_nm": self.pixel_size_nm,
            "tokens": list(self.tokens.shape),
            "channels": size,
            # float32, little endian: the tokens, the upper triangle of the Gram matrix, the target
            "numbers": _packed(self.tokens.ravel(), self.gram[np.triu_indices(size)], self.target),
        }

    def digest(self) -> str:
        """sha256 of what was learnt, hexadecimal."""
        return hashlib.sha256(str(self.plain()["numbers"]).encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the exemplar to a JSON file; an existing file is replaced.

        Raises:
            InputError: the file cannot be written.
        """
        target = Path(path)
        text = json.dumps(self.plain(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        return write_files(target.parent, {target.name: lambda part: part.write_text(text, encoding="utf-8")})[0]

    def __repr__(self) -> str:
        unlike = f", {self.unlike} unlike" if self.unlike else ""
        return f"<Exemplar of {self.source!r}: {self.like} like{unlike}, {self.object_px:.3g} px>"


def read_exemplar(path: str | os.PathLike[str]) -> Exemplar:
    """Read an exemplar that :meth:`Exemplar.save` wrote.

    Raises:
        InputError: the file cannot be read, is no exemplar, or has another version.
    """
    file = Path(path)
    name = file.name[:_SHOWN]
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{name} is too large for an exemplar; --like takes a file written by --save-like.")
        content = json.loads(file.read_text(encoding="utf-8"))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"The exemplar {name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise _unusable(name) from error
    return parse_exemplar(content, name)


def parse_exemplar(content: object, name: str = "This") -> Exemplar:
    """The exemplar of plain JSON values.

    Args:
        content: as :meth:`Exemplar.plain` gives.
        name: of the file, for messages.

    Raises:
        InputError: these are no exemplar, or one of another version.
    """
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise _unusable(name)
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        shown = repr(version)[:_SHOWN]
        raise InputError(f"{name} is an exemplar of version {shown}, and this program reads version {VERSION}.")
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise InputError(f"{name} is a damaged exemplar; save it again.") from error


def _read(content: Mapping[str, Any]) -> Exemplar:
    """Raises ``KeyError``, ``TypeError``, ``ValueError`` or ``OverflowError`` where anything is missing or wrong."""
    rows, width = (_whole(value, 1, _MOST_CHANNELS) for value in content["tokens"])
    channels = _whole(content["channels"], 1, _MOST_CHANNELS)
    if rows > _MOST_TOKENS:
        raise ValueError("too many tokens")
    tokens, upper, target = _unpacked(content["numbers"], rows * width, channels * (channels + 1) // 2, channels)
    gram = np.zeros((channels, channels), np.float32)
    gram[np.triu_indices(channels)] = upper
    gram = mirrored(gram)
    model, source = content["model"], content["source"]
    if not isinstance(model, str) or not isinstance(source, str):
        raise TypeError("model and source are text")
    nm = content["pixel_size_nm"]
    return Exemplar(
        tokens=tokens.reshape(rows, width),
        gram=gram,
        target=target,
        like=_whole(content["like"], 1, _MOST_BOXES),
        unlike=_whole(content["unlike"], 0, _MOST_BOXES),
        object_px=_length(content["object_px"]),
        seen_px=_length(content["seen_px"]),
        pixel_size_nm=None if nm is None else _length(nm),
        model=model,
        source="".join(c for c in source if c.isprintable())[:255],
    )


def mirrored(matrix: np.ndarray) -> np.ndarray:
    """``(C, C)`` with the lower triangle replaced by the upper one, so that a file of the upper one says it all."""
    return np.triu(matrix) + np.triu(matrix, 1).T


def _mean(first: np.ndarray, n: int, second: np.ndarray, m: int) -> np.ndarray:
    return ((n * first + m * second) / (n + m)).astype(np.float32)


def _packed(*arrays: np.ndarray) -> str:
    joined = np.concatenate([np.asarray(array, "<f4") for array in arrays])
    return base64.b64encode(joined.tobytes()).decode("ascii")


def _unpacked(text: object, *lengths: int) -> list[np.ndarray]:
    if not isinstance(text, str):
        raise TypeError("numbers are text")
    numbers = np.frombuffer(base64.b64decode(text.encode("ascii"), validate=True), "<f4").astype(np.float32)
    if len(numbers) != sum(lengths) or not np.isfinite(numbers).all():
        raise ValueError("other numbers than stated")
    return np.split(numbers, np.cumsum(lengths)[:-1])


def _whole(value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError("not a whole number in range")
    return value


def _length(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    number = float(value)
    if not math.isfinite(number) or not 1e-9 < number < 1e9:
        raise ValueError("not a length")
    return number


def _unusable(name: str) -> InputError:
    return InputError(f"{name} is not an exemplar; --like takes boxes X0,Y0,X1,Y1 or a file written by --save-like.")
