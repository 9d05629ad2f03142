"""Which images belong together, and into which part of a data set they go: by source image, never by tile.

Tiles of one image are told by their names, and by what they show (:mod:`lisa_micro.datasets.near_duplicates`).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence

from lisa_micro.datasets.near_duplicates import Look, groups, near_duplicates
from lisa_micro.datasets.records import Split

OVERLAPS_UP_TO = 800
"""Images of a set in which crops that overlap are looked for, which takes 8 min then; in larger ones only copies."""
_TILE = re.compile(
    r"[ _.-]+(?:(?:tile|patch|crop|cut|sub|part|quadrant|quad)[ _-]*\d+(?:[ _x-]+\d+)?"
    r"|x[ _-]*\d+[ _-]+y[ _-]*\d+|y[ _-]*\d+[ _-]+x[ _-]*\d+|r(?:ow)?[ _-]*\d+[ _-]*c(?:ol(?:umn)?)?[ _-]*\d+)$",
    re.IGNORECASE,
)
_TWO_NUMBERS = re.compile(r"^(.*?)[ _-](\d+)[ _x-](\d+)$")


def tile_sources(names: Sequence[str]) -> list[str]:
    """What each image was cut from, by its name without extension; its own name where it is no tile.

    A tile is called ``film_tile3``, ``film_r1_c2``, ``film_x512_y0`` and the like; or ``film_0_512``, where the images
    that are called so fill a grid of rows and columns.

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
    sources: Sequence[str], looks: Sequence[Look], progress: Callable[[int, int], None] | None = None
) -> list[int]:
    """Number of the group that each image is in, named by the group's first image: those of one source, and those that
    show the same.

    Args:
        sources: what each was cut from. looks: what each shows. progress: see :func:`near_duplicates`.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(source, k), k) for k, source in enumerate(sources)]
    alike = near_duplicates(looks, overlaps=len(looks) <= OVERLAPS_UP_TO, progress=progress)
    return groups(len(sources), [*same, *((pair.first, pair.second) for pair in alike)])


def choose_parts(names: Sequence[str], grouped: Sequence[int], share: float, seed: int) -> list[Split]:
    """The part of each image: whole groups for validation, chosen by a hash of their names, until they hold the share.

    A group goes there only if it does not overshoot the share by more than it fell short of it, and at least one group
    stays in training: of one group nothing is held back.

    Args:
        names: of the images, for the hash. grouped: from :func:`group_images`. share: 0..1 of the images. seed: another
            seed, another choice.
    """
    sizes = {leader: grouped.count(leader) for leader in dict.fromkeys(grouped)}
    order = sorted(sizes, key=lambda k: hashlib.sha256(f"{seed}/{names[k]}".encode()).hexdigest())
    wanted = share * len(names)
    held: set[int] = set()
    count = 0
    for leader in order:
        over = count + sizes[leader] - wanted
        if len(held) + 1 < len(sizes) and count < wanted and over <= wanted - count:
            held.add(leader)
            count += sizes[leader]
    smallest = min(order, key=lambda k: (sizes[k], order.index(k)))
    if not held and share > 0 and len(sizes) > 1 and sizes[smallest] <= math.ceil(len(names) / 2):
        held = {smallest}  # all groups are larger than the share: rather too many held back than none
    return ["validation" if leader in held else "train" for leader in grouped]
