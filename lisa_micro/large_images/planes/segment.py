"""One request about a plane of any size, in memory that does not grow with its area.

The words are read once, with a reduced picture of the plane. Tiles are read, segmented and blended row by row into maps
in a compressed temporary file; instances are separated block by block, kept as runs, and measured in windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from lisa_micro.assistant.answering import refusal_of, values_of
from lisa_micro.assistant.conversation import Clock, Conversation, ConversationStart
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.language_engine import KVCache, RawReply
from lisa_micro.assistant.prepare import ImageCache
from lisa_micro.assistant.targets import PRESENCE_THRESHOLD, ImageView, WholeImage
from lisa_micro.assistant.tiling import TileSize
from lisa_micro.execution import Instances, execute, tell
from lisa_micro.io.contrast import scaled_between
from lisa_micro.io.lazy import Plane
from lisa_micro.io.lazy.compact import RunCollector
from lisa_micro.language.program import Program, describe
from lisa_micro.language.program.describe import Describer, tidy
from lisa_micro.large_images.planes.answer import PlaneAnswer, PlaneSegment
from lisa_micro.large_images.planes.found import PlaneInstances, find_instances
from lisa_micro.large_images.planes.overview import Overview, overview_of
from lisa_micro.large_images.tiled import checked_size, suggested_tile
from lisa_micro.measure.tables import particle_table
from lisa_micro.protocols import Capabilities, Progress
from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError


class TilingAssistant(Protocol):
    """What an assistant with the capability ``tiling`` has for planes."""

    engine: Engine

    @property
    def preset(self) -> str:
        """Name or folder that the model was loaded from."""

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""


def segment_plane(
    assistant: TilingAssistant,
    plane: Plane,
    words: str,
    *,
    tile: int | None = None,
    halo: int | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> PlaneAnswer:
    """Answer one request about a plane of any size.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        plane: from :func:`lisa_micro.read_stack`.
        words: the request; it is read once, with the plane as a whole.
        tile: side of a tile, px, at least 32; ``None``: chosen from the size of the particles.
        halo: overlap of a tile with its neighbours, px; ``None``: a share of the tile.
        scratch: folder for a temporary file; ``None``: the system's. It takes at most 3 bytes per px, mostly far less.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        the answer; labels as runs, and tables.

    Raises:
        InputError: an empty prompt, a model that cannot tile, tiles that cannot be, or a damaged plane.
    """
    if not assistant.capabilities.tiling:
        height, width = plane.shape
        raise InputError(
            f"The model {assistant.preset!r} cannot segment in tiles, and this plane of {width} x {height} px is too "
            "large for it at once."
        )
    size, engine = TileSize(tile, halo), assistant.engine
    overview = overview_of(plane, progress)
    images = ImageCache(engine, partial(_scaled, limits=overview.limits), partial(ImageView, engine))
    conversation = _PlaneConversation(engine, images, plane, overview, size, scratch, progress)
    answer = conversation.ask(words)
    return PlaneAnswer(answer, conversation.segments, plane, overview)


def _scaled(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return scaled_between(pixels, *limits)


class PlaneMeasures:
    """The instances of each concept of a reply. It is a :class:`lisa_micro.execution.Measures`; relations are evaluated
    on runs, window by window."""

    def __init__(self, plane: Plane, found: Mapping[str, PlaneInstances], absent: Sequence[str]):
        self.shape, self.pixel_size_nm = plane.shape, plane.pixel_size_nm
        self.found, self.absent = found, frozenset(absent)
        self._instances: dict[str, Instances] = {}

    def instances_of(self, concept: str) -> Instances:
        """All instances of a concept; none of one that is absent or was not looked for."""
        if concept not in self._instances:
            self._instances[concept] = self._of(concept)
        return self._instances[concept]

    def _of(self, concept: str) -> Instances:
        import pandas as pd

        found = self.found.get(concept)
        if found is None or concept in self.absent:
            none = RunCollector(self.shape).finish(np.zeros(1, np.int64))
            return Instances(pd.DataFrame({name: np.zeros(0) for name in ("label", "x", "y", "area")}), none)
        return Instances(pd.DataFrame(found.properties), found.labels)


class _PlaneConversation(Conversation):
    """A conversation of one request about a plane."""

    def __init__(
        self,
        engine: Engine,
        images: ImageCache[ImageView],
        plane: Plane,
        overview: Overview,
        size: TileSize,
        scratch: Path | None,
        progress: Progress | None,
    ):
        super().__init__(engine, WholeImage(), images, overview.micrograph, ConversationStart(progress=progress))
        self.plane, self.overview, self.size, self.scratch = plane, overview, size, scratch
        self.segments: tuple[PlaneSegment, ...] = ()

    def _executed(self, view: ImageView, cache: KVCache, reply: RawReply, program: Program, clock: Clock) -> Answer:
        engine, plane = self._engine, self.plane
        named, states = self._prompts(cache, reply, program)
        found: dict[str, PlaneInstances] = {}
        how = ""
        if states:
            tile = self.size.tile or suggested_tile(view, engine.model.config.work_side, self.overview.step)
            size = checked_size(tile, self.size.halo)
            concepts = list(states)
            instances, how = find_instances(
                engine, plane, self.overview.limits, states, size, self.scratch, self.progress
            )
            found = dict(zip(concepts, instances, strict=True))
        clock.lap("masks")
        least = engine.model.config.presence_threshold
        absent = [
            name for name, one in found.items() if not one.count or one.presence < least.get(name, PRESENCE_THRESHOLD)
        ]
        measures = PlaneMeasures(plane, found, absent)
        result = execute(program, measures, engine.vocabulary, named)
        describer = Describer(program.targets, engine.vocabulary)
        self.segments = tuple(
            PlaneSegment(
                labels=found[one.concept].labels.kept(one.keep),
                properties=particle_table(
                    {name: values[one.keep] for name, values in found[one.concept].properties.items()}
                    | {"label": np.arange(1, one.count + 1)},
                    plane.pixel_size_nm,
                ),
                concept=one.concept,
                phrase=tidy(describer.target(one.number)).removeprefix("the "),
                where=program.targets[one.number - 1].where,
                score=found[one.concept].score,
                presence=found[one.concept].presence,
                pixel_size_nm=plane.pixel_size_nm,
                target=one.number,
            )
            for one in result.selections
            if one.count and not one.problem
        )
        refusal = "" if self.segments or any(one.number.known for one in result.values) else refusal_of(result)
        notes = tuple(dict.fromkeys((*program.notes, *result.notes)))
        answer = Answer(
            text=tell(result, engine.vocabulary),
            raw=reply.raw,
            values=values_of(result),
            declined=bool(refusal),
            refusal=refusal,
            plots=result.plots,
            understood=describe(program, engine.vocabulary),
            notes=(*notes, how) if how else notes,
            result=result,
        )
        clock.lap("measure")
        return answer
