"""Check a Bruker composite file (BCF) before rosettasciio reads it.

It is a container of files in chunks with a tree of files and folders. The sizes and links in it decide what the reader
allocates, and how long it follows them; those of a damaged file may lead anywhere.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from lisa_micro.types import InputError

_START = 0x138  # position of the data of chunk 0; the head of a chunk ends there
_HEAD = 0x20
_NEXT = _START - _HEAD  # position of the number of the next chunk of a list
_ITEM = struct.Struct("<iQQQQIi176s?3s256s32s")


def check_bcf(path: Path) -> None:
    """Check that chunks, tree and files lie within a BCF file, and that no folder is inside of itself.

    Raises:
        InputError: the file is damaged or cut short.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not _is_sound(file):
            raise InputError(f"{path.name} is damaged or cut short: its chunks reach beyond its end.")


def _is_sound(file: BinaryIO) -> bool:
    head = file.read(0x14C)
    size = file.seek(0, 2)
    if len(head) < 0x14C:
        return False
    (chunk,) = struct.unpack_from("<I", head, 0x128)
    first, count = struct.unpack_from("<II", head, 0x140)
    if not _HEAD + _ITEM.size <= chunk <= size or count * _ITEM.size > size:
        return False
    items = [_ITEM.unpack(raw) for raw in _tree(file, chunk, first, count)]
    parents = [int(item[6]) for item in items]
    return (
        len(items) == count
        and all(int(item[1]) <= size for item in items if not item[8])
        and all(-1 <= parent < count for parent in parents)
        and not _has_loop(parents)
    )


def _tree(file: BinaryIO, chunk: int, first: int, count: int) -> list[bytes]:
    """The items of the tree, which may go on in further chunks; fewer if the file ends."""
    each = (chunk - _HEAD) // _ITEM.size
    items: list[bytes] = []
    address = first
    while len(items) < count:
        file.seek(chunk * address + _NEXT)
        head = file.read(_HEAD)
        data = file.read(min(each, count - len(items)) * _ITEM.size)
        if len(head) < _HEAD or not data or len(data) % _ITEM.size:
            break
        items += [data[at : at + _ITEM.size] for at in range(0, len(data), _ITEM.size)]
        (address,) = struct.unpack_from("<I", head)
    return items


def _has_loop(parents: list[int]) -> bool:
    """Whether following the parents from an item does not end."""
    ends = [False] * len(parents)
    for start in range(len(parents)):
        seen: set[int] = set()
        at = start
        while at >= 0 and not ends[at]:
            if at in seen:
                return True
            seen.add(at)
            at = parents[at]
        for one in seen:
            ends[one] = True
    return False
