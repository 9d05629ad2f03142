"""Large micrographs: one entry for the ways of looking at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lisa_micro.io import MicrographLike, as_micrograph
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.assistant import Assistant
    from lisa_micro.results.answer import Answer

How = Literal["auto", "whole", "tiled", "cascade"]
Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""
LEAST_TILE = 32
TILED_FROM = 2048
"""A micrograph whose longest side exceeds this, in px, is looked at in tiles by ``how="auto"``."""


def check_tiles(tile: int | None, halo: int | None) -> None:
    """Raises:
    InputError: a tile that is not a whole number of px or too small, a halo that is negative or half a tile or more.
    """
    for name, value in (("tile", tile), ("halo", halo)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise InputError(f"The {name} must be a whole number of px, not {value!r}.")
    if tile is not None and tile < LEAST_TILE:
        raise InputError(f"A tile of {tile} px is too small; give at least {LEAST_TILE} px.")
    if halo is not None and halo < 0:
        raise InputError(f"A halo of {halo} px is negative; give 0 or more.")
    if tile is not None and halo is not None and 2 * halo >= tile:
        raise InputError(
            f"A halo of {halo} px leaves nothing of a tile of {tile} px; give less than {(tile + 1) // 2}."
        )


def segment_large(
    assistant: Assistant,
    image: MicrographLike,
    words: str,
    how: How = "auto",
    tile: int | None = None,
    halo: int | None = None,
    progress: Progress | None = None,
) -> Answer:
    """One request about a micrograph of any size.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        words: as for :meth:`lisa_micro.assistant.Assistant.ask`; they are read once, on the micrograph as a whole.
        how: ``"whole"``: scaled down and seen at once, as ``ask`` does. ``"tiled"``: outlined at full resolution in
            overlapping tiles. ``"cascade"``: particles are detected on the scaled micrograph, and each is outlined from
            its box in a crop at full resolution; fast where particles are few. ``"auto"``: tiled where the longest side
            exceeds :data:`TILED_FROM` px, else whole.
        tile: side of a tile, px, at least 32; the shipped preset sees up to 640 px at full resolution and larger tiles
            scaled down. Left out: 640, or more where the particles are larger. A tile that holds the whole micrograph
            is the same as ``"whole"``.
        halo: px by which a tile looks over its own part on all sides, less than half a tile. Left out: 0.15 of the
            tile. Neither matters to ``"whole"``; for ``"cascade"`` they are those of the detection.
        progress: called as ``progress(what, done, total)``.

    Returns:
        an answer as ``ask`` gives it; constraints and values are those of the whole micrograph, and a note says in how
        many tiles or crops it was seen.

    Raises:
        InputError: an empty prompt, no such way, a tile or halo that cannot be, tiles or a cascade asked of a model
            that does not speak the reply language (an official LISA checkpoint).
    """
    if how not in get_args(How):
        raise InputError(f"There is no way {how!r} of looking at a micrograph; choose {', '.join(get_args(How))}.")
    check_tiles(tile, halo)
    image = as_micrograph(image)
    longest = max(image.shape)
    if how == "auto":
        how = "tiled" if longest > TILED_FROM and _in_parts(assistant) else "whole"
    if how == "whole" or (how == "tiled" and tile is not None and tile >= longest):
        return assistant.ask(image, words)
    if not _in_parts(assistant):
        raise InputError(f"The model {assistant.preset} sees a micrograph only as a whole; leave out how={how!r}.")
    from lisa_micro.large_images.cascade import CascadeConversation
    from lisa_micro.large_images.tiled import TiledConversation

    way = TiledConversation if how == "tiled" else CascadeConversation
    return way(assistant, image, tile, halo, progress).ask(words)


def _in_parts(assistant: Assistant) -> bool:
    """Whether the assistant's replies have targets that can be outlined in parts: one with conversations of its own, as
    an official LISA checkpoint has, writes another language."""
    from lisa_micro.assistant import Assistant

    return type(assistant).chat is Assistant.chat
