"""Words beside an exemplar: the condition in the model's reply narrows what is alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.execution import Instances
from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.language import Vocabulary
from lisa_micro.language.program import parse_program
from lisa_micro.types import Micrograph

NOT_UNDERSTOOD = "No condition was understood in the words, so everything alike is shown."


@dataclass(frozen=True, eq=False)
class Narrowed:
    """What words leave of the instances that are alike.

    Attributes:
        keep: ``(n,)`` bool.
        where: the condition in the reply language, ``""`` if there is none.
        notes: what a user should know, one sentence each.
    """

    keep: np.ndarray
    where: str = ""
    notes: tuple[str, ...] = ()


def narrow(
    raw: str, vocabulary: Vocabulary, labels: np.ndarray, properties: dict[str, np.ndarray], image: Micrograph
) -> Narrowed:
    """Apply the condition of a reply to the instances that are like an exemplar. Everything else in the reply, such as
    the concept, is not used: the exemplar says what is meant.

    Args:
        raw: the model's reply to the words.
        vocabulary: the concepts that the model knows.
        labels: ``(H, W)`` int32 instances 1..n.
        properties: columns as of :func:`lisa_micro.measure.particle_properties`, in px.
        image: the micrograph.
    """
    every = np.ones(int(labels.max(initial=0)), bool)
    program = parse_program(raw, vocabulary)
    if not program.targets:
        return Narrowed(every, notes=(NOT_UNDERSTOOD,))
    target = program.targets[0]
    if target.problem:
        return Narrowed(every, notes=(*program.notes, NOT_UNDERSTOOD))
    measures = _Alike(image, target.concept or "particle", labels, properties)
    executor = Executor(measures, vocabulary=vocabulary)
    try:
        keep = executor.keep(measures.concept, target.pipeline)
    except Impossible as error:
        why = f"The condition was not applied: {error}."
        return Narrowed(every, notes=(*program.notes, why))
    return Narrowed(keep, target.where, (*program.notes, *executor.notes))


class _Alike:
    """The instances that are alike, under the name that the reply gives them. It is a
    :class:`lisa_micro.execution.Measures`."""

    def __init__(self, image: Micrograph, concept: str, labels: np.ndarray, properties: dict[str, np.ndarray]):
        import pandas as pd

        self.shape, self.pixel_size_nm, self.concept = image.shape, image.pixel_size_nm, concept
        self._instances = Instances(pd.DataFrame(dict(properties)), labels)

    def instances_of(self, concept: str) -> Instances:
        """Those of the one concept.

        Raises:
            Impossible: another concept, which was not segmented.
        """
        if concept != self.concept:
            raise Impossible("beside an example, conditions on other objects cannot be used")
        return self._instances
