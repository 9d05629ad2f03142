"""A frame of a tracked video as something that programs are executed on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lisa_micro.execution import Instances
from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.language.program.syntax import Pipeline, Target
from lisa_micro.video.questions.frames import Properties, VideoFrames


class FrameMeasures:
    """The instances of a frame. It is a :class:`lisa_micro.execution.Measures`.

    Args:
        frames: instances of all frames.
        t: frame number.
        masks: whether necks are measured by their masks, too.

    Attributes:
        shape: ``(H, W)`` px.
        pixel_size_nm: edge of a pixel in nm; ``None`` where unknown.
    """

    def __init__(self, frames: VideoFrames, t: int, masks: bool = True):
        self.frames, self.t, self.masks = frames, t, masks
        self.shape: tuple[int, int] = frames.tracks.shape
        self.pixel_size_nm = frames.tracks.pixel_size_nm
        self._instances: dict[str, Instances] = {}

    def instances_of(self, concept: str) -> Instances:
        """All instances of a concept.

        Raises:
            Impossible: nothing is known of it in this video.
        """
        unknown = self.frames.unknown(concept)
        if unknown:
            raise Impossible(unknown[0].lower() + unknown[1:].rstrip("."))
        if concept not in self._instances:
            found = self.frames.properties(concept, self.t, self.masks)
            self._instances[concept] = instances(found, self.frames.labels(concept, self.t), concept == "neck")
        return self._instances[concept]


class FixedMeasures:
    """Instances of one concept, gathered from several frames: they have no outlines in common.

    Args:
        frames: of the video.
        concept: what they are.
        found: their properties, px.
    """

    def __init__(self, frames: VideoFrames, concept: str, found: Properties):
        self.shape: tuple[int, int] = frames.tracks.shape
        self.pixel_size_nm = frames.tracks.pixel_size_nm
        self.concept, self._found = concept, instances(found, None)

    def instances_of(self, concept: str) -> Instances:
        """Those of the one concept.

        Raises:
            Impossible: another concept.
        """
        if concept != self.concept:
            raise Impossible("a relation to other objects needs a moment, such as 'in frame 5'")
        return self._found


def instances(found: Properties, labels: np.ndarray | None, from_one: bool = False) -> Instances:
    """Properties as instances.

    Args:
        found: columns, px.
        labels: their outlines, if known.
        from_one: whether ``labels`` is one more than the column ``label``, whose numbers begin at 0.
    """
    import pandas as pd

    table = pd.DataFrame(dict(found))
    if from_one:
        table["label"] = table["label"].astype(np.int64) + 1
    return Instances(table, labels)


def select(
    measures: FrameMeasures | FixedMeasures, concept: str, pipeline: Pipeline, targets: Sequence[Target] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which instances of a concept a constraint keeps, ``(n,)`` bool, and notes.

    Args:
        measures: the instances.
        concept: what they are.
        pipeline: the constraint.
        targets: the targets of the program, for sets that refer to them.
    """
    executor = Executor(measures, targets)
    try:
        keep = executor.keep(concept, pipeline)
    except Impossible as error:
        message = str(error)
        return np.zeros(len(measures.instances_of(concept)), bool), (f"{message[0].upper()}{message[1:]}.",)
    return keep, tuple(executor.notes)
