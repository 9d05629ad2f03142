"""Segmentation of large micrographs tile by tile, at full resolution.

The words are read once, with the micrograph as a whole: the reply, its targets and constraints, and one prompt of the
mask decoder for each target. Then the SAM tower and the mask decoder run on overlapping tiles. Their maps are blended
into maps of the whole, and instances are separated there, not in the tiles: an instance that lies across a seam, or is
larger than the overlap, is one instance. Necks, pores and agglomerates are derived from the particles of the whole;
constraints and values refer to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from lisa_micro.assistant.concept_labels import (
    REGIONS,
    concept_labels,
    is_new,
    mask_threshold,
    needs_border,
    separator,
)
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import (
    PRESENCE_THRESHOLD,
    SUPPORT,
    ImageView,
    TargetInstances,
    WholeImage,
    custom_labels,
    renumbered,
)
from lisa_micro.assistant.tiling import TileSize
from lisa_micro.geometry import boxes_from_labels, tiles
from lisa_micro.io import to_unit_range
from lisa_micro.large_images.split import LargeView, separate_large
from lisa_micro.large_images.stitching import Steps, Stitched, TileDecoder, stitch
from lisa_micro.measure.structures import concept_properties
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.protocols import Progress
from lisa_micro.types import CONCEPTS

HALO_SHARE = 0.15
"""Default halo as a share of the tile's side."""


def suggested_tile(view: ImageView, work_side: int, reduced: int = 1) -> int:
    """Side of a tile, px, that holds a typical particle: the largest at which the tower sees full resolution, or a
    larger one (which the tower sees scaled down) where half of the particles found in the whole are too large for it.

    Args:
        work_side: px, largest side that the tower sees at full resolution.
        reduced: px of the micrograph per px of the view.
    """
    boxes = boxes_from_labels(view.particles)
    if not len(boxes):
        return work_side
    scale = reduced * max(view.features.shape) / max(view.particles.shape)
    extent = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))) * scale
    return max(work_side, int(np.ceil(extent / (2 * HALO_SHARE) / 64)) * 64)


def stage(progress: Progress | None, name: str) -> Steps | None:
    """The progress callback for one stage."""
    return None if progress is None else lambda done, total: progress(name, done, total)


def segment_maps(
    engine: Engine,
    unit: np.ndarray,
    states: torch.Tensor,
    concepts: Sequence[str],
    size: tuple[int, int],
    step: Steps | None,
    apart: bool = True,
) -> list[Stitched]:
    """Maps of every target, followed by those of all particles where particles define a target.

    Args:
        unit: ``(H, W)`` float32 in 0..1.
        states: ``(N, hidden)`` of the targets.
        concepts: N names.
        size: tile and halo, px.
        step: called after each tile.
        apart: whether bodies beyond particles get the maps that separate them, too.
    """
    return stitch(engine, unit, word_decoder(engine, states, concepts, apart), *size, step)


def word_decoder(engine: Engine, states: torch.Tensor, concepts: Sequence[str], apart: bool = True) -> TileDecoder:
    """Decodes every target in a tile, followed by all particles where particles define a target.

    Args:
        states, concepts, apart: as for :func:`segment_maps`.
    """
    custom = [engine.vocabulary.own_concept(concept) is not None for concept in concepts]
    channels = [
        3 if concept == "particle" or (apart and not own and is_new(concept) and needs_border(concept)) else 1
        for concept, own in zip(concepts, custom, strict=True)
    ]
    defined = any(concept in SUPPORT for concept in concepts)

    def decode(features: ImageFeatures, _: np.ndarray) -> list[tuple[MaskOutputs, int, int]]:
        out = engine.decode_words(features, states)
        decoded = [(out, k, n) for k, n in enumerate(channels)]
        if defined:
            decoded.append((engine.decode_concept(features, CONCEPTS.index("particle")), 0, 3))
        return decoded

    return decode


def new_labels(stitched: Stitched, concept: str, mask_from: float, presence_from: float) -> np.ndarray:
    """Instances of a built-in concept beyond the first five, ``(H, W)`` int32.

    Args:
        mask_from: probability from which a pixel belongs to the mask.
        presence_from: what lies in tiles with a lower presence only is removed, from regions by the pixel, else whole.
    """
    maps, split = stitched.maps, replace(stitched.split, threshold=mask_from)
    if needs_border(concept) and len(maps) == 3:
        labels = separate_large(maps, split, separator=separator(concept))
    else:
        labels = concept_labels(maps[:1].astype(np.float32) / 255, concept, split, mask_from)
    if concept in REGIONS:
        y, x = np.nonzero(labels)
        there = stitched.presence_at(x.astype(np.float64), y.astype(np.float64)) >= presence_from
        labels[y[~there], x[~there]] = 0
        return labels
    boxes = boxes_of(labels)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    there = stitched.presence_at(middle[:, 0], middle[:, 1]) >= presence_from
    return labels if there.all() else renumbered(labels, there)


def measured(
    engine: Engine,
    view: ImageView,
    concept: str,
    stitched: Stitched,
    labels: np.ndarray | None,
    particles: np.ndarray | None,
) -> TargetInstances:
    """Instances of one target, measured.

    An instance is kept where a tile that holds its centre predicts that the concept is present. For a small micrograph
    presence is decided for the whole; here it is decided where the instance lies, and an instance is kept whole or not
    at all.

    Args:
        labels: ``(H, W)`` int32 instances of a concept whose instances are separated; used up.
        particles: ``(H, W)`` int32 all particles, for a concept that they define.
    """
    extra: dict[str, np.ndarray] = {}
    custom = engine.vocabulary.own_concept(concept)
    config = engine.model.config
    threshold = config.presence_threshold.get(concept, PRESENCE_THRESHOLD)
    new = custom is None and is_new(concept)
    if new:
        labels = new_labels(stitched, concept, mask_threshold(config, concept), threshold)
    elif concept == "substrate":
        labels = (stitched.maps[0] > 127).astype(np.int32)
    elif custom is not None:
        labels = custom_labels(stitched.maps[0] / np.float32(255), custom, stitched.split.smallest)
    elif concept in SUPPORT:
        whole = LargeView(engine, view.pixels, view.features, particles)
        labels, extra = whole.structures(concept, stitched.maps[0])
    if concept != "substrate" and not new:
        boxes = boxes_of(labels)
        there = stitched.presence_at((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2) >= threshold
        if not there.all():
            labels = renumbered(labels, there)
            extra = {name: values[there] for name, values in extra.items()}
    properties = concept_properties(labels, concept if custom is None else "", view.pixels) | extra
    return TargetInstances(concept, labels, properties, stitched.score, float(stitched.presence.max()))


class TiledSegmenter:
    """Segments targets tile by tile. It is a :class:`lisa_micro.assistant.targets.TargetSegmenter`.

    Args:
        engine: the model.
        size: tile and halo. Without a tile, :func:`suggested_tile`; without a halo, :data:`HALO_SHARE` of the tile.
    """

    def __init__(self, engine: Engine, size: TileSize):
        self.engine, self.size = engine, size

    def pixels(self, view: ImageView) -> tuple[int, int]:
        """Tile and halo in px.

        Raises:
            InputError: a halo too large for the tile that was chosen.
        """
        tile = self.size.tile
        if tile is None:
            tile = suggested_tile(view, self.engine.model.config.work_side)
        return checked_size(tile, self.size.halo)

    def segment(
        self, view: ImageView, states: torch.Tensor, concepts: Sequence[str], progress: Progress | None = None
    ) -> tuple[list[TargetInstances], str]:
        """See :meth:`lisa_micro.assistant.targets.TargetSegmenter.segment`. A micrograph that fits into one tile is
        segmented at once."""
        tile, halo = self.pixels(view)
        shape = view.pixels.shape
        if tile >= max(shape):
            return WholeImage().segment(view, states, concepts, progress)
        engine = self.engine
        unit = to_unit_range(view.pixels)
        stitched = segment_maps(
            engine, unit, states[: len(concepts)], concepts, (tile, halo), stage(progress, "Segmenting tiles")
        )
        del unit  # at this size it matters
        step = stage(progress, "Separating instances")
        all_particles = stitched.pop() if len(stitched) > len(concepts) else None
        particles = None if all_particles is None else separate_large(all_particles.maps, all_particles.split)
        del all_particles
        found = []
        for k, (concept, one) in enumerate(zip(concepts, stitched, strict=True), 1):
            labels = separate_large(one.maps, one.split) if concept == "particle" else None
            instances = measured(engine, view, concept, one, labels, particles)
            found.append(replace(instances, tower_scale=1 / one.scale))
            if step:
                step(k, len(concepts))
        count = len(list(tiles(shape, tile, halo)))
        return found, f"Segmented in {count} tiles of {tile} px with a halo of {halo} px."


def checked_size(tile: int, halo: int | None) -> tuple[int, int]:
    """Tile and halo in px, with the default halo where none is given.

    Raises:
        InputError: a halo too large for the tile.
    """
    halo = int(HALO_SHARE * tile) if halo is None else halo
    TileSize(tile, halo)
    return tile, halo


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """``(n, 4)`` XYXY px boxes of instances 1..n without gaps, in no memory beside the labels."""
    found = ndimage.find_objects(labels)
    return np.array([[c.start, r.start, c.stop, r.stop] for r, c in found], float).reshape(-1, 4)
