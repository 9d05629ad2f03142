"""Group images by source image, and split a data set into parts by group.

Tiles of one image are recognised by their names and by their content
(:mod:`lisa_micro.datasets.preparation.near_duplicates`).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence

from lisa_micro.datasets.preparation.near_duplicates import Signature, groups, near_duplicates
from lisa_micro.datasets.records import Split

OVERLAPS_UP_TO = 800
"""Largest number of images for which overlapping crops are searched (8 min); beyond it only copies are."""
_TILE = re.compile(
    r"[ _.-]+(?:(?:tile|patch|crop|cut|sub|part|quadrant|quad)[ _-]*\d+(?:[ _x-]+\d+)?"
    r"|x[ _-]*\d+[ _-]+y[ _-]*\d+|y[ _-]*\d+[ _-]+x[ _-]*\d+|r(?:ow)?[ _-]*\d+[ _-]*c(?:ol(?:umn)?)?[ _-]*\d+)$",
    re.IGNORECASE,
)
_TWO_NUMBERS = re.compile(r"^(.*?)[ _-](\d+)[ _x-](\d+)$")


def tile_sources(names: Sequence[str]) -> list[str]:
    """Derive what each image was cropped from; an image that is no tile has its own name.

    Tiles are named like ``film_tile3``, ``film_r1_c2`` or ``film_x512_y0``; or like ``film_0_512``, if the images with
    such names fill a grid of rows and columns.

    Args:
        names: of the images, without extension.

    >>> tile_sources(["film_tile1", "film_tile2", "a_1", "a_2"])
    ['film', 'film', 'a_1', 'a_2']
    """
    found = [_TILE.sub("", name) or name for name in names]
    grids: dict[str, set[tuple[int, int]]] = {}
    for name in found:
        match = _TWO_NUMBERS.match(name)
        if match:
            grids.setdefault(match[1], set()).add((int(match[2]), int(match[3])))
    whole = {base for base, places in grids.items() if _is_grid(places)}
    for k, name in enumerate(found):
        match = _TWO_NUMBERS.match(name)
        if match and match[1] in whole:
            found[k] = match[1]
    return found


def _is_grid(places: set[tuple[int, int]]) -> bool:
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    return len(rows) > 1 and len(columns) > 1 and places == set(itertools.product(rows, columns))


def group_images(
    sources: Sequence[str], signatures: Sequence[Signature], progress: Callable[[int, int], None] | None = None
) -> list[int]:
    """Group images of one source and near duplicates.

    Args:
        sources: what each image was cropped from. signatures: one per image.
        progress: see :func:`~lisa_micro.datasets.preparation.near_duplicates.near_duplicates`.

    Returns:
        index of the first image of each image's group.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(source, k), k) for k, source in enumerate(sources)]
    alike = near_duplicates(signatures, overlaps=len(signatures) <= OVERLAPS_UP_TO, progress=progress)
    return groups(len(sources), [*same, *((pair.first, pair.second) for pair in alike)])


def choose_parts(names: Sequence[str], grouped: Sequence[int], share: float, seed: int) -> list[Split]:
    """Choose the part of each image, whole groups at a time.

    Groups are added to validation in the order of a hash of their names until it has its share. A group is added only
    if it brings the number of images closer to the share. At least one group remains for training, so a single group is
    never held out.

    Args:
        names: of the images, for the hash. grouped: from :func:`group_images`. share: 0..1 of the images.
        seed: changes the choice.
    """
    sizes = {leader: grouped.count(leader) for leader in dict.fromkeys(grouped)}
    order = sorted(sizes, key=lambda k: hashlib.sha256(f"{seed}/{names[k]}".encode()).hexdigest())
    goal = share * len(names)
    held: set[int] = set()
    count = 0
    for leader in order:
        over = count + sizes[leader] - goal
        if len(held) + 1 < len(sizes) and count < goal and over <= goal - count:
            held.add(leader)
            count += sizes[leader]
    smallest = min(order, key=lambda k: (sizes[k], order.index(k)))
    if not held and share > 0 and len(sizes) > 1 and sizes[smallest] <= math.ceil(len(names) / 2):
        held = {smallest}  # all groups are larger than the share: hold out too many images rather than none
    return ["validation" if leader in held else "train" for leader in grouped]
