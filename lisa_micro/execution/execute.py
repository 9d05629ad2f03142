"""Programs executed: a selection for each target, the numbers of value slots, the data of plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.execution.quantities import Measurer, Moments
from lisa_micro.execution.results import Result, Selection
from lisa_micro.execution.scene import Instances, Measures
from lisa_micro.language.program.syntax import Program, Target
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary


def execute(
    program: Program,
    measures: Measures,
    vocabulary: Vocabulary = FULL_VOCABULARY,
    concepts: Sequence[str] = (),
    moments: Moments | None = None,
) -> Result:
    """Execute a program on measured instances. Never raises for a program that was parsed.

    Args:
        program: from :func:`lisa_micro.language.program.parse_program`.
        measures: supplies the instances of each concept that the program refers to, when it is needed.
        vocabulary: for nouns in notes.
        concepts: what targets without a noun stand for, one a target; particles where it is not given.
        moments: measures of a video, where the scene is one.

    Returns:
        the result. A target whose constraint could not be read or applied selects nothing and says why; so do values
        and plots.
    """
    program = _with_concepts(program, concepts)
    executor = Executor(measures, program.targets, vocabulary)
    selections = []
    for number, target in enumerate(program.targets, 1):
        assert target.concept is not None
        instances = measures.instances_of(target.concept)
        nothing = np.zeros(len(instances), bool)
        if target.problem:
            selections.append(Selection(number, target.concept, nothing, instances, f"the constraint {target.problem}"))
            continue
        try:
            keep = executor.keep(target.concept, target.pipeline)
            selections.append(Selection(number, target.concept, keep, instances))
        except Impossible as error:
            selections.append(Selection(number, target.concept, nothing, instances, str(error)))
    measurer = Measurer(executor, selections, moments)
    values = tuple(measurer.value(slot) for slot in program.values)
    plots = tuple(measurer.plot(slot) for slot in program.plots)
    return Result(
        program,
        tuple(selections),
        values,
        plots,
        tuple(executor.notes),
        measures.pixel_size_nm,
        measures.shape,
    )


class _Selected:
    """The instances of the selections of a result, after some were changed."""

    def __init__(self, result: Result, selections: Sequence[Selection]):
        self.shape, self.pixel_size_nm = result.shape, result.pixel_size_nm
        self._instances: dict[str, Instances] = {}
        for selection in selections:
            self._instances.setdefault(selection.concept, selection.instances)

    def instances_of(self, concept: str) -> Instances:
        """Those of the first selection of a concept."""
        return self._instances[concept]


def remeasured(result: Result, number: int, instances: Instances, vocabulary: Vocabulary = FULL_VOCABULARY) -> Result:
    """Replace the selected instances of a target and measure the values and plots again.

    Args:
        result: of :func:`execute`.
        number: of the target, from 1.
        instances: all of them are selected; the constraint is not applied again.
        vocabulary: as for :func:`execute`.
    """
    old = result.selections[number - 1]
    others = old.found - old.count
    new = Selection(number, old.concept, np.ones(len(instances), bool), instances, others=others)
    selections = (*result.selections[: number - 1], new, *result.selections[number:])
    executor = Executor(_Selected(result, selections), result.program.targets, vocabulary)
    measurer = Measurer(executor, selections)
    return replace(
        result,
        selections=selections,
        values=tuple(measurer.value(slot) for slot in result.program.values),
        plots=tuple(measurer.plot(slot) for slot in result.program.plots),
    )


def _with_concepts(program: Program, concepts: Sequence[str]) -> Program:
    """The program with a concept for every target."""
    parts, number = [], 0
    for part in program.parts:
        if isinstance(part, Target):
            given = concepts[number] if number < len(concepts) else "particle"
            part = part if part.concept else replace(part, concept=given)
            number += 1
        parts.append(part)
    return replace(program, parts=tuple(parts))
