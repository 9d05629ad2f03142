"""Mutations of files for fuzzing: bits, cuts, splices, lengths, and the values of JSON. The generator decides all."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import numpy as np

_LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 2**53, 2**63 - 1, 2**64 - 1)
_STRANGE: tuple[object, ...] = (
    None, True, "", "x", -1, 0, 1, 3, 0.5, 1e308, -1e308, 10**30, 2**31, 2**63, float("nan"), float("inf"), [], {},
    [[]], "a" * 5000, "\x00", "../../etc/passwd", "<img src=x onerror=alert(1)>", "=1+1",
)  # fmt: skip
_HEAD = 512  # bytes in which formats keep their sizes


def mutated(data: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """Return a changed copy of a file.

    Args:
        data: the file.
        rng: decides what is changed; the same state gives the same copy.
        other: another file of the same kind, from which pieces are taken.
    """
    if data[:1] in (b"{", b"[") and rng.random() < 0.8:
        try:
            return _changed_json(data, rng)
        except (ValueError, UnicodeDecodeError):
            pass
    changes: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (
        _flip_bits, _set_bytes, _set_length, _set_length, _cut_end, _remove, _repeat,
    )  # fmt: skip
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if len(out) < 2:
            break
        if other and rng.random() < 0.15:
            out = _splice(out, other, rng)
        else:
            out = changes[int(rng.integers(len(changes)))](out, rng)
    return bytes(out)


def _place(size: int, rng: np.random.Generator) -> int:
    """A position, half of them in the head."""
    return int(rng.integers(min(size, _HEAD) if rng.random() < 0.5 else size))


def _flip_bits(out: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        out[_place(len(out), rng)] ^= 1 << int(rng.integers(8))
    return out


def _set_bytes(out: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(len(out), rng)
    stop = min(len(out), start + int(rng.integers(1, 17)))
    out[start:stop] = rng.bytes(stop - start)
    return out


def _set_length(out: bytearray, rng: np.random.Generator) -> bytearray:
    """Write a number that looks like a length, 2, 4 or 8 bytes wide, in either order."""
    width, letter = ((2, "H"), (4, "I"), (8, "Q"))[int(rng.integers(3))]
    value = _LENGTHS[int(rng.integers(len(_LENGTHS)))] & (256**width - 1)
    start = _place(len(out), rng)
    packed = struct.pack(("<" if rng.random() < 0.5 else ">") + letter, value)[: len(out) - start]
    out[start : start + len(packed)] = packed
    return out


def _cut_end(out: bytearray, rng: np.random.Generator) -> bytearray:
    return out[: int(rng.integers(1, len(out)))]


def _remove(out: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(len(out), rng)
    del out[start : start + int(rng.integers(1, 65))]
    return out


def _repeat(out: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(len(out), rng)
    piece = out[start : start + int(rng.integers(1, 257))]
    return out[:start] + piece * int(rng.integers(2, 40)) + out[start:]


def _splice(out: bytearray, other: bytes, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(other)))
    return out[: _place(len(out), rng)] + bytearray(other[start:])


def _changed_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace, remove or move values of JSON, of one document or of one line each."""
    text = data.decode()
    try:
        documents, separator = [json.loads(text)], ""
    except ValueError:
        documents, separator = [json.loads(line) for line in text.splitlines() if line.strip()], "\n"
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(documents))
        holder, key = places[int(rng.integers(len(places)))]
        if rng.random() < 0.15 and len(holder) > 1:
            del holder[key]
        elif rng.random() < 0.2:
            source, name = places[int(rng.integers(len(places)))]
            # through text, so that no value holds itself
            holder[key] = json.loads(json.dumps(source[name]))
        else:
            holder[key] = _STRANGE[int(rng.integers(len(_STRANGE)))]
    return separator.join(json.dumps(document) for document in documents).encode()


def _places(content: object) -> list[tuple]:
    """Each value's container and key, in a fixed order."""
    found: list[tuple] = []
    if isinstance(content, dict | list):
        for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
            found.append((content, key))
            found += _places(value)
    return found
