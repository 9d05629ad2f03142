"""The tiling rule: when words about a micrograph are segmented in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import TargetSegmenter
from lisa_micro.protocols import Capabilities, TilingMode
from lisa_micro.types import InputError

TILED_ABOVE = 2048
"""Longest side, px, above which the mode ``auto`` uses tiles."""
MIN_TILE = 32
"""Smallest side of a tile, px."""


@dataclass(frozen=True)
class TileSize:
    """Side of a tile and overlap with its neighbours, px; ``None``: chosen from the micrograph.

    Raises:
        InputError: a side that is not a whole number or too small, an overlap that is negative or half a tile or more.
    """

    tile: int | None = None
    halo: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("tile", self.tile), ("halo", self.halo)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
                raise InputError(f"The {name} must be a whole number of px, not {value!r}.")
        if self.tile is not None and self.tile < MIN_TILE:
            raise InputError(f"A tile of {self.tile} px is too small; give at least {MIN_TILE} px.")
        if self.halo is not None and self.halo < 0:
            raise InputError(f"A halo of {self.halo} px is negative; give 0 or more.")
        if self.tile is not None and self.halo is not None and 2 * self.halo >= self.tile:
            raise InputError(
                f"A halo of {self.halo} px is too large for a tile of {self.tile} px; "
                f"give less than {(self.tile + 1) // 2} px."
            )


TiledSegmenters = Callable[[Engine, TilingMode, TileSize], TargetSegmenter]
"""Makes a segmenter for the mode ``tiled`` or ``cascade``. It is handed to the assistant, because the package with the
segmenters of large micrographs builds on this one (:func:`lisa_micro.large_images.tiled_segmenter`)."""


def choose_tiling(
    mode: TilingMode | str, size: TileSize, shape: tuple[int, int], capabilities: Capabilities, preset: str
) -> TilingMode:
    """The mode in which a micrograph is segmented: ``off``, ``tiled`` or ``cascade``.

    Args:
        mode: as requested. ``auto`` is ``tiled`` where the longest side exceeds :data:`TILED_ABOVE` px and the model
            can tile.
        size: of a tile. ``tiled`` is ``off`` where one tile holds the whole micrograph.
        shape: ``(H, W)`` px.
        preset: name of the model, for messages.

    Raises:
        InputError: an unknown mode, or tiles asked of a model that cannot tile.
    """
    mode = TilingMode.parse(mode)
    longest = max(shape)
    if mode is TilingMode.AUTO:
        mode = TilingMode.TILED if longest > TILED_ABOVE and capabilities.tiling else TilingMode.OFF
    if mode is TilingMode.TILED and size.tile is not None and size.tile >= longest:
        mode = TilingMode.OFF
    if mode is not TilingMode.OFF and not capabilities.tiling:
        raise InputError(f"The model {preset!r} cannot segment in tiles; choose the tiling mode auto or off.")
    return mode
