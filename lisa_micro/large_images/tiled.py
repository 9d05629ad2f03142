"""Large micrographs tile by tile, at full resolution.

What the words mean is read once, on the micrograph as a whole: the reply, its targets and constraints, and one prompt
of the mask decoder for each target. Then the SAM tower and the mask decoder look at tiles that overlap. Their maps are
cross-faded into maps of the whole, and instances are separated there, not in the tiles: an instance that lies across a
seam, or is larger than the overlap, is one instance. Necks, pores and agglomerates are derived from the particles of
the whole; constraints and values refer to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit

from lisa_micro.assistant.assistant import UNSURE, Assistant, Conversation
from lisa_micro.assistant.engine import Engine, Written, concepts_of
from lisa_micro.assistant.outline import SUPPORT, ImageView, Outline, own_labels, renumbered
from lisa_micro.geometry import boxes_from_labels, feathered_tiles, tiles
from lisa_micro.language import Reply
from lisa_micro.large_images.segment import Progress, check_tiles
from lisa_micro.large_images.split import LargeView, separate_large
from lisa_micro.measure import particle_properties
from lisa_micro.models.lisa.instances import SplitConfig
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.results.answer import Answer
from lisa_micro.types import CONCEPTS, Micrograph

HALO_SHARE = 0.15
"""Of the tile's side, where no halo is given."""


@dataclass
class Stitched:
    """What all tiles gave for one prompt.

    maps: ``(3, H, W)`` uint8 mask, distance, border (or ``(1, H, W)``: the mask alone); 255 = 1. outers: ``(T, 4)``
    y0, y1, x0, x1 of the tiles. presence: ``(T,)`` 0..1. score: 0..1, the predicted quality, tiles weighted by the mask
    in them. scale: px of the maps per px that the tower saw, at least 1.
    """

    maps: np.ndarray
    outers: np.ndarray
    presence: np.ndarray
    score: float
    scale: float

    @property
    def split(self) -> SplitConfig:
        """How instances are separated in the maps."""
        return SplitConfig().scaled(self.scale)

    def presence_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``(n,)`` highest presence in a tile that sees the points ``x, y`` (px)."""
        y0, y1, x0, x1 = self.outers.T[:, :, None]
        seen = (y0 <= y) & (y < y1) & (x0 <= x) & (x < x1)  # (T, n)
        return np.where(seen, self.presence[:, None], 0.0).max(axis=0, initial=0.0)


def suggested_tile(view: ImageView, work_side: int) -> int:
    """A tile in which a typical particle is seen whole: the size at which the tower sees full resolution, or, where
    half of the particles found in the micrograph as a whole are too large for that, a larger one (which is then seen
    scaled down)."""
    boxes = boxes_from_labels(view.particles)
    if not len(boxes):
        return work_side
    scale = max(view.features.shape) / max(view.particles.shape)
    extent = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))) * scale
    return max(work_side, int(np.ceil(extent / (2 * HALO_SHARE) / 64)) * 64)


class _Rows:
    """Maps of a whole that grow row by row of tiles: sums in float32 of the rows that a tile still adds to, uint8 of
    those above, which no tile reaches any more."""

    def __init__(self, channels: int, shape: tuple[int, int]):
        self.maps = np.zeros((channels, *shape), np.uint8)
        self.sums, self.top = np.zeros((channels, 0, shape[1]), np.float32), 0

    def add(self, seen: np.ndarray, outer: tuple[int, int, int, int]) -> None:
        """``seen`` ``(C, h, w)``: shares of 0..255 in a tile's outer part. Tiles come row by row."""
        y0, y1, x0, x1 = outer
        if y0 > self.top or not self.sums.shape[1]:
            rest = self._settle(y0)
            self.sums = np.zeros((len(self.maps), y1 - y0, self.maps.shape[2]), np.float32)
            self.sums[:, : rest.shape[1]] = rest
            self.top = y0
        self.sums[:, :, x0:x1] += seen

    def _settle(self, until: int) -> np.ndarray:
        """Round the rows above ``until``; the sums of the others."""
        done = min(max(until - self.top, 0), self.sums.shape[1])
        np.rint(self.sums[:, :done], out=self.sums[:, :done])
        self.maps[:, self.top : self.top + done] = np.clip(self.sums[:, :done], 0, 255)
        return self.sums[:, done:]

    def finish(self) -> np.ndarray:
        """``(C, H, W)`` uint8."""
        self._settle(self.maps.shape[1])
        return self.maps


def stitch(
    engine: Engine,
    unit: np.ndarray,
    decode: Callable[[ImageFeatures], Sequence[tuple[MaskOutputs, int, int]]],
    tile: int,
    halo: int,
    step: Callable[[int, int], None] | None = None,
) -> list[Stitched]:
    """Look at every tile and put the maps together.

    Args:
        engine: the model at work.
        unit: ``(H, W)`` float32 in 0..1.
        decode: features of a tile -> (decoder's outputs, number k of the prompt in them, 3 for all maps or 1 for the
            mask alone), one for each prompt.
        tile, halo: px.
        step: called with (tiles done, tiles in all).

    Returns:
        one entry for each prompt.
    """
    parts = list(feathered_tiles(unit.shape, tile, halo))
    rows: list[_Rows] = []
    presence, quality, weight, scale = [], [], [], 1.0
    for number, (part, down, across) in enumerate(parts):
        pixels = part.read(unit)
        features = engine.encode(pixels, tokens=False)
        scale = max(scale, max(features.shape) / max(features.work))
        asked = decode(features)
        rows = rows or [_Rows(channels, unit.shape) for _, _, channels in asked]
        share = 255 * down[:, None] * across[None]
        for whole, (out, k, channels) in zip(rows, asked, strict=True):
            stack = torch.stack([out.mask[k], out.distance[k], out.border[k]][:channels])
            seen = expit(engine.on_micrograph(stack, features, pixels.shape)) * share
            weight.append(float((seen[0] > 127).sum()))
            whole.add(seen, part.outer)
            presence.append(float(expit(float(out.presence[k]))))
            quality.append(float(expit(float(out.iou[k]))))
        if step:
            step(number + 1, len(parts))
    maps = [whole.finish() for whole in rows]
    outers = np.array([part.outer for part, _, _ in parts])
    found = []
    for k, whole in enumerate(maps):
        of = slice(k, None, len(maps))
        weights = np.array(weight[of]) + 1e-6
        score = float(np.average(quality[of], weights=weights))
        found.append(Stitched(whole, outers, np.array(presence[of]), score, scale))
    return found


class TiledConversation(Conversation):
    """A conversation about a large micrograph, which is outlined in tiles.

    Args:
        assistant, image: as for :meth:`lisa_micro.assistant.Assistant.chat`.
        tile: side of a tile in px; ``None``: see :func:`suggested_tile`.
        halo: px by which a tile looks over what is its own; ``None``: :data:`HALO_SHARE` of the tile.
        progress: told what is being done.

    Raises:
        InputError: see :func:`lisa_micro.large_images.segment.check_tiles`.
    """

    def __init__(
        self,
        assistant: Assistant,
        image: Micrograph,
        tile: int | None = None,
        halo: int | None = None,
        progress: Progress | None = None,
    ):
        check_tiles(tile, halo)
        super().__init__(assistant, image)
        self.tile, self.halo, self.progress = tile, halo, progress
        self.how = ""

    def ask(self, prompt: str) -> Answer:
        """The next request; as :meth:`lisa_micro.assistant.Assistant.ask`. A note says how the micrograph was seen."""
        self.how = ""
        answer = super().ask(prompt)
        if self.how:
            answer = replace(answer, notes=(*answer.notes, self.how))
            self.answers[-1] = answer
        return answer

    def told(self, what: str) -> Callable[[int, int], None] | None:
        """Progress of one stage."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)

    def sizes(self, view: ImageView) -> tuple[int, int]:
        """Tile and halo in px.

        Raises:
            InputError: a halo too large for the tile that was chosen.
        """
        tile = self.tile
        if tile is None:
            tile = suggested_tile(view, self.assistant.engine.model.config.work_side)
        halo = int(HALO_SHARE * tile) if self.halo is None else self.halo
        check_tiles(tile, halo)
        return tile, halo

    def at_once(self, view: ImageView) -> bool:
        """Whether one tile holds the whole micrograph, so that it is outlined as a small one is."""
        return self.sizes(view)[0] >= max(self.image.shape)

    def _outline(self, view: ImageView, written: Written, reply: Reply) -> list[Outline]:
        targets = reply.targets[: len(written.states)]
        if not targets:
            return []
        if self.at_once(view):
            return super()._outline(view, written, reply)
        concepts = concepts_of(self.assistant.engine, targets, written.states)
        return self.outlines(view, written.states[: len(targets)], concepts)

    def outlines(self, view: ImageView, states: torch.Tensor, concepts: Sequence[str]) -> list[Outline]:
        """All instances of each target.

        Args:
            view: the micrograph as a whole.
            states: ``(S, hidden)`` of the [SEG] tokens. concepts: what each stands for.
        """
        tile, halo = self.sizes(view)
        count = len(list(tiles(self.image.shape, tile, halo)))
        self.how = f"Looked at in {count} tiles of {tile} px, halo {halo} px."
        unit = self.assistant.intensities(view.pixels)
        found = self.look(unit, states, concepts, tile, halo, "Looking at tiles")
        del unit  # at this size it matters
        step = self.told("Outlining")
        code = found.pop() if len(found) > len(concepts) else None
        particles = None if code is None else separate_large(code.maps, code.split)
        del code
        result = []
        for k, (concept, seen) in enumerate(zip(concepts, found, strict=True), 1):
            labels = separate_large(seen.maps, seen.split) if len(seen.maps) == 3 else None
            result.append(self.outline(view, concept, seen, labels, particles))
            if step:
                step(k, len(concepts))
        return result

    def look(
        self, unit: np.ndarray, states: torch.Tensor, concepts: Sequence[str], tile: int, halo: int, what: str
    ) -> list[Stitched]:
        """Maps of every target, and, behind them, those of all particles where a target is defined by them."""
        engine = self.assistant.engine
        channels = [3 if concept == "particle" else 1 for concept in concepts]
        defined = any(concept in SUPPORT for concept in concepts)

        def decode(features: ImageFeatures) -> list[tuple[MaskOutputs, int, int]]:
            out = engine.decode_words(features, states)
            asked = [(out, k, n) for k, n in enumerate(channels)]
            if defined:
                asked.append((engine.decode_concept(features, CONCEPTS.index("particle")), 0, 3))
            return asked

        return stitch(engine, unit, decode, tile, halo, self.told(what))

    def outline(
        self,
        view: ImageView,
        concept: str,
        seen: Stitched,
        labels: np.ndarray | None,
        particles: np.ndarray | None,
    ) -> Outline:
        """Instances of one target, measured.

        An instance counts where a tile that sees its middle says that the concept is there: what is judged for a small
        micrograph as a whole is judged here where the instance lies, and an instance is kept whole or not at all.

        Args:
            labels: ``(H, W)`` int32 instances of a concept that is separated; used up.
            particles: ``(H, W)`` int32 all particles, for a concept that they define.
        """
        extra: dict[str, np.ndarray] = {}
        own = self.assistant.engine.vocabulary.own_concept(concept)
        if concept == "substrate":
            labels = (seen.maps[0] > 127).astype(np.int32)
        elif own is not None:
            labels = own_labels(seen.maps[0] / np.float32(255), own, seen.split.smallest)
        elif concept in SUPPORT:
            whole = LargeView(self.assistant.engine, view.pixels, view.features, particles)
            labels, extra = whole.structures(concept, seen.maps[0])
        if concept != "substrate":
            boxes = boxes_of(labels)
            threshold = self.assistant.engine.model.config.presence_threshold.get(concept, UNSURE)
            there = seen.presence_at((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2) >= threshold
            if not there.all():
                labels = renumbered(labels, there)
                extra = {name: values[there] for name, values in extra.items()}
        properties = particle_properties(labels, view.pixels) | extra
        return Outline(concept, labels, properties, seen.score, float(seen.presence.max()))


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """``(n, 4)`` XYXY px boxes of instances 1..n without gaps; takes no memory beside the labels."""
    found = ndimage.find_objects(labels)
    return np.array([[c.start, r.start, c.stop, r.stop] for r, c in found], float).reshape(-1, 4)
