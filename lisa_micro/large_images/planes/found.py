"""The instances of each concept of a request on a plane: tiles, blocks, presence, measures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lisa_micro.assistant.concept_labels import REGIONS, mask_threshold
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import PRESENCE_THRESHOLD, SUPPORT, custom_labels
from lisa_micro.geometry import tiles
from lisa_micro.io.contrast import scaled_between
from lisa_micro.io.lazy import CompactLabels, Plane
from lisa_micro.large_images.planes.blocks import CORE, Columns, label_blocks
from lisa_micro.large_images.planes.maps import MapStore
from lisa_micro.large_images.planes.measure import plane_properties
from lisa_micro.large_images.split import separate_large, structures
from lisa_micro.large_images.stitching import Stitched, TileScores, run_tiles
from lisa_micro.large_images.tiled import new_labels, stage, word_decoder
from lisa_micro.protocols import Progress

LEAST_REACH = 256
"""px by which a block sees beyond its core, or half a tile where that is more."""
_POINTS = 512


@dataclass(frozen=True, eq=False)
class PlaneInstances:
    """All instances of one concept; as :class:`lisa_micro.assistant.targets.TargetInstances`, with labels as runs."""

    concept: str
    labels: CompactLabels
    properties: dict[str, np.ndarray]
    score: float
    presence: float

    @property
    def count(self) -> int:
        """Number of instances."""
        return self.labels.count


class UnitPlane:
    """A plane in 0..1, read in bands of rows: tiles of one row are cut from the same band."""

    def __init__(self, plane: Plane, limits: tuple[float, float]):
        self.plane, self.limits, self.shape = plane, limits, plane.shape
        self._rows = (0, 0)
        self._band = np.zeros((0, plane.shape[1]), np.float32)

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        y0, y1, _ = part[0].indices(self.shape[0])
        if (y0, y1) != self._rows:
            self._band = scaled_between(self.plane.read(y0, y1, 0, self.shape[1]), *self.limits)
            self._rows = (y0, y1)
        return self._band[:, part[1]]


def find_instances(
    engine: Engine,
    plane: Plane,
    limits: tuple[float, float],
    states: Mapping[str, torch.Tensor],
    size: tuple[int, int],
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[PlaneInstances], str]:
    """Find and measure the instances of every concept.

    Args:
        engine: the model.
        plane: what is segmented.
        limits: intensities that become 0 and 1.
        states: concept -> ``(hidden,)`` state of a [SEG] token.
        size: tile and halo, px.
        scratch: folder for the temporary file.
        progress: called after each tile, block and group.

    Returns:
        one entry for each concept, in order, and a note on how the plane was processed.
    """
    concepts, shape = list(states), plane.shape
    tile = min(size[0], max(shape))
    size = (tile, size[1] if tile == size[0] else 0)
    decode = word_decoder(engine, torch.stack(list(states.values())), concepts)
    stores: list[MapStore] = []
    with ExitStack() as open_files:

        def sink(channels: int) -> MapStore:
            stores.append(MapStore(channels, shape, scratch))
            open_files.callback(stores[-1].close)
            return stores[-1]

        scores = run_tiles(engine, UnitPlane(plane, limits), decode, size, sink, stage(progress, "Segmenting tiles"))
        particles = (stores[-1], scores[-1]) if len(stores) > len(concepts) else None
        found = [
            _instances(engine, plane, concept, (store, score), particles, max(LEAST_REACH, tile // 2), progress)
            for concept, store, score in zip(concepts, stores, scores, strict=False)
        ]
    count = len(list(tiles(shape, *size)))
    how = f"{count} tiles of {size[0]} px with a halo of {size[1]} px" if count > 1 else "one tile"
    return found, f"Segmented in {how}, read part by part."


def _instances(
    engine: Engine,
    plane: Plane,
    concept: str,
    own: tuple[MapStore, TileScores],
    particles: tuple[MapStore, TileScores] | None,
    reach: int,
    progress: Progress | None,
) -> PlaneInstances:
    config, scores = engine.model.config, own[1]
    threshold = float(config.presence_threshold.get(concept, PRESENCE_THRESHOLD))
    region = concept in REGIONS

    def label_window(y0: int, y1: int, x0: int, x1: int, beside: bool = False) -> tuple[np.ndarray, Columns]:
        maps = _stitched(*own, (y0, y1, x0, x1))
        if concept not in SUPPORT:
            return window_labels(engine, concept, maps, threshold if region else 0.0)
        assert particles is not None  # word_decoder decodes particles for these
        around = _stitched(*particles, (y0, y1, x0, x1))
        return structures(concept, separate_large(around.maps, around.split), maps.maps[0], beside)

    smallest = 1 if region else scores.split.smallest
    step = stage(progress, "Separating instances")
    labels, columns = label_blocks(plane.shape, label_window, (CORE, reach), smallest, region, step)
    if concept == "pore" and not labels.count:  # the particles enclose nothing
        labels, columns = label_blocks(plane.shape, partial(label_window, beside=True), (CORE, reach), smallest)
    if not region and labels.count:
        boxes = labels.boxes()
        there = _presence(scores, (boxes[:, :2] + boxes[:, 2:]) / 2) >= threshold
        labels, columns = labels.kept(there), {name: values[there] for name, values in columns.items()}
    known = concept if engine.vocabulary.own_concept(concept) is None else ""
    properties = plane_properties(labels, known, plane, stage(progress, "Measuring")) | columns
    return PlaneInstances(concept, labels, properties, scores.score, float(scores.presence.max()))


def _stitched(store: MapStore, scores: TileScores, window: tuple[int, int, int, int]) -> Stitched:
    """The maps of a window, with the tiles in its own coordinates."""
    y0, _, x0, _ = window
    outers = scores.outers - [y0, y0, x0, x0]
    return Stitched(store.read(*window), outers, scores.presence, scores.score, scores.scale)


def window_labels(engine: Engine, concept: str, stitched: Stitched, presence_from: float) -> tuple[np.ndarray, Columns]:
    """Instances of a concept that particles do not define, in the maps of a window, by the rules of
    :func:`lisa_micro.large_images.tiled.measured`.

    Args:
        stitched: maps that the words prompted.
        presence_from: least presence of the pixels of a region.

    Returns:
        ``(h, w)`` int32 labels, 1..n, and no further columns.
    """
    custom, maps = engine.vocabulary.own_concept(concept), stitched.maps
    if concept == "particle":
        return separate_large(maps, stitched.split), {}
    if concept == "substrate":
        return (maps[0] > 127).astype(np.int32), {}
    if custom is not None:
        return custom_labels(maps[0] / np.float32(255), custom, stitched.split.smallest), {}
    return new_labels(stitched, concept, mask_threshold(engine.model.config, concept), presence_from), {}


def _presence(scores: TileScores, points: np.ndarray) -> np.ndarray:
    """``(n,)`` presence at points ``(n, 2)`` XY px, few at a time."""
    parts = [scores.presence_at(*points[k : k + _POINTS].T) for k in range(0, len(points), _POINTS)]
    return np.concatenate(parts) if parts else np.zeros(0)
