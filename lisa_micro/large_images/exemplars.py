"""What is like an exemplar in a large micrograph, tile by tile."""

from __future__ import annotations

import numpy as np

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.exemplars import Alike, AlikeDecoder
from lisa_micro.geometry import tiles
from lisa_micro.large_images.split import means, separate_large
from lisa_micro.large_images.tiled import HALO_SHARE, stage, stitch
from lisa_micro.models.lisa.instances import SplitConfig
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.protocols import Progress


def find_in_tiles(
    engine: Engine,
    unit: np.ndarray,
    decode: AlikeDecoder,
    scale: float,
    split: SplitConfig,
    progress: Progress | None = None,
) -> Alike:
    """Find what is alike; it is a :class:`lisa_micro.assistant.exemplars.TiledFinder`.

    The maps of overlapping tiles are blended, and instances are separated in the maps of the whole.
    """
    tile = max(1, round(engine.model.config.work_side / scale))
    halo = int(HALO_SHARE * tile)

    def one(features: ImageFeatures, pixels: np.ndarray) -> list[tuple[MaskOutputs, int, int]]:
        return [(decode(features, pixels), 0, 3)]

    found = stitch(engine, unit, one, tile, halo, stage(progress, "Segmenting tiles"))[0]
    labels = separate_large(found.maps, split)
    count = len(list(tiles(unit.shape, tile, halo)))
    note = f"Segmented in {count} tiles of {tile} px with a halo of {halo} px."
    return Alike(labels, means(labels, found.maps[0]), found.score, note)
