"""Tiles of a micrograph decoded and blended into maps of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import expit

from lisa_micro.assistant.engine import Engine
from lisa_micro.geometry import feathered_tiles
from lisa_micro.models.lisa.instances import SplitConfig
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures

Steps = Callable[[int, int], None]
"""Progress of one stage: (steps done, steps in total)."""
TileDecoder = Callable[[ImageFeatures, np.ndarray], Sequence[tuple[MaskOutputs, int, int]]]
"""Features of a tile and its pixels ``(h, w)`` in 0..1 -> for each prompt: outputs of the decoder, number k of the
prompt in them, and number of maps that are needed (3: all, 1: the mask alone)."""


class RowSink(Protocol):
    """Where finished rows of maps go."""

    def append(self, rows: np.ndarray) -> None:
        """Take rows ``(C, h, W)`` uint8, from top to bottom."""


class Grid(Protocol):
    """A micrograph as the model takes it, read where it is indexed."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px."""

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """A part, float32 in 0..1."""


class _Tiles:
    """What follows from the tiles of a micrograph."""

    outers: np.ndarray
    presence: np.ndarray
    scale: float

    @property
    def split(self) -> SplitConfig:
        """How instances are separated in the maps."""
        return SplitConfig().scaled(self.scale)

    def presence_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``(n,)`` highest presence of the tiles that hold the points ``x, y`` (px)."""
        y0, y1, x0, x1 = self.outers.T[:, :, None]
        inside = (y0 <= y) & (y < y1) & (x0 <= x) & (x < x1)  # (T, n)
        return np.where(inside, self.presence[:, None], 0.0).max(axis=0, initial=0.0)


@dataclass(frozen=True, eq=False)
class TileScores(_Tiles):
    """What the tiles of a micrograph tell about one prompt.

    Attributes:
        outers: ``(T, 4)`` y0, y1, x0, x1 of the tiles, halo included.
        presence: ``(T,)`` 0..1.
        score: 0..1, predicted quality: mean of the tiles, weighted by the area of the mask in them.
        scale: px of the maps per px that the tower saw, at least 1.
    """

    outers: np.ndarray
    presence: np.ndarray
    score: float
    scale: float


@dataclass(frozen=True, eq=False)
class Stitched(_Tiles):
    """Maps of the whole micrograph for one prompt.

    Attributes:
        maps: ``(3, H, W)`` uint8 mask, distance, border (or ``(1, H, W)``: the mask alone); 255 stands for 1.
        outers, presence, score, scale: as in :class:`TileScores`.
    """

    maps: np.ndarray
    outers: np.ndarray
    presence: np.ndarray
    score: float
    scale: float


class _Memory:
    """Rows of maps in memory."""

    def __init__(self, channels: int, shape: tuple[int, int]):
        self.maps, self._filled = np.zeros((channels, *shape), np.uint8), 0

    def append(self, rows: np.ndarray) -> None:
        """See :class:`RowSink`."""
        self.maps[:, self._filled : self._filled + rows.shape[1]] = rows
        self._filled += rows.shape[1]


class _GrowingMaps:
    """Maps of the whole, filled row by row of tiles. Rows that later tiles still add to are float32 sums; finished rows
    are uint8 and go to a sink."""

    def __init__(self, channels: int, width: int, sink: RowSink):
        self.sink = sink
        self.sums, self.top = np.zeros((channels, 0, width), np.float32), 0

    def add(self, weighted: np.ndarray, outer: tuple[int, int, int, int]) -> None:
        """Add a tile.

        Args:
            weighted: ``(C, h, w)`` maps of the tile, 0..255, times their weight. Tiles come row by row.
            outer: y0, y1, x0, x1 of the tile.
        """
        y0, y1, x0, x1 = outer
        if y0 > self.top or not self.sums.shape[1]:
            rest = self._settle(y0)
            self.sums = np.zeros((len(rest), y1 - y0, rest.shape[2]), np.float32)
            self.sums[:, : rest.shape[1]] = rest
            self.top = y0
        self.sums[:, :, x0:x1] += weighted

    def _settle(self, until: int) -> np.ndarray:
        """Finish the rows above ``until``; return the sums of the others."""
        done = min(max(until - self.top, 0), self.sums.shape[1])
        finished = np.rint(self.sums[:, :done], out=self.sums[:, :done])
        self.sink.append(np.clip(finished, 0, 255, out=finished).astype(np.uint8))
        return self.sums[:, done:]

    def finish(self) -> None:
        """Finish the last rows."""
        self.sums = self._settle(self.top + self.sums.shape[1])


def run_tiles(
    engine: Engine,
    unit: Grid,
    decode: TileDecoder,
    size: tuple[int, int],
    sinks: Callable[[int], RowSink],
    step: Steps | None = None,
) -> list[TileScores]:
    """Decode every tile and blend the maps into sinks.

    Args:
        engine: the model.
        unit: ``(H, W)`` in 0..1.
        decode: decodes all prompts in one tile.
        size: tile and halo, px.
        sinks: number of maps -> where the rows of a prompt go; called once for each prompt, in order.
        step: called after each tile.

    Returns:
        one entry for each prompt.
    """
    parts = list(feathered_tiles(unit.shape, *size))
    growing: list[_GrowingMaps] = []
    presence, quality, weight, scale = [], [], [], 1.0
    for number, (part, down, across) in enumerate(parts):
        y0, y1, x0, x1 = part.outer
        pixels = unit[y0:y1, x0:x1]
        features = engine.encode(pixels, tokens=False)
        scale = max(scale, max(features.shape) / max(features.work))
        decoded = decode(features, pixels)
        growing = growing or [_GrowingMaps(channels, unit.shape[1], sinks(channels)) for _, _, channels in decoded]
        share = 255 * down[:, None] * across[None]
        for whole, (out, k, channels) in zip(growing, decoded, strict=True):
            stack = torch.stack([out.mask[k], out.distance[k], out.border[k]][:channels])
            weighted = expit(engine.on_micrograph(stack, features, pixels.shape)) * share
            weight.append(float((weighted[0] > 127).sum()))
            whole.add(weighted, part.outer)
            presence.append(float(expit(float(out.presence[k]))))
            quality.append(float(expit(float(out.iou[k]))))
        if step:
            step(number + 1, len(parts))
    outers = np.array([part.outer for part, _, _ in parts])
    found = []
    for k, whole in enumerate(growing):
        whole.finish()
        of = slice(k, None, len(growing))
        weights = np.array(weight[of]) + 1e-6
        score = float(np.average(quality[of], weights=weights))
        found.append(TileScores(outers, np.array(presence[of]), score, scale))
    return found


def stitch(
    engine: Engine,
    unit: np.ndarray,
    decode: TileDecoder,
    tile: int,
    halo: int,
    step: Steps | None = None,
) -> list[Stitched]:
    """Decode every tile and blend the maps in memory; see :func:`run_tiles`.

    Returns:
        one entry for each prompt.
    """
    kept: list[_Memory] = []

    def sink(channels: int) -> RowSink:
        kept.append(_Memory(channels, unit.shape))
        return kept[-1]

    scores = run_tiles(engine, unit, decode, (tile, halo), sink, step)
    return [
        Stitched(whole.maps, one.outers, one.presence, one.score, one.scale)
        for one, whole in zip(scores, kept, strict=True)
    ]
